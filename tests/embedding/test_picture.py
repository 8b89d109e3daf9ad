"""What people call an image, to the square of pixels that the network takes."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from simskip.embedding import picture
from simskip.embedding.picture import Geometry, as_batch, read_pixels, to_pixels


@given(
    height=st.integers(1, 70), width=st.integers(1, 70), channels=st.sampled_from([None, 1, 3]),
    framing=st.sampled_from(["whole", "centre"]),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_any_size_becomes_the_square(height, width, channels, framing):
    shape = (height, width) if channels is None else (height, width, channels)
    pixels = to_pixels(np.full(shape, 77, np.uint8), Geometry((32, 32), framing))
    assert pixels.shape == (32, 32, 3)
    assert pixels.dtype == np.uint8
    assert (pixels == 77).all()


def test_the_right_size_is_left_alone():
    image = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    np.testing.assert_array_equal(to_pixels(image, Geometry((24, 24), "whole")), image)
    np.testing.assert_array_equal(
        to_pixels(image[:, :, 0], Geometry((24, 24), "whole")), image[:, :, :1].repeat(3, axis=2)
    )


def test_framing_keeps_or_cuts_the_border():
    image = np.zeros((40, 80), np.uint8)
    image[:, :10] = 255
    assert to_pixels(image, Geometry((20, 20), "whole"))[:, 0].min() > 200
    assert to_pixels(image, Geometry((20, 20), "centre")).max() == 0


def test_the_centre_of_another_shape():
    image = np.zeros((40, 80), np.uint8)
    image[10:30, 20:60] = 255  # half of each side
    inner, outer = (to_pixels(image, Geometry((10, 20), "centre", crop, "box")) for crop in (0.5, 0.6))
    assert (inner == 255).all()
    assert (outer[1:-1, 2:-2] == 255).all()
    assert outer[0].max() == outer[:, -1].max() == 0
    assert to_pixels(image, Geometry((20, 20), "centre", crop=1.0)).shape == (20, 20, 3)


def test_interpolation_is_followed():
    image = np.random.default_rng(3).integers(0, 256, (40, 40), np.uint8)
    nearest = to_pixels(image, Geometry((20, 20), interpolation="nearest"))
    np.testing.assert_array_equal(nearest[:, :, 0], image[1::2, 1::2])
    assert (to_pixels(image, Geometry((20, 20), interpolation="box")) != nearest).any()
    with pytest.raises(ValueError, match=r"interpolation must be one of 'bicubic'.*got 'cubic'"):
        to_pixels(image, Geometry((20, 20), interpolation="cubic"))


def test_arrays_files_and_pil_images_agree(tmp_path):
    image = np.random.default_rng(1).integers(0, 256, (50, 30, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    expected = to_pixels(image, Geometry((24, 24), "whole"))
    np.testing.assert_array_equal(to_pixels(tmp_path / "a.png", Geometry((24, 24), "whole")), expected)
    np.testing.assert_array_equal(to_pixels(str(tmp_path / "a.png"), Geometry((24, 24), "whole")), expected)
    np.testing.assert_array_equal(to_pixels(Image.fromarray(image), Geometry((24, 24), "whole")), expected)


def test_orientation_is_followed(tmp_path):
    image = np.zeros((16, 16, 3), np.uint8)
    image[:8] = 255  # the upper half is white
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise: the right half must be white
    Image.fromarray(image).save(tmp_path / "turned.jpg", quality=95, exif=exif)
    pixels = read_pixels(tmp_path / "turned.jpg", Geometry((16, 16), "whole")).astype(int)
    assert pixels[:, 9:].min() > 200
    assert pixels[:, :7].max() < 50


def test_large_jpegs_are_close_to_a_full_decode(tmp_path):
    rng = np.random.default_rng(2)
    smooth = np.kron(rng.integers(0, 256, (8, 8, 3)), np.ones((128, 128, 1))).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "large.jpg", quality=95)
    with Image.open(tmp_path / "large.jpg") as image:
        full = to_pixels(image.convert("RGB"), Geometry((32, 32), "whole")).astype(int)
    assert np.abs(read_pixels(tmp_path / "large.jpg", Geometry((32, 32), "whole")) - full).mean() < 3


@pytest.mark.parametrize(("suffix", "options"), [("png", {}), ("jpg", {"progressive": True})])
def test_a_file_of_too_many_pixels_is_refused_unread(tmp_path, monkeypatch, suffix, options):
    path = tmp_path / f"bomb.{suffix}"
    Image.new("L", (1300, 800)).save(path, **options)
    monkeypatch.setattr(picture, "MAX_PIXELS", 1_000_000)
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("pixels were read"))
    with pytest.raises(ValueError, match="at most 1,000,000 pixels, got 1300 x 800"):
        read_pixels(path, Geometry((32, 32)))


def test_pipes_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ValueError, match="a pipe, socket or device is no image file"):
        read_pixels(tmp_path / "pipe.png", Geometry((8, 8)))


def test_the_limit_is_on_what_is_decoded(tmp_path, monkeypatch):
    path = tmp_path / "reduced.jpg"
    Image.new("L", (1300, 800), 99).save(path)
    monkeypatch.setattr(picture, "MAX_PIXELS", 100_000)  # 325 x 200 are below
    assert (read_pixels(path, Geometry((32, 32))) == 99).all()
    with pytest.raises(ValueError, match="at most 100,000 pixels"):
        read_pixels(path, None)


def test_large_files_are_decoded_one_at_a_time(tmp_path, monkeypatch):
    path = tmp_path / "large.png"
    Image.new("L", (40, 40), 7).save(path)
    monkeypatch.setattr(picture, "_LARGE", 1000)
    inside, most = [], []
    load = Image.Image.resize

    def counted(self, *arguments, **options):
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.002)
        try:
            return load(self, *arguments, **options)
        finally:
            inside.pop()

    monkeypatch.setattr(Image.Image, "resize", counted)
    with ThreadPoolExecutor(4) as pool:
        assert all((pixels == 7).all() for pixels in pool.map(lambda _: read_pixels(path, Geometry((8, 8))), range(8)))
    assert max(most) == 1
    most.clear()
    monkeypatch.setattr(picture, "_LARGE", 10_000)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: read_pixels(path, Geometry((8, 8))), range(8)))
    assert max(most) > 1


@pytest.mark.parametrize(
    ("mode", "value", "expected"),
    [
        ("1", 1, 255),
        ("L", 9, 9),
        ("RGBA", (10, 10, 10, 255), 10),
        ("RGBA", (10, 10, 10, 0), 255),  # transparent lies on white
        ("LA", (10, 0), 255),
        ("I;16", 0x1234, 0x12),
        ("I", 0x4321, 0x43),
        ("CMYK", (0, 0, 0, 255), 0),
    ],
)
def test_modes(mode, value, expected):
    assert (to_pixels(Image.new(mode, (4, 4), value), Geometry((4, 4), "whole")) == expected).all()


def test_a_transparent_palette_lies_on_white(tmp_path):
    image = Image.new("P", (4, 4), 3)
    image.putpalette([0] * 768)
    image.save(tmp_path / "palette.png", transparency=3)
    assert (read_pixels(tmp_path / "palette.png", Geometry((4, 4), "whole")) == 255).all()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4), np.float32), "uint8 pixels from 0 to 255, got float32"),
        (np.zeros((4, 4, 2), np.uint8), r"\(h, w\) or \(h, w, 3\).*got \(4, 4, 2\)"),
        (np.zeros((0, 4), np.uint8), r"at least one pixel, got \(0, 4\)"),
        (np.zeros(4, np.uint8), r"got \(4,\)"),
        (Image.new("F", (4, 4)), "no agreed range"),
        (Image.new("RGB", (0, 4)), "at least one pixel, got 0 x 4"),
        (12, "a uint8 array, a PIL image or a path, got int"),
    ],
)
def test_bad_images(image, message):
    with pytest.raises(ValueError, match=message):
        to_pixels(image, Geometry((8, 8), "whole"))


def test_bad_framing():
    with pytest.raises(ValueError, match="framing must be one of 'whole', 'centre', got 'top'"):
        to_pixels(np.zeros((4, 4), np.uint8), Geometry((8, 8), "top"))


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (np.zeros((28, 28), np.uint8), r"several images, got shape \(28, 28\); for one pass batch\[None\]"),
        (np.zeros((28, 28, 3), np.uint8), r"several images, got shape \(28, 28, 3\)"),
        (np.zeros((2, 28, 28, 4), np.uint8), r"\(n, h, w\) or \(n, h, w, 3\), got \(2, 28, 28, 4\)"),
        (np.zeros((2, 28, 28)), "uint8 pixels from 0 to 255, got float64"),
        ("a.png", r"a sequence of images or paths, got str; for one pass \[it\]"),
        (iter([]), "a sequence of images or paths"),
        (Image.new("L", (4, 4)), "a sequence of images or paths, got Image"),
        (3, "a sequence of images or paths, got int"),
    ],
)
def test_bad_batches(batch, message):
    with pytest.raises(ValueError, match=message):
        as_batch(batch)
