"""A function as an embedder: what it is given, what it may return."""

import numpy as np
import pytest
from PIL import Image

from simskip import embedding

PICTURES = np.random.default_rng(0).integers(0, 256, (40, 6, 8, 3), np.uint8)
MEANS = PICTURES.mean((1, 2)).astype(np.float32)


def means(batch):
    return [image.mean((0, 1)) for image in batch]


def test_images_as_large_as_they_are(tmp_path):
    seen = []
    embedder = embedding.callable_embedder(lambda batch: seen.append(batch) or means(batch), 3, "mean", threads=3)
    assert isinstance(embedder, embedding.Embedder)
    assert isinstance(embedder, embedding.ImageEmbedder)
    assert embedder.kind == "images"
    np.testing.assert_allclose(embedder.embed(PICTURES, progress=False), MEANS, rtol=1e-6)
    assert all(isinstance(batch, list) and len(batch) == 4 for batch in seen)
    for i in range(3):
        Image.fromarray(PICTURES[i, : 3 + i]).save(tmp_path / f"{i}.png")
    files = embedder.embed_files([tmp_path / f"{i}.png" for i in (0, 1, 9, 2)], progress=False)
    np.testing.assert_allclose(files.vectors, [PICTURES[i, : 3 + i].mean((0, 1)) for i in range(3)], rtol=1e-6)
    assert files.rows.tolist() == [0, 1, 3]


def test_images_of_one_size():
    shapes = []
    embedder = embedding.callable_embedder(
        lambda batch: shapes.append(batch.shape) or batch.mean((1, 2)), 3, "mean", size=(5, 4), batch_size=25, threads=1
    )
    assert embedder.embed(PICTURES).shape == (40, 3)
    assert shapes == [(25, 5, 4, 3), (15, 5, 4, 3)]
    assert repr(embedder) == "ImageEmbedder('mean', dim=3, framing='whole')"


def test_text(capsys):
    batches = []
    embedder = embedding.callable_embedder(
        lambda texts: batches.append(texts) or [[len(text), 1] for text in texts], 2, "length", "text", batch_size=2
    )
    assert isinstance(embedder, embedding.Embedder)
    assert embedder.kind == "text"
    found = embedder.embed(("a", "bb", "ccc"), progress=True)
    assert found.dtype == np.float32
    assert found.tolist() == [[1, 1], [2, 1], [3, 1]]
    assert batches == [["a", "bb"], ["ccc"]]
    assert "2/2" in capsys.readouterr().err
    assert embedder.embed([]).shape == (0, 2)
    assert repr(embedder) == "CallableText('length', dim=2)"
    for bad, message in (("word", "a sequence of str, got str"), (["a", 3], "got int at position 1"), (3, "got int")):
        with pytest.raises(ValueError, match=message):
            embedder.embed(bad)


def test_the_fingerprint_is_name_version_and_pixels():
    options = [{}, {"version": 2}, {"size": 8}, {"size": 9}, {"size": 8, "framing": "centre"}, {"kind": "text"}]
    made = [embedding.callable_embedder(means, 3, "mean", **each) for each in options]
    assert len({each.fingerprint for each in made}) == len(options)
    assert embedding.callable_embedder(len, 3, "mean").fingerprint == made[0].fingerprint


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda n: np.zeros((n, 4)), r"numbers of shape \(4, 3\) for 4 items, got float64 \(4, 4\)"),
        (lambda n: np.zeros((n - 1, 3)), r"got float64 \(3, 3\)"),
        (lambda n: None, r"got object \(\)"),
        (lambda n: [["a"] * 3] * n, "got <U1"),
        (lambda n: [[1], [1, 2]], "what the function returns must be an array"),
        (lambda n: np.zeros((n, 3), complex), "got complex128"),
    ],
)
@pytest.mark.parametrize("kind", ["images", "text"])
def test_what_it_returns_is_checked(returned, message, kind):
    embedder = embedding.callable_embedder(lambda batch: returned(len(batch)), 3, "bad", kind)
    with pytest.raises(ValueError, match=message):
        embedder.embed(PICTURES[:4] if kind == "images" else list("abcd"))


def test_numbers_that_are_not_finite(tmp_path):
    def inverse(batch):
        with np.errstate(divide="ignore"):
            return [[1 / np.float64(np.max(item) if isinstance(item, np.ndarray) else int(item))] for item in batch]

    images = embedding.callable_embedder(inverse, 1, "inverse")
    Image.new("RGB", (4, 4)).save(tmp_path / "black.png")
    Image.new("RGB", (4, 4), (255, 0, 0)).save(tmp_path / "red.png")
    files = images.embed_files([tmp_path / "black.png", tmp_path / "red.png"], progress=False)
    assert files.rows.tolist() == [1]
    assert "not finite" in files.skipped[0].reason
    text = embedding.callable_embedder(inverse, 1, "inverse", "text")
    with pytest.raises(ValueError, match="finite numbers, got others for the text at position 2"):
        text.embed(["1", "2", "0"])


def test_an_error_of_the_function_comes_out():
    def broken(batch):
        raise KeyError("mine")

    for kind, batch in (("images", PICTURES), ("text", ["a"])):
        with pytest.raises(KeyError, match="mine"):
            embedding.callable_embedder(broken, 1, "broken", kind).embed(batch)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((None, 3, "a"), {}, "function must be callable, got NoneType"),
        ((means, 0, "a"), {}, "dim must be an integer >= 1, got 0"),
        ((means, 3, ""), {}, "name must be a string that is not empty, got ''"),
        ((means, 3, "efficientnet-lite0"), {}, "name must be one that no other embedder has"),
        ((means, 3, "onnx:x"), {}, "name must be one that no other embedder has, got 'onnx:x'"),
        ((means, 3, "a", "sound"), {}, "kind must be one of 'images', 'text', got 'sound'"),
        ((means, 3, "a", "text"), {"size": 3}, "size must be left out for kind='text', got 3"),
        ((means, 3, "a"), {"framing": "whole"}, "framing must be left out without size, got 'whole'"),
        ((means, 3, "a"), {"size": 3, "framing": "top"}, "framing must be one of"),
        ((means, 3, "a"), {"batch_size": 0}, "batch_size must be an integer >= 1, got 0"),
    ],
)
def test_bad_arguments(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        embedding.callable_embedder(*arguments, **options)
