import numpy as np
import pytest

import simskip
from simskip.evaluation.provenance import fingerprint
from simskip.evaluation.searchers import Data, exact_searcher, prepare


@pytest.fixture(scope="module")
def data(clusters):
    X, Q, _, _ = clusters
    return Data(X, Q, "cosine", fingerprint(X), fingerprint(Q))


class Foreign:
    """An index whose result is given."""

    def __init__(self, result, n=1000):
        self.result, self.n = result, n

    def __len__(self):
        return self.n

    def search(self, Q, k):
        return self.result


def test_one_index_serves_all_options_of_a_hasher(data, hasher):
    plain, reranked = prepare({"a": hasher, "b": (hasher, {"rerank": 3})}, data, None)
    assert plain.index is reranked.index
    assert plain.build_seconds == reranked.build_seconds > 0
    assert (plain.kind, reranked.kind) == ("codes", "reranked")
    assert plain.description == "24-bit codes"
    assert reranked.description == "24-bit codes + rerank x3"
    assert plain.vector_bytes_read(10) == 0
    assert reranked.vector_bytes_read(10) == 3 * 10 * 24 * 4
    assert reranked.vector_bytes_read(900) == 1000 * 24 * 4
    assert not reranked.covers_everything(333)
    assert reranked.covers_everything(334)


def test_asymmetric_with_rerank_is_described(data, hasher):
    (searcher,) = prepare({"a": (hasher, {"rerank": 3, "scoring": "asymmetric"})}, data, 1)
    assert searcher.kind == "reranked"
    assert searcher.description == "24-bit codes, asymmetric + rerank x3"
    assert searcher.options["threads"] == 1


def test_a_ready_index_has_no_build_time(data, hasher):
    index = simskip.SimilarityIndex(hasher)
    index.add(data.database)
    (searcher,) = prepare({"ready": index}, data, None)
    assert searcher.index is index
    assert np.isnan(searcher.build_seconds)
    assert searcher.codes == hasher.encode(data.database)


def test_the_exact_searcher_is_brute_force(data):
    found = exact_searcher(data, None).search(data.queries, 5)
    unit = data.database / np.linalg.norm(data.database, axis=1, keepdims=True)
    assert np.array_equal(found.ids, np.argsort(-(data.queries @ unit.T), axis=1)[:, :5])


def unfitted():
    return simskip.RandomHash(8)


def other_dimension():
    return simskip.RandomHash(8).fit(np.eye(7, dtype=np.float32))


def hamming():
    return simskip.HammingIndex(8)


def other_metric():
    index = simskip.SimilarityIndex(simskip.RandomHash(8).fit(np.eye(24)), metric="l2")
    index.add(np.eye(24, dtype=np.float32))
    return index


def too_small():
    index = simskip.SimilarityIndex(simskip.RandomHash(8).fit(np.eye(24)))
    index.add(np.eye(24, dtype=np.float32))
    return index


def other_vectors():
    rows = np.random.default_rng(9).normal(size=(1000, 24))
    index = simskip.SimilarityIndex(simskip.RandomHash(8).fit(rows))
    index.add(rows)
    return index


def other_ids():
    rows = np.random.default_rng(9).normal(size=(1000, 24))
    index = simskip.VectorIndex(24, metric="l2")
    index.add(rows, ids=np.arange(1, 1001))
    return index


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (other_vectors, r"searchers\['a'\] must hold exactly the rows of database, got other vectors"),
        (other_ids, r"searchers\['a'\] must have the row numbers of database as ids"),
        (unfitted, r"searchers\['a'\] must be a fitted hasher"),
        (other_dimension, r"searchers\['a'\] must be fitted to 24 dimensions, got 7"),
        (hamming, r"searchers\['a'\] is a HammingIndex, which takes codes"),
        (other_metric, r"searchers\['a'\] must have metric 'cosine', got 'l2'"),
        (too_small, r"searchers\['a'\] must hold exactly the 1000 rows of database, got 24"),
        (lambda: "name", r"must be a hasher \(encode, project\) or an index \(search\), got str"),
        (lambda: (simskip.RandomHash(8), 5), r"dict of search arguments"),
        (lambda: (simskip.RandomHash(8), {"k": 5}), "must not set k"),
        (lambda: type("NoLength", (), {"search": None})(), "must have a length"),
    ],
)
def test_what_cannot_search_is_refused(data, make, message):
    with pytest.raises(ValueError, match=message):
        prepare({"a": make()}, data, None)


@pytest.mark.parametrize(
    ("searchers", "message"),
    [
        ({}, "must name at least one"),
        ([1], "must be a dict"),
        ({"": 1}, "must be named"),
        ({"exact": 1}, "must be named"),
        ({"control": 1}, "must be named"),
        ({3: 1}, "must be named"),
    ],
)
def test_names_are_checked(data, searchers, message):
    with pytest.raises(ValueError, match=message):
        prepare(searchers, data, None)


def test_options_that_the_index_does_not_know_name_the_searcher(data, hasher):
    (searcher,) = prepare({"odd": (hasher, {"rerank": 0})}, data, None)
    with pytest.raises(ValueError, match=r"searchers\['odd'\] cannot search: rerank must be"):
        searcher.search(data.queries, 5)
    (searcher,) = prepare({"odd": (hasher, {"depth": 3})}, data, None)
    with pytest.raises(ValueError, match=r"searchers\['odd'\] cannot search: .*depth"):
        searcher.search(data.queries, 5)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (np.zeros((60, 2)), r"must return \(distances, ids\)"),
        ((np.zeros((60, 2)), np.zeros((60, 3), int)), "must return distances and integer ids of shape"),
        ((np.zeros((60, 3)), np.zeros((60, 3))), "integer ids"),
        ((np.zeros((60, 3)), np.full((60, 3), 1000)), "row numbers of database"),
        ((np.zeros((60, 3)), np.full((60, 3), -2)), "row numbers of database"),
    ],
)
def test_odd_results_are_refused(data, result, message):
    (searcher,) = prepare({"odd": Foreign(result)}, data, None)
    with pytest.raises(ValueError, match=message):
        searcher.search(data.queries, 3)


def test_padding_in_results_is_fine(data):
    ids = np.tile([0, 5, -1], (60, 1))
    (searcher,) = prepare({"short": Foreign((np.zeros((60, 3)), ids))}, data, None)
    assert searcher.search(data.queries, 3).ids.tolist() == ids.tolist()


@pytest.mark.parametrize("scoring", [None, "codes", "asymmetric"])
def test_a_target_recall_is_passed_on_and_its_reads_are_measured(data, hasher, scoring):
    options = {"recall": 0.9} if scoring is None else {"recall": 0.9, "scoring": scoring}
    (searcher,) = prepare({"target": (hasher, options)}, data, 1)
    assert searcher.kind == "reranked"
    assert searcher.description == f"24-bit codes{', asymmetric' * (scoring == 'asymmetric')} + rerank for recall 0.9"
    found = searcher.search(data.queries, 10)
    expected = searcher.index.search(data.queries, 10, recall=0.9, scoring=scoring)
    assert np.array_equal(found.ids, expected[1])
    reads = searcher.vectors_read(10)
    assert 10 <= reads < 1000
    assert searcher.vector_bytes_read(10) == reads * 24 * 4
    assert not searcher.covers_everything(10)
    (everything,) = prepare({"all": (searcher.index, {"recall": 1.0})}, data, 1)
    assert everything.covers_everything(10)


def test_an_index_of_halves_holds_the_rounded_rows(data, hasher):
    index = simskip.SimilarityIndex(hasher, dtype="float16")
    index.add(data.database)
    (searcher,) = prepare({"half": (index, {"rerank": 3})}, data, None)
    assert searcher.vector_bytes_read(10) == 3 * 10 * 24 * 2
