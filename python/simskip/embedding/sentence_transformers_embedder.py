"""Any model of Sentence-Transformers as an embedder."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FormatError
from ..extras import require
from .model_name import joined
from .ordered_work import Cancellation
from .text_embedder import TextEmbedder, Unusable, Vectors

__all__ = ["SentenceTransformersEmbedder"]

_EXTRA = "sentence-transformers"
_FAMILY = "sentence-transformers"
# What a model is made of; read-me files and the like are not. Files in the folders of other engines do not count.
_SUFFIXES = (".json", ".txt", ".model", ".safetensors", ".bin", ".jinja")
_OTHER_ENGINES = ("onnx", "openvino")
_BLOCK = 1 << 20


class SentenceTransformersEmbedder(TextEmbedder):
    """A model of Sentence-Transformers (Reimers and Gurevych, EMNLP 2019), run by PyTorch on the processor.

    Made by ``simskip.embedding.text("sentence-transformers:NAME_OR_PATH")``. For all-MiniLM-L6-v2 the embedder
    ``"minilm"`` gives the same vectors three times as fast.

    Parameters
    ----------
    model : str or path
        A folder, or the name of a model in Hugging Face's cache. Nothing is downloaded.
    batch_size : int
        Texts per call of the model.
    prompt_name : str, optional
        Which of the model's prompts stands before each text, for models that have one for queries and another for
        documents.

    Raises
    ------
    ImportError
        If the extra ``sentence-transformers`` is missing.
    FileNotFoundError
        If there is no such folder and no such model in the cache.
    FormatError
        If the folder holds no model that can be loaded.
    ValueError
        For an unknown prompt.

    Notes
    -----
    Texts beyond the model's own limit are cut. Vectors are as the model gives them, normalised or not; the last
    digits depend on the texts that are computed together (about 1e-7), since these are padded to one length.

    Examples
    --------
    ::

        embedder = simskip.embedding.text("sentence-transformers:/models/all-mpnet-base-v2")
        vectors = embedder.embed(["Two cats sleep.", "A pair of sleeping cats."])
    """

    # PyTorch has threads of its own, and Ctrl-C reaches the calling thread between two of its operations.
    concurrent = False

    def __init__(self, model: str | os.PathLike[str], *, batch_size: int = 32, prompt_name: str | None = None) -> None:
        super().__init__(batch_size=batch_size, window=8 * batch_size if isinstance(batch_size, int) else 0)
        library = require("sentence_transformers", _EXTRA, "Embedding text with Sentence-Transformers")
        self._model_name = os.fspath(model)
        self.prompt_name = prompt_name
        self.folder = _folder(self._model_name)
        with _without_bars():
            try:
                # Models that bring code of their own are not trusted: simskip runs nothing it did not install.
                self._model = library.SentenceTransformer(str(self.folder), device="cpu", local_files_only=True)
            except ImportError:
                raise
            except Exception as error:  # anything: JSON, KeyError, SafetensorError, ...
                raise FormatError(
                    f"{self.folder} holds no model that Sentence-Transformers can load: {error}"
                ) from error
        prompts = getattr(self._model, "prompts", None) or {}
        if prompt_name is not None and prompt_name not in prompts:
            known = ", ".join(map(repr, prompts)) or "it has none"
            raise ValueError(f"prompt_name must be one of the model's prompts ({known}), got {prompt_name!r}")
        own = self.folder.resolve() if Path(self._model_name).is_dir() else self._model_name
        self.name = joined(f"{_FAMILY}:{own}", {"prompt_name": prompt_name})
        self.dim = int(np.shape(self._encode(["a"]))[1])

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the model's files (weights, configuration, tokenizer) and the prompt."""
        return f"{_FAMILY} files={_files_fingerprint(self.folder)} prompt={self.prompt_name}"

    def _prepare(self, texts: list[str]) -> list[Any]:
        return [_checked(text) for text in texts]

    def _run(self, prepared: list[Any], cancellation: Cancellation) -> Vectors:
        return self._encode(prepared)

    def _encode(self, texts: list[str]) -> Vectors:
        vectors: Vectors = self._model.encode(
            texts, prompt_name=self.prompt_name, batch_size=self.batch_size, show_progress_bar=False
        )
        return vectors

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self._model_name, self.batch_size, self.prompt_name)

    def __repr__(self) -> str:
        return f"SentenceTransformersEmbedder({self.name!r}, dim={self.dim})"


def _rebuild(model: str, batch_size: int, prompt_name: str | None) -> SentenceTransformersEmbedder:
    return SentenceTransformersEmbedder(model, batch_size=batch_size, prompt_name=prompt_name)


def _checked(text: str) -> str | Unusable:
    if not text.strip():
        return Unusable("no word in it")
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return Unusable("not valid Unicode")
    return text


def _folder(model: str) -> Path:
    """Where the model's files are."""
    if Path(model).is_dir():
        return Path(model)
    hub = require("huggingface_hub", _EXTRA, "Embedding text with Sentence-Transformers")
    # As the library itself: its authors' models go by their bare names.
    for name in (model,) if "/" in model else (f"sentence-transformers/{model}", model):
        with contextlib.suppress(OSError, ValueError):  # not there, or no possible name
            return Path(hub.snapshot_download(name, local_files_only=True))
    raise FileNotFoundError(
        f"{model!r} is neither a folder nor a model in Hugging Face's cache; nothing is downloaded here: fetch it "
        f"where there is a network (hf download {model}) and pass the folder's path"
    )


def _files_fingerprint(folder: Path) -> str:
    """SHA-256 of the names and contents of the files that make the model, as 32 hexadecimal digits."""
    digest = hashlib.sha256()
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    for name, path in sorted(files.items()):
        skipped = name.split("/")[0] in _OTHER_ENGINES or not name.endswith(_SUFFIXES) or "/." in f"/{name}"
        # The same weights once more, in the older format.
        if skipped or (path.suffix == ".bin" and any(path.parent.glob("*.safetensors"))):
            continue
        own = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                own.update(block)
        digest.update(f"{name}\n{own.hexdigest()}\n".encode())
    return digest.hexdigest()[:32]


@contextlib.contextmanager
def _without_bars() -> Iterator[None]:
    """Loading prints a bar of its own otherwise."""
    logging = require("transformers.utils.logging", _EXTRA, "Embedding text with Sentence-Transformers")
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
