"""Gates are compared at equal rows, with a classifier that is as weak as it is said to be."""

import json

import numpy as np
import pytest
from benchmarks import features, hierarchical, results


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 4400)
    X = (0.6 * rng.normal(size=(4, 12))[y] + rng.normal(size=(4400, 12))).astype(np.float32)
    parts = np.split(np.arange(4400), [1600, 4000])
    (pool, a), (database, b), (queries, c) = [(X[part], y[part]) for part in parts]
    return features.Features("blobs", "Blobs", pool, a, database, b, queries, c, 0, (), ())


@pytest.fixture(scope="module")
def rows(data):
    return hierarchical.measure(data, seeds=1, tops=(1, 2), repeats=1)


def test_soft_is_given_no_more_rows_than_hard(rows):
    by_name = {(row["name"], row["classes"]): row for row in rows}
    assert len(by_name) == 8
    for top in (1, 2):
        hard = by_name["hard", top]
        assert hard["share"] == pytest.approx(top / 4, abs=0.02)
        assert 0.6 < hard["accuracy"] < 0.8
        assert "over_hard" not in hard
        for name in ("soft, cells", "soft, cells without the classifier"):
            soft = by_name[name, top]
            assert soft["rows"] <= hard["rows"] * 1.02
            assert soft["over_hard"] == pytest.approx(soft["recall"] - hard["recall"])
            assert soft["over_hard_low"] > 0
            assert soft["times_faster"] > 0
    assert by_name["soft, whole classes", 1]["recall"] == by_name["hard", 1]["recall"]


def test_random_labels_are_chance(data):
    rows = hierarchical.measure(data, seeds=1, random_labels=True, tops=(1,), repeats=1)
    hard = rows[0]
    assert hard["labels"] == "random"
    assert hard["accuracy"] == pytest.approx(0.25, abs=0.1)
    assert hard["recall"] == pytest.approx(0.25, abs=0.05)
    assert hierarchical.verdicts(rows) == []


def test_it_is_said_and_saved(rows, data, monkeypatch, tmp_path):
    lines = hierarchical.verdicts(rows)
    assert "blobs: soft, cells finds more than hard with 1 at equal rows" in lines
    assert "blobs: soft, whole classes is no different from hard with 1 at equal rows" in lines
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    monkeypatch.setattr(hierarchical, "DATA", {"clothes": lambda quick: data})
    monkeypatch.setattr(hierarchical, "measure", lambda *arguments: rows)
    hierarchical.main(["--quick", "--data", "clothes"])
    saved = json.loads((tmp_path / "hierarchical.json").read_text())
    assert len(saved["rows"]) == 16
