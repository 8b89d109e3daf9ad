"""Which rows are each other's nearest by the exact metric, and how sharply: what ``neighbors`` is trained on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

import numpy as np
import numpy.typing as npt

from ..cache import array_fingerprint, fingerprint

__all__ = ["half_squares", "nearest", "remembered", "temperature"]

FloatMatrix = npt.NDArray[np.float32]
RowNumbers = npt.NDArray[np.int32]

_QUERY_BLOCK = 4096

_PERPLEXITY = 30.0
_PERPLEXITY_NEIGHBORS = 500
_PERPLEXITY_ANCHORS = 500

_memory: ContextVar[dict[str, tuple[RowNumbers, FloatMatrix]] | None] = ContextVar("neighbors", default=None)


@contextlib.contextmanager
def remembered() -> Iterator[None]:
    """Inside, ``nearest`` computes the answer to the same question once: trainings on the same rows ask it each time.

    Questions are compared by fingerprints of the arrays, which takes one pass over them. Answers, 8 bytes per
    neighbour, are kept until the end of the block.
    """
    token = _memory.set({})
    try:
        yield
    finally:
        _memory.reset(token)


def half_squares(X: FloatMatrix) -> FloatMatrix:
    """(n,) ``-|x|^2 / 2``: added to inner products it ranks them by Euclidean distance."""
    return (-0.5 * np.einsum("ij,ij->i", X, X, dtype=np.float64)).astype(np.float32)


def nearest(
    X: FloatMatrix,
    metric: str,
    queries: RowNumbers,
    database: RowNumbers,
    k: int,
    *,
    exclude_self: bool,
    threads: int | None = None,
) -> tuple[RowNumbers, FloatMatrix]:
    """Exact nearest rows.

    Parameters
    ----------
    X : (n, d) float32 array
    metric : {"cosine", "l2", "dot"}
    queries, database : (q,), (m,) int32 arrays
        Row numbers of ``X``; each distinct.
    k : int
        At most m (m - 1 with ``exclude_self``).
    exclude_self : bool
        Leave a query out of its own list; all queries must then be in ``database``.
    threads : int, optional

    Returns
    -------
    neighbors : (q, k) int32 array
        Row numbers, nearest first.
    distances : (q, k) float32 array
        As ``VectorIndex`` defines them.
    """
    memory = _memory.get()
    if memory is None:
        return _searched(X, metric, queries, database, k, exclude_self, threads)
    question = fingerprint(*map(array_fingerprint, (X, queries, database)), f"{metric} {k} {exclude_self}")
    if question not in memory:  # the number of threads changes nothing
        memory[question] = _searched(X, metric, queries, database, k, exclude_self, threads)
    neighbors, distances = memory[question]
    return neighbors.copy(), distances.copy()


def _searched(
    X: FloatMatrix,
    metric: str,
    queries: RowNumbers,
    database: RowNumbers,
    k: int,
    exclude_self: bool,
    threads: int | None,
) -> tuple[RowNumbers, FloatMatrix]:
    from ..index.vector import VectorIndex  # its package imports this one

    index = VectorIndex(X.shape[1], metric)
    index.add(X[database], ids=database)
    neighbors = np.empty((len(queries), k), np.int32)
    distances = np.empty((len(queries), k), np.float32)
    for start in range(0, len(queries), _QUERY_BLOCK):
        block = queries[start : start + _QUERY_BLOCK]
        gaps, found = index.search(X[block], k + exclude_self, threads=threads)
        if exclude_self:
            own = found == block[:, None]
            own[~own.any(axis=1), -1] = True  # more than k copies of the row stand before it
            found, gaps = found[~own].reshape(-1, k), gaps[~own].reshape(-1, k)
        neighbors[start : start + len(block)] = found
        distances[start : start + len(block)] = gaps
    return neighbors, distances


def temperature(X: FloatMatrix, metric: str, database: RowNumbers, seed: int, threads: int | None = None) -> float:
    """The tau at which softmax(similarity / tau) over a row's 500 nearest has perplexity 30.

    Similarity is the cosine, the inner product, or for l2 half the negative squared distance. Perplexity is the
    exponential of the entropy: the number of neighbours that effectively count. Its geometric mean over a sample of
    rows is set to 30 (0.6 of the neighbours there are, if fewer than 50) by bisection.
    """
    k = min(_PERPLEXITY_NEIGHBORS, len(database) - 1)
    if k < 2:
        return 1.0
    chosen = np.random.default_rng(seed).permutation(len(database))[:_PERPLEXITY_ANCHORS]
    anchors = database[np.sort(chosen)]
    _, found = nearest(X, metric, anchors, database, k, exclude_self=True, threads=threads)
    distances = found.astype(np.float64)
    similarities = {"cosine": -distances, "dot": distances, "l2": -0.5 * distances**2}[metric]
    gaps = similarities - similarities[:, :1]  # <= 0
    if gaps.min() > -1e-12:  # all neighbours alike: any temperature says the same
        return 1.0
    wanted = np.log(min(_PERPLEXITY, 0.6 * k))
    low, high = 1e-6 * -gaps.min(), 1e3 * -gaps.min()
    for _ in range(60):
        middle = np.sqrt(low * high)
        weights = np.exp(gaps / middle)
        total = weights.sum(axis=1)
        entropy = np.log(total) - (weights * gaps).sum(axis=1) / (middle * total)
        if entropy.mean() < wanted:
            low = middle
        else:
            high = middle
    return float(np.sqrt(low * high))
