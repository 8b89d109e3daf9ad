"""Exact float distances in NumPy, smaller is nearer: for rankings by label and for ties, not for search."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["distances_to", "exact_distance_blocks"]

FloatMatrix = npt.NDArray[np.float32]

# Floats of one block: 32 MiB of float32 distances, or of gathered vectors.
_BLOCK_FLOATS = 1 << 23


def exact_distance_blocks(
    queries: FloatMatrix, database: FloatMatrix, metric: str
) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """Distances of all database rows to blocks of queries: (first query, (b, n) float32).

    For ``"cosine"`` and ``"dot"`` the negated similarity, for ``"l2"`` the squared distance but for a
    constant per query: what orders the rows, no more.
    """
    items = _unit(database) if metric == "cosine" else database
    squares = np.einsum("ij,ij->i", items, items) if metric == "l2" else None
    step = max(1, _BLOCK_FLOATS // len(database))
    for start in range(0, len(queries), step):
        block = queries[start : start + step] @ items.T
        block *= -1.0 if squares is None else -2.0
        if squares is not None:
            block += squares
        yield start, block


def distances_to(
    queries: FloatMatrix, database: FloatMatrix, ids: npt.NDArray[Any], metric: str
) -> npt.NDArray[np.float64]:
    """Distances of chosen rows, (q, k) row numbers -> (q, k) float64; infinity for id -1.

    Every distance is computed in the same way in double precision, so that equal rows are equally far.
    """
    result = np.empty(ids.shape)
    step = max(1, _BLOCK_FLOATS // (2 * ids.shape[1] * database.shape[1]))
    for start in range(0, len(queries), step):
        rows = slice(start, start + step)
        query = queries[rows].astype(np.float64)[:, None, :]
        items = database[np.maximum(ids[rows], 0)].astype(np.float64)
        if metric == "l2":
            result[rows] = np.square(items - query).sum(axis=2)
        else:
            similarity = (items * query).sum(axis=2)
            if metric == "cosine":
                norms = np.sqrt(np.square(items).sum(axis=2) * np.square(query).sum(axis=2))
                similarity /= np.where(norms > 0, norms, 1.0)
            result[rows] = -similarity
    result[ids < 0] = np.inf
    return result


def _unit(rows: FloatMatrix) -> FloatMatrix:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(norms > 0, norms, 1), dtype=np.float32)
