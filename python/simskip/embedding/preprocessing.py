"""From pixels to the numbers that a network was trained on: size, cut, mean and deviation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..validation import choice, fraction, positive_int
from .picture import FRAMINGS, INTERPOLATIONS, PIXELS_VERSION, Geometry

__all__ = ["CHANNELS", "KEYS", "LAYOUTS", "Preprocessing", "plain_settings"]

LAYOUTS = ("nchw", "nhwc")
CHANNELS = ("rgb", "bgr")
KEYS = ("size", "framing", "crop", "interpolation", "mean", "std", "channels")
# What networks trained on ImageNet expect, unless they say otherwise.
_DEFAULTS: dict[str, Any] = {
    "size": (224, 224),
    "framing": "whole",
    "crop": 224 / 256,
    "interpolation": "bicubic",
    "mean": (0.485 * 255, 0.456 * 255, 0.406 * 255),
    "std": (0.229 * 255, 0.224 * 255, 0.225 * 255),
    "channels": "rgb",
}
_MAX_SIDE = 4096
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R 601, as Pillow's mode L


@dataclass(frozen=True)
class Preprocessing:
    """What happens to an image before a network sees it.

    Attributes
    ----------
    geometry : Geometry
        Size, cut and interpolation, as bytes.
    mean, std : (float, float, float)
        Per channel in RGB order, on the scale of the pixels (0 to 255): the input is (pixel - mean) / std.
    channels : {"rgb", "bgr"}
        Their order in the input.
    """

    geometry: Geometry
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: str

    @classmethod
    def of(cls, *sources: Mapping[str, Any]) -> Preprocessing:
        """From settings (see ``plain_settings``), the first source that knows a key wins; the rest is ImageNet's.

        The rest: 224 x 224 pixels, the whole image, bicubic, mean (.485, .456, .406) and deviation (.229, .224,
        .225) of pixels from 0 to 1. A source that asks for a ``crop`` and no ``framing`` means ``"centre"``.
        """
        found: dict[str, Any] = {}
        for source in sources:
            if "crop" in source and "framing" not in source:
                source = {**source, "framing": "centre"}
            found = {**source, **found}
        found = {**_DEFAULTS, **found}
        geometry = Geometry(found["size"], found["framing"], found["crop"], found["interpolation"])
        return cls(geometry, found["mean"], found["std"], found["channels"])

    @property
    def fingerprint(self) -> str:
        """All of it in words; the same words for the same pixels only."""
        geometry = self.geometry
        words = [f"pixels={PIXELS_VERSION}", "size={}x{}".format(*geometry.size), f"framing={geometry.framing}"]
        if geometry.framing == "centre":
            words.append(f"crop={geometry.crop:.6g}")
        words.append(f"interpolation={geometry.interpolation}")
        for name, values in (("mean", self.mean), ("std", self.std)):
            words.append(f"{name}=" + ",".join(f"{value:.6g}" for value in values))
        return " ".join([*words, f"channels={self.channels}"])

    def tensor(
        self, pixels: Sequence[npt.NDArray[np.uint8]], layout: str, dtype: Any = np.float32, grey: bool = False
    ) -> npt.NDArray[Any]:
        """A network's input from n pictures (h, w, 3): (n, 3, h, w) for ``"nchw"``, (n, h, w, 3) for ``"nhwc"``.

        uint8 inputs take the pixels as they are. ``grey``: one channel, the luma of ITU-R 601.
        """
        batch: npt.NDArray[Any] = np.stack(pixels)
        if self.channels == "bgr":
            batch = batch[..., ::-1]
        if dtype != np.uint8:
            order = slice(None, None, -1 if self.channels == "bgr" else 1)
            mean, std = (np.array(values, np.float32)[order] for values in (self.mean, self.std))
            batch = batch.astype(np.float32)
            batch -= mean
            batch /= std
        if grey:
            luma = _LUMA[::-1] if self.channels == "bgr" else _LUMA
            batch = (batch @ luma)[..., None]
            batch = np.rint(batch) if dtype == np.uint8 else batch
        if layout == "nchw":
            batch = batch.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(batch, dtype)


def plain_settings(values: Mapping[str, Any], source: str = "") -> dict[str, Any]:
    """The settings among ``values`` (keys of ``KEYS``; None means not given), checked and in one form.

    Parameters
    ----------
    values : mapping
        ``size``: a side or (height, width) in pixels. ``mean`` and ``std``: one number or one per channel, of
        pixels from 0 to 1 or, if any number is above 1, from 0 to 255; one needs the other. ``framing``,
        ``crop``, ``interpolation``: see ``Geometry``. ``channels``: ``"rgb"`` or ``"bgr"``.
    source : str
        For messages: where the values were found.

    Raises
    ------
    ValueError
        For a value that cannot be; the message names the key and the source.
    """
    given = {key: values[key] for key in KEYS if values.get(key) is not None}
    try:
        return _checked(given)
    except ValueError as error:
        raise ValueError(f"{error} (in {source})" if source else str(error)) from None


def _checked(given: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "size" in given:
        found["size"] = _size(given["size"])
    if "crop" in given:
        found["crop"] = fraction(given["crop"], "crop")
        if found["crop"] == 0:
            raise ValueError("crop must lie above 0, got 0")
    for key, options in (("framing", FRAMINGS), ("interpolation", INTERPOLATIONS), ("channels", CHANNELS)):
        if key in given:
            found[key] = choice(given[key], key, options)
    if ("mean" in given) != ("std" in given):
        one, other = ("mean", "std") if "mean" in given else ("std", "mean")
        raise ValueError(f"{one} must be given together with {other}, got {one} alone")
    if "mean" in given:
        mean, std = (_per_channel(given[key], key) for key in ("mean", "std"))
        if min(std) <= 0:
            raise ValueError(f"std must be above 0, got {given['std']!r}")
        scale = 1 if max(map(abs, (*mean, *std))) > 1 else 255
        found["mean"], found["std"] = (tuple(value * scale for value in values) for values in (mean, std))
    return found


def _size(value: Any) -> tuple[int, int]:
    sides = list(value) if isinstance(value, (list, tuple, np.ndarray)) else [value, value]
    if len(sides) != 2:
        raise ValueError(f"size must be a side or (height, width), got {value!r}")
    height, width = (positive_int(side, "size", maximum=_MAX_SIDE) for side in sides)
    return height, width


def _per_channel(value: Any, name: str) -> tuple[float, ...]:
    numbers = list(value) if isinstance(value, (list, tuple, np.ndarray)) else [value]
    numbers = numbers * 3 if len(numbers) == 1 else numbers
    try:
        found = tuple(float(number) for number in numbers)
    except (TypeError, ValueError):
        found = ()
    if len(found) != 3 or not all(map(math.isfinite, found)):
        raise ValueError(f"{name} must be one number or three, got {value!r}")
    return found
