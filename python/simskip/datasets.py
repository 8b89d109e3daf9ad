"""Data sets to try simskip on: real photographs, from the system's packages, the cache or the network."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .cache import cache_dir as _cache_dir
from .errors import FormatError
from .files import atomic_write
from .validation import choice

__all__ = ["ImageFolder", "LabelledImages", "fashion_mnist", "image_folder", "read_idx"]

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


@dataclass(frozen=True, repr=False)
class LabelledImages:
    """Images of one size with their classes.

    Attributes
    ----------
    images : (n, h, w) uint8 array
    labels : (n,) int64 array
        Positions in ``label_names``.
    label_names : tuple of str
    name, split : str
        Where they come from.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    label_names: tuple[str, ...]
    name: str
    split: str

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: Any) -> LabelledImages:
        """Some of the images: rows as a slice, an index array or a mask."""
        if isinstance(rows, (int, np.integer)):
            rows = [rows]
        return LabelledImages(self.images[rows], self.labels[rows], self.label_names, self.name, self.split)

    def __repr__(self) -> str:
        size = " x ".join(map(str, self.images.shape[1:]))
        classes = len(self.label_names)
        return f"LabelledImages({self.name} {self.split}: {len(self):,} of {size}, {classes} classes)"


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
    content = _unpacked(path)
    found = hashlib.sha256(content).hexdigest()
    if found != part.sha256:
        raise FormatError(f"{path} is damaged or another data set: unpacked SHA-256 {found}, expected {part.sha256}")
    return _parse_idx(content, path)


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


def _unpacked(path: Path) -> bytes:
    data = path.read_bytes()
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise FormatError(f"{path} cannot be unpacked: {error}") from error


def read_idx(path: str | os.PathLike[str]) -> npt.NDArray[np.uint8]:
    """Read an array of bytes in IDX format (that of MNIST and its descendants), gzipped or not.

    Two zero bytes, the type (8 for unsigned bytes, the only one taken here), the number of dimensions, each
    dimension as a big-endian 32-bit number, then the elements.

    Raises
    ------
    FormatError
        For another kind of file, another type, or more or fewer elements than the dimensions say.
    """
    path = Path(path)
    return _parse_idx(_unpacked(path), path)


def _parse_idx(content: bytes, path: Path) -> npt.NDArray[np.uint8]:
    if len(content) < 4 or content[:2] != b"\0\0":
        raise FormatError(f"{path} is no IDX file: it must start with two zero bytes, got {content[:2]!r}")
    kind, n_dims = content[2], content[3]
    if kind != 8 or not 1 <= n_dims <= 8:
        raise FormatError(f"{path}: expected unsigned bytes (type 8) in 1 to 8 dimensions, got type {kind}, {n_dims}")
    start = 4 + 4 * n_dims
    if len(content) < start:
        raise FormatError(f"{path} ends in its header, after {len(content)} bytes")
    shape = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4))
    expected = 1
    for size in shape:  # Python's integers: a hostile header must not wrap around
        expected *= size
    if len(content) - start != expected:
        raise FormatError(f"{path} must hold {expected} bytes for shape {shape}, got {len(content) - start}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


@dataclass(frozen=True, repr=False)
class ImageFolder:
    """Image files in folders named after their classes.

    Attributes
    ----------
    paths : list of Path
        Sorted by class, then by name.
    labels : (n,) int64 array
        Positions in ``label_names``.
    label_names : tuple of str
    """

    paths: list[Path]
    labels: npt.NDArray[np.int64]
    label_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def __repr__(self) -> str:
        return f"ImageFolder({len(self):,} files, {len(self.label_names)} classes)"


_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        "avif",
        "bmp",
        "gif",
        "jfif",
        "jp2",
        "jpe",
        "jpeg",
        "jpg",
        "png",
        "ppm",
        "tif",
        "tiff",
        "webp",
    )
)


def image_folder(path: str | os.PathLike[str]) -> ImageFolder:
    """List images whose classes are the names of the sub-folders they lie in.

    ``path/CLASS/**/NAME.jpg``: the first level names the class, deeper levels are searched too; hidden
    files and folders (their name starts with a dot) and files that are no images by their suffix are ignored.
    The order does not depend on the file system.

    Parameters
    ----------
    path : path
        The folder of folders.

    Raises
    ------
    ValueError
        If there is no such folder, or no image in any sub-folder.
    """
    root = Path(path)
    if not root.is_dir():
        raise ValueError(f"path must be a folder of folders of images, got {str(root)!r}, which is no folder")
    paths: list[Path] = []
    labels: list[int] = []
    names: list[str] = []
    for folder in sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")):
        found = _images_below(folder)
        if found:
            labels += [len(names)] * len(found)
            names.append(folder.name)
            paths += found
    if not paths:
        loose = len(_images_below(root))
        hint = f"; {loose} images lie in the folder itself and have no class" if loose else ""
        raise ValueError(f"path must hold sub-folders with images, got none in {str(root)!r}{hint}")
    return ImageFolder(paths, np.array(labels, np.int64), tuple(names))


def _images_below(folder: Path) -> list[Path]:
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(parent, name) for name in files if not name.startswith(".") and Path(name).suffix.lower() in _SUFFIXES
        ]
    return sorted(found)
