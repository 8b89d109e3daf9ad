"""Pseudo-labels: classes for vectors that have none, found by clustering, so that supervised objectives can be used."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..extras import require
from ..validation import choice, matrix, positive_int
from .preparation import row_blocks, unit_scale
from .recipes import not_negative

__all__ = ["pseudo_labels"]

FloatMatrix = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

METHODS = ("kmeans", "dbscan")
METRICS = ("cosine", "l2")

# KMeans reads every row in every iteration; above this many, MiniBatchKMeans does, on a sample if need be.
_FULL_KMEANS_ROWS = 10_000
_STARTS = 4
# To choose their number, clusters are sought among so many rows and judged on fewer: a silhouette compares all pairs.
_COUNTING_ROWS, _SILHOUETTE_ROWS = 5000, 2000
_CLASS_COUNTS = (2, 3, 4, 5, 7, 10, 14, 20, 30, 45, 65, 100)
_BATCH_ROWS = 4096
# scikit-learn's DBSCAN compares all pairs where there are many columns: 10,000 rows of 1280 take seconds.
_DBSCAN_ROWS = 10_000


def pseudo_labels(
    X: npt.ArrayLike,
    method: str = "kmeans",
    n_classes: int | None = None,
    metric: str = "cosine",
    random_state: int = 0,
    *,
    eps: float | None = None,
    min_samples: int = 10,
    sample: int = 50_000,
) -> Labels:
    """Classes of unlabelled vectors, found by clustering.

    Parameters
    ----------
    X : (n, d) array
        Finite numbers; used as float32. A memory-mapped array is read block by block.
    method : {"kmeans", "dbscan"}
        ``"kmeans"`` gives every row a class. ``"dbscan"`` [1]_ finds dense regions of any shape and calls the rest
        noise.
    n_classes : int, optional
        Clusters of kmeans, 2 to n. Default: of a dozen numbers from 2 to 100 the one whose clusters have the
        largest silhouette [2]_ on a sample of 2,000 rows. Not for dbscan, which finds its own number.
    metric : {"cosine", "l2"}
        cosine: rows are scaled to length 1 first.
    random_state : int
        Seed >= 0 of samples and starts.
    eps : float, optional
        For dbscan: rows nearer than this are neighbours, in the metric (cosine: 1 - cos, 0 to 2). Default: the knee
        of the rows' distances to their ``min_samples``-th neighbour.
    min_samples : int
        For dbscan: a row with so many rows within ``eps``, itself among them, lies in a dense region.
    sample : int
        Most rows that are clustered; the others are given the class of the nearest centre (kmeans), or of the nearest
        row in a dense region if it is within ``eps`` (dbscan, which clusters 10,000 rows at most).

    Returns
    -------
    (n,) int64 array
        Classes 0, 1, ... from the largest to the smallest; -1 for noise. Leave noise out of a training:
        ``keep = labels >= 0; hasher.fit(X[keep], labels[keep])``.

    Raises
    ------
    ValueError
        For parameters or ``X`` that do not fit, or if dbscan finds fewer than two classes: the message says which way
        to turn ``eps``.
    ImportError
        If scikit-learn is missing (``pip install "simskip[train]"``).

    Notes
    -----
    They do not replace ``objective="neighbors"``: on 10,000 EfficientNet-Lite0 vectors of Fashion-MNIST, 64-bit csq
    codes of 10 / 30 / 100 / 300 k-means classes have Recall@25 .04 / .07 / .20 / .30 and mAP .64 / .35 / .28 / .21,
    where neighbors has .50 and .49, and ITQ .39 and .59: only the mAP gains, and only with about as many clusters as
    there are classes.

    The same data and seed give the same labels.

    The knee of dbscan lies where noise begins. Where there is none it is too small, and dense regions fall to pieces:
    give ``eps`` then.

    References
    ----------
    .. [1] M. Ester, H.-P. Kriegel, J. Sander, X. Xu, "A density-based algorithm for discovering clusters in large
       spatial databases with noise", KDD 1996, who also read eps off the sorted distances.
    .. [2] P. Rousseeuw, "Silhouettes: a graphical aid to the interpretation and validation of cluster analysis",
       Journal of Computational and Applied Mathematics 20 (1987).

    Examples
    --------
    >>> import numpy as np, simskip
    >>> rng = np.random.default_rng(0)
    >>> centres = rng.normal(size=(3, 16))
    >>> X = (centres[np.arange(300) % 3] + 0.1 * rng.normal(size=(300, 16))).astype(np.float32)
    >>> labels = simskip.pseudo_labels(X)
    >>> np.bincount(labels).tolist()
    [100, 100, 100]
    >>> len(set(zip(labels.tolist(), (np.arange(300) % 3).tolist())))  # each is one true class
    3
    """
    choice(method, "method", METHODS)
    choice(metric, "metric", METRICS)
    rows = matrix(X, "X", min_rows=2)
    seed = positive_int(random_state, "random_state", minimum=0, maximum=2**32 - 1)
    sample = positive_int(sample, "sample", minimum=2)
    min_samples = positive_int(min_samples, "min_samples")
    if n_classes is not None:
        if method == "dbscan":
            raise ValueError(f"n_classes must be None for method 'dbscan', which finds its own, got {n_classes!r}")
        n_classes = positive_int(n_classes, "n_classes", minimum=2, maximum=min(len(rows), sample))
    if eps is not None:
        if method == "kmeans":
            raise ValueError(f"eps must be None for method 'kmeans', got {eps!r}")
        eps = not_negative(eps, "eps", zero=False)
    if method == "kmeans":
        found = _kmeans(rows, metric, n_classes, seed, sample)
    else:
        found = _dbscan(rows, metric, eps, min_samples, seed, min(sample, _DBSCAN_ROWS))
    return _by_size(found)


def _prepared(X: FloatMatrix, metric: str) -> FloatMatrix:
    """Rows among which Euclidean distance ranks as the metric does."""
    return np.asarray(X * unit_scale(X)[:, None] if metric == "cosine" else X, np.float32)


def _chosen(n: int, most: int, seed: int) -> npt.NDArray[np.int64]:
    """At most so many row numbers, ascending."""
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, most, replace=False))


def _kmeans(X: FloatMatrix, metric: str, n_classes: int | None, seed: int, sample: int) -> Labels:
    cluster = require("sklearn.cluster", "train", "Clustering for pseudo-labels")
    rows = _prepared(X[_chosen(len(X), sample, seed)], metric)
    if n_classes is None:
        n_classes = _class_count(cluster, rows, seed)
    model = _fitted_kmeans(cluster, rows, n_classes, seed)
    labels = np.empty(len(X), np.int64)
    for block in row_blocks(*X.shape):
        labels[block] = model.predict(_prepared(X[block], metric))
    return labels


def _fitted_kmeans(cluster: Any, rows: FloatMatrix, n_classes: int, seed: int, starts: int = _STARTS) -> Any:
    if len(rows) <= _FULL_KMEANS_ROWS:
        return cluster.KMeans(n_classes, n_init=starts, random_state=seed).fit(rows)
    return cluster.MiniBatchKMeans(n_classes, n_init=starts, batch_size=_BATCH_ROWS, random_state=seed).fit(rows)


def _class_count(cluster: Any, rows: FloatMatrix, seed: int) -> int:
    """The number of clusters with the largest silhouette; the smaller of equals."""
    silhouette = require("sklearn.metrics", "train", "Clustering for pseudo-labels").silhouette_score
    rows = rows[_chosen(len(rows), _COUNTING_ROWS, seed)]
    judged = rows[_chosen(len(rows), _SILHOUETTE_ROWS, seed)]
    best, best_score = 2, -np.inf
    for count in _CLASS_COUNTS:
        if count > len(judged) - 1:  # a silhouette needs a cluster of two
            break
        labels = _fitted_kmeans(cluster, rows, count, seed, starts=1).predict(judged)
        found = len(np.unique(labels))
        if 1 < found < len(judged):
            score = float(silhouette(judged, labels))
            if score > best_score:
                best, best_score = count, score
    return best


def _dbscan(X: FloatMatrix, metric: str, eps: float | None, min_samples: int, seed: int, sample: int) -> Labels:
    cluster = require("sklearn.cluster", "train", "Clustering for pseudo-labels")
    chosen = _chosen(len(X), sample, seed)
    rows = _prepared(X[chosen], metric)
    # Between rows of length 1 a Euclidean distance e is a cosine distance of e^2 / 2.
    radius = _knee(rows, min_samples) if eps is None else float(np.sqrt(2 * eps)) if metric == "cosine" else eps
    model = cluster.DBSCAN(eps=radius, min_samples=min_samples).fit(rows)
    n_classes = int(model.labels_.max()) + 1
    if n_classes < 2:
        value = radius**2 / 2 if metric == "cosine" else radius
        raise ValueError(
            f"eps must separate at least two dense regions, but with eps={value:.4g} and min_samples={min_samples}"
            f" dbscan found {n_classes}: give a {'smaller' if n_classes else 'larger'} eps, or use method='kmeans'"
        )
    labels = np.full(len(X), -1, np.int64)
    labels[chosen] = model.labels_
    if len(chosen) < len(X):
        from ..index.vector import VectorIndex  # its package imports this one

        core = model.core_sample_indices_
        dense = VectorIndex(rows.shape[1], "l2")
        dense.add(rows[core])
        others = np.setdiff1d(np.arange(len(X)), chosen, assume_unique=True)
        for block in row_blocks(len(others), X.shape[1]):
            distances, nearest = dense.search(_prepared(X[others[block]], metric), 1)
            own = model.labels_[core[nearest[:, 0]]]
            labels[others[block]] = np.where(distances[:, 0] <= radius, own, -1)
    return labels


def _knee(rows: FloatMatrix, min_samples: int) -> float:
    """The distance to the ``min_samples``-th row where the sorted curve of it is farthest below its chord."""
    from ..index.vector import VectorIndex  # its package imports this one

    index = VectorIndex(rows.shape[1], "l2")
    index.add(rows)
    k = min(min_samples, len(rows))  # every row finds itself first
    curve = np.sort(index.search(rows, k)[0][:, -1].astype(np.float64))
    rise = curve[-1] - curve[0]
    if rise <= 0:
        return max(float(curve[-1]), float(np.finfo(np.float32).tiny))
    below = np.linspace(0, 1, len(curve)) - (curve - curve[0]) / rise
    return max(float(curve[np.argmax(below)]), float(np.finfo(np.float32).tiny))


def _by_size(found: npt.NDArray[Any]) -> Labels:
    """Classes renumbered from the largest to the smallest (the one with the first row first among equals)."""
    values, first, counts = np.unique(found[found >= 0], return_index=True, return_counts=True)
    numbers = np.empty(int(values.max()) + 1, np.int64)
    numbers[values[np.lexsort((first, -counts))]] = np.arange(len(values))
    return np.where(found >= 0, numbers[np.maximum(found, 0)], -1)
