import numpy as np
import pytest

from simskip.evaluation import exact


def definition(Q, X, metric):
    Q, X = Q.astype(np.float64), X.astype(np.float64)
    if metric == "l2":
        return np.square(Q[:, None] - X[None]).sum(axis=2)
    product = Q @ X.T
    if metric == "cosine":
        norms = np.linalg.norm(Q, axis=1)[:, None] * np.linalg.norm(X, axis=1)[None]
        product = np.divide(product, norms, out=np.zeros_like(product), where=norms > 0)
    return -product


@pytest.fixture
def matrices():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 6)).astype(np.float32)
    X[3] = 0.0
    return rng.normal(size=(9, 6)).astype(np.float32), X


@pytest.mark.parametrize("metric", ["cosine", "l2", "dot"])
def test_blocks_order_rows_as_the_metric_does(matrices, metric, monkeypatch):
    Q, X = matrices
    monkeypatch.setattr(exact, "_BLOCK_FLOATS", 100)  # blocks of two queries
    starts, parts = zip(*exact.exact_distance_blocks(Q, X, metric), strict=True)
    assert starts == (0, 2, 4, 6, 8)
    ours = np.argsort(np.concatenate(parts), axis=1, kind="stable")
    assert np.array_equal(ours, np.argsort(definition(Q, X, metric), axis=1, kind="stable"))


@pytest.mark.parametrize("metric", ["cosine", "l2", "dot"])
def test_distances_to_chosen_rows(matrices, metric, monkeypatch):
    Q, X = matrices
    monkeypatch.setattr(exact, "_BLOCK_FLOATS", 100)
    ids = np.random.default_rng(1).integers(0, 40, (9, 4))
    ids[2, 3] = -1
    distances = exact.distances_to(Q, X, ids, metric)
    expected = np.take_along_axis(definition(Q, X, metric), np.maximum(ids, 0), axis=1)
    expected[2, 3] = np.inf
    assert distances == pytest.approx(expected, abs=1e-12)
