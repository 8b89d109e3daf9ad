"""Search in likely classes: against brute force over what the gate lets through, in the promised order and number."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import simskip
from simskip.collection.hierarchy import cell_scan
from simskip.collection.hierarchy.cell_gate import CellGate
from simskip.collection.hierarchy.class_cells import class_cells
from simskip.collection.hierarchy.class_gate import least_probability
from simskip.collection.hierarchy.hierarchical_search import HierarchicalSearch
from simskip.collection.hierarchy.vector_classifier import VectorClassifier

METRICS = ("cosine", "l2", "dot")
NAMES = np.array(["city", "forest", "mountain", "sea"])
N, DIM = 1200, 8


class Given:
    """A classifier whose probabilities are a softmax of similarity to fixed directions: no training."""

    def __init__(self, classes, dim=DIM, sharpness=1.0, seed=0):
        self.classes_ = np.asarray(classes)
        self.directions = np.random.default_rng(seed).normal(size=(len(classes), dim))
        self.sharpness = sharpness

    def predict_proba(self, X):
        z = self.sharpness * np.stack([(self.directions * x).sum(axis=1) for x in np.asarray(X, np.float64)])
        p = np.exp(z - z.max(axis=1, keepdims=True))
        return p / p.sum(axis=1, keepdims=True)


def data(n=N, dim=DIM, seed=0, n_classes=4):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, n_classes, n)
    centres = 1.5 * np.random.default_rng(99).normal(size=(n_classes, dim))
    X = (centres[y] + rng.normal(size=(n, dim))).astype(np.float32)
    ids = rng.permutation(10 * n)[:n]
    return ids, X, y


def exact(ids, X, Q, k, metric, passing=None):
    """All pairs with VectorIndex, which its own tests hold against NumPy."""
    index = simskip.VectorIndex(X.shape[1], metric)
    index.add(X, ids)
    return index.search(Q, k, where=passing)


@pytest.fixture(scope="module")
def built():
    """Searches by metric, all over the same items, 40 cells."""
    ids, X, y = data()
    classifier = VectorClassifier(threads=1, epochs=10).fit(X[::3], NAMES[y[::3]], progress=False)
    return {
        metric: HierarchicalSearch(ids, X, NAMES[y], metric=metric, classifier=classifier, rows_per_cell=30, threads=1)
        for metric in METRICS
    }


QUERIES = data(60, seed=5)[1]


def opened(search, Q, **options):
    """ids that the gate lets through, of each query, by the plan's own words."""
    report = search.gate(Q, **options)
    k, options = options.pop("k", 25), options
    _, everything = search.search(Q, len(search), **{**options, "widen": False})
    assert ((everything >= 0).sum(axis=1) <= report.rows).all()
    return [set(row[row >= 0].tolist()) for row in everything], k


@pytest.mark.parametrize("metric", METRICS)
def test_everything_is_exact_search(built, metric):
    ids, X, _ = data()
    found = built[metric].search(QUERIES, 25, probability=1)
    expected = exact(ids, X, QUERIES, 25, metric)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
    assert (built[metric].scanned_ == N).all()
    recall = built[metric].gate_recall(QUERIES, 25, probability=1)
    assert recall.recall == 1
    assert recall.report.share == 1


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("options", [{"probability": 0.6}, {"gate": "hard"}, {"gate": "hard", "top": 2}])
def test_it_is_exact_among_what_the_gate_lets_through(built, metric, options):
    ids, X, _ = data()
    search = built[metric]
    through, _ = opened(search, QUERIES, **options)
    distances, found = search.search(QUERIES, 20, **options)
    report = search.gate(QUERIES, 20, **options)
    np.testing.assert_array_equal(search.scanned_, report.rows)
    assert (report.rows < N).any()
    values = []
    truth = exact(ids, X, QUERIES, 20, metric)[1]
    for i, allowed in enumerate(through):
        assert len(allowed) == report.rows[i]
        expected = exact(ids, X, QUERIES[i : i + 1], 20, metric, sorted(allowed))
        np.testing.assert_array_equal(distances[i], expected[0][0])
        np.testing.assert_array_equal(found[i], expected[1][0])
        values.append(np.mean([one in allowed for one in truth[i]]))
    recall = search.gate_recall(QUERIES, 20, **options)
    np.testing.assert_allclose(recall.values, values)
    assert recall.recall == pytest.approx(np.mean(values))
    assert recall.low <= recall.recall <= recall.high


@pytest.mark.parametrize("top", [1, 2, 3])
def test_the_hard_gate_opens_the_most_probable_classes(built, top):
    search = built["cosine"]
    _, _, y = data()
    best = np.argsort(-search.classifier_.predict_proba(QUERIES), axis=1)[:, :top]
    report = search.gate(QUERIES, gate="hard", top=top)
    np.testing.assert_array_equal(report.rows, np.bincount(y)[best].sum(axis=1))
    assert (report.classes == top).all()
    ids = search.search(QUERIES, 300, gate="hard", top=top, widen=False)[1]
    for row, classes in zip(ids, best, strict=True):
        assert set(search.labels(row[row >= 0])) <= set(NAMES[classes])


def test_whole_classes_are_opened_until_their_probability_is_covered():
    ids, X, y = data()
    classifier = Given(NAMES, sharpness=0.3)
    search = HierarchicalSearch(ids, X, NAMES[y], classifier=classifier, rows_per_cell=None)
    p = classifier.predict_proba(QUERIES)
    for probability in (0.0, 0.3, 0.5, 0.8, 0.95):
        order = np.argsort(-p, axis=1)
        before = np.cumsum(np.take_along_axis(p, order, axis=1), axis=1) - np.take_along_axis(p, order, axis=1)
        count = np.maximum((before < probability).sum(axis=1), 1)
        report = search.gate(QUERIES, probability=probability)
        np.testing.assert_array_equal(report.classes, count)
        sizes = np.bincount(y)
        np.testing.assert_array_equal(report.rows, [sizes[o[:c]].sum() for o, c in zip(order, count, strict=True)])
    assert search.weights_.tolist() == [1, 0, 0]


@given(
    k=st.integers(1, 400),
    probability=st.floats(0, 1),
    gate=st.sampled_from(("soft", "hard")),
    labels=st.sampled_from((None, "sea", ("city", "forest"))),
    share=st.sampled_from((None, 0.0, 0.01, 0.3)),
    seed=st.integers(0, 3),
)
@settings(max_examples=25)
def test_k_means_k(built, k, probability, gate, labels, share, seed):
    search = built["l2"]
    ids, X, y = data()
    named = np.isin(NAMES[y], labels if labels is not None else NAMES)
    where = None if share is None else ids[np.random.default_rng(seed).random(N) < share]
    passing = ids[named] if where is None else np.intersect1d(ids[named], where)
    distances, found = search.search(QUERIES[:7], k, gate=gate, probability=probability, labels=labels, where=where)
    assert ((found >= 0).sum(axis=1) == min(k, len(passing))).all()
    assert np.isin(found[found >= 0], passing).all()
    assert (np.isinf(distances) == (found < 0)).all()
    for row, d in zip(found, distances, strict=True):
        kept = [(float(a), int(b)) for a, b in zip(d, row, strict=True) if b >= 0]
        assert kept == sorted(kept)
    if probability == 1 and gate == "soft":
        expected = exact(ids, X, QUERIES[:7], k, "l2", passing)
        np.testing.assert_array_equal(found, expected[1])


def test_labels_alone_restrict_and_search_all_of_them(built):
    ids, X, y = data()
    search = built["cosine"]
    for labels, numbers in (("sea", [3]), (["city", "sea"], [0, 3]), (NAMES, [0, 1, 2, 3])):
        passing = ids[np.isin(y, numbers)]
        found = search.search(QUERIES, 30, labels=labels)
        expected = exact(ids, X, QUERIES, 30, "cosine", passing)
        np.testing.assert_array_equal(found[1], expected[1])
        assert (search.scanned_ == len(passing)).all()
    narrowed = search.gate(QUERIES, 5, labels=["city", "sea"], probability=0.5)
    assert narrowed.rows.mean() < np.isin(y, [0, 3]).sum()


@given(st.integers(1, 1400), st.integers(1, 60), st.sampled_from(("soft", "hard")))
@settings(max_examples=25)
def test_a_budget_is_kept_but_the_best_cell_is_always_read(built, budget, k, gate):
    search = built["cosine"]
    free = search.gate(QUERIES, k, gate=gate, probability=0.9)
    report = search.gate(QUERIES, k, gate=gate, probability=0.9, budget=budget)
    assert (report.cells >= 1).all()
    assert ((report.rows <= budget) | (report.cells == 1)).all()
    assert (report.rows <= free.rows).all()
    untouched = free.rows <= budget
    np.testing.assert_array_equal(report.rows[untouched], free.rows[untouched])
    found = search.search(QUERIES, k, gate=gate, probability=0.9, budget=budget)[1]
    np.testing.assert_array_equal((found >= 0).sum(axis=1), np.minimum(k, report.rows))


def test_without_widening_a_small_gate_gives_fewer(built):
    found = built["cosine"].search(QUERIES, 500, probability=0.3, widen=False)[1]
    counts = (found >= 0).sum(axis=1)
    np.testing.assert_array_equal(counts, built["cosine"].scanned_)
    assert (counts < 500).all()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("options", [{}, {"gate": "hard"}, {"budget": 200}])
def test_any_batch_and_any_threads_give_the_same_bytes(built, metric, options):
    search = built[metric]
    whole = search.search(QUERIES, 10, threads=1, **options)
    scanned = search.scanned_
    for step, threads in ((1, 1), (7, 2), (60, 2)):
        parts, rows = [], []
        for start in range(0, len(QUERIES), step):
            parts.append(search.search(QUERIES[start : start + step], 10, threads=threads, **options))
            rows.append(search.scanned_)
        for i in (0, 1):
            assert np.concatenate([part[i] for part in parts]).tobytes() == whole[i].tobytes()
        np.testing.assert_array_equal(np.concatenate(rows), scanned)


@pytest.mark.parametrize("metric", METRICS)
def test_queries_together_and_each_alone_find_the_same(built, metric, monkeypatch):
    search, where = built[metric], data()[0][::3]
    found = []
    for rows_per_call in (0, 10**9):
        monkeypatch.setattr(cell_scan, "_ROWS_PER_CALL", rows_per_call)
        for options in ({}, {"gate": "hard"}, {"where": where, "probability": 0.5}, {"widen": False, "budget": 30}):
            found.append([one.tobytes() for one in search.search(QUERIES, 40, **options)])
    assert found[:4] == found[4:]


def test_ties_are_in_the_order_of_ids():
    rng = np.random.default_rng(3)
    X = np.repeat(rng.normal(size=(5, 4)).astype(np.float32), 40, axis=0)
    ids = rng.permutation(200)
    y = rng.integers(0, 3, 200)  # duplicates in all classes
    search = HierarchicalSearch(ids, X, y, classifier=Given(range(3), 4), rows_per_cell=10)
    found = search.search(X[:1], 40, probability=1)
    assert found[1][0].tolist() == sorted(ids[:40].tolist())
    assert (found[0][0] == found[0][0, 0]).all()


def test_one_class_needs_no_classifier():
    ids, X, _ = data(300)
    search = HierarchicalSearch(ids, X, ["all"] * 299 + [None], rows_per_cell=20)
    assert search.classifier_ is None
    assert search.predicted_.tolist() == [ids[-1]]
    np.testing.assert_array_equal(search.search(QUERIES, 9, gate="hard")[1], exact(ids, X, QUERIES, 9, "cosine")[1])
    assert search.gate(QUERIES, 9).rows.max() < 300
    tiny = HierarchicalSearch([7], X[:1], ["all"])
    assert tiny.search(QUERIES[:1], 3)[1].tolist() == [[7, -1, -1]]


def test_items_without_a_class_are_filed_under_the_predicted_one():
    ids, X, y = data()
    classifier = Given(NAMES)
    labels = [None if i % 2 else name for i, name in enumerate(NAMES[y].tolist())]
    search = HierarchicalSearch(ids, X, labels, classifier=classifier)
    assert search.predicted_.tolist() == sorted(ids[1::2].tolist())
    predicted = NAMES[classifier.predict_proba(X[1::2]).argmax(axis=1)]
    np.testing.assert_array_equal(search.labels(ids[1::2]), predicted)
    np.testing.assert_array_equal(search.labels(ids[::2]), NAMES[y[::2]])
    np.testing.assert_array_equal(search.search(QUERIES, 9, probability=1)[1], exact(ids, X, QUERIES, 9, "cosine")[1])


def test_classes_of_the_classifier_without_items_are_passed_over():
    ids, X, y = data()
    classifier = Given(["city", "desert", "forest", "mountain", "sea"])
    search = HierarchicalSearch(ids, X, NAMES[y], classifier=classifier, rows_per_cell=None)
    p = np.delete(classifier.predict_proba(QUERIES), 1, axis=1)
    ids_found = search.search(QUERIES, 1, gate="hard")[1][:, 0]
    np.testing.assert_array_equal(search.labels(np.unique(ids_found)), search.labels(np.unique(ids_found)))
    for one, best in zip(ids_found, NAMES[p.argmax(axis=1)], strict=True):
        assert search.labels([one]).tolist() == [best]
    with pytest.raises(ValueError, match="labels must be among 'city', 'forest', 'mountain', 'sea', got 'desert'"):
        search.search(QUERIES, labels="desert")


@pytest.mark.parametrize("scoring", ["codes", "asymmetric"])
def test_codes_are_searched_in_the_same_cells(built, scoring):
    ids, X, y = data()
    hasher = simskip.RandomHash(24).fit(X)
    search = HierarchicalSearch(
        ids, X, NAMES[y], hasher, classifier=built["cosine"].classifier_, rows_per_cell=30, threads=1
    )
    index = simskip.SimilarityIndex(hasher)
    index.add(X, ids)
    for options in ({"scoring": scoring}, {"scoring": scoring, "rerank": 3}):
        whole = search.search(QUERIES, 10, probability=1, **options)
        expected = index.search(QUERIES, 10, **options)
        np.testing.assert_array_equal(whole[0], expected[0])
        np.testing.assert_array_equal(whole[1], expected[1])
        found = search.search(QUERIES, 10, probability=0.6, **options)
        through, _ = opened(built["cosine"], QUERIES, probability=0.6)
        assert (search.scanned_ < N).any()
        for i in range(0, 60, 9):
            one = index.search(QUERIES[i : i + 1], 10, where=sorted(through[i]), **options)
            np.testing.assert_array_equal(found[1][i], one[1][0])
            np.testing.assert_allclose(found[0][i], one[0][0], rtol=1e-6)  # outputs of another batch
        assert search.search(QUERIES[:0], 3, **options)[0].dtype == expected[0].dtype


def test_tuning_reaches_the_target_on_other_queries(built):
    search = HierarchicalSearch(*_named(), classifier=built["cosine"].classifier_, rows_per_cell=30, threads=1)
    rows = []
    for target in (0.8, 0.95, 1.0):
        told = search.tune_gate(data(800, seed=11)[1], target, k=10)
        judged = search.gate_recall(data(400, seed=12)[1], 10)
        assert told.probability == search.probability_
        assert told.low <= told.recall
        assert judged.recall >= target - 0.01
        rows.append(judged.report.rows.mean())
    assert rows == sorted(rows)
    assert rows[0] < 0.5 * N


def _named():
    ids, X, y = data()
    return ids, X, NAMES[y]


def test_soft_finds_more_than_hard_at_equal_cost(built):
    search, queries = built["cosine"], data(400, seed=13)[1]
    hard = search.gate_recall(queries, 10, gate="hard")
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        report = search.gate(queries, 10, probability=middle)
        low, high = (middle, high) if report.rows.mean() <= hard.report.rows.mean() else (low, middle)
    soft = search.gate_recall(queries, 10, probability=low)
    assert soft.report.rows.mean() <= hard.report.rows.mean()
    assert soft.low > hard.high


def test_random_labels_give_a_gate_of_whole_classes_chance():
    ids, X, _ = data()
    y = np.random.default_rng(7).integers(0, 4, N)
    classifier = VectorClassifier(threads=1, epochs=5).fit(X[:400], y[:400], progress=False)
    search = HierarchicalSearch(ids, X, y, classifier=classifier, rows_per_cell=None)
    recall = search.gate_recall(data(400, seed=13)[1], 25, gate="hard")
    assert recall.recall == pytest.approx(recall.report.share, abs=0.03)
    assert search.weights_.tolist() == [1, 0, 0]


def test_weights_follow_where_neighbours_are():
    """Neighbours drawn from a known model: the fit finds its weights."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 4)).astype(np.float32)
    cells = class_cells(X, rng.integers(0, 3, 600).astype(np.int32), "cosine", 50, 0)
    gate = CellGate(cells, np.array([0.7, 4.0, 1.0]))
    Q = rng.normal(size=(2000, 4)).astype(np.float32)
    p = Given(range(3), 4).predict_proba(Q)
    scores = sum(w * f for w, f in zip(gate.weights, gate.features(Q, p), strict=True))
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    cumulated = np.cumsum(scores / scores.sum(axis=1, keepdims=True), axis=1)
    drawn = np.minimum((rng.random((2000, 20, 1)) > cumulated[:, None]).sum(axis=2), len(cells) - 1)
    np.testing.assert_allclose(CellGate(cells).fitted(Q, p, drawn).weights, gate.weights, rtol=0.1)


def test_the_classifier_trained_here_is_not_judged_by_its_own_rows():
    ids, X, y = data(400)
    search = HierarchicalSearch(ids, X, y, rows_per_cell=30, threads=1)
    assert isinstance(search.classifier_, VectorClassifier)
    again = HierarchicalSearch(ids, X, y, rows_per_cell=30, threads=1)
    assert again.weights_.tobytes() == search.weights_.tobytes()
    assert again.search(QUERIES, 5)[1].tobytes() == search.search(QUERIES, 5)[1].tobytes()
    assert search.gate_recall(data(300, seed=4)[1], 10, probability=0.9).recall > 0.85


@pytest.mark.parametrize("metric", METRICS)
def test_cells_are_a_partition_that_respects_classes(metric):
    _, X, y = data(500)
    X[3] = 0
    cells = class_cells(X, y.astype(np.int32), metric, 20, 0)
    assert sorted(cells.order.tolist()) == list(range(500))
    assert (cells.sizes > 0).all()
    assert (np.diff(cells.classes) >= 0).all()
    np.testing.assert_array_equal(y[cells.order], np.repeat(cells.classes, cells.sizes))
    for begin, end in zip(cells.limits[:-1], cells.limits[1:], strict=True):
        assert (np.diff(cells.order[begin:end]) > 0).all()
    # Near each other: the mean distance to the own centre is well below that to the class's.
    own = cells.closeness(X)[cells.order, np.repeat(np.arange(len(cells)), cells.sizes)]
    one = class_cells(X, y.astype(np.int32), metric, None, 0)
    assert len(one) == 4
    assert own.mean() > one.closeness(X)[one.order, np.repeat(np.arange(4), one.sizes)].mean()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("scale", [1e-14, 1e13])
def test_lengths_of_any_size(metric, scale):
    ids, X, y = data(200)
    X = (X * scale).astype(np.float32)
    search = HierarchicalSearch(ids, X, y, metric=metric, classifier=Given(range(4)), rows_per_cell=10)
    np.testing.assert_array_equal(search.search(X[:9], 1)[1][:, 0], exact(ids, X, X[:9], 1, metric)[1][:, 0])


def test_least_probability_is_the_least_that_suffices():
    rng = np.random.default_rng(0)
    needed = rng.random((300, 10))
    for target in (0.0, 0.5, 0.9):
        p = least_probability(needed, target)
        assert target <= (needed < p).mean() + (target == 0) < target + 0.05 + (target == 0)
    assert least_probability(needed, 1.0) > needed.max()
    assert least_probability(np.full((20, 1), -1.0), 0.9) == 0


WRONG = [
    ({"k": 0}, "k must be an integer from 1"),
    ({"gate": "ajar"}, "gate must be one of 'soft', 'hard', got 'ajar'"),
    ({"probability": 1.5}, r"probability must lie in \[0, 1\], got 1.5"),
    ({"budget": 0}, "budget must be an integer >= 1, got 0"),
    ({"top": 0}, "top must be an integer >= 1, got 0"),
    ({"labels": "lake"}, "labels must be among 'city', 'forest', 'mountain', 'sea', got 'lake'"),
    ({"labels": []}, r"labels must name classes, got \[\]"),
    ({"labels": [None]}, r"labels must name classes, got \[None\]"),
    ({"where": [10**9]}, "id 1000000000 is not in the search"),
    ({"threads": 0}, "threads must be an integer from 1"),
    ({"rerank": 5}, "rerank must be None without a hasher"),
    ({"scoring": "codes"}, "scoring must be None without a hasher"),
]


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_wrong_options_are_told(built, options, message):
    with pytest.raises(ValueError, match=message):
        built["cosine"].search(QUERIES, **options)


def test_wrong_queries_are_told(built):
    with pytest.raises(ValueError, match="X must have 8 columns"):
        built["cosine"].search(np.zeros((1, 7)))
    with pytest.raises(ValueError, match="X must be finite"):
        built["cosine"].search(np.full((1, 8), np.nan))
    with pytest.raises(ValueError, match="queries must"):
        built["cosine"].gate_recall(np.zeros((0, 8)))
    with pytest.raises(ValueError, match="queries must have at least 20 rows"):
        built["cosine"].tune_gate(np.zeros((3, 8)))
    with pytest.raises(ValueError, match="id 5000000 is not in the search"):
        built["cosine"].labels([5_000_000])
    assert built["cosine"].search(QUERIES[:0], 4)[1].shape == (0, 4)


def test_wrong_items_are_told():
    ids, X, y = data(50)
    with pytest.raises(ValueError, match="ids must be distinct"):
        HierarchicalSearch(np.zeros(50, int), X, y)
    with pytest.raises(ValueError, match="labels must hold one label for each of the 50 rows"):
        HierarchicalSearch(ids, X, y[:49])
    with pytest.raises(ValueError, match="labels must hold at least one class, got none"):
        HierarchicalSearch(ids, X, [None] * 50)
    with pytest.raises(ValueError, match="got also 3: fit it again"):
        HierarchicalSearch(ids, X, y, classifier=Given(range(3)))
    with pytest.raises(ValueError, match="classifier must be fitted, got VectorClassifier"):
        HierarchicalSearch(ids, X, y, classifier=VectorClassifier())
    with pytest.raises(ValueError, match=r"classifier must have predict_proba\(\), got int"):
        HierarchicalSearch(ids, X, y, classifier=5)
    with pytest.raises(ValueError, match="hasher must be fitted to 8 columns"):
        HierarchicalSearch(ids, X, y, simskip.RandomHash(8).fit(X[:, :5]), classifier=Given(range(4)))
    with pytest.raises(ValueError, match="rows_per_cell must be an integer >= 1, got 0"):
        HierarchicalSearch(ids, X, y, classifier=Given(range(4)), rows_per_cell=0)
    with pytest.raises(ValueError, match="metric must be one of"):
        HierarchicalSearch(ids, X, y, metric="l1")
