"""Settings of a model, and what becomes of the pixels."""

import numpy as np
import pytest

from simskip.embedding.picture import Geometry
from simskip.embedding.preprocessing import Preprocessing, plain_settings

PIXELS = [np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8) for _ in range(2)]


def test_the_default_is_imagenets():
    found = Preprocessing.of()
    assert found.geometry == Geometry((224, 224), "whole")
    np.testing.assert_allclose(np.array(found.mean) / 255, [0.485, 0.456, 0.406])
    np.testing.assert_allclose(np.array(found.std) / 255, [0.229, 0.224, 0.225])


def test_the_first_source_wins_key_by_key():
    found = Preprocessing.of({"size": (8, 9)}, {"size": (1, 1), "channels": "bgr"}, {"channels": "rgb", "crop": 0.5})
    assert found.geometry == Geometry((8, 9), "centre", 0.5)
    assert found.channels == "bgr"
    assert Preprocessing.of({"framing": "whole"}, {"crop": 0.5}).geometry.framing == "whole"


@pytest.mark.parametrize(("mean", "std"), [((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)), ((127, 126.5, 3), 128), (0, 1)])
@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_numbers_are_scaled_in_either_scale(mean, std, channels):
    found = Preprocessing.of(plain_settings({"mean": mean, "std": std, "channels": channels}))
    scale = 1 if np.max(np.abs([*np.atleast_1d(mean), *np.atleast_1d(std)])) > 1 else 255
    expected = (np.stack(PIXELS) / scale - mean) / std
    expected = expected if channels == "rgb" else expected[..., ::-1]
    np.testing.assert_allclose(found.tensor(PIXELS, "nhwc"), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.tensor(PIXELS, "nchw"), expected.transpose(0, 3, 1, 2), rtol=1e-5, atol=1e-5)
    half = found.tensor(PIXELS, "nchw", np.float16)
    assert half.dtype == np.float16
    assert half.flags.c_contiguous


def test_bytes_are_passed_on():
    found = Preprocessing.of()
    np.testing.assert_array_equal(found.tensor(PIXELS, "nhwc", np.uint8), np.stack(PIXELS))
    bgr = Preprocessing.of({"channels": "bgr"})
    np.testing.assert_array_equal(bgr.tensor(PIXELS, "nhwc", np.uint8), np.stack(PIXELS)[..., ::-1])


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_grey_is_luma(channels):
    found = Preprocessing.of(plain_settings({"channels": channels, "mean": 0, "std": 255}))
    grey = found.tensor(PIXELS, "nchw", np.float32, grey=True)
    assert grey.shape == (2, 1, 4, 5)
    np.testing.assert_allclose(grey[:, 0], np.stack(PIXELS) @ [0.299, 0.587, 0.114] / 255, rtol=1e-5)
    assert found.tensor(PIXELS, "nhwc", np.uint8, grey=True).shape == (2, 4, 5, 1)


def test_the_fingerprint_tells_each_setting_apart():
    settings = [
        {}, {"size": 225}, {"size": (224, 225)}, {"framing": "centre"}, {"crop": 0.9}, {"interpolation": "box"},
        {"mean": 0.5, "std": 0.5}, {"mean": 0.5, "std": 0.25}, {"channels": "bgr"},
    ]  # fmt: skip
    assert len({Preprocessing.of(plain_settings(each)).fingerprint for each in settings}) == len(settings)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": 0}, "size must be an integer from 1 to 4096, got 0"),
        ({"size": (1, 2, 3)}, r"size must be a side or \(height, width\), got \(1, 2, 3\)"),
        ({"size": 9999}, "size must be an integer from 1 to 4096, got 9999"),
        ({"crop": 0}, "crop must lie above 0"),
        ({"crop": 1.5}, r"crop must lie in \[0, 1\], got 1.5"),
        ({"framing": "top"}, "framing must be one of 'whole', 'centre', got 'top'"),
        ({"channels": "rbg"}, "channels must be one of 'rgb', 'bgr', got 'rbg'"),
        ({"mean": 0.5}, "mean must be given together with std, got mean alone"),
        ({"std": 0.5}, "std must be given together with mean"),
        ({"mean": 0.5, "std": 0}, "std must be above 0, got 0"),
        ({"mean": (1, 2), "std": 1}, r"mean must be one number or three, got \(1, 2\)"),
        ({"mean": "a", "std": 1}, "mean must be one number or three, got 'a'"),
        ({"mean": float("nan"), "std": 1}, "mean must be one number or three, got nan"),
    ],
)
def test_bad_values_name_the_key_and_the_source(values, message):
    with pytest.raises(ValueError, match=message):
        plain_settings(values)
    with pytest.raises(ValueError, match=rf"{message}.* \(in config\.json\)"):
        plain_settings(values, "config.json")
