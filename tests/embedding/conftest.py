"""One embedder and a few photographs for all tests of this room."""

import pytest

from simskip import datasets, embedding


@pytest.fixture(scope="session")
def embedder(tmp_path_factory):
    return embedding.images("efficientnet-lite0", threads=1, cache_dir=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def photos():
    """500 photographs of Fashion-MNIST."""
    try:
        return datasets.fashion_mnist("test")[:500]
    except OSError as error:
        pytest.skip(f"no data set: {error}")
