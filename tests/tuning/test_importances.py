"""Importances of made-up studies whose answer is known."""

import json
import math

import numpy as np
import pytest

import simskip
from simskip.tuning import importances_of
from simskip.tuning.parameter import parsed


@pytest.fixture(autouse=True)
def few_copies(monkeypatch):
    monkeypatch.setattr(simskip.tuning.importances, "_MOST_COPIES", 10)


RANGES = {name: parsed(name, (0.0, 1.0)) for name in ("a", "b", "c")}


def trials(n, parameters, seed=0):
    rng = np.random.default_rng(seed)
    return [
        {
            name: (
                p.choices[rng.integers(len(p.choices))]
                if p.kind == "choice"
                else float(rng.uniform(p.low, p.high))
                if not p.log
                else float(np.exp(rng.uniform(np.log(p.low), np.log(p.high))))
            )
            for name, p in parameters.items()
        }
        for _ in range(n)
    ]


@pytest.mark.parametrize(
    ("method", "samples", "sign"), [("fanova", 20, 1), ("ped-anova", 60, 1), ("ped-anova", 60, -1)]
)
def test_one_parameter_decides(method, samples, sign):
    space = {**RANGES, "d": parsed("d", ["x", "y", "z"])}
    some = trials(24 if method == "fanova" else 50, space)
    results = [sign * (3 * trial["a"] + 0.1 * trial["b"]) for trial in some]
    found = importances_of(some, results, space, method=method, n_bootstrap=samples, minimise=sign < 0)
    first = found.rows[0]
    assert first.name == "a"
    assert first.low > max(row.high for row in found.rows[1:])
    assert first.above_next >= found.level
    assert found.beyond_chance == ["a"]
    assert found.unresolved
    assert "a" not in {name for pair in found.unresolved for name in pair}
    assert "a ranks first" in found.statement
    assert sum(row.importance for row in found.rows) == pytest.approx(1)
    assert [row.rank for row in found.rows] == [1, 2, 3, 4]
    assert math.isnan(found.rows[-1].above_next)


@pytest.mark.parametrize(("method", "samples"), [("fanova", 20), ("ped-anova", 60)])
def test_two_that_decide_alike_are_not_put_in_order(method, samples):
    some = trials(24, RANGES, seed=2)
    found = importances_of(some, [t["a"] + t["b"] for t in some], RANGES, method=method, n_bootstrap=samples)
    assert {row.name for row in found.rows[:2]} == {"a", "b"}
    assert tuple(row.name for row in found.rows[:2]) in found.unresolved
    assert f"order not resolved between {found.rows[0].name} and {found.rows[1].name}" in found.statement


def test_noise_is_not_beyond_chance():
    some = trials(24, RANGES, seed=0)
    noise = np.random.default_rng(5).normal(size=24)
    found = importances_of(some, noise, RANGES, method="ped-anova", n_bootstrap=20)
    assert found.beyond_chance == []
    assert "no parameter is beyond chance" in found.statement


@pytest.mark.parametrize("method", ["fanova", "ped-anova"])
def test_a_parameter_of_some_trials_only(method):
    """It decides where it is there; elsewhere the results are in the middle."""
    space = {"kind": parsed("kind", ["with", "without"]), "x": parsed("x", (0.0, 1.0)), "b": parsed("b", (0.0, 1.0))}
    some = trials(26 if method == "fanova" else 80, space)
    results = [2 * t["x"] if t["kind"] == "with" else 1.0 + 0.01 * t["b"] for t in some]
    for trial in some:
        if trial["kind"] == "without":
            del trial["x"]
    found = importances_of(some, results, space, method=method, n_bootstrap=20)
    assert found.rows[0].name == "x"
    assert "x" in found.beyond_chance


def test_logarithmic_ranges_count_by_their_logarithm():
    """Of the decades 1e-5 to 1e-1 only the lowest two matter: on a linear scale nothing of them would be seen."""
    space = {"rate": parsed("rate", (1e-5, 1e-1, "log")), "b": parsed("b", (0.0, 1.0))}
    some = trials(26, space)
    results = [float(t["rate"] < 1e-3) + 0.3 * t["b"] for t in some]
    found = importances_of(some, results, space, n_bootstrap=20)
    assert found.rows[0].name == "rate"
    assert found["rate"].mean > 0.7


def test_the_same_trials_give_the_same_answer():
    some = trials(12, RANGES)
    results = [t["a"] ** 2 for t in some]
    one, other, another = (
        importances_of(some, results, RANGES, method="ped-anova", n_bootstrap=20, random_state=seed)
        for seed in (1, 1, 2)
    )
    assert one == other or repr(one) == repr(other)
    assert repr(one) != repr(another)


def test_shown():
    some = trials(12, RANGES)
    found = importances_of(some, [t["a"] for t in some], RANGES, method="ped-anova", n_bootstrap=20)
    assert "above next" in repr(found)
    assert found.statement in found._repr_html_()
    frame = found.to_frame()
    assert list(frame.index) == [row.name for row in found.rows]
    assert {"mean", "low", "high", "rank", "above_next"} <= set(frame.columns)
    figure = found.plot()
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [row.name for row in found.rows]
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["rows"][-1]["above_next"] is None
    with pytest.raises(ValueError, match="name must be one of"):
        found["nothing"]


def test_one_parameter_alone():
    space = {"a": RANGES["a"], "fixed": parsed("fixed", 3)}
    some = trials(10, {"a": RANGES["a"]})
    found = importances_of(some, [t["a"] for t in some], space, method="ped-anova", n_bootstrap=20)
    assert [row.importance for row in found.rows] == [1.0]
    assert "only parameter" in found.statement


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "shap"}, "method must be one of"),
        ({"n_bootstrap": 5}, "n_bootstrap must be an integer >= 20"),
        ({"level": 1.0}, "level must lie inside"),
        ({"random_state": -1}, "random_state must be"),
        ({"results": [1.0] * 8}, "results that differ"),
        ({"results": [1.0] * 7 + [math.nan]}, "finite results"),
        ({"parameters": {"a": parsed("a", 3)}}, "a parameter that varies"),
        ({"suggested": trials(4, RANGES), "results": [1, 2, 3, 4]}, "at least 5 completed trials, got 4"),
    ],
)
def test_bad_input(change, words):
    some = trials(8, RANGES)
    arguments = {"suggested": some, "results": [t["a"] for t in some], "parameters": RANGES, **change}
    with pytest.raises(ValueError, match=words):
        importances_of(**arguments)
