import copy
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import simskip
from simskip import CollapseWarning, FormatError, Hasher, PCAHash, RandomHash, load_hasher
from simskip.hashing import code_health, hasher_from_bytes, weights


class SignHash(Hasher):
    """Keeps the signs of the first columns."""

    def __init__(self, n_bits: int = 4, shift: float = 0.0) -> None:
        self.n_bits = n_bits
        self.shift = shift

    def _fit(self, X, y, progress, callbacks) -> None:
        if self.n_bits > X.shape[1]:
            raise ValueError("n_bits must not exceed the columns of X")
        self.offset_ = np.full(1, self.shift, np.float32)
        for callback in callbacks:
            callback(self)

    def _project(self, X):
        return X[:, : self.n_bits] + self.offset_

    def _state(self):
        return self.get_params(), {"offset": self.offset_}

    @classmethod
    def _from_state(cls, params, tensors):
        hasher = cls(**params)
        hasher.offset_ = tensors["offset"]
        return hasher


@pytest.fixture
def X() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((200, 12)).astype(np.float32)


HASHERS = [
    SignHash(5),
    RandomHash(9),
    RandomHash(9, center=True),
    PCAHash(9),
    PCAHash(8, "itq"),
    PCAHash(40, None),
]


@pytest.fixture(params=HASHERS, ids=repr)
def hasher(request: pytest.FixtureRequest) -> Hasher:
    return copy.deepcopy(request.param)


def test_encode_packs_the_signs_of_project(hasher: Hasher, X: np.ndarray) -> None:
    assert hasher.fit(X) is hasher
    outputs = hasher.project(X)
    assert outputs.shape == (200, hasher.n_bits)
    assert outputs.dtype == np.float32
    codes = hasher.encode(X)
    assert codes.n_bits == hasher.n_bits
    np.testing.assert_array_equal(simskip.unpack(codes), outputs > 0)
    assert hasher.dim_ == 12
    assert hasher.health_ == code_health(codes)


def test_blocks_do_not_show(hasher: Hasher, X: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    hasher.fit(X)
    outputs, codes = hasher.project(X), hasher.encode(X)
    monkeypatch.setattr("simskip.hashing.hasher._BLOCK_FLOATS", 7 * (12 + hasher.n_bits))
    np.testing.assert_allclose(hasher.project(X), outputs, rtol=1e-4, atol=1e-5)
    sure = np.abs(outputs) > 1e-4
    np.testing.assert_array_equal(simskip.unpack(hasher.encode(X))[sure], simskip.unpack(codes)[sure])


def test_memory_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    original = SignHash._project
    monkeypatch.setattr(SignHash, "_project", lambda self, X: seen.append(X.shape) or original(self, X))
    hasher = SignHash(4).fit(np.eye(4, 64, dtype=np.float32))
    monkeypatch.setattr("simskip.hashing.hasher._BLOCK_FLOATS", 1 << 10)
    seen.clear()
    codes = hasher.encode(np.ones((1000, 64)))
    assert len(codes) == 1000
    assert max(rows * (columns + 4) for rows, columns in seen) <= 1 << 10
    assert sum(rows for rows, _ in seen) == 1000


def test_memory_mapped_and_other_types(hasher: Hasher, X: np.ndarray, tmp_path: Path) -> None:
    hasher.fit(X)
    np.save(tmp_path / "x.npy", X.astype(np.float64))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert hasher.encode(mapped) == hasher.encode(X)
    assert hasher.encode(X.tolist()) == hasher.encode(X)
    assert hasher.encode(np.asfortranarray(X)) == hasher.encode(X)


def test_no_rows_give_no_codes(hasher: Hasher, X: np.ndarray) -> None:
    hasher.fit(X)
    assert len(hasher.encode(X[:0])) == 0
    assert hasher.encode(X[:0]).n_bits == hasher.n_bits
    assert hasher.project(X[:0]).shape == (0, hasher.n_bits)


def test_not_fitted_yet(hasher: Hasher, X: np.ndarray, tmp_path: Path) -> None:
    for call in (
        lambda: hasher.encode(X),
        lambda: hasher.project(X),
        lambda: hasher.save(tmp_path / "h"),
        lambda: hasher.fingerprint,
    ):
        with pytest.raises(ValueError, match=f"{type(hasher).__name__} is not fitted yet"):
            call()
    assert "(not fitted)" in repr(hasher)


@pytest.mark.parametrize("method", ["encode", "project"])
def test_bad_input(hasher: Hasher, X: np.ndarray, method: str) -> None:
    call = getattr(hasher.fit(X), method)
    with pytest.raises(ValueError, match=r"wrong dim: X must have 12 columns.*got shape \(200, 11\)"):
        call(X[:, :11])
    with pytest.raises(ValueError, match=r"X must have shape \(n, d\)"):
        call(X[0])
    with pytest.raises(ValueError, match="X must be a matrix of numbers"):
        call(X.astype(str))
    X[150, 3] = np.nan
    with pytest.raises(ValueError, match="got nan at row 150, column 3"):
        call(X)


def test_errors_name_the_row_in_the_whole_matrix(X: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    hasher = RandomHash(8).fit(X)
    monkeypatch.setattr("simskip.hashing.hasher._BLOCK_FLOATS", 200)
    X[150, 3] = np.inf
    with pytest.raises(ValueError, match="got inf at row 150, column 3"):
        hasher.encode(X)


def test_fit_checks(X: np.ndarray) -> None:
    for bad in (0, 4097, 2.5, "8", True):
        with pytest.raises(ValueError, match="n_bits must be an integer from 1 to 4096"):
            RandomHash(bad).fit(X)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="X must have at least 2 rows"):
        SignHash().fit(X[:1])
    with pytest.raises(ValueError, match="y must hold one label for each of the 200 rows"):
        SignHash().fit(X, [1, 2])


def test_a_failed_fit_changes_nothing(X: np.ndarray) -> None:
    hasher = SignHash(5).fit(X)
    before = hasher.encode(X)
    with pytest.raises(ValueError, match="must not exceed"):
        hasher.fit(X[:, :3])
    assert hasher.encode(X) == before


def test_labels_reach_the_health(X: np.ndarray) -> None:
    hasher = RandomHash(16).fit(X, ["cat", "dog"] * 100)
    assert hasher.health_.n_classes == 2
    called: list[Hasher] = []
    shifted = SignHash().fit(X, callbacks=[called.append], progress=False)
    assert called == [shifted]


def test_collapse_warns(X: np.ndarray) -> None:
    with pytest.warns(CollapseWarning, match="SignHash.*collapsed.*share one") as caught:
        SignHash(4, shift=100.0).fit(X)
    assert caught[0].filename == __file__


def test_save_and_load(hasher: Hasher, X: np.ndarray, tmp_path: Path) -> None:
    hasher.fit(X, np.arange(200) % 3)
    path = tmp_path / "h.safetensors"
    hasher.save(path)
    loaded = load_hasher(path)
    assert type(loaded) is type(hasher)
    assert loaded.get_params() == hasher.get_params()
    assert loaded.encode(X) == hasher.encode(X)
    np.testing.assert_array_equal(loaded.project(X), hasher.project(X))
    assert loaded.fingerprint == hasher.fingerprint
    assert loaded.health_.as_dict() == pytest.approx(hasher.health_.as_dict(), nan_ok=True)
    assert repr(loaded) == repr(hasher)
    assert loaded.to_bytes() == path.read_bytes() == hasher.to_bytes()
    assert hasher_from_bytes(path.read_bytes()).fingerprint == hasher.fingerprint
    assert os.listdir(tmp_path) == ["h.safetensors"]


def test_pickle_and_copy(hasher: Hasher, X: np.ndarray) -> None:
    fresh = pickle.loads(pickle.dumps(hasher))
    assert fresh.get_params() == hasher.get_params()
    assert "(not fitted)" in repr(fresh)
    hasher.fit(X)
    for twin in (pickle.loads(pickle.dumps(hasher)), copy.deepcopy(hasher)):
        assert twin.encode(X) == hasher.encode(X)
        assert twin.fingerprint == hasher.fingerprint


def test_fingerprints_tell_hashers_apart(X: np.ndarray) -> None:
    hashers = [
        RandomHash(8),
        RandomHash(8, 1),
        RandomHash(16),
        PCAHash(8),
        PCAHash(8, "itq"),
        PCAHash(8, None),
        SignHash(8),
    ]
    prints = [hasher.fit(X).fingerprint for hasher in hashers]
    prints += [
        PCAHash(8).fit(X * np.arange(12, dtype=np.float32)).fingerprint,
        RandomHash(8).fit(X[:, :5]).fingerprint,
    ]
    assert len(set(prints)) == len(prints)
    assert all(len(p) == 32 and int(p, 16) >= 0 for p in prints)
    assert RandomHash(8).fit(X).fingerprint == prints[0]


def test_fingerprint_ignores_health(X: np.ndarray) -> None:
    assert RandomHash(8).fit(X).fingerprint == RandomHash(8).fit(X[:50], np.arange(50) % 2).fingerprint


def test_scikit_learn_manners(hasher: Hasher, X: np.ndarray) -> None:
    from sklearn.base import clone

    hasher.fit(X)
    twin = clone(hasher)
    assert twin.get_params() == hasher.get_params()
    assert "(not fitted)" in repr(twin)
    assert hasher.set_params(n_bits=3) is hasher
    with pytest.raises(ValueError, match="not fitted yet"):
        hasher.encode(X)
    assert hasher.fit(X).encode(X).n_bits == 3
    with pytest.raises(ValueError, match="the parameter must be one of 'n_bits'"):
        hasher.set_params(bits=3)


def test_repr() -> None:
    assert repr(RandomHash(8)) == "RandomHash(8) (not fitted)"
    assert repr(PCAHash(8, rotation=None, random_state=3)) == "PCAHash(8, rotation=None, random_state=3) (not fitted)"


def file_of(X: np.ndarray, **changes: str) -> bytes:
    tensors, metadata = weights.from_bytes(RandomHash(8).fit(X).to_bytes())
    return weights.to_bytes(tensors, {**metadata, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other"}, "not a hasher"),
        ({"format_version": "2"}, "hasher format version '2'.*this simskip reads version 1"),
        ({"class": "NoHash"}, "unknown hasher class 'NoHash'.*RandomHash"),
        ({"class": "PCAHash"}, "do not make a PCAHash"),
        ({"parameters": "{}"}, "do not make a RandomHash"),
        ({"parameters": "[1"}, "do not make a RandomHash"),
        ({"parameters": '{"center":false,"n_bits":9,"random_state":0}'}, "'weights' must be finite float32"),
        ({"parameters": '{"center":false,"n_bits":-1,"random_state":0}'}, "n_bits must be an integer from 1"),
        ({"dim": "x"}, "do not make a RandomHash"),
        ({"health": "{}"}, "do not make a RandomHash"),
    ],
)
def test_files_that_are_no_hasher(X: np.ndarray, tmp_path: Path, changes: dict[str, str], message: str) -> None:
    path = tmp_path / "h"
    path.write_bytes(file_of(X, **changes))
    with pytest.raises(FormatError, match=message) as error:
        load_hasher(path)
    assert str(path) in str(error.value)


def test_the_dimension_must_fit_the_weights(X: np.ndarray) -> None:
    for dim in ("13", "0", "-1", "9" * 15):
        with pytest.raises(FormatError, match="do not make a RandomHash"):
            hasher_from_bytes(file_of(X, dim=dim))
    tensors, metadata = weights.from_bytes(SignHash(4).fit(X).to_bytes())
    with pytest.raises(FormatError, match=r"shape \(1, 3\), expected \(1, 4\)"):
        hasher_from_bytes(weights.to_bytes(tensors, {**metadata, "dim": "3"}))


def test_every_flipped_byte_of_a_hasher_is_detected(X: np.ndarray, tmp_path: Path) -> None:
    content = RandomHash(3).fit(X[:, :2]).to_bytes()
    path = tmp_path / "h"
    for at in range(len(content)):
        damaged = bytearray(content)
        damaged[at] ^= 1 << (at % 8)
        path.write_bytes(damaged)
        with pytest.raises(FormatError):
            load_hasher(path)


def test_metadata_say_what_it_is(X: np.ndarray) -> None:
    _, metadata = weights.from_bytes(PCAHash(8).fit(X).to_bytes())
    assert metadata["format"] == "simskip-hasher"
    assert metadata["simskip_version"] == simskip.__version__
    assert json.loads(metadata["parameters"]) == {"n_bits": 8, "random_state": 0, "rotation": "random"}


def test_concurrent_use(hasher: Hasher, X: np.ndarray) -> None:
    hasher.fit(X)
    outputs, codes = hasher.project(X), hasher.encode(X)
    wrong: list[int] = []

    def use() -> None:
        for i in range(30):
            if hasher.encode(X) != codes or not np.array_equal(hasher.project(X), outputs):
                wrong.append(i)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


SAVER = """
import sys
import numpy as np
from simskip import RandomHash
X = np.eye(4, 600, dtype=np.float32)
hashers = [RandomHash(200, seed).fit(X) for seed in range(3)]
print(*[hasher.fingerprint for hasher in hashers], flush=True)
while True:
    for hasher in hashers:
        hasher.save(sys.argv[1])
"""


def test_kill_during_save_never_loses_the_file(X: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "h"
    RandomHash(8).fit(X).save(path)
    known = {load_hasher(path).fingerprint}
    for round_ in range(6):
        saver = subprocess.Popen([sys.executable, "-c", SAVER, str(path)], stdout=subprocess.PIPE)
        assert saver.stdout is not None
        with saver.stdout:
            known.update(saver.stdout.readline().decode().split())
            seen: set[str] = set()
            reads = 0
            while len(seen) < 2 or reads % 6 != round_:
                assert saver.poll() is None
                seen.add(load_hasher(path).fingerprint)
                reads += 1
            saver.send_signal(signal.SIGKILL)
            saver.wait()
        assert load_hasher(path).fingerprint in known
    assert len(known) == 4


def test_abstract_classes_are_not_registered() -> None:
    with pytest.raises(TypeError):
        Hasher()  # type: ignore[abstract]

    class Half(Hasher):
        def _project(self, X):
            return X

    with pytest.raises(FormatError, match="unknown hasher class 'Half'"):
        hasher_from_bytes(file_of(np.eye(3, dtype=np.float32), **{"class": "Half"}))


def test_loading_needs_numpy_only(X: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "h"
    PCAHash(8).fit(X).save(path)
    code = (
        "import sys, numpy as np, simskip; h = simskip.load_hasher(sys.argv[1]); h.encode(np.ones((2, 12)));"
        "heavy = {'torch', 'sklearn', 'pandas', 'safetensors', 'matplotlib', 'scipy'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)


GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize(
    ("name", "params", "codes"),
    [
        (
            "randomhash-12-center-v1.safetensors",
            {"n_bits": 12, "random_state": 1, "center": True},
            ["0507", "fa09", "200f"],
        ),
        (
            "pcahash-5-random-v1.safetensors",
            {"n_bits": 5, "rotation": "random", "random_state": 2},
            ["04", "1a", "1c"],
        ),
        (
            "pcahash-20-itq-v1.safetensors",
            {"n_bits": 20, "rotation": "itq", "random_state": 3},
            ["57860a", "a07907", "06e90d"],
        ),
    ],
)
def test_files_of_old_versions_load_forever(name: str, params: dict[str, object], codes: list[str]) -> None:
    hasher = load_hasher(GOLDEN / name)
    assert hasher.get_params() == params
    vectors = np.array([[1, -2, 3, -4, 5, 6], [6, 5, -4, 3, -2, 1], [-1, 1, 1, -1, 2, 0]])
    assert hasher.encode(vectors).to("hex") == codes
    assert hasher.health_.n_items == 60
    assert hasher.health_.n_classes == 3
