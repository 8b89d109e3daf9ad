"""Embedders by name."""

import pytest

from simskip import embedding


def test_names():
    assert "efficientnet-lite0" in embedding.names()
    assert embedding.names("images") == ("efficientnet-lite0",)


def test_load_and_images_give_the_same(embedder):
    options = {"cache_dir": embedder.cache_dir, "threads": 2, "framing": "centre"}
    loaded = embedding.load("efficientnet-lite0", **options)
    made = embedding.images("efficientnet-lite0", **options)
    assert loaded.fingerprint == made.fingerprint
    assert loaded.threads == made.threads == 2


@pytest.mark.parametrize("make", [embedding.images, embedding.load])
@pytest.mark.parametrize("name", ["resnet", "", None, 3])
def test_unknown_names_list_the_known(make, name):
    with pytest.raises(ValueError, match=rf"name must be one of .*'efficientnet-lite0'.*got {name!r}"):
        make(name)
