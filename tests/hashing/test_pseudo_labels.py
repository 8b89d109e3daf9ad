"""Pseudo-labels: clusters are found, named reproducibly, and good enough to train on."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import simskip
from simskip.hashing import pseudo_labels as exported
from simskip.hashing.pseudo_labels import pseudo_labels

pytestmark = pytest.mark.filterwarnings("default::simskip.CollapseWarning")


def blobs(sizes, dim=16, spread=0.1, seed=0):
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(sizes)), sizes)
    X = rng.normal(size=(len(sizes), dim))[truth] + spread * rng.normal(size=(len(truth), dim))
    order = rng.permutation(len(truth))
    return X[order].astype(np.float32), truth[order]


def rings(n=600, seed=0):
    """Two circles, one inside the other: no two centres separate them."""
    rng = np.random.default_rng(seed)
    truth = (rng.random(n) < 0.75).astype(int)  # the longer circle has more rows: one density, as dbscan assumes
    angle = rng.uniform(0, 2 * np.pi, n)
    radius = np.where(truth == 0, 1.0, 3.0) + 0.05 * rng.normal(size=n)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).astype(np.float32), truth


def partition(labels):
    """The sets of rows, whatever they are called."""
    return {tuple(np.flatnonzero(labels == value)) for value in np.unique(labels)}


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("method", ["kmeans", "dbscan"])
def test_separate_clusters_are_found_without_being_counted(method, metric):
    X, truth = blobs([150, 90, 60, 40])
    labels = pseudo_labels(X, method, metric=metric)
    assert labels.dtype == np.int64
    kept = labels >= 0
    assert kept.mean() > 0.9
    assert partition(labels[kept]) == partition(truth[kept])
    assert (np.diff(np.bincount(labels[kept])) <= 0).all()  # from the largest to the smallest
    np.testing.assert_array_equal(labels, pseudo_labels(X, method, metric=metric))


def test_cosine_ignores_lengths_and_l2_does_not():
    X, truth = blobs([80, 80], dim=8, spread=0.05)
    lengths = np.where(np.arange(160) % 2, 1.0, 50.0)
    assert partition(pseudo_labels(X * lengths[:, None], n_classes=2)) == partition(truth)
    assert partition(pseudo_labels(X * lengths[:, None], n_classes=2, metric="l2")) != partition(truth)


@given(
    n=st.integers(12, 80),
    n_classes=st.integers(2, 12),
    metric=st.sampled_from(["cosine", "l2"]),
    sample=st.integers(12, 100),
    seed=st.integers(0, 2**32 - 1),
)
def test_kmeans_labels_are_the_nearest_centres_and_numbered_by_size(n, n_classes, metric, sample, seed):
    X = np.random.default_rng(seed).normal(size=(n, 5)).astype(np.float32)
    labels = pseudo_labels(X, n_classes=n_classes, metric=metric, random_state=seed, sample=sample)
    counts = np.bincount(labels)
    assert len(labels) == n
    assert labels.min() == 0
    assert len(counts) <= n_classes
    assert (counts > 0).all()
    assert (np.diff(counts) <= 0).all()
    if sample >= n:  # converged: every row is nearest to the mean of its own cluster
        rows = X / np.linalg.norm(X, axis=1, keepdims=True) if metric == "cosine" else X
        means = np.stack([rows[labels == c].mean(axis=0) for c in range(len(counts))])
        distances = np.linalg.norm(rows[:, None] - means, axis=2)
        assert (distances[np.arange(n), labels] <= distances.min(axis=1) + 1e-3).all()


@pytest.mark.parametrize("method", ["kmeans", "dbscan"])
def test_rows_outside_the_sample_join_the_clusters(method):
    X, truth = blobs([300, 200, 100])
    options = {"n_classes": 3} if method == "kmeans" else {}
    labels = pseudo_labels(X, method, metric="l2", sample=120, **options)
    kept = labels >= 0
    assert kept.mean() > 0.8
    assert partition(labels[kept]) == partition(truth[kept])


def test_many_rows_are_clustered_in_batches():
    X, truth = blobs([6000, 5000, 2000])
    assert partition(pseudo_labels(X, n_classes=3)) == partition(truth)


def test_dbscan_separates_what_kmeans_cannot_and_marks_noise():
    X, truth = rings()
    assert partition(pseudo_labels(X, "dbscan", metric="l2", eps=0.5)) == partition(truth)
    assert partition(pseudo_labels(X, n_classes=2, metric="l2")) != partition(truth)
    # With stray rows the knee is where they begin.
    corners = np.array([[8, 8], [-9, 7], [7, -8], [-8, -9]])
    stray = np.concatenate([corners * far for far in np.linspace(1, 2, 5)])
    labels = pseudo_labels(np.concatenate([X, stray]), "dbscan", metric="l2")
    assert (labels[len(X) :] == -1).all()
    assert partition(labels[: len(X)]) == partition(truth)


def test_eps_of_cosine_is_a_cosine_distance():
    """Two bundles of directions 60 degrees apart (cosine distance 0.5), each about 2 degrees wide."""
    rng = np.random.default_rng(0)
    angle = np.radians(np.repeat([0.0, 60.0], 100) + rng.uniform(-2, 2, 200))
    X = np.stack([np.cos(angle), np.sin(angle)], axis=1) * rng.uniform(0.1, 9, (200, 1))
    assert pseudo_labels(X, "dbscan", eps=0.35).max() == 1  # widest gap: 1 - cos(56 degrees) = 0.44
    with pytest.raises(ValueError, match=r"with eps=0.5 and min_samples=10 dbscan found 1: give a smaller eps"):
        pseudo_labels(X, "dbscan", eps=0.5)


def test_one_dense_region_or_none_is_an_error_that_says_where_to_turn():
    X = np.random.default_rng(0).normal(size=(100, 3))
    with pytest.raises(ValueError, match=r"eps must separate .* dbscan found 0: give a larger eps"):
        pseudo_labels(X, "dbscan", metric="l2", eps=1e-6)
    with pytest.raises(ValueError, match=r"dbscan found 1: give a smaller eps"):
        pseudo_labels(X, "dbscan", metric="l2", eps=100)
    with pytest.raises(ValueError, match=r"dbscan found [01]: give a"):
        pseudo_labels(np.ones((50, 3)), "dbscan")


def test_equal_rows_are_one_cluster():
    with pytest.warns(Warning, match="distinct clusters"):  # scikit-learn says that there are fewer than asked for
        assert pseudo_labels(np.ones((20, 3)), n_classes=3).tolist() == [0] * 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "spectral"}, "method must be one of 'kmeans', 'dbscan'"),
        ({"metric": "dot"}, "metric must be one of 'cosine', 'l2'"),
        ({"n_classes": 1}, "n_classes must be an integer from 2 to 9"),
        ({"n_classes": 10}, "n_classes must be an integer from 2 to 9"),
        ({"method": "dbscan", "n_classes": 3}, "n_classes must be None for method 'dbscan'"),
        ({"eps": 0.5}, "eps must be None for method 'kmeans'"),
        ({"method": "dbscan", "eps": 0}, "eps must be a number > 0"),
        ({"method": "dbscan", "eps": float("nan")}, "eps must be a number > 0"),
        ({"min_samples": 0}, "min_samples must be an integer"),
        ({"sample": 1}, "sample must be an integer >= 2"),
        ({"random_state": -1}, "random_state must be"),
        ({"X": np.ones((1, 3))}, "X must have at least 2 rows"),
        ({"X": [[1.0, np.inf], [0, 0]]}, "X must be finite"),
    ],
)
def test_parameters_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        pseudo_labels(**{"X": np.eye(9), **options})


def test_a_missing_scikit_learn_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(ImportError, match=r'pip install "simskip\[train\]"'):
        pseudo_labels(np.eye(9), n_classes=2)


def test_they_are_good_enough_to_train_on():
    """Unseen rows of separate clusters: codes from pseudo-labels tell the true classes apart as true labels do."""
    assert simskip.pseudo_labels is exported is pseudo_labels
    X, truth = blobs([200] * 6, spread=0.3)
    labels = simskip.pseudo_labels(X[:800], "dbscan")
    keep = labels >= 0
    health = {}
    for name, rows, y in (("true", X[:800], truth[:800]), ("pseudo", X[:800][keep], labels[keep])):
        hasher = simskip.DeepHash(8, "csq", hidden=(32,), epochs=8, batch_size=64, threads=1)
        codes = hasher.fit(rows, y, progress=False).encode(X[800:])
        health[name] = simskip.metrics.code_health(codes, truth[800:])
        assert health[name].distinct_class_codes == 6
    assert health["pseudo"].coverage > health["true"].coverage - 0.05
    assert health["true"].coverage > 0.8
