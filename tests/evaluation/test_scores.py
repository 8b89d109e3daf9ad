import pickle

import numpy as np
import pytest

from simskip.evaluation.scores import Score, bootstrap_interval


def test_score_is_the_mean_of_the_defined_values():
    score = Score([1.0, np.nan, 0.0, 0.5])
    assert score == 0.5
    assert isinstance(score, float)
    assert "4 queries" in repr(score)
    with pytest.raises(ValueError, match="read-only"):
        score.values[0] = 2.0


def test_score_without_defined_values_is_nan():
    assert np.isnan(Score([np.nan]))
    assert np.isnan(Score([]))


def test_score_pickles_with_its_values():
    score = pickle.loads(pickle.dumps(Score([0.25, 0.75])))
    assert score == 0.5
    assert score.values.tolist() == [0.25, 0.75]


def test_interval_agrees_with_the_normal_approximation():
    values = np.random.default_rng(1).random(2000)
    low, high = bootstrap_interval(values, random_state=3)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(5)
    inside = 0
    for seed in range(200):
        low, high = bootstrap_interval(rng.random(60) < 0.3, 0.9, random_state=seed, resamples=400)
        inside += low <= 0.3 <= high
    assert 0.8 <= inside / 200 <= 0.97


def test_interval_is_reproducible_and_wider_for_higher_levels():
    values = np.random.default_rng(0).random(50)
    assert bootstrap_interval(values, random_state=1) == bootstrap_interval(values, random_state=1)
    assert bootstrap_interval(values, random_state=1) != bootstrap_interval(values, random_state=2)
    narrow, wide = bootstrap_interval(values, 0.5), bootstrap_interval(values, 0.99)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
    assert Score(values).interval(0.5) == narrow


def test_interval_ignores_nan_and_is_nan_for_fewer_than_two_values():
    assert bootstrap_interval([0.5, np.nan, 0.5]) == (0.5, 0.5)
    assert all(np.isnan(bootstrap_interval([0.5, np.nan])))


def test_interval_draws_in_pieces(monkeypatch):
    values = np.random.default_rng(2).random(40)
    whole = bootstrap_interval(values, resamples=300)
    monkeypatch.setattr("simskip.evaluation.scores._DRAWS_AT_ONCE", 40 * 7)
    assert bootstrap_interval(values, resamples=300) == whole


@pytest.mark.parametrize("level", [0, 1, -0.1, 1.5, "much", float("nan")])
def test_interval_refuses_levels(level):
    with pytest.raises(ValueError, match="level"):
        bootstrap_interval([0.0, 1.0], level)


@pytest.mark.parametrize("values", [[[0.0, 1.0]], [np.inf, 0.0], 3.0])
def test_interval_refuses_values(values):
    with pytest.raises(ValueError, match="values"):
        bootstrap_interval(values)
