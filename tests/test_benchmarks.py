"""The benchmarks run, at a size that says nothing about speed, and their parts compute what they say."""

import io
import json

import numpy as np
import pytest
from benchmarks import results, targets, training
from benchmarks.approximate import recall
from benchmarks.cases import Case, make_codes
from benchmarks.limits import Limits
from benchmarks.row_order import Engine, neighbor_batches, pass_batches
from benchmarks.run import Plan, plan_of, run
from rich.console import Console

import simskip


def test_a_small_run_from_end_to_end(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "FOLDER", tmp_path / "results")
    tiny, small = Case("clustered", 1000, 64), Case("random", 3000, 128)
    isa = simskip.cpu.isa
    plan = Plan([tiny, small], [tiny], [tiny], (isa,), repeats=1, seconds=0.0, name="tiny")
    console = Console(record=True, width=160, quiet=True)
    path = run(plan, console)
    found = json.loads(path.read_text())
    assert {"processor", "commit", "versions", "isa"} <= set(found["environment"])
    rows = found["search"]
    assert {(r["case"], r["isa"]) for r in rows} == {("1 k x 64 clustered", isa), ("3 k x 128 random", isa)}
    whos = {"simskip scan", "simskip auto", "faiss heap", "faiss counter", "numpy", "usearch exact"}
    assert whos <= {r["who"] for r in rows}
    assert all(r["cpu_us"] >= 0 and r["wall_us"] > 0 for r in rows)
    assert all(r["roof"] in ("memory", "popcount") for r in rows if r["who"] == "simskip scan")
    tuned = [r for r in found["approximate"]["1 k x 64 clustered"] if r["tuned"]]
    assert all(r["recall"] >= 0.95 for r in tuned)
    assert [r["recall"] for r in tuned if r["who"] == "simskip scan"] == [1.0]
    assert {r["who"] for r in found["build"]["1 k x 64 clustered"]} >= {"simskip scan", "faiss flat"}
    assert {p.name for p in path.parent.iterdir()} == {"tiny.json", "tiny-recall-0.svg"}


@pytest.mark.parametrize("kind", ["clustered", "random"])
def test_codes_are_clustered_or_random(kind):
    database, queries = make_codes(Case(kind, 100_000, 256))
    again, _ = make_codes(Case(kind, 100_000, 256))
    np.testing.assert_array_equal(database, again)
    assert len(database) == 100_000
    distances = np.bitwise_count(queries[:20, None] ^ database[None]).sum(axis=2, dtype=np.int32)
    # Members of a query's own cluster: 2 * p * (1 - p) = 0.147 of the bits, for p = 41/512.
    near = distances[distances < 70]
    if kind == "clustered":
        assert 100 < len(near) < 400
        assert 0.13 < near.mean() / 256 < 0.165
    else:
        assert len(near) == 0
        assert 0.45 < distances.mean() / 256 < 0.55


def test_recall_does_not_blame_for_ties():
    truth = np.array([[1, 2, 5], [0, 0, 1]])
    assert recall(truth, truth) == 1
    assert recall(np.array([[1, 5, 5], [0, 0, 1]]), truth) == 1
    assert recall(np.array([[1, 2, 6], [0, 2, 2]]), truth) == 0.5


def test_targets_are_looked_up_by_all_that_they_say():
    row = {
        "who": "simskip scan", "kind": "clustered", "n": 10**6, "n_bits": 64, "shape": "batch", "threads": 1,
        "isa": "avx2", "times_faster_than_faiss": 5.0, "wall_us": 10.0,
    }  # fmt: skip
    others = [row | change for change in ({"threads": 2, "wall_us": 5.0}, {"shape": "single"}, {"n": 999})]
    judged = targets.judge([row, *others])
    assert [(j["work"], j["wanted"], j["reached"]) for j in judged] == [
        ("scan, 1 M x 64, batch", 4, 5.0),
        ("scan, 1 M x 64, one query", 3, 5.0),
    ]
    assert [g["gain"] for g in targets.two_thread_gain([row, *others])] == [2.0]


def test_plans_cover_the_targets():
    cases = plan_of(large=True, full=False, approximate=False, repeats=5, isas=()).cases
    for target in targets.TARGETS:
        assert Case(target.kind, target.n, target.n_bits) in cases


def test_the_loops_behind_the_roofs_find_the_least_distance():
    limits = Limits()
    for isa in simskip.cpu.available:
        for words in (1, 2, 4):
            codes = np.random.default_rng(words).integers(0, 2**64, (32, words, 8), dtype=np.uint64)
            query = np.random.default_rng(9).integers(0, 2**64, words, dtype=np.uint64)
            expected = np.bitwise_count(codes ^ query[:, None]).sum(axis=1).min()
            assert limits.least_distance(isa, codes, query) == expected
    assert limits.codes_per_second(simskip.cpu.isa, 320) is None
    bound, microseconds = limits.roof(simskip.cpu.isa, 10_000, 64, 1000, 1)
    assert bound == "popcount"
    assert microseconds > 0


def test_the_engine_is_that_of_the_standard():
    # The standard says what the 10,000th draw of a default std::mt19937_64 is.
    engine = Engine(5489)
    draws = [engine.draw() for _ in range(10_000)]
    assert draws[-1] == 9981545732273789042


def test_batches_are_passes_and_hold_neighbors():
    batches = pass_batches(100, 30, seed=1)
    for _ in range(3):
        rows = np.concatenate([next(batches) for _ in range(3)])
        assert len(set(rows.tolist())) == 90
    neighbors = (np.arange(60)[:, None] + np.arange(1, 6)).astype(np.int32) % 60
    for rows, _ in zip(neighbor_batches(neighbors, 40, anchors=4, per_anchor=3, seed=1), range(20), strict=False):
        assert len(set(rows.tolist())) == 40
        assert set(rows[1:4].tolist()) <= set(neighbors[rows[0]].tolist())


@pytest.fixture(params=["csq", "neighbors"])
def training_case(request, monkeypatch):
    pytest.importorskip("simskip._learn")
    monkeypatch.setattr(training, "ANCHORS", 6)
    rng = np.random.default_rng(0)
    labels = np.arange(300, dtype=np.int32) % 5
    inputs = rng.normal(size=(5, 24))[labels] + 0.5 * rng.normal(size=(300, 24))
    inputs = (inputs / np.linalg.norm(inputs, axis=1, keepdims=True)).astype(np.float32)
    neighbors = None
    if request.param == "neighbors":
        neighbors = np.argsort(-(inputs @ inputs.T), axis=1, kind="stable")[:, 1:16].astype(np.int32)
    return training.Case(request.param, 96, 32, inputs, labels, neighbors)


def test_the_torch_loop_learns_what_the_native_trainer_learns(training_case):
    found = training.curve(training_case, 6)
    assert found["simskip"][-1] < found["simskip"][0]
    # Rounding only; another batch, weight or constant would show in the first digits.
    np.testing.assert_allclose(found["simskip"], found["torch"], rtol=2e-4)


def test_training_speeds_are_compared(training_case):
    rows = training.compare(training_case, threads=1, rounds=1, steps=2)
    assert [row["who"] for row in rows] == ["simskip", "torch, for loop", "torch, foreach", "torch, fused"]
    assert max(row["times_best_torch"] for row in rows[1:]) == 1
    assert all(row["steps_per_second"] > 0 for row in rows)
    console = Console(record=True, width=160, file=io.StringIO())
    console.print(training.speed_table(rows), training.curve_table([training.curve(training_case, 2)]))
    assert "torch, fused" in console.export_text()


def test_an_epoch_in_the_published_style(training_case):
    if training_case.neighbors is None:
        row = training.reference(training_case, rounds=1)
        assert row["ratio"] == row["reference_s"] / row["simskip_s"] > 0
        epoch = training.reference_epoch(training_case.inputs, training_case.labels, training_case.start, 96, 1e-2)
        # One pass brings classes apart: codes of a class agree more than those of others.
        for _ in range(5):
            codes = epoch()
        same = training_case.labels[:, None] == training_case.labels
        similar = codes @ codes.T
        assert similar[same].mean() > similar[~same].mean() + 10
