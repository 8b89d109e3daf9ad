"""The rows of a study, its settings, and the figures of a hasher on them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import simskip
from simskip.tuning.task import METRICS, Ground, Settings, metric_names

from .conftest import clusters


def brute_force(X, rows, k):
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    return np.argsort(-(unit[rows.queries] @ unit[rows.database].T), axis=1, kind="stable")[:, :k]


@given(n=st.integers(120, 400), seed=st.integers(0, 9), database=st.sampled_from(["unseen", "training"]))
def test_no_row_is_in_two_parts(n, seed, database):
    X = clusters(n, 4)[0]
    ground = Ground(X, None, Settings(("recall",), k=3, random_state=seed, database=database))
    parts = [ground.training, ground.choosing.queries, ground.reporting.queries]
    if database == "unseen":
        parts += [ground.choosing.database, ground.reporting.database]
        assert sum(map(len, parts)) == n
        assert len(ground.choosing.database) == len(ground.reporting.database)
    else:
        assert np.array_equal(ground.choosing.database, ground.training)
    rows = np.concatenate(parts)
    assert len(np.unique(rows)) == len(rows)
    assert rows.min() >= 0
    assert rows.max() < n


def test_the_truth_is_that_of_brute_force(data):
    ground = Ground(data[0], None, Settings(("recall",), k=5))
    for rows in (ground.choosing, ground.reporting):
        assert np.array_equal(rows.truth, brute_force(data[0], rows, 5))


def test_figures_are_those_of_the_public_metrics(data):
    X, y = data
    ground = Ground(X, y, Settings(("recall",), k=5, rerank=4))
    hasher = simskip.PCAHash(12).fit(X[ground.training])
    figures = ground.figures(hasher, "choosing")
    queries, database = ground.choosing.queries, ground.choosing.database
    codes, query_codes = hasher.encode(X[database]), hasher.encode(X[queries])
    index = simskip.HammingIndex(12)
    index.add(codes)
    truth = brute_force(X, ground.choosing, 5)
    assert figures["recall"] == simskip.metrics.recall_at_k(index.search(query_codes, 5)[1], truth)
    near = index.search(query_codes, 20)[1]
    reached = np.mean([len(set(row) & set(exact)) / 5 for row, exact in zip(near, truth, strict=True)])
    assert figures["recall-reranked"] == pytest.approx(reached)
    assert figures["recall"] < figures["recall-asymmetric"] < figures["recall-reranked"] < 1
    expected = simskip.metrics.mean_average_precision(y[queries], y[database], query_codes=query_codes, codes=codes)
    assert figures["map"] == expected
    assert len(figures["map"].values) == len(queries)


def test_a_rerank_of_everything_is_no_figure(data):
    ground = Ground(data[0], None, Settings(("recall",), k=5, rerank=40))
    assert "recall-reranked" not in ground.figures(simskip.PCAHash(8).fit(data[0]), "choosing")


@pytest.mark.parametrize("labels", [None, "numbers", "words", "several"])
def test_saved_and_loaded(data, tmp_path, labels):
    X, numbers = data
    y = {
        None: None,
        "numbers": numbers,
        "words": np.array([f"class {i}" for i in numbers], object),
        "several": np.eye(5)[numbers],
    }[labels]
    settings = Settings(("recall",), k=5)
    ground = Ground(X, y, settings)
    ground.save(tmp_path)
    again = Ground.load(tmp_path, settings)
    assert again.fingerprint == ground.fingerprint
    assert np.array_equal(again.training, ground.training)
    assert np.array_equal(again.choosing.truth, ground.choosing.truth)
    hasher = simskip.PCAHash(8).fit(X)
    assert again.figures(hasher, "reporting") == ground.figures(hasher, "reporting")


def test_fingerprints_differ(data):
    X, y = data
    settings = Settings(("recall",), k=5)
    changed = X.copy()
    changed[3, 3] += 1
    prints = {Ground(*both, settings).fingerprint for both in ((X, None), (X, y), (X, 1 - y), (changed, None))}
    assert len(prints) == 4


def test_settings_survive_json():
    settings = Settings(("recall", "bytes"), k=7, distance="l2", database="training")
    assert Settings.from_dict(settings.as_dict()) == settings
    assert settings.directions() == ["maximize", "minimize"]


def test_metric_names():
    assert metric_names(None, False) == ("recall",)
    assert metric_names(None, True) == ("map",)
    assert metric_names(("recall", "bytes"), False) == ("recall", "bytes")
    assert metric_names(list(METRICS), True) == METRICS


def test_rows_without_a_class_ask_nothing(data):
    X, y = data
    y = np.where(np.arange(len(y)) % 2, y, -1)
    ground = Ground(X, y, Settings(("map",), k=5))
    hasher = simskip.PCAHash(12).fit(X)
    queries, database = ground.choosing.queries, ground.choosing.database
    own = queries[y[queries] >= 0]
    expected = simskip.metrics.mean_average_precision(
        y[own], y[database], query_codes=hasher.encode(X[own]), codes=hasher.encode(X[database])
    )
    assert 0 < len(own) < len(queries)
    assert ground.figures(hasher, "choosing")["map"] == expected
    assert "map" not in Ground(X, np.full(len(y), -1), Settings(("map",), k=5)).figures(hasher, "choosing")


def test_trainings_are_judged_by_what_is_tuned_for():
    watched = [Settings(metrics).fixed.get("watch") for metrics in (("recall-reranked",), ("map", "bytes"), ("bytes",))]
    assert watched == ["recall", "map", None]


def test_labels_must_be_of_one_kind(data):
    with pytest.raises(ValueError, match="all integers or all strings, got int, str"):
        Ground(data[0], np.array([1, "a"] * 300, object), Settings(("map",)))
