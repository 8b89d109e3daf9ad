"""Which rows are each other's nearest by the exact metric, and how sharply: what ``neighbors`` is trained on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np
import numpy.typing as npt

from ..cache import array_fingerprint, fingerprint

__all__ = ["half_squares", "nearest", "neighbor_graph", "remembered", "temperature"]

FloatMatrix = npt.NDArray[np.float32]
RowNumbers = npt.NDArray[np.int32]

_QUERY_BLOCK = 4096

_GRAPH_NEIGHBORS = 50
# Above this many rows the graph is that of a sample, searched in two stages: by codes, then exactly.
_EXACT_ROWS = 20_000
_SAMPLE_ANCHORS = 50_000
_SAMPLE_ROWS = 100_000
# Bits and depth of the first stage: of 50,000 photo features it finds 98 % of the 50 nearest in half of the time of an
# exact search, which grows faster with the number of rows.
_CODE_BITS = 256
_RERANK = 16

_PERPLEXITY = 30.0
_PERPLEXITY_NEIGHBORS = 500
_PERPLEXITY_ANCHORS = 500

_memory: ContextVar[dict[str, tuple[npt.NDArray[Any], ...]] | None] = ContextVar("neighbors", default=None)


@contextlib.contextmanager
def remembered() -> Iterator[None]:
    """Inside, ``nearest`` and ``neighbor_graph`` answer the same question once: trainings on the same rows repeat it.

    Questions are compared by fingerprints of the arrays, which takes one pass over them. Answers, 8 bytes per
    neighbour, are kept until the end of the block.
    """
    token = _memory.set({})
    try:
        yield
    finally:
        _memory.reset(token)


def _recalled(
    arrays: tuple[npt.NDArray[Any], ...], words: str, search: Callable[[], tuple[npt.NDArray[Any], ...]]
) -> tuple[npt.NDArray[Any], ...]:
    """What ``search`` finds; inside ``remembered``, what it found for these arrays and words before."""
    memory = _memory.get()
    if memory is None:
        return search()
    question = fingerprint(*map(array_fingerprint, arrays), words)
    if question not in memory:
        memory[question] = search()
    return tuple(array.copy() for array in memory[question])


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
    neighbors, distances = _recalled(
        (X, queries, database),
        f"nearest {metric} {k} {exclude_self}",  # the number of threads changes nothing
        lambda: _searched(X, metric, queries, database, k, exclude_self, threads),
    )
    return neighbors, distances


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
            others = _others(found, block)
            found, gaps = found[others].reshape(-1, k), gaps[others].reshape(-1, k)
        neighbors[start : start + len(block)] = found
        distances[start : start + len(block)] = gaps
    return neighbors, distances


def neighbor_graph(
    exact: tuple[FloatMatrix, str, RowNumbers],
    shown: tuple[FloatMatrix, str, RowNumbers],
    seed: int,
    threads: int | None = None,
) -> tuple[RowNumbers, RowNumbers]:
    """The 50 nearest rows of each row, or of a sample.

    Up to 20,000 rows the graph is exact, by the original vectors. Above, 50,000 rows get the nearest of a sample of
    100,000 of what the network is shown, found by ``SimilarityIndex``: 256-bit codes, then exact distances.

    Parameters
    ----------
    exact : (X, metric, rows)
        Original vectors and the rows that take part.
    shown : (inputs, metric, rows)
        The same rows as the network sees them, and their numbers there.
    seed : int
    threads : int, optional

    Returns
    -------
    anchors : (a,) int32 array
        Rows of ``inputs``.
    neighbors : (a, m) int32 array
        Rows of ``inputs``, nearest first; m is 50 if there are that many.
    """
    X, metric, rows = exact
    inputs, shown_metric, trained = shown
    if len(rows) <= _EXACT_ROWS:
        m = min(_GRAPH_NEIGHBORS, len(rows) - 1)
        found, _ = nearest(X, metric, rows, rows, m, exclude_self=True, threads=threads)
        return trained, trained[np.searchsorted(rows, found)]
    rng = np.random.default_rng(seed)
    database = np.sort(rng.permutation(trained)[:_SAMPLE_ROWS])
    anchors = np.sort(rng.permutation(database)[:_SAMPLE_ANCHORS])
    (neighbors,) = _recalled(
        (inputs, anchors, database),
        f"two stages {shown_metric} {seed}",
        lambda: (_two_stage(inputs, shown_metric, anchors, database, seed, threads),),
    )
    return anchors, neighbors


def _two_stage(
    X: FloatMatrix, metric: str, anchors: RowNumbers, database: RowNumbers, seed: int, threads: int | None
) -> RowNumbers:
    from ..index.similarity import SimilarityIndex  # its package imports this one
    from .linear import PCAHash

    vectors = X[database]
    index = SimilarityIndex(PCAHash(_CODE_BITS, random_state=seed).fit(vectors), metric)
    index.add(vectors, ids=database)
    neighbors = np.empty((len(anchors), _GRAPH_NEIGHBORS), np.int32)
    for start in range(0, len(anchors), _QUERY_BLOCK):
        block = anchors[start : start + _QUERY_BLOCK]
        _, found = index.search(X[block], _GRAPH_NEIGHBORS + 1, rerank=_RERANK, threads=threads)
        neighbors[start : start + len(block)] = found[_others(found, block)].reshape(len(block), -1)
    return neighbors


def _others(found: npt.NDArray[np.int64], own_rows: RowNumbers) -> npt.NDArray[np.bool_]:
    """Which entries of (q, k + 1) lists are not the query itself: k per row (without the last where the query is
    missing, because more than k copies of it stand before it)."""
    own = found == own_rows[:, None]
    own[~own.any(axis=1), -1] = True
    return ~own


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
