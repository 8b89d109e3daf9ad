"""Codes find, vectors decide: both stages against their exact counterparts."""

import copy
import os
import pickle
import threading

import numpy as np
import pytest

import simskip

DIM, BITS = 16, 16


def normal(n, seed):
    return np.random.default_rng(seed).normal(size=(n, DIM)).astype(np.float32)


@pytest.fixture(scope="module")
def hasher():
    return simskip.PCAHash(BITS, random_state=0).fit(normal(500, 0))


@pytest.fixture
def index(hasher):
    index = simskip.SimilarityIndex(hasher)
    index.add(normal(400, 1), np.arange(400) * 2)
    return index


def assert_same(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("metric", ["cosine", "l2", "dot"])
@pytest.mark.parametrize("scoring", ["codes", "asymmetric"])
def test_full_rerank_equals_exact_search(hasher, metric, scoring):
    X, Q, ids = normal(300, 2), normal(20, 3), np.random.default_rng(0).permutation(1000)[:300]
    both, exact = simskip.SimilarityIndex(hasher, metric), simskip.VectorIndex(DIM, metric)
    both.add(X, ids)
    exact.add(X, ids)
    for k, rerank in ((10, 30), (10, 1000), (300, 1), (310, 2)):
        assert_same(both.search(Q, k, scoring=scoring, rerank=rerank), exact.search(Q, k))
        where = ids[:100]
        assert_same(both.search(Q, k, scoring=scoring, rerank=rerank, where=where), exact.search(Q, k, where=where))


def test_rerank_orders_the_nearest_codes(index):
    Q = normal(5, 4)
    _, nearest = index.search(Q, 30)
    _, ids = index.search(Q, 10, rerank=3)
    exact = simskip.VectorIndex(DIM)
    exact.add(index.vectors(), index.ids)
    for q in range(5):
        assert_same(
            (exact.search(Q[q : q + 1], 10, where=nearest[q])[1],),
            (ids[q : q + 1],),
        )


def test_codes_scoring_is_the_hamming_index(index, hasher):
    Q = normal(5, 5)
    codes = simskip.HammingIndex(index.n_bits)
    codes.add(index.codes, index.ids)
    assert_same(index.search(Q, 12), codes.search(hasher.encode(Q), 12))


def test_asymmetric_scoring_equals_numpy(index, hasher):
    Q = normal(6, 6)
    outputs = hasher.project(Q).astype(np.float64)
    bits = simskip.unpack(index.codes).astype(bool)
    sums = (np.abs(outputs)[:, None] * ((outputs > 0)[:, None] != bits[None])).sum(axis=2)
    distances, ids = index.search(Q, 400, scoring="asymmetric")
    rows = ids // 2
    assert distances.dtype == np.float32
    for q in range(6):
        assert sorted(rows[q]) == list(range(400))
        np.testing.assert_allclose(distances[q], sums[q, rows[q]], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(distances[q], np.sort(sums[q]), rtol=1e-5, atol=1e-6)
        order = list(zip(distances[q].tolist(), ids[q].tolist(), strict=True))
        assert order == sorted(order)
    for threads in (2, 3):
        assert_same(index.search(Q, 400, scoring="asymmetric", threads=threads), (distances, ids))


def test_k_means_k_with_filters(index):
    Q = normal(2, 7)
    for options in ({}, {"scoring": "asymmetric"}, {"rerank": 4}):
        where = [2, 4, 6]
        for filter in (where, lambda ids: (ids >= 2) & (ids <= 6), np.isin(index.ids, where)):
            _, ids = index.search(Q, 5, where=filter, **options)
            assert sorted(ids[0].tolist()) == [-1, -1, 2, 4, 6]


def test_changes_keep_codes_and_vectors_together(index, hasher):
    X = normal(3, 8)
    index.upsert(X, [0, 1, 2])
    index.remove([10, 20])
    index.add(X[:1])
    assert len(index) == 400
    assert 1 in index
    assert 10 not in index
    np.testing.assert_array_equal(index.vectors([0, 1, 2]), X)
    assert index.codes == hasher.encode(index.vectors())
    assert index.ids[-1] == 799
    assert index.search(X[1:2], 1, rerank=400)[1].tolist() == [[1]]


@pytest.mark.parametrize("mmap", [False, True])
def test_save_and_load(tmp_path, index, mmap):
    path, Q = tmp_path / "s.index", normal(4, 9)
    index.save(path)
    loaded = simskip.SimilarityIndex.load(path, mmap=mmap)
    for options in ({}, {"rerank": 5}, {"scoring": "asymmetric"}):
        assert_same(loaded.search(Q, 7, **options), index.search(Q, 7, **options))
    loaded.add(Q)
    loaded.save(path)
    assert len(simskip.SimilarityIndex.load(path)) == 404
    assert os.listdir(tmp_path) == ["s.index"]


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda i: pickle.loads(pickle.dumps(i))])
def test_copies_are_their_own(index, way):
    copied, Q = way(index), normal(2, 10)
    assert_same(copied.search(Q, 5, rerank=2), index.search(Q, 5, rerank=2))
    copied.remove([0])
    copied.add(Q)
    assert len(copied) == 401
    assert len(index) == 400
    assert 0 in index


def test_damaged_files(tmp_path, index):
    path = tmp_path / "s.index"
    with pytest.raises(FileNotFoundError):
        simskip.SimilarityIndex.load(path)
    index.save(path)
    good = path.read_bytes()
    for at in range(0, len(good), len(good) // 150):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(simskip.FormatError, match=r"s\.index: "):
            simskip.SimilarityIndex.load(path)


def test_another_hashers_codes_are_refused(tmp_path, index):
    path = os.fspath(tmp_path / "s.index")
    index.save(path)
    sections = simskip._core.read_sections(path, "similarity")
    other = simskip.PCAHash(index.n_bits, random_state=1).fit(normal(500, 11))
    sections["hasher"] = np.frombuffer(other.to_bytes(), np.uint8)
    simskip._core.write_sections(path + "2", "similarity", list(sections.items()))
    with pytest.raises(simskip.FormatError, match="not the one that made the codes"):
        simskip.SimilarityIndex.load(path + "2")


class Liar:
    """A hasher of one's own, with mistakes."""

    n_bits, dim_ = 8, DIM

    def __init__(self, bits=8, rows=0, value=1.0):
        self.bits, self.rows, self.value = bits, rows, value

    def encode(self, X):
        return simskip.pack(np.ones((len(X) + self.rows, self.bits)))

    def project(self, X):
        return np.full((len(X), 8), self.value)


@pytest.mark.parametrize("mistake", [{"bits": 9}, {"rows": 1}])
def test_wrong_codes_of_a_hasher_change_nothing(mistake):
    index = simskip.SimilarityIndex(Liar(**mistake))
    for change in (lambda: index.add(normal(3, 0)), lambda: index.upsert(normal(3, 0), [1, 2, 3])):
        with pytest.raises(ValueError, match=r"hasher\.encode\(X\) must"):
            change()
    assert len(index) == len(index.vectors()) == 0


def test_wrong_outputs_of_a_hasher():
    index = simskip.SimilarityIndex(Liar(value=np.nan))
    index.add(normal(3, 0))
    with pytest.raises(ValueError, match=r"hasher\.project\(X\) must be finite"):
        index.search(normal(1, 0), 1, scoring="asymmetric")
    good = simskip.SimilarityIndex(Liar())  # float64 outputs are converted
    good.add(normal(3, 0))
    assert good.search(normal(1, 0), 3, scoring="asymmetric")[1].tolist() == [[0, 1, 2]]
    with pytest.raises(ValueError, match=r"hasher must be a simskip\.Hasher to be saved"):
        good.save("unused")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda i: i.add(normal(1, 0)[:, :5]), f"X must have {DIM} columns"),
        (lambda i: i.add(normal(1, 0) * np.nan), "X must be finite"),
        (lambda i: i.add(normal(1, 0), [0]), "id 0 is in the index already"),
        (lambda i: i.add(normal(2, 0), [1, 1]), "ids must be distinct"),
        (lambda i: i.add(normal(2, 0) * 1e-20, [1, 3]), "X must have rows of length"),
        (lambda i: i.remove([1]), "id 1 is not in the index"),
        (lambda i: i.search(normal(1, 0)[0]), r"X must have shape \(n, d\)"),
        (lambda i: i.search(normal(1, 0), 0), "k must be"),
        (lambda i: i.search(normal(1, 0), 1, rerank=0), "rerank must be"),
        (lambda i: i.search(normal(1, 0), 1, scoring="exact"), "scoring must be one of"),
        (lambda i: i.search(normal(1, 0), 1, where=[1]), "id 1 is not in the index"),
        (lambda i: i.search(normal(1, 0), 1, threads=0), "threads must be"),
        (lambda i: simskip.SimilarityIndex(i.hasher).search(normal(1, 0)), "the index is empty"),
        (lambda i: simskip.SimilarityIndex(i.hasher, "l3"), "metric must be one of"),
        (lambda i: simskip.SimilarityIndex(simskip.PCAHash(8)), "hasher must be fitted"),
        (lambda i: simskip.SimilarityIndex("pca"), "hasher must have encode"),
    ],
)
def test_errors_name_the_argument_and_change_nothing(index, call, message):
    before = pickle.dumps(index)
    with pytest.raises(ValueError, match=message):
        call(index)
    assert pickle.dumps(index) == before


def test_searches_beside_a_writer_see_before_or_after(index):
    Q, ids = normal(2, 12), [1001, 1003]

    def search():
        return [a.tobytes() for a in index.search(Q, 5, rerank=4, threads=1)]

    before = search()
    index.add(Q, ids)
    after = search()
    index.remove(ids)
    assert before != after
    stop, answers, copies = threading.Event(), [], []

    def read():
        while not stop.is_set():
            answers.append(search())
            copied = pickle.loads(pickle.dumps(index))
            copies.append((len(copied._codes), len(copied._vectors)))

    thread = threading.Thread(target=read)
    thread.start()
    for _ in range(60):
        index.add(Q, ids)
        index.remove(ids)
    stop.set()
    thread.join()
    assert answers
    assert all(answer in (before, after) for answer in answers)
    assert set(copies) <= {(400, 400), (402, 402)}


def test_repr_and_sizes(index):
    assert repr(index).startswith(f"SimilarityIndex(400 items, {index.n_bits} bits of {DIM} floats, metric='cosine'")
    assert index.nbytes_vectors > index.nbytes_codes > 0
