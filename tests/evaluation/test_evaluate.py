import json

import numpy as np
import pytest

import simskip
from simskip.evaluation import evaluate
from simskip.evaluation.judge import chance_recall

FAST = {"latency_queries": 2, "repetitions": 1}


def brute_force(X, Q, k):
    X, Q = X.astype(np.float64), Q.astype(np.float64)
    X, Q = X / np.linalg.norm(X, axis=1)[:, None], Q / np.linalg.norm(Q, axis=1)[:, None]
    return np.argsort(-Q @ X.T, axis=1, kind="stable")[:, :k]


class Foreign:
    """An index of somebody else's: ids from a function."""

    def __init__(self, n, find):
        self.n, self.find = n, find

    def __len__(self):
        return self.n

    def search(self, Q, k):
        ids = self.find(Q, k)
        return np.zeros(ids.shape, np.float32), ids


def test_rows_are_exact_then_the_searchers_then_the_control(report):
    assert [row.name for row in report.rows] == ["exact", "codes", "asymmetric", "rerank x4", "control"]
    assert [row.kind for row in report.rows] == ["exact", "codes", "asymmetric", "reranked", "control"]


@pytest.mark.parametrize("name", ["codes", "asymmetric", "rerank x4"])
@pytest.mark.parametrize("j", [1, 10, 100])
def test_recall_is_that_of_a_search_for_so_many(report, clusters, hasher, name, j):
    X, Q, _, _ = clusters
    index = simskip.SimilarityIndex(hasher)
    index.add(X)
    options = {"codes": {}, "asymmetric": {"scoring": "asymmetric"}, "rerank x4": {"rerank": 4}}[name]
    _, found = index.search(Q, k=j, **options)
    exact = brute_force(X, Q, j)
    expected = np.mean([len(set(f) & set(e)) / j for f, e in zip(found, exact, strict=True)])
    assert report.row(name).get(f"recall@{j}") == pytest.approx(expected)
    assert 0 < expected < 1
    low, high = (report.row(name).get(f"recall@{j} {end}") for end in ("low", "high"))
    assert low <= expected <= high
    assert low < high


def test_more_work_finds_more(report):
    recalls = [report.row(name).get("recall@10") for name in ("codes", "asymmetric", "rerank x4")]
    assert recalls == sorted(recalls)
    assert recalls[0] < recalls[2]


def test_label_metrics_are_those_of_the_metrics_module(report, clusters, hasher):
    X, Q, labels, query_labels = clusters
    codes = hasher.encode(X)
    row = report.row("codes")
    assert row.get("map") == pytest.approx(
        simskip.evaluation.metrics.mean_average_precision(
            query_labels, labels, codes=codes, query_codes=hasher.encode(Q)
        )
    )
    assert row.get("coverage") == simskip.evaluation.metrics.coverage(codes, labels)
    assert row.get("n_codes") == len(np.unique(codes.data, axis=0))
    exact = brute_force(X, Q, 10)
    precision = (labels[exact] == query_labels[:, None]).mean()
    assert report.row("exact").get("precision@10") == pytest.approx(precision)
    # By its definition: precision at the rank of each relevant item.
    full = brute_force(X, Q, len(X))
    relevant = labels[full] == query_labels[:, None]
    at_rank = np.cumsum(relevant, axis=1) / np.arange(1, len(X) + 1)
    values = [at_rank[i][relevant[i]].mean() for i in range(len(Q))]
    assert report.row("exact").get("map") == pytest.approx(np.mean(values), abs=1e-4)
    score = -(hasher.project(Q) @ (simskip.unpack(codes).T * 2.0 - 1.0))
    asymmetric = simskip.evaluation.metrics.mean_average_precision(query_labels, labels, distances=score)
    assert report.row("asymmetric").get("map") == pytest.approx(asymmetric, abs=1e-4)
    assert np.isnan(report.row("rerank x4").get("map"))


def test_memory_is_counted(report):
    exact, codes, reranked = (report.row(name) for name in ("exact", "codes", "rerank x4"))
    assert exact.get("bytes_per_item") == 24 * 4
    assert codes.get("bytes_per_item") == 3
    assert codes.get("memory_ratio") == 32
    assert codes.get("vector_bytes") == 0
    assert reranked.get("vector_bytes") == 4 * 10 * 24 * 4
    assert exact.get("vector_bytes") == 1000 * 24 * 4


def test_a_target_recall_is_judged_like_a_depth(clusters, hasher):
    X, Q, _, _ = clusters
    searchers = {"target": (hasher, {"recall": 0.9, "scoring": "asymmetric"}), "all": (hasher, {"recall": 1.0})}
    report = evaluate(searchers, database=X, queries=Q, k=10, **FAST)
    target, everything = report.row("target"), report.row("all")
    assert target.description == "24-bit codes, asymmetric + rerank for recall 0.9"
    assert target.get("recall@10") >= 0.9
    assert 10 * 24 * 4 <= target.get("vector_bytes") < 1000 * 24 * 4
    assert not target.disqualified
    assert everything.disqualified
    assert everything.flags == [
        "the rerank (rerank for recall 1.0) covers all 1000 items at k = 10: this is exact search by another name"
    ]


def test_times_are_there_and_consistent(report):
    for row in report.rows[:-1]:
        assert len(row.latencies_ms) == 5
        assert 0 < row.get("latency_p50_ms") <= row.get("latency_p95_ms")
        assert row.get("queries_per_second") > 0
        assert row.get("speedup") == min(row.get("speedup_single"), row.get("speedup_batch"))
    assert report.row("exact").get("speedup") == 1.0
    assert report.row("codes").get("build_seconds") > 0


def test_the_control_scores_about_chance(report):
    control = report.rows[-1]
    assert control.get("expected") == 10 / 1000
    assert abs(control.get("recall@10") - 0.01) < 0.01
    assert not control.flags


def test_provenance_tells_the_lists_apart(report, clusters, hasher):
    exact, codes = report.row("exact").origin, report.row("codes").origin
    assert (exact.engine, exact.metric) == ("VectorIndex", "cosine")
    assert (codes.engine, codes.metric) == ("SimilarityIndex", "hamming")
    assert codes.hasher_fingerprint == hasher.fingerprint
    assert exact.database == codes.database == simskip.evaluation.provenance.fingerprint(clusters[0])
    assert len({exact.database, exact.queries, codes.codes}) == 3
    assert report.row("rerank x4").origin.options == {"rerank": 4}
    json.dumps(report.provenance)


# The origin project reported "Recall@25 = 1" by comparing the exact list with itself.


@pytest.mark.parametrize("metric", ["cosine", "l2", "dot"])
def test_exact_search_cannot_be_compared_with_itself(clusters, metric):
    X, Q, _, _ = clusters
    index = simskip.VectorIndex(X.shape[1], metric=metric)
    index.add(X)
    with pytest.raises(ValueError, match="comparing it with itself"):
        evaluate({"mine": index}, database=X, queries=Q, metric=metric, **FAST)


def test_exact_search_by_another_metric_can(clusters):
    X, Q, _, _ = clusters
    index = simskip.VectorIndex(X.shape[1], metric="l2")
    index.add(X)
    report = evaluate({"l2": index}, database=X, queries=Q, **FAST)
    assert 0.5 < report.row("l2").get("recall@25") < 1


def test_exact_search_in_a_wrapper_is_flagged_and_never_praised(clusters):
    X, Q, _, _ = clusters
    index = simskip.VectorIndex(X.shape[1])
    index.add(X)
    wrapped = Foreign(len(X), lambda q, k: index.search(q, k=k)[1])
    report = evaluate({"new": wrapped}, database=X, queries=Q, **FAST)
    row = report.row("new")
    assert row.get("recall@25") == 1.0
    assert row.disqualified
    assert "every list equals the exact list" in row.flags[0]
    assert report.verdict == "no verdict: every searcher is exact search by another name"
    assert any("new: every list equals" in warning for warning in report.warnings)


def test_a_rerank_of_everything_is_exact_search_by_another_name(clusters, hasher):
    X, Q, _, _ = clusters
    report = evaluate({"all": (hasher, {"rerank": 100})}, database=X, queries=Q, k=10, **FAST)
    assert report.row("all").disqualified
    assert report.verdict.startswith("no verdict")


def test_arrays_of_the_exact_search_are_refused(clusters):
    X, Q, _, _ = clusters
    kept = {}
    original = simskip.VectorIndex.search

    class Thief(Foreign):
        pass

    def spying(self, queries, k=25, **rest):
        kept["result"] = original(self, queries, k=k, **rest)
        return kept["result"]

    thief = Thief(len(X), lambda q, k: kept["result"][1][: len(q), :k])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simskip.VectorIndex, "search", spying)
        with pytest.raises(ValueError, match="returned the exact search's own array"):
            evaluate({"thief": thief}, database=X, queries=Q, **FAST)


def test_a_leak_shows_in_the_control(clusters):
    X, Q, _, _ = clusters
    same = np.tile(X[:1], (300, 1))  # every exact list is the rows 0, 1, 2, ...
    hasher = simskip.RandomHash(16).fit(X)
    report = evaluate({"codes": hasher}, database=same, queries=Q, k=10, **FAST)
    control = report.rows[-1]
    assert control.get("recall@10") == 1.0
    assert "where chance gives 0.033" in control.flags[0]
    assert report.verdict.startswith("no verdict: the control with shuffled codes scores")
    assert "<h2>Read this first</h2>" in report.to_html()


def test_the_control_of_a_foreign_index_has_shuffled_ids(clusters):
    X, Q, _, _ = clusters
    good = Foreign(len(X), lambda q, k: np.roll(brute_force(X, q, k + 1), -1, axis=1)[:, :k])
    report = evaluate({"near": good}, database=X, queries=Q, **FAST)
    assert report.row("near").get("recall@25") == pytest.approx(24 / 25)
    assert report.rows[-1].get("recall@25") == pytest.approx(0.025, abs=0.02)
    assert np.isnan(report.row("near").get("bytes_per_item"))


def test_chance_and_its_allowance_fit_random_lists():
    rng = np.random.default_rng(0)
    for k, n, q in ((10, 40, 30), (25, 5000, 200), (1, 10, 5)):
        expected, allowed = chance_recall(k, n, q)
        means = [np.mean([np.isin(rng.permutation(n)[:k], np.arange(k)).mean() for _ in range(q)]) for _ in range(30)]
        assert np.mean(means) == pytest.approx(expected, abs=0.03 if n < 100 else 0.002)
        assert np.max(np.abs(np.array(means) - expected)) < allowed


def test_queries_that_are_rows_are_reported_or_refused(clusters, hasher):
    X, Q, _, _ = clusters
    mixed = np.concatenate([Q[:5], X[7:9]])
    report = evaluate({"codes": hasher}, database=X, queries=mixed, **FAST)
    assert report.provenance["queries_in_database"] == 2
    assert any("2 of 7 queries are rows of the database" in warning for warning in report.warnings)
    allowed = evaluate({"codes": hasher}, database=X, queries=mixed, overlap="allow", **FAST)
    assert not any("rows of the database" in warning for warning in allowed.warnings)
    with pytest.raises(ValueError, match=r"2 of 7 are \(the first: query 5\)"):
        evaluate({"codes": hasher}, database=X, queries=mixed, overlap="refuse", **FAST)


def test_ties_at_the_cut_are_reported_and_can_count(clusters):
    X, Q, _, _ = clusters
    twice = np.concatenate([X[:150], X[:150]])  # every item has a twin at the same distance
    hasher = simskip.PCAHash(24).fit(X)
    index = simskip.SimilarityIndex(hasher)
    index.add(twice)
    flipped = Foreign(len(twice), lambda q, k: (index.search(q, k=k, rerank=12)[1] + 150) % 300)
    arguments = {"database": twice, "queries": Q, "k": 5, **FAST}
    plain = evaluate({"twins": flipped}, **arguments)
    assert any("several items at the distance of their 5-th" in warning for warning in plain.warnings)
    aware = evaluate({"twins": flipped}, recall_ties="distances", **arguments)
    assert plain.row("twins").get("recall@5") < 0.9
    assert aware.row("twins").get("recall@5") > 0.99
    assert not any("several items" in warning for warning in aware.warnings)


def test_small_data(clusters, hasher):
    X, Q, _, _ = clusters
    report = evaluate({"codes": hasher}, database=X[:40], queries=Q[:1], k=25, **FAST)
    keys = [column.key for column in report.columns]
    assert [key for key in keys if key.startswith("recall")] == ["recall@1", "recall@10", "recall@25"]
    assert report.verdict.endswith("but one query is too few to judge")
    everything = evaluate({"codes": hasher}, database=X[:5], queries=Q, k=5, **FAST)
    assert everything.row("codes").get("recall@5") == 1.0


def test_multi_label_data_have_no_coverage(clusters, hasher):
    X, Q, labels, query_labels = clusters
    report = evaluate(
        {"codes": hasher},
        database=X,
        queries=Q,
        labels=np.eye(5, dtype=bool)[labels],
        query_labels=np.eye(5, dtype=bool)[query_labels],
        **FAST,
    )
    single = evaluate({"codes": hasher}, database=X, queries=Q, labels=labels, query_labels=query_labels, **FAST)
    for key in ("map", "precision@25"):
        assert report.row("codes").get(key) == pytest.approx(single.row("codes").get(key))
    assert np.isnan(report.row("codes").get("coverage"))
    assert report.row("codes").get("n_codes") == single.row("codes").get("n_codes")


def test_collapsed_codes_are_flagged(clusters):
    X, Q, _, _ = clusters

    class Constant:
        n_bits, dim_ = 8, X.shape[1]

        def encode(self, rows):
            return simskip.pack(np.ones((len(rows), 8)))

        def project(self, rows):
            return np.ones((len(rows), 8), np.float32)

    report = evaluate({"constant": Constant()}, database=X, queries=Q, **FAST)
    assert any(flag.startswith("collapsed") for flag in report.row("constant").flags)
    assert report.row("constant").get("n_codes") == 1
    assert report.verdict.startswith(("stay with float", "no verdict"))


def test_the_same_call_gives_the_same_scores(clusters, hasher):
    X, Q, _, _ = clusters
    first, second = (evaluate({"codes": hasher}, database=X, queries=Q, **FAST) for _ in range(2))
    for one, two in zip(first.rows, second.rows, strict=True):
        for key in one.values:
            if key.startswith("recall"):
                assert one.values[key] == pytest.approx(two.values[key], nan_ok=True)


def test_the_data_of_the_caller_is_left_alone(clusters, hasher):
    X, Q, _, _ = (part.copy() for part in clusters)
    options = {"rerank": 2}
    evaluate({"codes": (hasher, options)}, database=X, queries=Q, threads=1, **FAST)
    assert np.array_equal(X, clusters[0])
    assert options == {"rerank": 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 0}, "k must be an integer >= 1, got 0"),
        ({"k": 2.5}, "k must be"),
        ({"k": 1001}, "k must be at most the 1000 rows of database, got 1001"),
        ({"metric": "hamming"}, "metric must be one of"),
        ({"queries": np.zeros((3, 5))}, "queries must have 24 columns"),
        ({"queries": np.full((1, 24), np.nan)}, "queries must be finite"),
        ({"database": np.zeros(5)}, "database must have shape"),
        ({"labels": np.zeros(1000, int)}, "labels and query_labels must be given together"),
        (
            {"labels": np.zeros(7, int), "query_labels": np.zeros(60, int)},
            "labels must hold one label for each",
        ),
        (
            {"labels": np.zeros(1000, int), "query_labels": np.zeros(7, int)},
            "query_labels must hold one label",
        ),
        ({"level": 1.0}, "level must lie inside"),
        ({"min_recall": 1.5}, "min_recall must lie in"),
        ({"overlap": "ignore"}, "overlap must be one of"),
        ({"recall_ties": "maybe"}, "recall_ties must be one of"),
        ({"repetitions": 0}, "repetitions must be"),
        ({"latency_queries": 0}, "latency_queries must be"),
        ({"threads": 0}, "threads must be"),
        ({"query_pictures": [1]}, r"pictures \(of the database\) must be given"),
        ({"pictures": [1, 2]}, "pictures must hold one picture for each of the 1000 rows, got 2"),
        ({"pictures": 5}, "pictures must be a callable"),
        ({"pictures": lambda i: np.zeros(3)}, "pictures must give uint8 arrays"),
    ],
)
def test_bad_arguments_are_refused_before_any_work(clusters, change, message):
    X, Q, _, _ = clusters

    class Untouched:
        def __len__(self):
            raise AssertionError("work before the check")

        def search(self, Q, k):
            raise AssertionError("work before the check")

    with pytest.raises(ValueError, match=message):
        evaluate({"codes": Untouched()}, **{"database": X, "queries": Q, **change})


@pytest.mark.parametrize("metric", ["l2", "dot"])
def test_other_metrics(clusters, hasher, metric):
    X, Q, labels, query_labels = clusters
    report = evaluate(
        {"rerank": (hasher, {"rerank": 8})},
        database=X,
        queries=Q,
        k=10,
        metric=metric,
        labels=labels,
        query_labels=query_labels,
        recall_ties="distances",
        **FAST,
    )
    A, B = Q.astype(np.float64), X.astype(np.float64)
    distances = -(A @ B.T) if metric == "dot" else np.square(A[:, None] - B[None]).sum(axis=2)
    exact = np.argsort(distances, axis=1)[:, :10]
    index = simskip.SimilarityIndex(hasher, metric=metric)
    index.add(X)
    _, found = index.search(Q, k=10, rerank=8)
    expected = np.mean([len(set(f) & set(e)) / 10 for f, e in zip(found, exact, strict=True)])
    assert report.row("rerank").get("recall@10") == pytest.approx(expected)
    mean_ap = simskip.metrics.mean_average_precision(query_labels, labels, distances=distances)
    assert report.row("exact").get("map") == pytest.approx(mean_ap, abs=1e-4)
    assert report.provenance["metric"] == report.row("exact").origin.metric == metric
