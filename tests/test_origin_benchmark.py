"""The origin's claim is checked by numbers that mean what the table says."""

import json

import numpy as np
import pytest
from benchmarks import origin, results

import simskip


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 10, 2000)
    X = (rng.normal(size=(10, 16))[y] + 0.4 * rng.normal(size=(2000, 16))).astype(np.float32)
    return origin.Data("blobs", "l2", X[:1500], y[:1500], X[1500:], y[1500:])


@pytest.fixture(scope="module")
def rows(data):
    return origin.measure(data, steps=30, repeats=1, seconds=0.0)


def test_rows_tell_collapse_from_good_codes(rows):
    by_name = {row["who"]: row for row in rows}
    assert len(by_name) == 5
    for row in rows:
        assert row["origins_recall"] == 1  # whatever was found
        assert row["n_items"] == 500
        assert 0 < row["share_read"] <= 1
        assert row["rows_read"] == pytest.approx(1500 * row["share_read"])
        assert row["cpu_us"] > 0
    for name, row in by_name.items():
        assert row["collapsed"] == name.startswith("origin")
    snapped = by_name["csq, 8 bits, snapped"]
    assert snapped["n_codes"] == 10
    assert snapped["coverage"] > max(0.9, by_name["csq, 8 bits"]["coverage"])
    assert snapped["computation_ratio"] == pytest.approx(1, abs=0.05)
    assert snapped["recall"] < 1


def test_the_lines_say_what_was_reached(rows):
    lines = origin.verdicts(rows)
    assert len(lines) == 3
    assert all("collapsed; Recall@25" in line and "comparison says 1" in line for line in lines[:2])
    assert "goal (>= 0.88, <= 1.1) reached" in lines[2]
    poor = [{**rows[4], "coverage": 0.7}]
    assert "missed, wish (>= 0.93) missed" in origin.verdicts(poor)[0]
    assert origin.table_of(rows).row_count == 5


def test_unsnapped_codes_are_the_signs_of_the_outputs(data):
    hasher = simskip.DeepHash(8, "csq", snap=True, epochs=1, hidden=(8,), threads=1)
    hasher.fit(data.X, data.y, progress=False)
    unsnapped = origin.Unsnapped(hasher)
    assert unsnapped.encode(data.unseen) == simskip.pack(hasher.project(data.unseen))
    assert unsnapped.encode(data.unseen) != hasher.encode(data.unseen)
    assert (unsnapped.n_bits, unsnapped.dim_) == (8, 16)


def test_data_sets_side_by_side_weigh_the_same(data):
    both = origin.together(data, data)
    assert both.X.shape == (1500, 32)
    assert both.unseen.shape == (500, 32)
    assert np.square(both.X[:, :16]).mean() == pytest.approx(1, rel=1e-5)
    assert np.square(both.X[:, 16:]).mean() == pytest.approx(1, rel=1e-5)


def test_it_is_saved(data, monkeypatch, tmp_path):
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    monkeypatch.setattr(origin, "data_named", lambda name, quick: data)
    origin.main(["--quick", "--repeats", "1"])
    saved = json.loads((tmp_path / "origin-pixels.json").read_text())
    assert [row["data"] for row in saved["rows"]] == ["blobs"] * 5
