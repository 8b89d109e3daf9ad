"""Data sets: sources and their order, checksums, the IDX parser, folders of images."""

import gzip
import hashlib
import io
import urllib.error

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from simskip import FormatError, datasets


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
            datasets._Part(name, hashlib.sha256(content).hexdigest()) for name, content in contents.items()
        )
    requests = []

    def urlopen(url, timeout):
        requests.append(url)
        assert timeout > 0
        name = url.rpartition("/")[2]
        if name not in mirror:
            raise urllib.error.URLError("not there")
        return io.BytesIO(mirror[name])

    monkeypatch.setattr(datasets, "_PARTS", parts)
    monkeypatch.setattr(datasets, "_DEBIAN_FOLDER", tmp_path / "debian")
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
    for part in (*datasets._PARTS["train"], *datasets._PARTS["test"]):
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
    for mirror in datasets._MIRRORS:
        assert mirror in str(caught.value)
    assert list((tmp_path / "cache" / "fashion-mnist").iterdir()) == []


def test_bad_split():
    with pytest.raises(ValueError, match="split must be one of 'train', 'test', 'all', got 'both'"):
        datasets.fashion_mnist("both")


@given(arrays(np.uint8, st.lists(st.integers(0, 5), min_size=1, max_size=4).map(tuple)), st.booleans())
def test_idx_round_trip(tmp_path_factory, array, packed):
    path = tmp_path_factory.getbasetemp() / "round-trip"
    path.write_bytes(gzip.compress(idx(array)) if packed else idx(array))
    np.testing.assert_array_equal(datasets.read_idx(path), array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "two zero bytes"),
        (b"\x89PNG\r\n", "two zero bytes"),
        (b"\0\0\x0d\x01\0\0\0\0", "type 13, 1"),
        (b"\0\0\x08\0", "type 8, 0"),
        (b"\0\0\x08\x02\0\0\0\x01\0", "ends in its header, after 9 bytes"),
        (b"\0\0\x08\x01\0\0\0\x03ab", r"must hold 3 bytes for shape \(3,\), got 2"),
        (b"\0\0\x08\x01\0\0\0\x03abcd", r"must hold 3 bytes for shape \(3,\), got 4"),
        (b"\0\0\x08\x02" + b"\xff" * 8, r"must hold 18446744065119617025 bytes"),
        (gzip.compress(b"\0\0\x08\x01\0\0\0\x03abc")[:-4], "cannot be unpacked"),
        (b"\x1f\x8bnonsense", "cannot be unpacked"),
    ],
)
def test_damaged_idx(tmp_path, content, message):
    path = tmp_path / "some.idx"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=rf"some\.idx.*{message}"):
        datasets.read_idx(path)


def test_image_folder(tmp_path):
    for name in (
        "b/2.png", "b/1.JPG", "a/deep/x.png", "a/y.jpeg", ".hidden/z.png", "b/.hidden.png", "b/.git/h.png",
        "b/notes.txt", "empty/readme.md", "loose.png",
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (2, 2)).save(path, format="PNG") if path.suffix != ".txt" else path.write_text("")
    folder = datasets.image_folder(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in folder.paths] == [
        "a/deep/x.png",
        "a/y.jpeg",
        "b/1.JPG",
        "b/2.png",
    ]
    assert folder.labels.tolist() == [0, 0, 1, 1]
    assert folder.label_names == ("a", "b")
    assert repr(folder) == "ImageFolder(4 files, 2 classes)"


def test_image_folder_errors(tmp_path):
    with pytest.raises(ValueError, match=r"path must be a folder of folders of images.*nowhere"):
        datasets.image_folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="path must hold sub-folders with images, got none"):
        datasets.image_folder(tmp_path)
    Image.new("L", (2, 2)).save(tmp_path / "loose.png")
    with pytest.raises(ValueError, match="1 images lie in the folder itself and have no class"):
        datasets.image_folder(tmp_path)
