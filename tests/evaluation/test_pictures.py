import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from simskip.evaluation.pictures import Album, data_uri


def decoded(uri):
    head, _, body = uri.partition(",")
    return head, Image.open(io.BytesIO(base64.b64decode(body)))


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3), (5, 7, 4)])
def test_small_arrays_are_kept_exactly(shape):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    head, image = decoded(data_uri(array, "pictures"))
    assert head == "data:image/png;base64"
    assert np.array_equal(np.asarray(image), array[:, :, 0] if shape[2:] == (1,) else array)


def test_large_pictures_are_scaled_down_in_proportion():
    head, image = decoded(data_uri(np.zeros((400, 200, 3), np.uint8), "pictures"))
    assert head == "data:image/jpeg;base64"
    assert image.size == (64, 128)


def test_paths_and_pil_images(tmp_path):
    picture = Image.new("CMYK", (3, 2))
    assert decoded(data_uri(picture, "pictures"))[1].mode == "RGB"
    grey = Image.new("L", (3, 2), 77)
    grey.save(tmp_path / "grey.png")
    for path in (tmp_path / "grey.png", str(tmp_path / "grey.png")):
        assert np.asarray(decoded(data_uri(path, "pictures"))[1]).tolist() == [[[77] * 3] * 3] * 2


def test_a_callers_image_is_not_changed():
    picture = Image.new("RGB", (300, 300))
    data_uri(picture, "pictures")
    assert picture.size == (300, 300)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((2, 2)), "pictures must give uint8 arrays"),
        (np.zeros((2, 2, 2), np.uint8), "pictures must give uint8 arrays"),
        (np.zeros((0, 2), np.uint8), "at least one pixel"),
        (None, "pictures must give uint8 arrays"),
        ("/no/such/file.png", "pictures gave a path that is no readable picture"),
        (Path(__file__), "pictures gave a path that is no readable picture"),
    ],
)
def test_what_is_no_picture_is_refused(picture, message):
    with pytest.raises(ValueError, match=message):
        data_uri(picture, "pictures")


def album(n=20):
    return Album.of(lambda i: np.full((2, 2), i, np.uint8), None, n, 4)


def test_a_page_goes_from_the_worst_query_to_the_best_and_marks_hits():
    found = {
        "exact": np.array([[0, 1], [2, 3], [4, 5], [6, 7]]),
        "a": np.array([[1, 9], [3, 2], [8, 9], [6, -1]]),
    }
    recall = {"a": np.array([0.5, 1.0, 0.0, 0.5])}
    page = album().page(found, recall, "a", 2, 3)
    assert [shown.query for shown in page] == [2, 0, 1]
    assert page[0].picture is None
    exact, strip = page[1].strips
    assert (exact.name, strip.name, strip.recall) == ("exact", "a", 0.5)
    assert [(i, hit) for i, _, hit in strip.items] == [(1, True), (9, False)]
    assert all(hit for _, _, hit in exact.items)
    assert np.asarray(decoded(strip.items[1][1])[1]).tolist() == [[9, 9], [9, 9]]


def test_padding_has_no_picture():
    found = {"exact": np.array([[6, 7]]), "a": np.array([[6, -1]])}
    (shown,) = album().page(found, {"a": np.array([0.5])}, None, 2, 5)
    assert [i for i, _, _ in shown.strips[1].items] == [6]


def test_few_searchers_are_shown_the_judged_one_always():
    ids = np.zeros((1, 1), int)
    found = dict.fromkeys(("exact", *"abcdef"), ids)
    page = album().page(found, {name: np.ones(1) for name in "abcdef"}, "f", 1, 1)
    assert [strip.name for strip in page[0].strips] == ["exact", "a", "b", "f"]
