"""Embedders by name."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..validation import choice
from .embedder import Embedder
from .model_name import split

__all__ = ["images", "load", "names", "text"]


def _efficientnet_lite(variant: str) -> Callable[..., Embedder]:
    def make(**options: Any) -> Embedder:
        from .lite_engine import lite_embedder

        return lite_embedder(variant, **options)

    return make


def _minilm(**options: Any) -> Embedder:
    from .minilm_embedder import MiniLMEmbedder

    return MiniLMEmbedder(**options)


def _sentence_transformers(model: str, **options: Any) -> Embedder:
    from .sentence_transformers_embedder import SentenceTransformersEmbedder

    return SentenceTransformersEmbedder(model, **options)


def _glove(**options: Any) -> Embedder:
    from .word_embedder import WordEmbedder

    return WordEmbedder.glove(**options)


def _words(path: str, **options: Any) -> Embedder:
    from .word_embedder import WordEmbedder

    return WordEmbedder.read(path, **options)


def _onnx(path: str, **options: Any) -> Embedder:
    from .onnx_model import onnx_embedder

    return onnx_embedder(path, **options)


def _torchscript(path: str, **options: Any) -> Embedder:
    from .torchscript import torchscript_embedder

    return torchscript_embedder(path, **options)


def _timm(name: str, **options: Any) -> Embedder:
    from .model_zoo import timm_embedder

    return timm_embedder(name, **options)


def _torchvision(name: str, **options: Any) -> Embedder:
    from .model_zoo import torchvision_embedder

    return torchvision_embedder(name, **options)


# Kind of data -> name -> maker. A name with a colon is a family: "onnx:PATH" stands for "onnx:" and anything
# behind it, which its maker gets as first argument. Makers import what they need, so listing names imports
# nothing.
_EMBEDDERS: dict[str, dict[str, Callable[..., Embedder]]] = {
    "images": {
        **{name: _efficientnet_lite(name) for name in (f"efficientnet-lite{i}" for i in range(3))},
        "onnx:PATH": _onnx,
        "torchscript:PATH": _torchscript,
        "timm:NAME": _timm,
        "torchvision:NAME": _torchvision,
    },
    "text": {
        "minilm": _minilm,
        "sentence-transformers:NAME": _sentence_transformers,
        "glove": _glove,
        "words:PATH": _words,
    },
}

# Suffix of a file -> the family that reads it, so that ``load`` takes a bare path.
_SUFFIXES: dict[str, str] = {
    ".onnx": "onnx:PATH",
    **dict.fromkeys((".pt", ".torchscript"), "torchscript:PATH"),
    **dict.fromkeys((".txt", ".vec", ".bin", ".json", ".gz", ".tgz", ".zip", ".npy", ".npz"), "words:PATH"),
}


def names(kind: str | None = None) -> tuple[str, ...]:
    """The known embedders' names, all or those of one kind (``"images"`` or ``"text"``).

    A part in capitals stands for what the user puts there: ``"onnx:PATH"`` is any ONNX file.
    """
    kinds = tuple(_EMBEDDERS) if kind is None else (choice(kind, "kind", tuple(_EMBEDDERS)),)
    return tuple(name for each in kinds for name in _EMBEDDERS[each])


def _make(name: Any, kinds: tuple[str, ...], options: dict[str, Any]) -> Embedder:
    if isinstance(name, str):
        base, own = split(name)
        family, _, rest = base.partition(":")
        for known, maker in ((known, maker) for kind in kinds for known, maker in _EMBEDDERS[kind].items()):
            fits = known == base if ":" not in known else bool(rest) and known.partition(":")[0] == family
            if not fits:
                continue
            try:
                return maker(*([rest] if ":" in known else []), **{**own, **options})
            except TypeError as error:
                # A wrong value for whoever wrote the name; for options of a call Python's own error is right.
                unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
                if unknown and unknown[1] in own:
                    raise ValueError(f"name must hold options of {known!r}, got {unknown[1]!r} in {name!r}") from error
                raise
    expected = ", ".join(repr(known) for kind in kinds for known in names(kind))
    raise ValueError(f"name must be one of {expected}, got {name!r}")


def images(
    name: str = "efficientnet-lite0",
    *,
    threads: int | None = None,
    batch_size: int | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Any:
    """An embedder of images.

    Parameters
    ----------
    name : str
        ``"efficientnet-lite0"``, ``"-lite1"``, ``"-lite2"``: 1280 numbers per image; 224, 240 and 260 pixels a
        side; weights from the package index. ``"onnx:PATH"``: any ONNX model of images (see
        ``simskip.embedding.onnx_model.onnx_embedder``). ``"torchscript:PATH"``, ``"timm:NAME"``,
        ``"torchvision:NAME"``: PyTorch's (see ``simskip.embedding.torchscript`` and ``.model_zoo``). Options may
        stand in the name: ``"onnx:model.onnx?output=features"``.
    threads, batch_size
        See ``simskip.embedding.ImageEmbedder``.
    cache_dir : path, optional
        Where exported networks are kept; see ``simskip.cache.cache_dir``.
    **options
        Of the embedder that the name stands for.

    Raises
    ------
    ValueError
        For an unknown name; the message lists the known ones.
    ImportError
        If the extra ``images`` is missing.

    Examples
    --------
    >>> import simskip.embedding
    >>> simskip.embedding.images("efficientnet-lite0", threads=1)
    ImageEmbedder('efficientnet-lite0', dim=1280, framing='whole')
    """
    return _make(name, ("images",), {"threads": threads, "batch_size": batch_size, "cache_dir": cache_dir, **options})


def text(name: str = "minilm", **options: Any) -> Any:
    """An embedder of text.

    Parameters
    ----------
    name : str
        ``"minilm"``: sentences and paragraphs in English, 384 numbers each (``MiniLMEmbedder``).
        ``"sentence-transformers:NAME"``: any such model in a folder or in the cache
        (``SentenceTransformersEmbedder``). ``"glove"``: 341,479 English words, 100 numbers each, and
        ``"words:PATH"``: those of a file (``WordEmbedder``); texts are the means of their words. Options may stand in
        the name: ``"words:glove.6B.zip?member=glove.6B.300d.txt"``.
    **options
        Of the embedder that the name stands for.

    Raises
    ------
    ValueError
        For an unknown name; the message lists the known ones.
    ImportError
        If the extra that it needs is missing: ``text`` or ``sentence-transformers``; words need none.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import simskip.embedding
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "tiny.txt"
    >>> _ = path.write_text("old 1 0\\ntown 0 1\\n")
    >>> simskip.embedding.text(f"words:{path}").embed(["old town"]).tolist()
    [[0.5, 0.5]]
    """
    return _make(name, ("text",), options)


def load(name_or_path: str | os.PathLike[str], **options: Any) -> Embedder:
    """An embedder of any kind by its registered name, as a configuration file or the command line gives it.

    Parameters
    ----------
    name_or_path : str or path
        One of ``names()``, an embedder's own ``name``, or the path of an existing file whose suffix says what
        reads it.
    **options
        Of the embedder that the name stands for.

    Raises
    ------
    ValueError
        For an unknown name; the message lists the known ones.
    """
    name = os.fspath(name_or_path) if isinstance(name_or_path, os.PathLike) else name_or_path
    if isinstance(name, str):
        path = Path(split(name)[0])
        family = _SUFFIXES.get(path.suffix.lower())
        known = any(name.startswith(each.partition(":")[0] + ":") for each in names() if ":" in each)
        if family is not None and not known and path.is_file():
            name = family.partition(":")[0] + ":" + name
    return _make(name, tuple(_EMBEDDERS), options)
