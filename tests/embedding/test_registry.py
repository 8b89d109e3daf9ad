"""Embedders by name."""

import pytest

from simskip import embedding
from simskip.embedding import registry


def test_names():
    assert "efficientnet-lite0" in embedding.names()
    assert "efficientnet-lite0" in embedding.names("images")
    assert set(embedding.names()) == {*embedding.names("images"), *embedding.names("text")}
    with pytest.raises(ValueError, match="kind must be one of 'images', 'text', got 'sound'"):
        embedding.names("sound")


@pytest.fixture
def families(monkeypatch):
    """One family beside a plain name, made of tuples."""
    table = {
        "images": {"plain": lambda **options: ("plain", options)},
        "text": {"words:PATH": lambda rest, **options: ("words", rest, options)},
    }
    monkeypatch.setattr(registry, "_EMBEDDERS", table)
    monkeypatch.setattr(registry, "_SUFFIXES", {".vec": "words:PATH"})


def test_a_family_takes_what_stands_behind_its_colon(families):
    assert embedding.names() == ("plain", "words:PATH")
    assert embedding.load("words:a/b:c.vec", dim=3) == ("words", "a/b:c.vec", {"dim": 3})
    assert embedding.text("words:x") == ("words", "x", {})
    assert embedding.load("plain", threads=1) == ("plain", {"threads": 1})
    for name in ("words:", "words", "plain:", "plain:x"):
        with pytest.raises(ValueError, match=rf"name must be one of 'plain', 'words:PATH', got '{name}'"):
            embedding.load(name)
    with pytest.raises(ValueError, match=r"name must be one of 'plain', got 'words:x'"):
        embedding.images("words:x")


def test_load_reads_a_bare_path_by_its_suffix(families, tmp_path):
    path = tmp_path / "a.VEC"
    with pytest.raises(ValueError, match="name must be one of"):
        embedding.load(path)
    path.touch()
    assert embedding.load(path) == embedding.load(str(path)) == ("words", str(path), {})
    assert embedding.load(f"words:{path}") == ("words", str(path), {})


def test_load_and_images_give_the_same(networks):
    options = {"cache_dir": networks, "threads": 2, "framing": "centre"}
    loaded = embedding.load("efficientnet-lite0", **options)
    made = embedding.images("efficientnet-lite0", **options)
    assert loaded.fingerprint == made.fingerprint
    assert loaded.threads == made.threads == 2


@pytest.mark.parametrize("make", [embedding.images, embedding.load])
@pytest.mark.parametrize("name", ["resnet", "", None, 3])
def test_unknown_names_list_the_known(make, name):
    with pytest.raises(ValueError, match=rf"name must be one of .*'efficientnet-lite0'.*got {name!r}"):
        make(name)


@pytest.mark.parametrize("make", [embedding.images, embedding.load])
def test_options_in_a_name(networks, make):
    centre = make("efficientnet-lite0?framing=centre", cache_dir=networks)
    assert centre.engine.geometry.framing == "centre"
    assert centre.name == "efficientnet-lite0?framing=centre"
    assert make("efficientnet-lite0?framing=centre", framing="whole", cache_dir=networks).name == "efficientnet-lite0"
    with pytest.raises(ValueError, match=r"name must hold options of 'efficientnet-lite0', got 'frame' in '.*frame=1'"):
        make("efficientnet-lite0?frame=1", cache_dir=networks)
    with pytest.raises(TypeError, match="frame"):
        make("efficientnet-lite0", frame=1, cache_dir=networks)


def test_image_names():
    families = {"onnx:PATH", "torchscript:PATH", "timm:NAME", "torchvision:NAME"}
    assert families | {f"efficientnet-lite{i}" for i in range(3)} <= set(embedding.names("images"))
