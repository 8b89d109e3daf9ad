"""One embedder and a few photographs for all tests of this room."""

import pytest

from simskip import datasets, embedding


@pytest.fixture(scope="session")
def networks(tmp_path_factory):
    """A folder for exported networks, empty at first."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def embedder(networks):
    return embedding.images("efficientnet-lite0", threads=1, cache_dir=networks)


@pytest.fixture(scope="session")
def photos():
    """500 photographs of Fashion-MNIST."""
    try:
        return datasets.fashion_mnist("test")[:500]
    except OSError as error:
        pytest.skip(f"no data set: {error}")
