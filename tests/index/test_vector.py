"""The exact float index against NumPy in double, a dictionary, damaged files and other threads."""

import copy
import os
import pickle
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import simskip
from simskip.index import vector as vector_module

METRICS = ["cosine", "l2", "dot"]


def normal(n, dim, seed, scale=1.0):
    return (scale * np.random.default_rng(seed).normal(size=(n, dim))).astype(np.float32)


def all_values(Q, X, metric):
    """Ascending is nearer; in double, rounded to float32 at the end as documented."""
    Q, X = Q.astype(np.float64), X.astype(np.float64)
    if metric == "l2":
        values = np.sqrt(((Q[:, None] - X[None]) ** 2).sum(axis=2))
    elif metric == "dot":
        values = -(Q[:, None] * X[None]).sum(axis=2)
    else:
        lengths = np.linalg.norm(Q, axis=1)[:, None] * np.linalg.norm(X, axis=1)
        cosine = np.divide((Q[:, None] * X[None]).sum(axis=2), lengths, out=np.zeros_like(lengths), where=lengths > 0)
        values = np.maximum(0, 1 - cosine)
    return values


def assert_exact(found, Q, X, ids, k, metric):
    """Right up to the last bit of float32 in the distances, in the order of (distance, id), nothing nearer missing."""
    distances, got = found
    assert distances.dtype == np.float32
    assert got.dtype == np.int64
    assert distances.shape == got.shape == (len(Q), k)
    sign = -1 if metric == "dot" else 1
    values = all_values(Q, X, metric)
    row_of = {int(id): row for row, id in enumerate(ids)}
    n = min(k, len(X))
    for q in range(len(Q)):
        assert (got[q, n:] == -1).all()
        assert (distances[q, n:] == sign * np.inf).all()
        np.testing.assert_allclose(sign * distances[q, :n], np.sort(values[q])[:n], rtol=3e-7, atol=2e-7)
        own = [values[q, row_of[int(i)]] for i in got[q, :n]]
        np.testing.assert_allclose(sign * distances[q, :n], own, rtol=3e-7, atol=2e-7)
        order = list(zip((sign * distances[q, :n]).tolist(), got[q, :n].tolist(), strict=True))
        assert order == sorted(set(order))


def assert_same(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@settings(deadline=None, max_examples=30)
@given(
    metric=st.sampled_from(METRICS),
    n=st.integers(1, 200),
    dim=st.one_of(st.integers(1, 40), st.just(257)),
    k=st.integers(1, 210),
    seed=st.integers(0, 2**32),
    scale=st.sampled_from([1e-12, 1.0, 1e12]),
)
def test_search_equals_numpy(metric, n, dim, k, seed, scale):
    rng = np.random.default_rng(seed)
    X, Q = normal(n, dim, seed), normal(4, dim, seed + 1)
    X[rng.random(n) < 0.1] = 0
    X[rng.random(n) < 0.3] = X[0]
    Q[0] = X[0]
    ids = rng.permutation(3 * n)[:n]
    index = simskip.VectorIndex(dim, metric)
    index.add(X, ids)
    found = index.search(Q, k)
    assert_exact(found, Q, X, ids, k, metric)
    where = rng.permutation(ids)[: rng.integers(1, n + 1)]
    rows = [list(ids).index(i) for i in where]
    assert_exact(index.search(Q, k, where=where), Q, X[rows], where, k, metric)
    # A power of two changes no rounding: the order stays. (Rows too short for their squares are refused.)
    factor = np.float32(2.0 ** round(np.log2(scale)))
    lengths = np.linalg.norm(np.concatenate([X, Q]).astype(np.float64) * factor, axis=1)
    if (lengths[lengths > 0] < 1e-14).any():
        return
    scaled = simskip.VectorIndex(dim, metric)
    scaled.add(X * factor, ids)
    np.testing.assert_array_equal(scaled.search(Q * factor, k)[1], found[1])


@pytest.mark.parametrize("metric", METRICS)
def test_same_bytes_for_any_threads_batches_and_instruction_sets(metric, monkeypatch):
    X, Q = normal(5000, 48, 1), normal(60, 48, 2)
    X[100:400] = X[:300]
    index = simskip.VectorIndex(48, metric)
    index.add(X)
    expected = index.search(Q, 20, threads=1)
    before = simskip.cpu.isa
    try:
        for isa in simskip.cpu.available:
            simskip.cpu.force(isa)
            for threads, block, work in ((1, 512, 2e9), (3, 7, 1e5), (2, 1, 2e9)):
                monkeypatch.setattr(vector_module, "_QUERY_BLOCK", block)
                monkeypatch.setattr(vector_module, "_PRODUCT_WORK", work)
                assert_same(index.search(Q, 20, threads=threads), expected)
                assert_same(index.search(Q, 20, threads=threads, where=np.arange(5000)), expected)
    finally:
        simskip.cpu.force(before)


def test_far_queries_keep_the_order_of_ids():
    """Far from all vectors many distances round to one float32: ids decide, whichever products came first."""
    X, Q = normal(3000, 4, 3), normal(6, 4, 4, 1e6)
    index = simskip.VectorIndex(4, "l2")
    index.add(X)
    distances = np.float32(all_values(Q, X, "l2"))
    expected = [np.lexsort((np.arange(3000), row))[:10].tolist() for row in distances]
    assert index.search(Q, 10)[1].tolist() == expected


def test_filters_mean_the_same_and_k_means_k():
    X = normal(500, 8, 5)
    ids = np.sort(np.random.default_rng(5).permutation(2000)[:500])
    index = simskip.VectorIndex(8)
    index.add(X, ids)
    for modulus in (1, 3, 100, 5000):
        mask = ids % modulus == 0
        found = index.search(X[:3], 25, where=ids[mask])
        assert (found[1] >= 0).sum() == 3 * min(25, mask.sum())
        for where in (mask, lambda i, m=modulus: i % m == 0):
            assert_same(index.search(X[:3], 25, where=where), found)
    assert (index.search(X[:3], 2, where=[])[1] == -1).all()


def test_rerank_orders_candidates():
    X, Q = normal(100, 6, 6), normal(3, 6, 7)
    index = simskip.VectorIndex(6, "l2")
    index.add(X, np.arange(100) * 2)
    candidates = np.array([[0, 8, -1, 20], [-1, -1, -1, -1], [198, 0, 2, 4]])
    distances, ids = index.rerank(Q, candidates, 3)
    assert_same((distances[:1], ids[:1]), index.search(Q[:1], 3, where=[0, 8, 20]))
    assert ids[1].tolist() == [-1, -1, -1]
    assert_same((distances[2:], ids[2:]), index.search(Q[2:], 3, where=[198, 0, 2, 4]))


class AgainstADictionary(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.index = simskip.VectorIndex(3, "l2")
        self.model = {}
        self.next_id = 0
        self.rng = np.random.default_rng(0)
        self.path = f"/tmp/simskip-vectors-{os.getpid()}"
        self.snapshots = []

    def store(self, X, ids):
        for x, id in zip(X, ids, strict=True):
            self.model[id] = x.tolist()
            self.next_id = max(self.next_id, id + 1)

    def draw(self, n):
        return self.rng.normal(size=(n, 3)).astype(np.float32)

    @rule(n=st.integers(0, 4))
    def add(self, n):
        X = self.draw(n)
        self.index.add(X)
        self.store(X, list(range(self.next_id, self.next_id + n)))
        X[:] = 7  # the index has its own

    @rule(ids=st.lists(st.integers(0, 15), unique=True, max_size=5))
    def add_ids(self, ids):
        X = self.draw(len(ids))
        if any(id in self.model for id in ids):
            with pytest.raises(ValueError, match="is in the index already"):
                self.index.add(X, ids)
        else:
            self.index.add(X, ids)
            self.store(X, ids)

    @rule(ids=st.lists(st.integers(0, 15), unique=True, max_size=5))
    def upsert(self, ids):
        X = self.draw(len(ids))
        self.index.upsert(X, ids)
        self.store(X, ids)

    @rule(ids=st.lists(st.integers(0, 15), unique=True, max_size=3))
    def remove(self, ids):
        if any(id not in self.model for id in ids):
            with pytest.raises(ValueError, match="is not in the index"):
                self.index.remove(ids)
        else:
            self.index.remove(ids)
            for id in ids:
                del self.model[id]

    @rule(mmap=st.booleans())
    def save_and_load(self, mmap):
        self.index.save(self.path)
        self.index = simskip.VectorIndex.load(self.path, mmap=mmap)

    @rule(way=st.sampled_from([copy.copy, copy.deepcopy, lambda i: pickle.loads(pickle.dumps(i))]))
    def copy(self, way):
        old, self.index = self.index, way(self.index)
        old.add(self.draw(2))
        if self.model:
            old.remove(list(self.model))

    @rule()
    def keep_a_view(self):
        view = self.index.vectors()
        self.snapshots.append((view, view.copy()))

    @invariant()
    def equal(self):
        ids = sorted(self.model)
        assert self.index.ids.tolist() == ids
        assert len(self.index) == len(ids)
        assert self.index.vectors().tolist() == [self.model[i] for i in ids]
        assert all((id in self.index) == (id in self.model) for id in range(-1, 20))
        for view, content in self.snapshots:
            np.testing.assert_array_equal(view, content)
        if ids:
            Q = self.draw(2)
            X = np.array([self.model[i] for i in ids], np.float32)
            assert_exact(self.index.search(Q, 4), Q, X, ids, 4, "l2")

    def teardown(self):
        if os.path.exists(self.path):
            os.remove(self.path)


AgainstADictionary.TestCase.settings = settings(deadline=None, max_examples=25, stateful_step_count=20)
TestAgainstADictionary = AgainstADictionary.TestCase


def test_largest_ids():
    index = simskip.VectorIndex(2)
    index.add([[1, 2], [3, 4]], [3, 2**63 - 2])
    with pytest.raises(ValueError, match="no ids are left"):
        index.add([[1, 2]])
    index.add(np.empty((0, 2)))
    assert index.ids.tolist() == [3, 2**63 - 2]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda i: i.add([1.0, 2, 3]), r"X must have shape \(n, d\)"),
        (lambda i: i.add([[1.0, 2]]), "X must have 3 columns"),
        (lambda i: i.add([[1.0, 2, np.nan]]), "X must be finite"),
        (lambda i: i.add([[1e-20, 0, 0]]), "X must have rows of length 0 or from 1e-15"),
        (lambda i: i.add([[1e20, 0, 0]]), "X must have rows of length 0 or from 1e-15"),
        (lambda i: i.add([["a", "b", "c"]]), "X must be a matrix of numbers"),
        (lambda i: i.add([[1, 2, 3]], [0]), "id 0 is in the index already"),
        (lambda i: i.add([[1, 2, 3]], [1, 2]), "ids must hold one id for each of the 1 rows"),
        (lambda i: i.upsert([[1, 2, 3]] * 2, [7, 7]), "ids must be distinct"),
        (lambda i: i.remove([1]), "id 1 is not in the index"),
        (lambda i: i.vectors([1]), "id 1 is not in the index"),
        (lambda i: i.search([[1, 2, 3, 4]]), "X must have 3 columns"),
        (lambda i: i.search([[1, 2, np.inf]]), "X must be finite"),
        (lambda i: i.search([[1, 2, 3]], 0), "k must be"),
        (lambda i: i.search([[1, 2, 3]], 3, where=[1]), "id 1 is not in the index"),
        (lambda i: i.search([[1, 2, 3]], 3, threads=0), "threads must be"),
        (lambda i: i.rerank([[1, 2, 3]], [0], 3), "candidates must be integers of shape"),
        (lambda i: i.rerank([[1, 2, 3]], [[0.0]], 3), "candidates must be integers of shape"),
        (lambda i: i.rerank([[1, 2, 3]], [[1]], 3), "id 1 is not in the index"),
        (lambda i: i.rerank([[1, 2, 3]], [[0]], 0), "k must be"),
        (lambda i: simskip.VectorIndex(3).search([[1, 2, 3]]), "the index is empty"),
        (lambda i: simskip.VectorIndex(0), "dim must be"),
        (lambda i: simskip.VectorIndex(3, "hamming"), "metric must be one of"),
    ],
)
def test_errors_name_the_argument_and_change_nothing(call, message):
    index = simskip.VectorIndex(3)
    index.add(normal(5, 3, 8), np.arange(5) * 2)
    before = pickle.dumps(index)
    with pytest.raises(ValueError, match=message):
        call(index)
    assert pickle.dumps(index) == before


def test_missing_and_damaged_files(tmp_path):
    path = tmp_path / "v.index"
    with pytest.raises(FileNotFoundError, match=r"v\.index"):
        simskip.VectorIndex.load(path)
    index = simskip.VectorIndex(3)
    index.add(normal(5, 3, 9), np.arange(5) * 2)
    index.save(path)
    good = path.read_bytes()
    for at in range(0, len(good), 3):
        path.write_bytes(good[:at] + bytes([good[at] ^ 16]) + good[at + 1 :])
        with pytest.raises(simskip.FormatError, match=r"v\.index: "):
            simskip.VectorIndex.load(path)
    path.write_bytes(good[:-1])
    with pytest.raises(simskip.FormatError, match="cut short"):
        simskip.VectorIndex.load(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"header": b"{"},
        {"header": b"[]"},
        {"header": b"\xff"},
        {"header": b'{"dim": 3, "metric": "l2", "n": 2}'},
        {"header": b'{"dim": 3, "metric": "l3", "n": 2, "next_id": 5}'},
        {"header": b'{"dim": 4, "metric": "l2", "n": 2, "next_id": 5}'},
        {"header": b'{"dim": 3, "metric": "l2", "n": 1000000000000, "next_id": 5}'},
        {"header": b'{"dim": 3, "metric": "l2", "n": -2, "next_id": 5}'},
        {"header": b'{"dim": 3, "metric": "l2", "n": 2, "next_id": 4}'},
        {"header": b'{"dim": 3, "metric": "l2", "n": 2, "next_id": 9223372036854775808}'},
        {"ids": np.array([4, 1]).tobytes()},
        {"ids": np.array([-1, 4]).tobytes()},
        {"ids": np.array([4]).tobytes()},
        {"ids": b"123"},
        {"norms": b""},
    ],
)
def test_impossible_content_is_a_format_error(tmp_path, changes):
    path = os.fspath(tmp_path / "v.index")
    index = simskip.VectorIndex(3, "l2")
    index.add(normal(2, 3, 9), [1, 4])
    sections = [(name, np.frombuffer(changes.get(name, data.tobytes()), np.uint8)) for name, data in index._sections()]
    simskip._core.write_sections(path, "vectors", sections)
    with pytest.raises(simskip.FormatError, match="not a valid vector index"):
        simskip.VectorIndex.load(path)


def test_searches_beside_a_writer_see_before_or_after():
    index = simskip.VectorIndex(8)
    index.add(normal(2000, 8, 10))
    Q, extra, ids = normal(2, 8, 11), normal(2, 8, 11), [5000, 5001]

    def search():
        return [a.tobytes() for a in index.search(Q, 10, where=lambda i: i >= 0, threads=1)]

    before = search()
    index.add(extra, ids)
    after = search()
    index.remove(ids)
    assert before != after
    stop, answers = threading.Event(), []

    def read():
        while not stop.is_set():
            answers.append(search())

    thread = threading.Thread(target=read)
    thread.start()
    for _ in range(100):
        index.add(extra, ids)
        index.remove(ids)
    stop.set()
    thread.join()
    assert answers
    assert all(answer in (before, after) for answer in answers)


def test_repr_and_views():
    index = simskip.VectorIndex(3)
    index.add(normal(5, 3, 12))
    assert repr(index) == "VectorIndex(5 vectors x 3, metric='cosine', 100 bytes)"
    with pytest.raises(ValueError, match="read-only"):
        index.vectors()[0, 0] = 1
    assert index.search(np.empty((0, 3)), 4)[0].shape == (0, 4)


def halves(X):
    return X.astype(np.float16).astype(np.float32)


@pytest.mark.parametrize("metric", METRICS)
def test_halves_are_searched_as_the_rounded_vectors(metric):
    X, Q, ids = normal(700, 37, 1), normal(9, 37, 2), np.random.default_rng(3).permutation(2000)[:700]
    half, full = simskip.VectorIndex(37, metric, dtype="float16"), simskip.VectorIndex(37, metric)
    half.add(X[:300], ids[:300])
    half.add(X[300:], ids[300:])
    full.add(halves(X), ids)
    assert half.dtype == half.vectors().dtype == "float16"
    np.testing.assert_array_equal(half.vectors(), full.vectors())
    candidates = np.random.default_rng(4).choice(ids, (9, 50))
    for where in (None, ids[:200]):
        assert_same(half.search(Q, 11, where=where), full.search(Q, 11, where=where))
    assert_same(half.rerank(Q, candidates, 7), full.rerank(Q, candidates, 7))
    for index in (half, full):
        index.remove(ids[:100])
        index.upsert(halves(X[:150]), ids[:150])
    assert_same(half.search(Q, 11), full.search(Q, 11))
    assert half.nbytes < 0.6 * full.nbytes + 8 * len(half)


@pytest.mark.parametrize("mmap", [False, True])
def test_halves_are_kept(tmp_path, mmap):
    index = simskip.VectorIndex(5, "l2", dtype="float16")
    index.add(normal(30, 5, 1))
    index.save(tmp_path / "v")
    Q = normal(3, 5, 2)
    for other in (
        simskip.VectorIndex.load(tmp_path / "v", mmap=mmap),
        copy.deepcopy(index),
        pickle.loads(pickle.dumps(index)),
    ):
        assert other.dtype == "float16"
        assert_same(other.search(Q, 4), index.search(Q, 4))
        other.add(Q)
        assert other.search(Q, 1)[1].ravel().tolist() == [30, 31, 32]
    assert "float16" in repr(index)


def test_halves_have_a_range():
    index = simskip.VectorIndex(2, "dot", dtype="float16")
    index.add([[65504, -65504], [1e-9, 0]])
    assert index.vectors().tolist() == [[65504, -65504], [0, 0]]
    with pytest.raises(
        ValueError, match=r"X must have entries up to 65504 to be stored as float16, got -70000 at row 1"
    ):
        index.add([[1, 1], [2, -70000]])
    with pytest.raises(ValueError, match="dtype must be one of"):
        simskip.VectorIndex(2, dtype="float64")
    assert len(index) == 2
