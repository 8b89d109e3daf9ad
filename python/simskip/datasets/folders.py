"""Folders of images whose names are the classes."""

from __future__ import annotations

import os
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

__all__ = ["IMAGE_SUFFIXES", "ImageFolder", "files_below", "image_folder"]


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


IMAGE_SUFFIXES = frozenset(
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
        found = files_below(folder)
        if found:
            labels += [len(names)] * len(found)
            names.append(folder.name)
            paths += found
    if not paths:
        loose = len(files_below(root))
        hint = f"; {loose} images lie in the folder itself and have no class" if loose else ""
        raise ValueError(f"path must hold sub-folders with images, got none in {str(root)!r}{hint}")
    return ImageFolder(paths, np.array(labels, np.int64), tuple(names))


def files_below(
    folder: str | os.PathLike[str],
    suffixes: Container[str] = IMAGE_SUFFIXES,
    on_error: Callable[[OSError], None] | None = None,
) -> list[Path]:
    """Files with one of the suffixes (lower case, with the dot) in a folder and in the folders below it, sorted.

    Hidden files and folders are left out and links to folders are not followed. ``on_error`` hears of folders that
    cannot be listed.
    """
    found = []
    for parent, folders, files in os.walk(folder, onerror=on_error):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(parent, name)
            for name in files
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in suffixes
        ]
    return sorted(found)
