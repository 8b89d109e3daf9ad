"""Cells: the items of each class, cut into groups of items that are near each other."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from ... import _core
from ...hashing.preparation import row_blocks
from ...validation import FloatMatrix

__all__ = ["ClassCells", "class_cells", "comparable"]

IntArray = npt.NDArray[np.int64]

_ITERATIONS = 10
_ROWS_PER_CENTRE = 64  # of a sample; more hardly move the centres


@dataclasses.dataclass(frozen=True)
class ClassCells:
    """A partition of rows that no class shares.

    Attributes
    ----------
    order : (n,) int64 array
        Row numbers, cell after cell, ascending in each.
    limits : (cells + 1,) int64 array
        Cell c holds ``order[limits[c]:limits[c + 1]]``; none is empty.
    classes : (cells,) int64 array
        The class of each cell, ascending.
    centres : (cells, d) float32 array
        Means of the cells' comparable rows (cosine: with length 1 again).
    metric : {"cosine", "l2", "dot"}
    scale : float
        What rows are multiplied with to be comparable, unless they get length 1: squares then stay within float32.
    """

    order: IntArray
    limits: IntArray
    classes: IntArray
    centres: FloatMatrix
    metric: str
    scale: float

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def sizes(self) -> IntArray:
        """(cells,) rows of each."""
        return np.diff(self.limits)

    def closeness(self, X: FloatMatrix) -> FloatMatrix:
        """(q, d) -> (q, cells): larger is nearer to the centre; cosine, inner product, or minus the squared distance.

        (Of l2 without the query's own length, which is the same for all cells.) Each row is multiplied on its own, so
        the numbers are the same bytes however queries are put into batches. O(q cells d).
        """
        products = np.matmul(comparable(X, self.metric, self.scale)[:, None, :], self.centres.T)[:, 0]
        if self.metric == "l2":
            products = 2 * products - np.einsum("ij,ij->i", self.centres, self.centres)
        return np.asarray(products, np.float32)


def comparable(X: FloatMatrix, metric: str, scale: float = 1.0) -> FloatMatrix:
    """Rows whose inner products rank as the metric: for cosine of length 1 (zeros stay zeros), else times ``scale``."""
    if metric != "cosine":
        return np.asarray(X * np.float32(scale), np.float32)
    norms = _core.row_norms(np.ascontiguousarray(X))
    return np.asarray(X / np.where(norms > 0, norms, 1)[:, None], np.float32)


def class_cells(
    X: FloatMatrix, numbers: npt.NDArray[np.int32], metric: str, rows_per_cell: int | None, seed: int
) -> ClassCells:
    """Cut each class into cells by k-means.

    Parameters
    ----------
    X : (n, d) float32 array
    numbers : (n,) int32 array
        Classes, from 0.
    metric : {"cosine", "l2", "dot"}
    rows_per_cell : int or None
        On average; None: a class is one cell.
    seed : int

    Notes
    -----
    Lloyd's iterations [1]_ from random rows, on at most 64 rows per centre, as in the coarse quantisers of inverted
    files [2]_. O(n d cells / classes) time; in NumPy, so that a search needs nothing else.

    References
    ----------
    .. [1] S. Lloyd, "Least squares quantization in PCM", IEEE Transactions on Information Theory 28 (1982).
    .. [2] H. Jégou, M. Douze, C. Schmid, "Product quantization for nearest neighbor search", IEEE Transactions on
       Pattern Analysis and Machine Intelligence 33 (2011).

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0, 0], [9, 9], [0, 1], [9, 8], [5, 5]], np.float32)
    >>> cells = class_cells(X, np.array([0, 0, 0, 0, 1], np.int32), "l2", 2, seed=0)
    >>> cells.classes.tolist(), cells.sizes.tolist()
    ([0, 0, 1], [2, 2, 1])
    """
    rng = np.random.default_rng(seed)
    length = float(np.sqrt(np.square(_core.row_norms(X)).mean()))
    scale = 1 / length if length > 0 else 1.0
    order, sizes, classes, centres = [], [], [], []
    for number in np.unique(numbers):
        rows = np.flatnonzero(numbers == number)
        count = 1 if rows_per_cell is None else max(1, round(len(rows) / rows_per_cell))
        cell = _partition(X, rows, count, metric, scale, rng)
        place = np.argsort(cell, kind="stable")
        found, first = np.unique(cell[place], return_index=True)
        order.append(rows[place])
        sizes.append(np.diff(first, append=len(rows)))
        classes.append(np.full(len(found), number, np.int64))
        for part in np.split(rows[place], first[1:]):
            centres.append(_mean(X, part, metric, scale))
    together = np.concatenate(centres).reshape(-1, X.shape[1])
    return ClassCells(
        np.concatenate(order),
        np.concatenate([[0], np.cumsum(np.concatenate(sizes))]),
        np.concatenate(classes),
        comparable(together, metric) if metric == "cosine" else together,
        metric,
        scale,
    )


def _mean(X: FloatMatrix, rows: IntArray, metric: str, scale: float) -> FloatMatrix:
    total = np.zeros(X.shape[1])
    for block in row_blocks(len(rows), X.shape[1]):
        total += comparable(X[rows[block]], metric, scale).sum(axis=0, dtype=np.float64)
    return np.asarray(total / len(rows), np.float32)


def _partition(
    X: FloatMatrix, rows: IntArray, count: int, metric: str, scale: float, rng: np.random.Generator
) -> IntArray:
    """The number of each row's cell."""
    if count == 1:
        return np.zeros(len(rows), np.int64)
    sample = rng.permutation(rows)[: count * _ROWS_PER_CENTRE]
    points = comparable(X[sample], metric, scale)
    centres = points[:count].copy()
    for _ in range(_ITERATIONS):
        nearest = _nearest(points, centres)
        order = np.argsort(nearest, kind="stable")
        found, first = np.unique(nearest[order], return_index=True)
        for number, members in zip(found, np.split(order, first[1:]), strict=True):  # many times faster than reduceat
            centres[number] = points[members].mean(axis=0)
    cell = np.empty(len(rows), np.int64)
    for block in row_blocks(len(rows), max(X.shape[1], count)):
        cell[block] = _nearest(comparable(X[rows[block]], metric, scale), centres)
    return cell


def _nearest(points: FloatMatrix, centres: FloatMatrix) -> IntArray:
    return np.argmax(2 * (points @ centres.T) - np.einsum("ij,ij->i", centres, centres), axis=1)
