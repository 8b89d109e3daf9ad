"""How models say what they want, in the words of three habits."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from simskip import FormatError
from simskip.embedding.model_metadata import settings_beside, settings_of, settings_of_transforms, timm_settings

RESNET18_TIMM = {
    "url": "", "num_classes": 1000, "input_size": [3, 224, 224], "pool_size": [7, 7], "crop_pct": 0.95,
    "crop_mode": "center", "interpolation": "bicubic", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
}  # fmt: skip
CLIP = {
    "crop_size": {"height": 224, "width": 224}, "do_center_crop": True, "do_normalize": True, "do_rescale": True,
    "do_resize": True, "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_processor_type": "CLIPImageProcessor",
    "image_std": [0.26862954, 0.26130258, 0.27577711], "resample": 3, "rescale_factor": 0.00392156862745098,
    "size": {"shortest_edge": 256},
}  # fmt: skip
VIT = {
    "do_resize": True,
    "size": 224,
    "resample": 2,
    "do_normalize": True,
    "image_mean": [0.5] * 3,
    "image_std": [0.5] * 3,
}


def close(found, key, expected):
    np.testing.assert_allclose(np.array(found[key]) / 255, expected, rtol=1e-6)


def test_plain_keys_as_onnx_stores_them():
    found = settings_of({"mean": "0.5,0.4, 0.3", "std": "[0.2, 0.2, 0.2]", "size": "64", "producer": "someone"}, "x")
    assert set(found) == {"mean", "std", "size"}
    assert found["size"] == (64, 64)
    close(found, "mean", [0.5, 0.4, 0.3])


@pytest.mark.parametrize("values", [RESNET18_TIMM, {"pretrained_cfg": RESNET18_TIMM, "architecture": "resnet18"}])
def test_timm(values):
    found = settings_of({key: json.dumps(value) for key, value in values.items()}, "x")
    assert found == timm_settings(RESNET18_TIMM, "x")
    assert (found["size"], found["crop"], found["framing"], found["interpolation"]) == (
        (224, 224), 0.95, "centre", "bicubic",
    )  # fmt: skip
    close(found, "std", RESNET18_TIMM["std"])


def test_timm_that_squashes():
    assert timm_settings({**RESNET18_TIMM, "crop_mode": "squash"}, "x")["framing"] == "whole"
    assert timm_settings({**RESNET18_TIMM, "interpolation": "random"}, "x")["interpolation"] == "bicubic"
    assert "framing" not in timm_settings({"input_size": [3, 9, 9]}, "x")


def test_transformers():
    found = settings_of(CLIP, "x")
    assert (found["size"], found["framing"], found["crop"]) == ((224, 224), "centre", 224 / 256)
    assert found["interpolation"] == "bicubic"
    close(found, "mean", CLIP["image_mean"])
    close(found, "std", CLIP["image_std"])
    found = settings_of(VIT, "x")
    assert (found["size"], found["interpolation"]) == ((224, 224), "bilinear")
    assert "framing" not in found
    close(found, "mean", [0.5] * 3)


def test_transformers_that_neither_scale_nor_normalise():
    found = settings_of({**CLIP, "do_rescale": False, "do_normalize": False}, "x")
    assert found["mean"] == (0, 0, 0)
    assert found["std"] == (1, 1, 1)
    found = settings_of({**VIT, "rescale_factor": 1 / 127.5, "image_mean": [1, 1, 1], "image_std": [1, 1, 1]}, "x")
    np.testing.assert_allclose(found["mean"], [127.5] * 3)
    np.testing.assert_allclose(found["std"], [127.5] * 3)


def test_transformers_of_other_kinds():
    convnext = {**VIT, "size": {"shortest_edge": 224}, "crop_pct": 0.875}
    assert settings_of(convnext, "x")["crop"] == 0.875
    mobilevit = {**CLIP, "do_flip_channel_order": True, "crop_size": {"height": 192, "width": 256}}
    assert settings_of(mobilevit, "x")["size"] == (192, 256)
    assert settings_of(mobilevit, "x")["channels"] == "bgr"
    with pytest.raises(ValueError, match=r"size must be an integer >= 1, got 'big'"):
        settings_of({**VIT, "size": "big"}, "x")


def test_torchvision():
    transforms = SimpleNamespace(
        crop_size=[224], resize_size=[256], interpolation=SimpleNamespace(value="bilinear"),
        mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225],
    )  # fmt: skip
    found = settings_of_transforms(transforms, "x")
    assert (found["size"], found["crop"], found["framing"]) == ((224, 224), 0.875, "centre")
    assert found["interpolation"] == "bilinear"


def test_files_beside_a_model(tmp_path):
    model = tmp_path / "onnx" / "model.onnx"
    model.parent.mkdir()
    assert settings_beside(model) == {}
    (tmp_path / "config.json").write_text(json.dumps({"pretrained_cfg": RESNET18_TIMM}))
    assert settings_beside(model)["crop"] == 0.95
    (tmp_path / "config.json").write_text(json.dumps({"image_size": 96, "hidden_size": 3}))
    assert settings_beside(model) == {"size": (96, 96)}
    (model.parent / "preprocessor_config.json").write_text(json.dumps(VIT))
    assert settings_beside(model)["size"] == (224, 224)
    (model.parent / "preprocessor_config.json").write_text(json.dumps({**VIT, "image_std": [0, 0, 0]}))
    with pytest.raises(ValueError, match=r"std must be above 0.*preprocessor_config\.json"):
        settings_beside(model)


@pytest.mark.parametrize(("text", "message"), [("{", "no readable JSON"), ("[1]", "must hold a JSON object, got list")])
def test_damaged_files_beside_a_model(tmp_path, text, message):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(FormatError, match=rf"config\.json.*{message}"):
        settings_beside(tmp_path / "model.onnx")
