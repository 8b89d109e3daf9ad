"""From what people call an image (file, PIL image, array) to the square of pixels that a network takes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..extras import require
from ..validation import choice

__all__ = ["FRAMINGS", "PIXELS_VERSION", "as_batch", "read_pixels", "to_pixels"]

Pixels = npt.NDArray[np.uint8]

FRAMINGS = ("whole", "centre")
# Part of an embedder's fingerprint: raise it when the same file gives other pixels.
PIXELS_VERSION = 1
# "centre" cuts what ImageNet's evaluation cuts: a square of 224 / 256 of the shorter side.
_CENTRE = 224 / 256


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


def to_pixels(image: Any, size: int, framing: str) -> Pixels:
    """One image, resampled to a square.

    Parameters
    ----------
    image : uint8 array (h, w), (h, w, 1) or (h, w, 3); PIL image; or path
        Files are turned as their EXIF orientation says; transparency lies on white; 16-bit grey keeps its
        upper eight bits.
    size : int
        Side of the result in pixels.
    framing : {"whole", "centre"}
        ``"whole"`` stretches the whole image to the square; ``"centre"`` cuts the middle square (224/256 of
        the shorter side) first. Both use bicubic resampling with antialiasing.

    Returns
    -------
    (size, size, 3) uint8 array

    Raises
    ------
    ValueError
        For another type, dtype or shape, an empty image, or pixels of a kind without an agreed range.
    OSError
        If a file is missing, cut short or no image.
    """
    choice(framing, "framing", FRAMINGS)
    if isinstance(image, (str, os.PathLike)):
        return read_pixels(image, size, framing)
    if isinstance(image, np.ndarray):
        return _from_array(image, size, framing)
    if hasattr(image, "convert") and hasattr(image, "mode"):
        return _resample(_without_alpha(image), size, framing)
    raise ValueError(f"an image must be a uint8 array, a PIL image or a path, got {type(image).__name__}")


def read_pixels(path: str | os.PathLike[str], size: int, framing: str) -> Pixels:
    """``to_pixels`` of a file.

    Large JPEGs are decoded at a half, a quarter or an eighth of their size, never below twice ``size``.
    """
    pillow = _pillow()
    orientation = require("PIL.ImageOps", "images", "Reading images")
    with pillow.open(path) as image:
        # 2 / 224 * 256: after the centre cut there are still two pixels per pixel of the result.
        image.draft(None, (round(2 * size / _CENTRE),) * 2)
        return _resample(_without_alpha(orientation.exif_transpose(image)), size, framing)


def _from_array(array: npt.NDArray[Any], size: int, framing: str) -> Pixels:
    if array.dtype != np.uint8:
        raise ValueError(f"an image must hold uint8 pixels from 0 to 255, got {array.dtype}")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3)) or 0 in array.shape:
        raise ValueError(f"an image must have shape (h, w) or (h, w, 3) and at least one pixel, got {array.shape}")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.shape[:2] == (size, size) and framing == "whole":
        return _three_channels(array)
    return _resample(_pillow().fromarray(np.ascontiguousarray(array)), size, framing)


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
        return _pillow().fromarray(np.clip(np.asarray(image).astype(np.int64) >> 8, 0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        background = _pillow().new("RGB", image.size, (255, 255, 255))
        background.paste(image, mask=image.getchannel("A"))
        return background
    return image.convert("RGB")


def _resample(image: Any, size: int, framing: str) -> Pixels:
    width, height = image.size
    if width < 1 or height < 1:
        raise ValueError(f"an image must have at least one pixel, got {width} x {height}")
    box = (0.0, 0.0, float(width), float(height))
    if framing == "centre":
        half = _CENTRE * min(width, height) / 2
        box = (width / 2 - half, height / 2 - half, width / 2 + half, height / 2 + half)
    image = image.resize((size, size), _pillow().Resampling.BICUBIC, box=box)
    return _three_channels(np.asarray(image))
