import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import simskip
from simskip.evaluation import metrics
from simskip.evaluation.metrics import mean_average_precision, precision_at_k, recall_at_k


@st.composite
def id_lists(draw):
    """Found and exact lists of a few queries: distinct ids in each row, -1 at the end of some."""
    k, q = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    big = draw(st.sampled_from([0, 2**62]))

    def rows():
        lists = []
        for _ in range(q):
            ids = draw(st.lists(st.integers(0, 9), unique=True, max_size=k))
            lists.append([big + i for i in ids] + [-1] * (k - len(ids)))
        return lists

    return rows(), rows(), k


@given(id_lists(), st.data())
def test_recall_is_the_share_of_exact_ids_found(lists, data):
    found, exact, width = lists
    k = data.draw(st.integers(1, width))
    score = recall_at_k(found, exact, k)
    for value, f, e in zip(score.values, found, exact, strict=True):
        wanted = {i for i in e[:k] if i >= 0}
        if wanted:
            assert value == len(wanted & set(f[:k])) / len(wanted)
        else:
            assert np.isnan(value)


def test_recall_ignores_order_and_defaults_to_all_columns():
    assert recall_at_k([[3, 2, 1]], [[1, 2, 3]]) == 1.0
    assert recall_at_k([[3, 2, 1]], [[1, 2, 3]], k=1) == 0.0


def test_padding_is_never_a_hit():
    assert recall_at_k([[-1, -1]], [[4, -1]]) == 0.0
    assert np.isnan(recall_at_k([[-1, 2]], [[-1, -1]]))


def test_equal_distances_count_as_hits_only_when_asked():
    exact, found = [[1, 2]], [[1, 3]]  # 2 and 3 are equally far
    assert recall_at_k(found, exact) == 0.5
    assert recall_at_k(found, exact, found_distances=[[0.0, 1.0]], exact_distances=[[0.0, 1.0]]) == 1.0
    assert recall_at_k(found, exact, found_distances=[[0.0, 1.5]], exact_distances=[[0.0, 1.0]]) == 0.5
    assert recall_at_k(found, exact, found_distances=[[9.0, 5.0]], exact_distances=[[9.0, 5.0]], descending=True) == 1.0
    near = {"found_distances": [[0.0, 1.0 + 1e-9]], "exact_distances": [[0.0, 1.0]]}
    assert recall_at_k(found, exact, **near) == 0.5
    assert recall_at_k(found, exact, tolerance=1e-6, **near) == 1.0


def test_distance_aware_recall_without_ties_is_recall():
    rng = np.random.default_rng(0)
    distances = rng.random((20, 50))
    exact = np.argsort(distances, axis=1)[:, :10]
    found = np.array([rng.permutation(50)[:10] for _ in range(20)])
    plain = recall_at_k(found, exact)
    aware = recall_at_k(
        found,
        exact,
        found_distances=np.take_along_axis(distances, found, 1),
        exact_distances=np.take_along_axis(distances, exact, 1),
    )
    assert aware.values.tolist() == plain.values.tolist()
    assert 0 < plain < 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1, 2]], [[1, 2]], 0), "k must be"),
        (([[1, 2]], [[1, 2]], 3), "found_ids must have at least k = 3 columns, got 2"),
        (([[1, 2], [1, 2]], [[1, 2]]), "one row per query"),
        (([[1.0, 2.0]], [[1, 2]]), "found_ids must be integers"),
        (([[1, -2]], [[1, 2]]), "found_ids must be ids >= 0"),
        (([1, 2], [[1, 2]]), "found_ids must be integers of shape"),
        (([[1, 2]], [[2, 2]]), "exact_ids must not repeat an id in a row, got 2 twice in row 0"),
        (([[1, 1]], [[1, 2]]), "found_ids must not repeat"),
    ],
)
def test_recall_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        recall_at_k(*arguments)


def test_recall_refuses_odd_distances():
    with pytest.raises(ValueError, match="given together"):
        recall_at_k([[1]], [[1]], found_distances=[[0.0]])
    with pytest.raises(ValueError, match="exact_distances must not hold NaN"):
        recall_at_k([[1]], [[1]], found_distances=[[0.0]], exact_distances=[[np.nan]])
    with pytest.raises(ValueError, match="found_distances must have shape"):
        recall_at_k([[1]], [[1]], found_distances=[0.0], exact_distances=[[0.0]])


def test_precision_single_label_and_padding():
    score = precision_at_k([[0, 1, 2], [2, -1, -1]], ["a", "b"], ["a", "a", "b"])
    assert score.values == pytest.approx([2 / 3, 1 / 3])
    assert precision_at_k([[0, 1, 2], [2, -1, -1]], ["a", "b"], ["a", "a", "b"], k=1) == 1.0


def test_precision_multi_label_is_relevant_when_a_label_is_shared():
    labels = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1]])
    queries = np.array([[0, 1, 1], [0, 0, 0]])
    score = precision_at_k([[0, 1, 2], [0, 1, 2]], queries, labels)
    assert score.values == pytest.approx([2 / 3, 0.0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[3]], [0], [0, 1]), "found_ids must be rows of the 2 labels, got 3"),
        (([[0]], [0, 1], [0, 1]), "query_labels must hold one label for each of the 1 rows"),
        (([[0]], ["a"], [0, 1]), "must be of one type"),
        (([[0]], [[1, 0]], [0, 1]), "both be one-dimensional"),
        (([[0]], [[1, 0]], [[1, 0, 0]]), "must have the 3 columns of labels, got 2"),
        (([[0]], [0.5], [0, 1]), "query_labels must be integers or strings"),
        (([[0]], [[-1]], [[1]]), "query_labels must be indicators"),
        (([[0]], [0], [0, 1], 2), "at least k = 2 columns"),
    ],
)
def test_precision_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        precision_at_k(*arguments)


def definition_of_map(distances, relevant, ties):
    """Mean over many shuffles (or the extreme order) of average precision by its definition."""
    values = []
    for row, good in zip(distances, relevant, strict=True):
        if not good.any():
            continue
        if ties == "expected":
            rng = np.random.default_rng(0)
            keys = [rng.permutation(len(row)) for _ in range(600)]
        else:
            keys = [~good if ties == "best" else good]
        scores = []
        for key in keys:
            ranked = good[np.lexsort((key, row))]
            precision = np.cumsum(ranked) / np.arange(1, len(row) + 1)
            scores.append(precision[ranked].mean())
        values.append(np.mean(scores))
    return np.mean(values)


@pytest.mark.parametrize("n_bits", [3, 8, 65, 130])
@pytest.mark.parametrize("ties", ["expected", "best", "worst"])
def test_map_of_codes_is_its_definition(n_bits, ties):
    rng = np.random.default_rng(n_bits)
    bits, query_bits = rng.random((60, n_bits)) < 0.3, rng.random((5, n_bits)) < 0.3
    labels, query_labels = rng.integers(0, 4, 60), np.array([0, 1, 2, 3, 9])
    distances = (query_bits[:, None, :] != bits[None]).sum(2)
    score = mean_average_precision(
        query_labels, labels, codes=simskip.pack(bits), query_codes=simskip.pack(query_bits), ties=ties
    )
    expected = definition_of_map(distances, query_labels[:, None] == labels, ties)
    assert score == pytest.approx(expected, abs=0.01 if ties == "expected" else 1e-12)
    assert np.isnan(score.values).tolist() == [False] * 4 + [True]
    again = mean_average_precision(query_labels, labels, distances=distances, ties=ties)
    assert again.values[:4] == pytest.approx(score.values[:4], abs=1e-12)


def test_map_multi_label():
    rng = np.random.default_rng(3)
    labels, query_labels = rng.random((40, 5)) < 0.2, rng.random((6, 5)) < 0.4
    distances = rng.random((6, 40))
    relevant = (query_labels.astype(int) @ labels.T.astype(int)) > 0
    score = mean_average_precision(query_labels, labels, distances=distances)
    assert score == pytest.approx(definition_of_map(distances, relevant, "best"))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_expected_map_lies_between_the_extremes_and_they_meet_without_ties(seed, k):
    rng = np.random.default_rng(seed)
    tied, labels, query_labels = rng.integers(0, 4, (3, 20)), rng.integers(0, 3, 20), rng.integers(0, 3, 3)
    for cut in (None, k):
        worst, expected, best = (
            mean_average_precision(query_labels, labels, distances=tied, ties=ties, k=cut).values
            for ties in ("worst", "expected", "best")
        )
        defined = ~np.isnan(best)
        assert (worst[defined] <= expected[defined] + 1e-12).all()
        assert (expected[defined] <= best[defined] + 1e-12).all()
        assert (best[defined] <= 1 + 1e-12).all()
    untied = tied + rng.permuted(np.linspace(0, 0.5, 60)).reshape(3, 20)
    scores = [mean_average_precision(query_labels, labels, distances=untied, ties=ties) for ties in ("worst", "best")]
    assert scores[0] == pytest.approx(scores[1], nan_ok=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ties": "random"}, "ties must be one of"),
        ({"k": 0}, "k must be"),
        ({"distances": [[0.0, np.nan]]}, "distances must not hold NaN"),
        ({"distances": [0.0, 1.0]}, "distances must be numbers of shape"),
        ({"distances": [[0.0, 1.0, 2.0]]}, "labels must hold one label for each of the 3 rows"),
        ({"distances": None}, "must be given"),
        ({"codes": simskip.pack(np.ones((2, 4)))}, "must not be given together"),
    ],
)
def test_map_refuses(change, message):
    arguments = {"distances": [[0.0, 1.0]], **change}
    with pytest.raises(ValueError, match=message):
        mean_average_precision([0], [0, 1], **arguments)


def test_map_refuses_codes_of_another_width():
    with pytest.raises(ValueError, match="query_codes must have 4 bits, got 5"):
        mean_average_precision([0], [0], codes=simskip.pack(np.ones((1, 4))), query_codes=simskip.pack(np.ones((1, 5))))


def test_every_exported_name_exists():
    for name in metrics.__all__:
        assert getattr(metrics, name).__doc__
