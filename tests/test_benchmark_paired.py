"""Paired comparisons: false alarms are as rare as promised, real differences are found, letters say what pairs say."""

import itertools

import numpy as np
import pytest
from benchmarks.paired import compare, holm, letters, mean_test
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats


def tables(rng, seeds, queries, of_seed=0.0, of_query=0.0, mean=0.0):
    """Differences with seed and query effects of these standard deviations, and a rest of standard deviation 1."""
    table = mean + rng.normal(size=(seeds, queries))
    return table + of_seed * rng.normal(size=(seeds, 1)) + of_query * rng.normal(size=queries)


@pytest.mark.parametrize(("of_seed", "of_query"), [(0, 0), (0.3, 0), (0, 2), (0.3, 2), (3, 1)])
@pytest.mark.parametrize("seeds", [3, 5])
def test_false_alarms_are_rare(seeds, of_seed, of_query):
    rng = np.random.default_rng(0)
    p = [mean_test(tables(rng, seeds, 60, of_seed, of_query))[3] for _ in range(400)]
    # 5 % are allowed; 400 draws add a standard error of 1.1 %.
    assert np.mean(np.array(p) < 0.05) < 0.085
    assert np.mean(p) > 0.4


def test_what_the_seeds_did_is_not_taken_for_the_method():
    rng = np.random.default_rng(1)
    alarms = [[], []]
    for _ in range(200):
        table = tables(rng, 3, 400, of_seed=0.5)
        alarms[0].append(mean_test(table)[3] < 0.05)
        alarms[1].append(stats.ttest_1samp(table.mean(axis=0), 0).pvalue < 0.05)
    assert np.mean(alarms[0]) < 0.09
    assert np.mean(alarms[1]) > 0.5


def test_seeds_that_agree_by_luck_are_not_believed():
    """Methods that differ by the luck of two trainings only: 28 pairs, some of which seem sure."""
    alone, together = 0, 0
    for repetition in range(30):
        rng = np.random.default_rng(repetition)
        values = {f"m{i}": tables(rng, 2, 30, of_seed=2) for i in range(8)}
        p = [mean_test(values[a] - values[b])[3] for a, b in itertools.combinations(values, 2)]
        alone += min(holm(p)) < 0.05
        together += any(pair.resolved(0.05) for pair in compare(values).pairs)
    assert alone >= 5
    assert together <= 2


def test_a_method_of_luck_does_not_hide_the_others():
    rng = np.random.default_rng(5)
    values = {f"m{i}": tables(rng, 3, 500, of_seed=0.01, mean=i) for i in range(3)}
    found = compare({**values, "luck": tables(rng, 3, 500, of_seed=3, mean=-5)})
    resolved = {(pair.a, pair.b) for pair in found.pairs if pair.resolved(0.05)}
    assert {("m2", "m1"), ("m1", "m0"), ("m2", "m0")} <= resolved


@pytest.mark.parametrize("of_seed", [0, 0.1])
def test_real_differences_are_found(of_seed):
    rng = np.random.default_rng(2)
    tests = [mean_test(tables(rng, 3, 1000, of_seed, 1, mean=0.5)) for _ in range(50)]
    assert np.mean([p < 0.05 for *_, p in tests]) > 0.9
    assert np.mean([low < 0.5 < high for _, low, high, _ in tests]) > 0.8


def test_one_seed_is_the_ordinary_paired_test():
    table = np.random.default_rng(3).normal(0.1, 1, (1, 200))
    mean, low, high, p = mean_test(table)
    expected = stats.ttest_1samp(table[0], 0)
    assert p == pytest.approx(expected.pvalue)
    assert (low, high) == pytest.approx(tuple(expected.confidence_interval()))
    assert mean == pytest.approx(table.mean())


def test_tables_without_chance():
    assert mean_test(np.zeros((3, 10))) == (0, 0, 0, 1)
    assert mean_test(np.full((3, 10), 0.25)) == (0.25, 0.25, 0.25, 0)


def test_holm():
    # By hand: 4 x .01, then 3 x .02, then 2 x .03 = .06 raised to none, 1 x .5.
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.5, 0.9]) == [1, 1]
    assert holm([]) == []


@given(st.sets(st.sampled_from(list(itertools.combinations("ABCDEF", 2)))))
def test_letters_say_what_the_pairs_say(resolved):
    shown = letters(list("ABCDEF"), list(resolved))
    for a, b in itertools.combinations("ABCDEF", 2):
        assert bool(set(shown[a]) & set(shown[b])) == ((a, b) not in resolved)
    assert all(shown.values())


def test_compare():
    rng = np.random.default_rng(4)
    query = rng.uniform(0.2, 0.6, 500)
    noise = {name: rng.normal(0, 0.02, (3, 500)) for name in ("low", "twin", "good")}
    values = {"low": query + noise["low"], "twin": query + noise["twin"], "good": query + 0.1 + noise["good"]}
    values["low"][1, 7] = np.nan  # a query without relevant items
    found = compare(values)
    assert found.letters["good"] == "a"
    assert found.letters["low"] == found.letters["twin"] == "b"
    by_names = {frozenset((pair.a, pair.b)): pair for pair in found.pairs}
    assert len(by_names) == 3
    pair = by_names[frozenset(("good", "low"))]
    assert (pair.a, pair.b) == ("good", "low")
    assert pair.difference == pytest.approx(0.1, abs=0.005)
    assert pair.low < 0.1 < pair.high
    assert pair.resolved(0.05)
    assert compare({"alone": query[None]}).letters == {"alone": "a"}


def test_tables_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="tables of one shape"):
        compare({"a": np.zeros((2, 5)), "b": np.zeros((3, 5))})
    with pytest.raises(ValueError, match="tables of one shape"):
        compare({"a": np.zeros(5), "b": np.zeros(5)})
    with pytest.raises(ValueError, match="at least two queries"):
        compare({"a": np.array([[1, np.nan]]), "b": np.zeros((1, 2))})
