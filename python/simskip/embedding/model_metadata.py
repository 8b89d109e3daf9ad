"""Reads how a model wants its images from what travels with it.

Three habits are understood: plain keys (``mean``, ``std``, ``size``, ``interpolation``, ``crop``, ...), the
``pretrained_cfg`` of timm (PyTorch Image Models) and the ``preprocessor_config.json`` of Hugging Face
Transformers. They all end as the settings of ``preprocessing.plain_settings``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import FormatError
from ..validation import positive_int
from .preprocessing import KEYS, plain_settings

__all__ = ["settings_beside", "settings_of", "settings_of_transforms", "timm_settings"]

# Transformers stores Pillow's numbers.
_RESAMPLE = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
_MAX_BYTES = 1 << 24


def settings_of(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Settings from key-value pairs of a model file: plain keys, ``pretrained_cfg``, or those of Transformers.

    Values may be JSON in strings, as ONNX stores them; ``"0.5, 0.5, 0.5"`` is a list too.
    """
    parsed = {key: _parsed(value) for key, value in values.items()}
    if isinstance(parsed.get("pretrained_cfg"), dict):
        return timm_settings(parsed["pretrained_cfg"], source)
    if "image_mean" in parsed or "do_resize" in parsed or "image_processor_type" in parsed:
        return _transformers_settings(parsed, source)
    if "input_size" in parsed or "crop_pct" in parsed:
        return timm_settings(parsed, source)
    if "size" not in parsed and isinstance(parsed.get("image_size"), (int, list)):
        parsed["size"] = parsed["image_size"]
    return plain_settings({key: parsed.get(key) for key in KEYS}, source)


def settings_beside(path: Path) -> dict[str, Any]:
    """Settings from ``preprocessor_config.json``, else ``config.json``, in the folder of a model file.

    For a file in a folder called ``onnx``, the folder above too: published models lie so.

    Raises
    ------
    FormatError
        If such a file is no JSON object.
    """
    folders = [path.parent, path.parent.parent] if path.parent.name == "onnx" else [path.parent]
    for name in ("preprocessor_config.json", "config.json"):
        for file in (folder / name for folder in folders):
            if file.is_file():
                found = settings_of(_json_object(file), str(file))
                if found:
                    return found
    return {}


def timm_settings(config: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Settings from a data configuration of timm (``pretrained_cfg``, ``resolve_model_data_config``)."""
    values: dict[str, Any] = {key: config.get(key) for key in ("mean", "std")}
    size = config.get("input_size")
    if isinstance(size, (list, tuple)) and len(size) == 3:
        size = tuple(size[1:])
    values["size"] = size
    values["crop"] = config.get("crop_pct")
    values["framing"] = "centre" if config.get("crop_mode") in (None, "center") else "whole"
    if values["crop"] is None and config.get("crop_mode") is None:
        values["framing"] = None
    values["interpolation"] = config.get("interpolation")
    if values["interpolation"] == "random":  # an augmentation; timm evaluates such models with bicubic
        values["interpolation"] = "bicubic"
    return plain_settings(values, source)


def settings_of_transforms(transforms: Any, source: str) -> dict[str, Any]:
    """Settings from the evaluation transforms of torchvision's weights (``ImageClassification``)."""
    crop, resize = (getattr(transforms, name)[-1] for name in ("crop_size", "resize_size"))
    return plain_settings(
        {
            "size": crop,
            "crop": min(crop / resize, 1.0),
            "framing": "centre",
            "interpolation": getattr(transforms.interpolation, "value", "bilinear"),
            "mean": tuple(transforms.mean),
            "std": tuple(transforms.std),
        },
        source,
    )


def _transformers_settings(config: Mapping[str, Any], source: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    resized, crop = config.get("size"), config.get("crop_size")
    shortest, rectangle = _sides(resized)
    if config.get("do_center_crop", crop is not None) and crop is not None:
        side, shape = _sides(crop)
        values["size"] = shape or side
        inner = min(shape) if shape else side
        outer = shortest or (min(rectangle) if rectangle else inner)
        values["framing"], values["crop"] = "centre", min(inner / outer, 1.0) if inner and outer else None
    else:
        values["size"] = rectangle or shortest
        if config.get("crop_pct") is not None:  # ConvNeXT's: the shortest edge before the cut is size / crop_pct
            values["crop"] = config["crop_pct"]
    resample = config.get("resample")
    if isinstance(resample, int) and 0 <= resample < len(_RESAMPLE):
        values["interpolation"] = _RESAMPLE[resample]
    found = plain_settings(values, source)
    # The input is (pixel * rescale - mean) / std = (pixel - mean / rescale) / (std / rescale).
    rescale = float(config.get("rescale_factor") or 1 / 255) if config.get("do_rescale", True) else 1.0
    given: dict[str, Any] = {"mean": 0.0, "std": 1.0}
    if config.get("do_normalize", True):
        given = {key: config.get(f"image_{key}") or 0.5 for key in ("mean", "std")}
    plain_settings(given, source)  # checked as if from 0 to 1; their scale is known here
    for key, value in given.items():
        numbers = value if isinstance(value, list) else [value]
        found[key] = tuple(float(number) / rescale for number in (numbers * 3)[:3])
    if config.get("do_flip_channel_order"):
        found["channels"] = "bgr"
    return found


def _sides(size: Any) -> tuple[int | None, tuple[int, int] | None]:
    """(side, None) or (None, (height, width)) of Transformers' ways to write a size."""
    if isinstance(size, Mapping):
        if "height" in size and "width" in size:
            return None, (positive_int(size["height"], "height"), positive_int(size["width"], "width"))
        size = size.get("shortest_edge")
    if isinstance(size, (list, tuple)) and len(size) == 2:
        return None, (positive_int(size[0], "size"), positive_int(size[1], "size"))
    return (None if size is None else positive_int(size, "size")), None


def _parsed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    for text in (value, f"[{value}]" if "," in value else value):
        try:
            return json.loads(text)
        except ValueError:
            continue
    return value


def _json_object(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise ValueError("larger than 16 MiB")
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FormatError(f"{file} is no readable JSON: {error}") from error
    if not isinstance(found, dict):
        raise FormatError(f"{file} must hold a JSON object, got {type(found).__name__}")
    return found
