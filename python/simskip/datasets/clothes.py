"""Fashion-MNIST: from the system's packages, the cache or the network."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..cache import cache_dir as _cache_dir
from ..errors import FormatError
from ..files import atomic_write
from ..validation import choice
from .idx import parse_idx, unpacked
from .labelled_images import LabelledImages

__all__ = ["fashion_mnist"]

_DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
_MIRRORS = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
)
_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
_TIMEOUT = 30  # seconds without a byte


class _Part(NamedTuple):
    """One file of a data set; the checksum is that of the unpacked content, whoever packed it."""

    name: str
    sha256: str


_PARTS = {
    "train": (
        _Part(
            "train-images-idx3-ubyte.gz",
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        ),
        _Part(
            "train-labels-idx1-ubyte.gz",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        ),
    ),
    "test": (
        _Part(
            "t10k-images-idx3-ubyte.gz",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        ),
        _Part(
            "t10k-labels-idx1-ubyte.gz",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    ),
}


def fashion_mnist(split: str = "train", *, cache_dir: str | os.PathLike[str] | None = None) -> LabelledImages:
    """Fashion-MNIST: 70,000 photographs of clothes, 28 x 28 grey pixels, ten classes.

    Read from Debian's package ``dataset-fashion-mnist`` if it is installed, else from the cache, else
    downloaded into the cache. Checksums are compared every time. Source: Xiao, Rasul and Vollgraf, arXiv
    1708.07747 (2017).

    Parameters
    ----------
    split : {"train", "test", "all"}
        60,000 images, 10,000, or both (train first).
    cache_dir : path, optional
        See ``simskip.cache.cache_dir``.

    Raises
    ------
    OSError
        If the files are nowhere and cannot be downloaded; the message names the Debian package.
    FormatError
        If Debian's file is damaged (a damaged file in the cache is downloaded again).

    Examples
    --------
    >>> import simskip.datasets
    >>> simskip.datasets.fashion_mnist("test")
    LabelledImages(fashion-mnist test: 10,000 of 28 x 28, 10 classes)
    """
    choice(split, "split", ("train", "test", "all"))
    arrays = [[_part(part, cache_dir) for part in _PARTS[name]] for name in ("train", "test") if split in (name, "all")]
    images = np.concatenate([pair[0] for pair in arrays])
    labels = np.concatenate([pair[1] for pair in arrays]).astype(np.int64)
    return LabelledImages(images, labels, _CLASSES, "fashion-mnist", split)


def _part(part: _Part, directory: str | os.PathLike[str] | None) -> npt.NDArray[np.uint8]:
    installed = _DEBIAN_FOLDER / part.name
    if installed.is_file():
        return _verified(installed, part)
    folder = _cache_dir(directory) / "fashion-mnist"
    folder.mkdir(exist_ok=True)
    path = folder / part.name
    if path.is_file():
        with contextlib.suppress(FormatError):
            return _verified(path, part)
    _download(path, part)
    return _verified(path, part)


def _verified(path: Path, part: _Part) -> npt.NDArray[np.uint8]:
    content = unpacked(path)
    found = hashlib.sha256(content).hexdigest()
    if found != part.sha256:
        raise FormatError(f"{path} is damaged or another data set: unpacked SHA-256 {found}, expected {part.sha256}")
    return parse_idx(content, path)


def _download(path: Path, part: _Part) -> None:
    import urllib.request  # with ssl and http.client: too slow for `import simskip`

    failures = []
    for mirror in _MIRRORS:
        try:
            with urllib.request.urlopen(mirror + part.name, timeout=_TIMEOUT) as answer:
                data = answer.read()
            found = hashlib.sha256(gzip.decompress(data)).hexdigest()
            if found != part.sha256:
                raise OSError(f"unpacked SHA-256 {found}, expected {part.sha256}")
        except (OSError, EOFError, zlib.error) as error:
            failures.append(f"{mirror}{part.name}: {error}")
            continue
        with atomic_write(path) as file:
            file.write(data)
        return
    raise OSError(
        "Fashion-MNIST is neither installed nor cached and could not be downloaded. On Debian and Ubuntu:"
        " apt-get install dataset-fashion-mnist. Tried: " + "; ".join(failures)
    )
