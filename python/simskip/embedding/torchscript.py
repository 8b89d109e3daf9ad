"""TorchScript files as embedders."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import FormatError
from .image_embedder import ImageEmbedder
from .model_metadata import settings_beside, settings_of
from .model_name import joined
from .preprocessing import Preprocessing, plain_settings
from .torch_model import import_torch, quiet, torch_embedder

__all__ = ["torchscript_embedder"]

_MAX_BYTES = 1 << 24


def torchscript_embedder(
    path: str | os.PathLike[str],
    *,
    size: int | Sequence[int] | None = None,
    output: str | int | None = None,
    pooling: str | None = None,
    framing: str | None = None,
    crop: float | None = None,
    interpolation: str | None = None,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    channels: str | None = None,
    engine: str = "auto",
    **options: Any,
) -> ImageEmbedder:
    """An embedder of images from a file of ``torch.jit.save``: ``simskip.embedding.images("torchscript:PATH")``.

    The module takes float32 (n, 3, h, w). Preprocessing comes from these, the first that says something: the
    options; ``config.json`` inside the archive (``torch.jit.save(..., _extra_files={"config.json": ...})``) and
    ``preprocessor_config.json`` or ``config.json`` beside it, both with the keys of ``onnx_embedder``, timm or
    Transformers; what ImageNet models expect (``Preprocessing.of``).

    Parameters
    ----------
    path : path
    size, framing, crop, interpolation, mean, std, channels
        As for ``onnx_embedder``.
    output, pooling, engine
        See ``torch_embedder``. Once a graph was exported, PyTorch is not imported any more.
    **options
        ``threads`` and ``batch_size`` of ``ImageEmbedder``, and ``cache_dir`` for the exported graph.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FormatError
        If it is no TorchScript archive.
    ImportError
        If PyTorch is missing (extra ``train``).
    ValueError
        For options that do not fit the module.

    Examples
    --------
    >>> import warnings
    >>> import numpy as np, torch, simskip.embedding
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")  # TorchScript is no longer developed, PyTorch says
    ...     pool = torch.jit.trace(torch.nn.AdaptiveAvgPool2d(1), torch.zeros(1, 3, 32, 32))
    ...     torch.jit.save(pool, "colour.pt", _extra_files={"config.json": '{"mean": 0, "std": 1, "size": 32}'})
    >>> embedder = simskip.embedding.images("torchscript:colour.pt", cache_dir=".")
    >>> embedder.embed(np.full((1, 8, 8, 3), 51, np.uint8)).round(3)
    array([[0.2, 0.2, 0.2]], dtype=float32)
    """
    file = Path(path).expanduser().resolve()
    if not file.is_file():
        raise FileNotFoundError(f"there is no TorchScript model at {file}")
    given = {
        "size": size, "framing": framing, "crop": crop, "interpolation": interpolation, "mean": mean, "std": std,
        "channels": channels,
    }  # fmt: skip
    preprocessing = Preprocessing.of(plain_settings(given), _settings_inside(file), settings_beside(file))
    own = {**given, "output": output, "pooling": pooling, "engine": None if engine == "auto" else engine}

    def load() -> Any:
        torch = import_torch("A TorchScript model")
        try:
            with quiet():
                return torch.jit.load(str(file), map_location="cpu").eval()
        except Exception as error:  # RuntimeError, or what its unpickler raises
            first = str(error).strip().partition("\n")[0]
            raise FormatError(f"{file} is no TorchScript that PyTorch can load: {first}") from error

    return torch_embedder(
        load,
        name=joined(f"torchscript:{file}", own),
        identity=f"torchscript sha256={hashlib.sha256(file.read_bytes()).hexdigest()}",
        preprocessing=preprocessing,
        output=output,
        pooling=pooling,
        engine=engine,
        **options,
    )


def _settings_inside(file: Path) -> dict[str, Any]:
    """From ``extra/config.json`` in the archive."""
    try:
        with zipfile.ZipFile(file) as archive:
            found = [each for each in archive.infolist() if each.filename.partition("/")[2] == "extra/config.json"]
            if not found:
                return {}
            if found[0].file_size > _MAX_BYTES:
                raise ValueError("config.json is larger than 16 MiB")
            values = json.loads(archive.read(found[0]))
    except (zipfile.BadZipFile, ValueError, EOFError) as error:
        raise FormatError(f"{file} is no readable TorchScript archive: {error}") from error
    if not isinstance(values, dict):
        raise FormatError(f"config.json in {file} must hold a JSON object, got {type(values).__name__}")
    return settings_of(values, f"config.json in {file}")
