"""BucketSearch: which buckets are read, in which order, and what evaluate() says about them."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import simskip
from simskip.evaluation import BucketSearch, bucket_search
from simskip.evaluation.provenance import fingerprint
from simskip.evaluation.searchers import Data, prepare


class Signs:
    """Codes are the signs of the first columns: buckets can be made by hand."""

    def __init__(self, n_bits, dim):
        self.n_bits, self.dim_ = n_bits, dim

    def encode(self, X):
        return simskip.pack(np.asarray(X, np.float32)[:, : self.n_bits])

    def project(self, X):
        return np.asarray(X, np.float32)[:, : self.n_bits]


def by_the_book(X, queries, n_bits, k, metric, radius, widen):
    """The definition, item by item: (ids, rows read) of each query."""
    codes, asked = X[:, :n_bits] > 0, queries[:, :n_bits] > 0
    weights = 1 << np.arange(n_bits)
    results = []
    for query, code in zip(queries, asked, strict=True):
        differing = codes ^ code
        distance, mask = differing.sum(axis=1), differing @ weights
        read = list(np.flatnonzero(distance == 0))
        for d in range(1, radius + 1):
            ring = sorted(set(mask[distance == d]))
            for bucket in [ring] if widen == "ring" else [[m] for m in ring]:
                if len(read) < k:
                    read += list(np.flatnonzero(np.isin(mask, bucket)))
        rows = X[read].astype(np.float64)
        q = query.astype(np.float64)
        far = {
            "l2": np.linalg.norm(rows - q, axis=1),
            "dot": -(rows @ q),
            "cosine": 1 - rows @ q / (np.linalg.norm(rows, axis=1) * np.linalg.norm(q)),
        }[metric]
        order = np.lexsort((read, np.round(far, 9)))[:k]
        ids = np.full(k, -1)
        ids[: len(order)] = np.asarray(read, int)[order]
        results.append((ids, len(read)))
    return np.array([ids for ids, _ in results]), np.array([read for _, read in results])


@given(
    n=st.integers(1, 60),
    n_bits=st.sampled_from([1, 3, 4, 7, 9]),  # the origin's: 3 and 4 bits for words, 7 to 9 for images
    k=st.integers(1, 30),
    metric=st.sampled_from(["cosine", "l2", "dot"]),
    radius=st.integers(0, 3),
    widen=st.sampled_from(["bucket", "ring"]),
    own_index_items=st.sampled_from([1, 8, 64]),
    seed=st.integers(0, 2**32),
)
def test_it_reads_what_the_definition_says(n, n_bits, k, metric, radius, widen, own_index_items, seed):
    with mock.patch.object(bucket_search, "_OWN_INDEX_ITEMS", own_index_items):
        check(n, n_bits, k, metric, radius, widen, seed)


def check(n, n_bits, k, metric, radius, widen, seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 12)).astype(np.float32)
    queries = rng.normal(size=(9, 12)).astype(np.float32)
    radius = min(radius, n_bits)
    search = BucketSearch(Signs(n_bits, 12), metric, radius, widen)
    search.add(X)
    distances, ids = search.search(queries, k)
    expected, read = by_the_book(X, queries, n_bits, k, metric, radius, widen)
    np.testing.assert_array_equal(ids, expected)
    np.testing.assert_array_equal(search.rows_read_, read)
    assert (ids.dtype, distances.dtype) == (np.int64, np.float32)
    assert (np.isinf(distances) == (ids < 0)).all()
    assert (distances[ids < 0] == (-np.inf if metric == "dot" else np.inf)).all()
    assert search.stats()["vectors_read"] == read.sum()
    # One query at a time finds the same.
    alone = [search.search(query[None], k) for query in queries]
    np.testing.assert_array_equal(np.concatenate([a[1] for a in alone]), ids)
    np.testing.assert_array_equal(np.concatenate([a[0] for a in alone]), distances)
    assert search.stats()["queries"] == 18
    # More than a bucket holds that was searched before; then, fewer again; then, after more rows came.
    for k in (n + 1, 1):
        expected, read = by_the_book(X, queries, n_bits, k, metric, radius, widen)
        np.testing.assert_array_equal(search.search(queries, k)[1], expected)
        np.testing.assert_array_equal(search.rows_read_, read)
    more = rng.normal(size=(5, 12)).astype(np.float32)
    search.add(more)
    expected, _ = by_the_book(np.concatenate([X, more]), queries, n_bits, 3, metric, radius, widen)
    np.testing.assert_array_equal(search.search(queries, 3)[1], expected)


def test_the_least_differing_bits_come_first_even_beyond_a_byte():
    X = -np.ones((4, 12), np.float32)
    X[0, 10] = X[1, 2] = X[2, 8] = 1
    X[3, :2] = 1  # at distance 2
    search = BucketSearch(Signs(12, 12), "l2", radius=2)
    search.add(X)
    query = -np.ones((1, 12), np.float32)
    assert [set(search.search(query, k)[1][0]) for k in (1, 2, 3, 4)] == [{1}, {1, 2}, {0, 1, 2}, {0, 1, 2, 3}]


def test_many_queries_share_the_work_of_few_buckets(monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 8)).astype(np.float32)
    queries = rng.normal(size=(5000, 8)).astype(np.float32)
    search = BucketSearch(Signs(7, 8), "cosine")
    search.add(X)
    calls = []
    exact = simskip.VectorIndex.search

    def counting(self, *arguments, **options):
        calls.append(len(arguments[0]))
        return exact(self, *arguments, **options)

    monkeypatch.setattr(simskip.VectorIndex, "search", counting)
    _, ids = search.search(queries, 25)
    assert len(calls) == 128  # one for each bucket, not for each query
    assert sum(calls) == 5000
    assert (ids >= 0).all()
    assert search.rows_read_.min() >= 25
    assert search.rows_read_.max() < 200


def test_no_queries_and_more_rows_later():
    X = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    search = BucketSearch(Signs(2, 4))
    search.add(X[:12])
    search.add(X[12:])
    distances, ids = search.search(np.empty((0, 4), np.float32), 3)
    assert distances.shape == ids.shape == (0, 3)
    assert search.ids.tolist() == list(range(20))
    assert search.codes == Signs(2, 4).encode(X)
    np.testing.assert_array_equal(search.vectors(), X)
    other = search.filled(X[:5])
    assert (len(other), len(search), other.radius, other.widen) == (5, 20, 1, "bucket")
    assert repr(other) == "BucketSearch(5 items, 2 bits, metric='cosine', radius=1, widen='bucket')"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "hamming"}, "metric must be one of"),
        ({"radius": -1}, "radius must be an integer from 0 to 3"),
        ({"radius": 4}, "radius must be an integer from 0 to 3"),
        ({"widen": "all"}, "widen must be one of 'bucket', 'ring'"),
        ({"hasher": simskip.PCAHash(4)}, "hasher must be fitted"),
        ({"hasher": None}, r"hasher must have encode\(\)"),
    ],
)
def test_parameters_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        BucketSearch(**{"hasher": Signs(3, 4), **options})


def test_input_is_checked():
    search = BucketSearch(Signs(3, 4))
    with pytest.raises(ValueError, match="holds nothing"):
        search.search(np.ones((1, 4)), 3)
    search.add(np.eye(4))
    with pytest.raises(ValueError, match="X must have 4 columns"):
        search.search(np.ones((1, 5)), 3)
    with pytest.raises(ValueError, match="k must be an integer from 1"):
        search.search(np.ones((1, 4)), 0)
    with pytest.raises(ValueError, match="finite"):
        search.add(np.full((1, 4), np.nan))
    assert len(search) == 4


@pytest.fixture(scope="module")
def data(clusters):
    X, Q, _, _ = clusters
    return Data(X, Q, "cosine", fingerprint(X), fingerprint(Q))


def test_evaluate_fills_an_empty_one_and_counts_what_is_read(data):
    empty = BucketSearch(simskip.PCAHash(6).fit(data.database))
    (searcher,) = prepare({"buckets": empty}, data, 1)
    assert len(empty) == 0  # the user's own is left alone
    assert len(searcher.index) == 1000
    assert searcher.kind == "bucket"
    assert searcher.description == "buckets of 6-bit codes, then cosine"
    assert searcher.build_seconds > 0
    searcher.search(data.queries, 10)
    assert searcher.vectors_read(10) == searcher.index.rows_read_.mean()
    assert searcher.vector_bytes_read(10) == searcher.vectors_read(10) * 24 * 4
    assert not searcher.covers_everything(10)
    (ready,) = prepare({"buckets": searcher.index}, data, 1)
    assert ready.index is searcher.index
    assert np.isnan(ready.build_seconds)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda X: BucketSearch(simskip.PCAHash(4).fit(X), "l2"), "must have metric 'cosine', got 'l2'"),
        (lambda X: BucketSearch(simskip.PCAHash(4).fit(X), "l2").filled(X), "must have metric 'cosine', got 'l2'"),
        (lambda X: BucketSearch(simskip.PCAHash(4).fit(X)).filled(X[:9]), "exactly the 1000 rows of database"),
        (lambda X: BucketSearch(simskip.PCAHash(4).fit(X)).filled(X[::-1]), "got other vectors"),
        (lambda X: BucketSearch(simskip.PCAHash(4).fit(X[:, :7])), "must be fitted to 24 dimensions, got 7"),
    ],
)
def test_what_does_not_fit_the_evaluation_is_refused(data, make, message):
    with pytest.raises(ValueError, match=message):
        prepare({"buckets": make(data.database)}, data, None)


def test_a_collapsed_hasher_is_found_to_be_exact_search(clusters):
    """The origin's mistake: nearly everything in one bucket, recall 1, and nobody noticed."""
    X, Q, labels, query_labels = clusters

    class Collapsed(Signs):
        def encode(self, X):
            return simskip.pack(np.ones((len(X), 7)))

    healthy = BucketSearch(simskip.PCAHash(3).fit(X))
    report = simskip.evaluate(
        {"collapsed": BucketSearch(Collapsed(7, 24)), "healthy": healthy},
        database=X,
        queries=Q,
        k=10,
        labels=labels,
        query_labels=query_labels,
        latency_queries=2,
        repetitions=1,
    )
    rows = {row.name: row for row in report.rows}
    assert rows["collapsed"].get("recall@10") == 1
    assert rows["collapsed"].disqualified
    assert any("every query's buckets cover all 1000 items" in flag for flag in rows["collapsed"].flags)
    assert any("collapsed" in flag for flag in rows["collapsed"].flags)
    assert not rows["healthy"].disqualified
    assert 0.2 < rows["healthy"].get("recall@10") < 1
    assert rows["healthy"].get("vector_bytes") < rows["exact"].get("vector_bytes") / 2
    assert rows["healthy"].get("n_codes") == 8
