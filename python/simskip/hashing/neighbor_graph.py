"""Which rows are each other's nearest by the exact metric, and how sharply: what ``neighbors`` is trained on."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from .preparation import row_blocks, unit_scale

__all__ = ["Rows", "nearest", "temperature"]

FloatMatrix = npt.NDArray[np.float32]
RowNumbers = npt.NDArray[np.int32]

_PERPLEXITY = 30.0
_PERPLEXITY_NEIGHBORS = 500
_PERPLEXITY_ANCHORS = 500


@dataclasses.dataclass(frozen=True)
class Rows:
    """Vectors with what turns their inner products into a similarity: ``x_i.x_j * scale_i * scale_j + bias_j``.

    Higher is nearer; for one i the order over j is that of the metric.
    """

    values: FloatMatrix
    scale: FloatMatrix | None
    bias: FloatMatrix | None

    @classmethod
    def of(cls, X: FloatMatrix, metric: str) -> Rows:
        """Vectors under "cosine", "l2" or "dot"."""
        if metric == "cosine":
            return cls(X, unit_scale(X), None)
        return cls(X, None, half_squares(X) if metric == "l2" else None)

    def similarities(self, queries: RowNumbers, database: Rows) -> FloatMatrix:
        """(len(queries), len(database.values)) float32 between own rows ``queries`` and all of ``database``."""
        block = self.values[queries]
        if self.scale is not None:
            block = block * self.scale[queries, None]
        result = block @ database.values.T
        if database.scale is not None:
            result *= database.scale
        if database.bias is not None:
            result += database.bias
        return result

    def take(self, rows: RowNumbers) -> Rows:
        """The rows as a ``Rows`` of their own."""
        return Rows(
            self.values[rows],
            None if self.scale is None else self.scale[rows],
            None if self.bias is None else self.bias[rows],
        )


def half_squares(X: FloatMatrix) -> FloatMatrix:
    """(n,) ``-|x|^2 / 2``: added to inner products it ranks them by Euclidean distance."""
    return (-0.5 * np.einsum("ij,ij->i", X, X, dtype=np.float64)).astype(np.float32)


def nearest(
    rows: Rows, queries: RowNumbers, database: RowNumbers, k: int, *, exclude_self: bool
) -> tuple[RowNumbers, FloatMatrix]:
    """Exact nearest rows, by blocks of one matrix product each.

    Parameters
    ----------
    rows : Rows
    queries, database : (q,), (n,) int32 arrays
        Row numbers.
    k : int
        At most ``len(database)`` (minus one with ``exclude_self``).
    exclude_self : bool
        Leave a query that is in ``database`` out of its own list.

    Returns
    -------
    neighbors : (q, k) int32 array
        Row numbers, nearest first.
    similarities : (q, k) float32 array
    """
    taken = rows.take(database)
    position = np.full(len(rows.values), -1, np.int64)
    position[database] = np.arange(len(database))
    found = np.empty((len(queries), k), np.int32)
    similarities = np.empty((len(queries), k), np.float32)
    for part in row_blocks(len(queries), len(database)):
        block = rows.similarities(queries[part], taken)
        if exclude_self:
            own = position[queries[part]]
            inside = np.flatnonzero(own >= 0)
            block[inside, own[inside]] = -np.inf
        best = np.argpartition(block, block.shape[1] - k, axis=1)[:, block.shape[1] - k :]
        values = np.take_along_axis(block, best, axis=1)
        order = np.lexsort((best, -values), axis=1)
        found[part] = database[np.take_along_axis(best, order, axis=1)]
        similarities[part] = np.take_along_axis(values, order, axis=1)
    return found, similarities


def temperature(rows: Rows, database: RowNumbers, seed: int) -> float:
    """The tau at which softmax(similarity / tau) over a row's 500 nearest has perplexity 30, on average over rows.

    Perplexity is the exponential of the entropy: the number of neighbours that effectively count. The geometric mean
    over a sample of rows is set to 30 by bisection.
    """
    k = min(_PERPLEXITY_NEIGHBORS, len(database) - 1)
    if k < 2:
        return 1.0
    chosen = np.random.default_rng(seed).permutation(len(database))[:_PERPLEXITY_ANCHORS]
    _, similarities = nearest(rows, database[np.sort(chosen)], database, k, exclude_self=True)
    gaps = similarities.astype(np.float64) - similarities[:, :1]  # <= 0
    wanted = np.log(min(_PERPLEXITY, 0.6 * k))
    if gaps.min() > -1e-12:  # all neighbours alike: any temperature gives the same
        return 1.0
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
