"""From what people call an image (file, PIL image, array) to the rectangle of pixels that a network takes."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..extras import require
from ..validation import choice

__all__ = [
    "FRAMINGS",
    "INTERPOLATIONS",
    "MAX_PIXELS",
    "PIXELS_VERSION",
    "Geometry",
    "as_batch",
    "read_pixels",
    "to_pixels",
]

Pixels = npt.NDArray[np.uint8]

FRAMINGS = ("whole", "centre")
INTERPOLATIONS = ("bicubic", "bilinear", "lanczos", "nearest", "box", "hamming")
# Part of an embedder's fingerprint: raise it when the same file gives other pixels.
PIXELS_VERSION = 1
# Of a file, after a JPEG's cheap reduction: 2**26 are 8192 x 8192, or 256 MiB at Pillow's four bytes per pixel.
MAX_PIXELS = 1 << 26
# Above this, one file at a time is decoded in the whole process, so that memory does not grow with the threads.
_LARGE = 1 << 24
_one_large = threading.Lock()


@dataclass(frozen=True)
class Geometry:
    """How an image becomes a network's input.

    Attributes
    ----------
    size : (int, int)
        Height and width of the result in pixels.
    framing : {"whole", "centre"}
        ``"whole"`` stretches the whole image to ``size``; ``"centre"`` first cuts the largest rectangle of that
        shape in the middle, times ``crop``.
    crop : float
        For ``"centre"``. What ImageNet's evaluation cuts is 224 / 256 of the shorter side.
    interpolation : str
        One of ``INTERPOLATIONS``, all but ``"nearest"`` with antialiasing.
    """

    size: tuple[int, int]
    framing: str = "whole"
    crop: float = 224 / 256
    interpolation: str = "bicubic"


def _pillow() -> Any:
    return require("PIL.Image", "images", "Reading images")


def as_batch(batch: Any, name: str = "batch") -> Sequence[Any] | npt.NDArray[Any]:
    """Check the outside of a batch of images: a sequence, not one image taken for many.

    Raises
    ------
    ValueError
        For a single image, path or number, for arrays of another dtype than uint8 or another shape than
        (n, h, w), (n, h, w, 1) or (n, h, w, 3).
    """
    if isinstance(batch, np.ndarray) and batch.dtype != object:
        if batch.dtype != np.uint8:
            raise ValueError(f"{name} must hold uint8 pixels from 0 to 255, got {batch.dtype}")
        one_image = batch.ndim == 2 or (batch.ndim == 3 and batch.shape[-1] in (1, 3))
        if one_image:
            raise ValueError(f"{name} must hold several images, got shape {batch.shape}; for one pass {name}[None]")
        if batch.ndim not in (3, 4) or (batch.ndim == 4 and batch.shape[-1] not in (1, 3)):
            raise ValueError(f"{name} must have shape (n, h, w) or (n, h, w, 3), got {batch.shape}")
        return batch
    if isinstance(batch, (str, bytes, os.PathLike)) or not hasattr(batch, "__len__") or isinstance(batch, dict):
        raise ValueError(f"{name} must be a sequence of images or paths, got {type(batch).__name__}; for one pass [it]")
    return batch


def to_pixels(image: Any, geometry: Geometry | None) -> Pixels:
    """One image, resampled.

    Parameters
    ----------
    image : uint8 array (h, w), (h, w, 1) or (h, w, 3); PIL image; or path
        Files are turned as their EXIF orientation says; transparency lies on white; 16-bit grey keeps its
        upper eight bits.
    geometry : Geometry or None
        None leaves the size as it is.

    Returns
    -------
    (h, w, 3) uint8 array

    Raises
    ------
    ValueError
        For another type, dtype or shape, an empty image, pixels of a kind without an agreed range, or a file
        of more than ``MAX_PIXELS`` pixels.
    OSError
        If a file is missing, cut short or no image.
    """
    if geometry is not None:
        choice(geometry.framing, "framing", FRAMINGS)
        choice(geometry.interpolation, "interpolation", INTERPOLATIONS)
    if isinstance(image, (str, os.PathLike)):
        return read_pixels(image, geometry)
    if isinstance(image, np.ndarray):
        return _from_array(image, geometry)
    if hasattr(image, "convert") and hasattr(image, "mode"):
        return _resample(_without_alpha(image), geometry)
    raise ValueError(f"an image must be a uint8 array, a PIL image or a path, got {type(image).__name__}")


def read_pixels(path: str | os.PathLike[str], geometry: Geometry | None) -> Pixels:
    """``to_pixels`` of a file.

    Large JPEGs are decoded at a half, a quarter or an eighth of their size, never below twice the result's. A file
    that would still decode to more than ``MAX_PIXELS`` is refused before its pixels are read: a few kilobytes can
    stand for gigabytes. (Pillow itself warns of files of more than 89 million pixels and refuses those of more than
    179 million.)
    """
    pillow = _pillow()
    orientation = require("PIL.ImageOps", "images", "Reading images")
    kind = os.stat(path).st_mode
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):  # opening a pipe would wait for a writer; Pillow names folders
        raise ValueError("a pipe, socket or device is no image file")
    with pillow.open(path) as image:
        width, height = image.size
        if geometry is not None:
            # After the centre cut there are still two pixels per pixel of the result.
            image.draft(None, tuple(round(2 * side / geometry.crop) for side in reversed(geometry.size)))
        # A progressive JPEG is held whole before it is reduced.
        decoded = width * height if image.info.get("progressive") else image.size[0] * image.size[1]
        if decoded > MAX_PIXELS:
            raise ValueError(f"an image must have at most {MAX_PIXELS:,} pixels, got {width} x {height}")
        with _decoding(decoded):
            return _resample(_without_alpha(orientation.exif_transpose(image)), geometry)


@contextlib.contextmanager
def _decoding(pixels: int) -> Iterator[None]:
    with _one_large if pixels > _LARGE else contextlib.nullcontext():
        yield


def _from_array(array: npt.NDArray[Any], geometry: Geometry | None) -> Pixels:
    if array.dtype != np.uint8:
        raise ValueError(f"an image must hold uint8 pixels from 0 to 255, got {array.dtype}")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3)) or 0 in array.shape:
        raise ValueError(f"an image must have shape (h, w) or (h, w, 3) and at least one pixel, got {array.shape}")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if geometry is None or (array.shape[:2] == geometry.size and geometry.framing == "whole"):
        return _three_channels(array)
    return _resample(_pillow().fromarray(np.ascontiguousarray(array)), geometry)


def _three_channels(array: Pixels) -> Pixels:
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    return np.ascontiguousarray(array)


def _without_alpha(image: Any) -> Any:
    """The image in mode L or RGB."""
    if image.mode in ("L", "RGB"):
        return image
    if image.mode == "1":
        return image.convert("L")
    if image.mode == "F":
        raise ValueError("an image of floating-point pixels has no agreed range; convert it to uint8")
    if image.mode.startswith("I"):
        return _pillow().fromarray(np.clip(np.asarray(image) >> 8, 0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        background = _pillow().new("RGB", image.size, (255, 255, 255))
        background.paste(image, mask=image.getchannel("A"))
        return background
    return image.convert("RGB")


def _resample(image: Any, geometry: Geometry | None) -> Pixels:
    width, height = image.size
    if width < 1 or height < 1:
        raise ValueError(f"an image must have at least one pixel, got {width} x {height}")
    if geometry is None:
        return _three_channels(np.asarray(image))
    rows, columns = geometry.size
    box = (0.0, 0.0, float(width), float(height))
    if geometry.framing == "centre":
        x = geometry.crop * min(width, height * columns / rows) / 2
        y = geometry.crop * min(height, width * rows / columns) / 2
        box = (width / 2 - x, height / 2 - y, width / 2 + x, height / 2 + y)
    method = _pillow().Resampling[geometry.interpolation.upper()]
    return _three_channels(np.asarray(image.resize((columns, rows), method, box=box)))
