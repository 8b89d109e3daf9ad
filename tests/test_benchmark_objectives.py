"""The comparison of objectives: a small run from end to end, its splits, its controls, the block in the README."""

import dataclasses
import json
import sys

import numpy as np
import pytest
from benchmarks import features, objective_tables, objective_targets, objectives, results, zoo
from benchmarks.features import Features
from rich.console import Console

import simskip
from simskip.hashing.recipes import RECIPES


def clusters(n, rng, centres):
    labels = rng.integers(0, len(centres), n)
    return (centres[labels] + rng.normal(size=(n, centres.shape[1]))).astype(np.float32), labels


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """Five clusters in 16 dimensions; trainings of a few steps; results in a folder of the test."""
    rng = np.random.default_rng(0)
    centres = 3 * rng.normal(size=(5, 16))
    parts = [clusters(n, rng, centres) for n in (300, 800, 60)]
    data = Features("tiny", "Five clusters", *parts[0], *parts[1], *parts[2], 200, (16,), (16,))
    monkeypatch.setattr(objectives, "DATA", {"tiny": lambda quick: data})
    monkeypatch.setattr(results, "FOLDER", tmp_path / "results")
    for name, recipe in RECIPES.items():
        small = dataclasses.replace(recipe, epochs=2, batch_size=64, hidden=(16,))
        steps = {"steps_per_epoch": 3} if recipe.steps_per_epoch else {}
        monkeypatch.setitem(RECIPES, name, dataclasses.replace(small, **steps))
    return data


def plan(**changes):
    given = {"data": ("tiny",), "objectives": ("neighbors", "csq"), "seeds": 2, "quick": True, "budget": 60.0}
    return objectives.Plan(**{**given, "name": "small", **changes})


def rows_of(result):
    return [row for section in result["sections"] for row in section["rows"]]


def console():
    return Console(quiet=True)


def test_a_small_run_from_end_to_end(tiny, tmp_path):
    objectives.run(plan(), console())
    assert {path.name for path in (tmp_path / "results").iterdir()} == {"small.json", "small.md", "small.svg"}
    result = json.loads((tmp_path / "results" / "small.json").read_text())
    by_task = {section["task"]: {row["method"]: row for row in section["rows"]} for section in result["sections"]}
    rows = rows_of(result)
    assert set(by_task["labels"]) == {"random", "pca", "itq", "neighbors", "csq"}
    assert set(by_task["neighbors"]) == {"random", "pca", "itq", "neighbors"}
    for row in by_task["labels"].values():
        assert row["map_worst"] <= row["map"] <= row["map_best"]
        assert row["recall"] <= row["recall_rerank"] <= 1
        assert 0 < row["coverage"] <= 1
        assert row["map_sd"] is not None
        assert row["seen_map"] > 0.2
        assert row["map_letters"]
    assert by_task["labels"]["csq"]["epochs"] == 2
    assert not any(row["cut"] for row in rows)
    assert "coverage" not in by_task["neighbors"]["itq"]
    baselines = [by_task["neighbors"][name]["recall"] for name in ("random", "pca", "itq")]
    row = by_task["neighbors"]["neighbors"]
    assert row["over_baselines"] == pytest.approx(row["recall"] / max(baselines))
    pairs = {(pair["task"], pair["figure"]) for section in result["sections"] for pair in section["pairs"]}
    assert pairs == {("labels", "map"), ("labels", "recall"), ("neighbors", "recall")}
    assert len(result["controls"]) == 3
    text = (tmp_path / "results" / "small.md").read_text()
    assert "| csq (labels) |" in text
    assert "**Controls**" in text


def test_the_same_seeds_give_the_same_figures(tiny):
    first, second = (objectives.run(plan(name=name, controls=False), console()) for name in ("one", "two"))
    for a, b in zip(rows_of(first), rows_of(second), strict=True):
        assert {k: v for k, v in a.items() if "cpu" not in k} == {k: v for k, v in b.items() if "cpu" not in k}


def test_trainings_join_those_of_earlier_runs(tiny, monkeypatch):
    other = dataclasses.replace(tiny, name="other", neighbor_bits=())
    monkeypatch.setitem(objectives.DATA, "other", lambda quick: other)
    quickest = {"objectives": (), "controls": False}
    first = objectives.run(plan(**quickest), console())
    objectives.run(plan(data=("other",), **quickest), console())
    both = objectives.saved("small")
    places = [("tiny", "labels"), ("tiny", "neighbors"), ("other", "labels")]
    assert [(s["data"], s["task"]) for s in both["sections"]] == places
    assert both["sections"][:2] == first["sections"]
    # One more objective, with one seed: means are over the seed that all have.
    labels = {"tasks": ("labels",), "controls": False}
    objectives.run(plan(objectives=("csq",), seeds=1, **labels), console())
    section = objectives.saved("small")["sections"][-1]
    assert {row["method"]: row["seeds"] for row in section["rows"]} == dict.fromkeys(("random", "pca", "itq", "csq"), 1)
    assert len(section["trainings"]) == 7
    # The other seed too: nothing is lost.
    objectives.run(plan(objectives=("csq",), **labels), console())
    section = objectives.saved("small")["sections"][-1]
    assert {row["seeds"] for row in section["rows"]} == {2}
    before = {row["method"]: row["map"] for row in first["sections"][0]["rows"]}
    after = {row["method"]: row["map"] for row in section["rows"]}
    assert before == {name: after[name] for name in before}
    # Under other conditions nothing can be compared.
    objectives.run(plan(objectives=("csq",), budget=59.0, seeds=1, **labels), console())
    assert len(objectives.saved("small")["sections"][-1]["trainings"]) == 4


def test_a_fit_over_its_budget_is_cut_and_says_so(tiny):
    X, y = tiny.labelled(0)
    hasher, training = zoo.fitted("csq", 16, 0, X, y, budget=0.0)
    assert len(hasher.history_) == training["epochs"] == 1
    assert training["cut"]
    assert not zoo.fitted("csq", 16, 0, X, y, budget=60.0)[1]["cut"]
    assert not zoo.fitted("itq", 16, 0, X, y, budget=0.0)[1]["cut"]


def test_every_objective_is_offered():
    assert zoo.methods(labels=True) == ["random", "pca", "itq", *RECIPES]
    assert not [name for name in zoo.methods(labels=False) if name in RECIPES and RECIPES[name].supervised]
    assert zoo.shown("csq") == "csq (labels)"
    assert zoo.shown("neighbors") == "neighbors"
    assert plan().chosen(labels=True) == ["random", "pca", "itq", "neighbors", "csq"]


def test_random_labels_and_shuffled_neighbours_give_chance(tiny):
    rows = {row["control"]: row for row in zoo.control_rows(tiny, 16, 60.0)}
    assert len(rows) == 3
    for control, row in rows.items():
        assert row["found"] == pytest.approx(row["chance"], rel=0.1), control


def test_the_controls_would_notice_a_leak(tiny):
    """The same figures with what must not be: training rows as queries, and neighbours that were not shuffled."""
    X, _ = tiny.labelled(0)
    y = np.random.default_rng(0).integers(0, 5, len(X))
    hasher = simskip.DeepHash(16, "csq", hidden=(256,), dropout=0, epochs=60, validation_fraction=0, threads=1)
    hasher.fit(X, y, progress=False)
    codes = hasher.encode(X)
    found = simskip.metrics.mean_average_precision(y, y, query_codes=codes, codes=codes)
    assert found > 1.5 * zoo.chance_map(y, y)
    split = zoo.Split.of(tiny.database, tiny.database_labels, tiny.queries, tiny.query_labels)
    itq, _ = zoo.fitted("itq", 16, 0, tiny.database, None, 60.0)
    assert zoo.measured(itq, split)[0]["recall"] > 3 * zoo.K / len(tiny.database)


def test_chance_is_that_of_one_code_for_all():
    labels, queries = np.array([0] * 30 + [1] * 70), np.array([0, 1, 1, 5])
    one = simskip.pack(np.ones((100, 8)))
    expected = simskip.metrics.mean_average_precision(queries, labels, query_codes=one[:4], codes=one)
    assert zoo.chance_map(queries, labels) == pytest.approx(float(expected))


def test_digits_are_split_without_overlap():
    data = features.DATA["digits"](True)
    assert (len(data.pool), len(data.database), len(data.queries)) == (797, 600, 400)
    mixed = np.concatenate([data.pool, data.database, data.queries])
    source = simskip.datasets.digits()
    everything = source.images.reshape(len(source), -1).astype(np.float32)
    np.testing.assert_array_equal(np.unique(mixed, axis=0), np.unique(everything, axis=0))
    X, y = data.labelled(0)
    assert X.shape == (500, 64)
    assert not np.array_equal(X, data.labelled(1)[0])
    np.testing.assert_array_equal(y, data.labelled(0)[1])


def test_words_for_reporting_are_not_in_the_database(monkeypatch):
    n = 20_000
    vectors = np.arange(n, dtype=np.float32)[:, None] * np.ones((1, 2), np.float32)
    words = simskip.datasets.WordVectors(np.array([f"w{i}" for i in range(n)]), vectors, "numbers")
    monkeypatch.setattr(simskip.datasets, "glove", lambda: words)
    data = features.DATA["glove"](False)
    assert (len(data.database), len(data.queries)) == (10_000, 2000)
    assert not set(data.database[:, 0]) & set(data.queries[:, 0])
    assert data.label_bits == ()


def row(**figures):
    given = {"data": "photos", "task": "neighbors", "n_bits": 64, "method": "neighbors", "over_baselines": 1.3}
    return {**given, "recall_asymmetric": 0.3, "map": 0.5, **figures}


def test_targets_are_looked_up_by_all_that_they_say():
    judged = objective_targets.judge([row(), row(n_bits=128, over_baselines=1.1), row(data="clothes")])
    assert [(j["reached"], j["met"]) for j in judged] == [(1.3, True), (1.1, False), (0.3, False)]
    labelled = [row(task="labels", method=name, map=0.5) for name in ("classifier", "csq", "hashnet")]
    distilled = row(task="labels", method="distilled", map=0.55)
    assert [j["reached"] for j in objective_targets.judge([*labelled, distilled])] == [pytest.approx(1.1)]
    assert objective_targets.judge([*labelled[1:], distilled]) == []


def test_the_block_in_the_readme_is_replaced():
    text = f"before\n{objective_tables.BEGIN}\nold\n{objective_tables.END}\nafter\n"
    once = objective_tables.replaced(text, "new\n\n| table |")
    assert once == f"before\n{objective_tables.BEGIN}\nnew\n\n| table |\n{objective_tables.END}\nafter\n"
    assert objective_tables.replaced(once, "old") == text
    for bad in ("", text + text, objective_tables.END + objective_tables.BEGIN):
        with pytest.raises(ValueError, match="must hold one block"):
            objective_tables.replaced(bad, "new")


def test_the_readme_holds_the_marks():
    text = objectives.README.read_text(encoding="utf-8")
    assert objective_tables.replaced(text, "x").count("x") >= 1


def test_tables_of_a_saved_run_are_written_into_the_readme(tiny, tmp_path, monkeypatch, capsys):
    objectives.run(plan(objectives=("csq",), tasks=("labels",), controls=False), console())
    readme = tmp_path / "README.md"
    readme.write_text(f"# x\n{objective_tables.BEGIN}\n{objective_tables.END}\n")
    monkeypatch.setattr(objectives, "README", readme)
    monkeypatch.setattr(sys, "argv", ["objectives", "--saved", "--name", "small", "--data", "tiny", "--write-readme"])
    objectives.main()
    assert "| csq (labels) |" in readme.read_text()
    assert "Five clusters" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "cats"], "--data: cats unknown; there are tiny"),
        (["--objectives", "csq,magic"], "--objectives: magic unknown"),
        (["--saved", "--name", "nothing", "--data", "tiny"], "there is no nothing.json"),
    ],
)
def test_bad_options(tiny, monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, "argv", ["objectives", *arguments])
    with pytest.raises(SystemExit):
        objectives.main()
    assert message in capsys.readouterr().err
