"""Fashion-MNIST: sources and their order, checksums."""

import gzip
import hashlib
import io
import urllib.error

import numpy as np
import pytest

from simskip import FormatError, datasets
from simskip.datasets import clothes


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return header + array.tobytes()


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Fashion-MNIST replaced by two tiny splits that only the mirrors have; returns the mirror's files."""
    rng = np.random.default_rng(0)
    mirror, parts = {}, {}
    for split, n in (("train", 6), ("test", 4)):
        contents = {
            f"{split}-images.gz": idx(rng.integers(0, 256, (n, 28, 28), np.uint8)),
            f"{split}-labels.gz": idx(rng.integers(0, 10, n).astype(np.uint8)),
        }
        mirror |= {name: gzip.compress(content) for name, content in contents.items()}
        parts[split] = tuple(
            clothes._Part(name, hashlib.sha256(content).hexdigest()) for name, content in contents.items()
        )
    requests = []

    def urlopen(url, timeout):
        requests.append(url)
        assert timeout > 0
        name = url.rpartition("/")[2]
        if name not in mirror:
            raise urllib.error.URLError("not there")
        return io.BytesIO(mirror[name])

    monkeypatch.setattr(clothes, "_PARTS", parts)
    monkeypatch.setattr(clothes, "_DEBIAN_FOLDER", tmp_path / "debian")
    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    monkeypatch.setenv("SIMSKIP_CACHE", str(tmp_path / "cache"))
    mirror["requests"] = requests
    return mirror


def test_real_fashion_mnist():
    try:
        test = datasets.fashion_mnist("test")
    except OSError as error:
        pytest.skip(f"no data set: {error}")
    assert test.images.shape == (10_000, 28, 28)
    assert test.images.dtype == np.uint8
    assert np.bincount(test.labels).tolist() == [1000] * 10
    assert test.label_names[test.labels[0]] == "Ankle boot"
    assert repr(test) == "LabelledImages(fashion-mnist test: 10,000 of 28 x 28, 10 classes)"
    part = test[[3, 1]]
    assert len(part) == 2
    assert part.labels.tolist() == test.labels[[3, 1]].tolist()
    assert test[0].images.shape == (1, 28, 28)


def test_downloaded_once(small):
    first = datasets.fashion_mnist("all")
    assert len(first) == 10
    assert len(small["requests"]) == 4
    again = datasets.fashion_mnist("all")
    assert len(small["requests"]) == 4
    np.testing.assert_array_equal(first.images, again.images)
    np.testing.assert_array_equal(datasets.fashion_mnist("test").labels, first.labels[6:])


def test_installed_files_come_first(small, tmp_path):
    (tmp_path / "debian").mkdir()
    for part in (*clothes._PARTS["train"], *clothes._PARTS["test"]):
        (tmp_path / "debian" / part.name).write_bytes(small[part.name])
    assert len(datasets.fashion_mnist("all")) == 10
    assert small["requests"] == []
    path = tmp_path / "debian" / "test-labels.gz"
    path.write_bytes(gzip.compress(idx(np.zeros(4, np.uint8))))
    with pytest.raises(FormatError, match=r"test-labels\.gz is damaged or another data set"):
        datasets.fashion_mnist("test")


def test_a_damaged_cache_is_downloaded_again(small, tmp_path):
    datasets.fashion_mnist("test")
    path = tmp_path / "cache" / "fashion-mnist" / "test-images.gz"
    path.write_bytes(path.read_bytes()[:-9])
    assert len(datasets.fashion_mnist("test")) == 4
    assert path.read_bytes() == small["test-images.gz"]


@pytest.mark.parametrize("damage", ["other content", "not gzip", "missing"])
def test_a_bad_mirror_is_never_believed(small, tmp_path, damage):
    if damage == "missing":
        del small["test-images.gz"]
    else:
        small["test-images.gz"] = gzip.compress(b"evil") if damage == "other content" else b"<html>"
    with pytest.raises(OSError, match="apt-get install dataset-fashion-mnist") as caught:
        datasets.fashion_mnist("test")
    for mirror in clothes._MIRRORS:
        assert mirror in str(caught.value)
    assert list((tmp_path / "cache" / "fashion-mnist").iterdir()) == []


def test_bad_split():
    with pytest.raises(ValueError, match="split must be one of 'train', 'test', 'all', got 'both'"):
        datasets.fashion_mnist("both")
