from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simskip.evaluation.ties import Harmonic, average_precision


def precision_sum(ranking, k=None):
    """Average precision of one order, by its definition."""
    ranking = np.asarray(ranking, bool)
    cut = len(ranking) if k is None else k
    total = ranking.sum() if k is None else min(k, ranking.sum())
    hits = [ranking[: i + 1].mean() for i in range(min(cut, len(ranking))) if ranking[i]]
    return sum(hits) / total


def all_orders(groups):
    """Every order of a ranking whose groups' members may be in any order."""
    if not groups:
        yield ()
        return
    for head in permutations(groups[0]):
        for tail in all_orders(groups[1:]):
            yield head + tail


def closed_form(groups, ties, k=None):
    sizes = np.array([len(g) for g in groups])
    relevant = np.array([sum(g) for g in groups])
    return average_precision(sizes, relevant, np.cumsum(sizes) - sizes, Harmonic(int(sizes.sum())), ties=ties, k=k)


# At most 6 items: 720 orders are enumerated for one example.
rankings = st.lists(st.booleans(), min_size=1, max_size=6).filter(any)


@st.composite
def tied_rankings(draw):
    items = draw(rankings)
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(items) - 1)))) | {0, len(items)})
    return [items[a:b] for a, b in pairwise(cuts) if b > a]


@settings(max_examples=60, deadline=None)
@given(tied_rankings(), st.one_of(st.none(), st.integers(1, 8)))
def test_closed_form_is_the_mean_minimum_and_maximum_over_all_orders(groups, k):
    scores = [precision_sum(order, k) for order in all_orders(groups)]
    assert closed_form(groups, "expected", k) == pytest.approx(np.mean(scores), abs=1e-12)
    assert closed_form(groups, "best", k) == pytest.approx(max(scores), abs=1e-12)
    assert closed_form(groups, "worst", k) == pytest.approx(min(scores), abs=1e-12)


def test_groups_without_relevant_items_may_be_left_out():
    full = closed_form([[0, 0], [1, 0, 1], [0], [1]], "expected")
    left_out = average_precision(np.array([3, 1]), np.array([2, 1]), np.array([2, 6]), Harmonic(7))
    assert left_out == pytest.approx(full)


@pytest.mark.parametrize("ties", ["expected", "best", "worst"])
def test_nothing_relevant_has_no_average_precision(ties):
    assert np.isnan(closed_form([[0, 0], [0]], ties))


def test_everything_relevant_is_perfect():
    for ties in ("expected", "best", "worst"):
        assert closed_form([[1, 1, 1], [1]], ties) == pytest.approx(1.0)


def test_harmonic_sums_stay_precise_for_millions_of_items():
    table = Harmonic(5_000_000)
    start, count = np.array([0, 4_999_000]), np.array([1000, 1000])
    exact = [sum(1 / (s + i) for i in range(1, 1001)) for s in start.tolist()]
    assert table.between(start, count) == pytest.approx(exact, rel=1e-9)
