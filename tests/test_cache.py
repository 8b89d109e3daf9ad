"""The cache: where it lies, that it is reused, that damage is noticed."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simskip.cache import array_fingerprint, cache_dir, cached_bytes, cached_vectors, fingerprint

EMBEDDER = SimpleNamespace(name="some/model", fingerprint="v1")


def test_where(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SIMSKIP_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_dir() == tmp_path / "home" / ".cache" / "simskip"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg" / "simskip"
    monkeypatch.setenv("SIMSKIP_CACHE", str(tmp_path / "own"))
    assert cache_dir() == tmp_path / "own"
    assert cache_dir(tmp_path / "given") == tmp_path / "given"
    assert (tmp_path / "given").is_dir()


def test_an_unusable_folder_says_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot use .*file.* as cache .*; set SIMSKIP_CACHE to a writable folder"):
        cache_dir(tmp_path / "file" / "below")


def test_made_once(tmp_path):
    first = cached_bytes("name", "key", "bin", lambda: [b"one", b"two"], tmp_path)
    assert first.read_bytes() == b"onetwo"
    assert cached_bytes("name", "key", "bin", lambda: 1 / 0, tmp_path) == first
    other = cached_bytes("name", "other", "bin", lambda: [b"three"], tmp_path)
    assert other != first
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "longer"])
def test_damage_is_noticed_and_repaired(tmp_path, damage):
    path = cached_bytes("name", "key", "bin", lambda: [b"content"], tmp_path)
    path.write_bytes({"flipped": b"cOntent", "cut": b"conte", "empty": b"", "longer": b"content "}[damage])
    again = cached_bytes("name", "key", "bin", lambda: [b"content"], tmp_path)
    assert again.read_bytes() == b"content"
    assert list(tmp_path.iterdir()) == [again]


def test_an_error_while_making_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError):
        cached_bytes("name", "key", "bin", lambda: [b"some", 1 / 0], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_many_makers_at_once(tmp_path):
    barrier = threading.Barrier(4)
    paths = []

    def make():
        barrier.wait()
        return [b"x" * 100_000]

    threads = [
        threading.Thread(target=lambda: paths.append(cached_bytes("name", "key", "bin", make, tmp_path)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(paths)) == 1
    assert paths[0].read_bytes() == b"x" * 100_000
    assert len(list(tmp_path.iterdir())) == 1


def test_vectors(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    first = cached_vectors(EMBEDDER, "data", lambda: vectors, tmp_path)
    again = cached_vectors(EMBEDDER, "data", lambda: 1 / 0, tmp_path)
    for found in (first, again):
        assert type(found) is np.ndarray
        assert found.tobytes() == vectors.tobytes()
        assert not found.flags.writeable


def test_vectors_of_other_data_or_another_model(tmp_path):
    one = np.ones((1, 2), np.float32)
    cached_vectors(EMBEDDER, "data", lambda: one, tmp_path)
    other = SimpleNamespace(name="some/model", fingerprint="v2")
    assert cached_vectors(EMBEDDER, "data 2", lambda: 2 * one, tmp_path)[0, 0] == 2
    assert cached_vectors(other, "data", lambda: 3 * one, tmp_path)[0, 0] == 3
    assert cached_vectors(EMBEDDER, "data", lambda: 1 / 0, tmp_path)[0, 0] == 1


def test_damaged_vectors_are_computed_again(tmp_path):
    vectors = np.arange(6, dtype=np.float32).reshape(2, 3)
    cached_vectors(EMBEDDER, "data", lambda: vectors, tmp_path)
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    np.testing.assert_array_equal(cached_vectors(EMBEDDER, "data", lambda: vectors, tmp_path), vectors)


def test_transposed_vectors_keep_their_values(tmp_path):
    vectors = np.arange(6, dtype=np.float32).reshape(2, 3).T
    np.testing.assert_array_equal(cached_vectors(EMBEDDER, "data", lambda: vectors, tmp_path), vectors)


@pytest.mark.parametrize("bad", [np.zeros((2, 2)), np.zeros(2, np.float32), [[1, 2]]])
def test_compute_must_return_a_float32_matrix(tmp_path, bad):
    with pytest.raises(ValueError, match="compute must return an \\(n, d\\) float32 array"):
        cached_vectors(EMBEDDER, "data", lambda: bad, tmp_path)


@given(st.lists(st.text()), st.lists(st.text()))
def test_fingerprints_tell_lists_apart(a, b):
    assert (fingerprint(*a) == fingerprint(*b)) == (a == b)


def test_array_fingerprint():
    a = np.arange(6, dtype=np.uint8).reshape(2, 3)
    prints = {array_fingerprint(x) for x in (a, a.reshape(3, 2), a.astype(np.int8), a[::-1], a[:1])}
    assert len(prints) == 5
    assert array_fingerprint(np.asfortranarray(a)) == array_fingerprint(a)
