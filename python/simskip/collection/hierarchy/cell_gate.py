"""The gate: how likely each cell holds a query's neighbours, and which cells are searched."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from ...validation import FloatMatrix
from .class_cells import ClassCells

__all__ = ["GATES", "CellGate", "Plan", "Ranking"]

GATES = ("soft", "hard")

DoubleMatrix = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_LEAST_PROBABILITY = 1e-9  # of a class, so that its logarithm stays small enough for closeness to outweigh it
_STEPS = 50
_ACCURACY = 1e-9


@dataclasses.dataclass(frozen=True)
class Ranking:
    """Cells of each query from the most likely one; cells that it must not see are left out.

    Attributes
    ----------
    cells : (q, c) int64 array
    mass : (q, c) float64 array
        How much probability lies in the cells before; +inf: a place without a cell, after all others.
    rows : (q, c) int64 array
        Rows in the cells before.
    sizes : (q, c) int64 array
        Rows of each cell that may be found.
    preferred : (q, c) bool array
        Cells of the classes that a hard gate searches.
    """

    cells: IntArray
    mass: DoubleMatrix
    rows: IntArray
    sizes: IntArray
    preferred: Mask

    def least_mass(self, k: int, cells: IntArray) -> DoubleMatrix:
        """(q, k) cells -> the ``probability`` beyond which a soft search for k rows looks into them.

        -1 where it always does.
        """
        place = np.argsort(self.cells, axis=1)
        place = np.take_along_axis(place, cells, axis=1)
        needed = np.take_along_axis(self.mass, place, axis=1)
        always = (place == 0) | (np.take_along_axis(self.rows, place, axis=1) < k)
        return np.where(always, -1.0, needed)

    def plan(self, gate: str, k: int, probability: float, budget: int | None, widen: bool) -> Plan:
        """Which of them are searched; see ``HierarchicalSearch.search``."""
        there = np.isfinite(self.mass)
        if gate == "hard":
            chosen = self.preferred & there
        else:
            # Sums of probabilities may reach 1 before the last cell, by rounding.
            chosen = there if probability >= 1 else there & (self.mass < probability)
        if widen:
            chosen = chosen | (there & (self.rows < k))
        if budget is not None:
            chosen = chosen & (self.rows + self.sizes <= budget)
        chosen = chosen.copy()
        chosen[:, 0] = there[:, 0]
        # What is searched is always a prefix: each condition holds up to some place.
        counts = chosen.sum(axis=1)
        return Plan(
            np.concatenate([[0], np.cumsum(counts)]), self.cells[chosen], np.where(chosen, self.sizes, 0).sum(1)
        )


@dataclasses.dataclass(frozen=True)
class Plan:
    """The cells of query i are ``cells[limits[i]:limits[i + 1]]``, with ``rows[i]`` rows that may be found."""

    limits: IntArray
    cells: IntArray
    rows: IntArray

    @property
    def queries(self) -> IntArray:
        """The query of each entry of ``cells``."""
        return np.repeat(np.arange(len(self.rows)), np.diff(self.limits))


class CellGate:
    """P(a neighbour lies in the cell | query), of weights that true neighbours were most likely with.

    ``log P = a log P(class) + b closeness + c log(rows) + constant``: a conditional logit model [1]_ of three weights,
    fitted by Newton's method to the cells in which sampled queries' true neighbours lie. With whole classes as cells
    the weights are 1, 0, 0: the classifier's probabilities themselves.

    Parameters
    ----------
    cells : ClassCells
    weights : (3,) float64 array, optional

    References
    ----------
    .. [1] D. McFadden, "Conditional logit analysis of qualitative choice behavior", Frontiers in Econometrics (1974).
    """

    def __init__(self, cells: ClassCells, weights: npt.NDArray[np.float64] | None = None) -> None:
        self.cells = cells
        self.split = len(np.unique(cells.classes)) < len(cells)
        self.weights = np.array([1.0, 0.0, 0.0]) if weights is None else np.asarray(weights, np.float64)

    def features(self, X: FloatMatrix, probabilities: DoubleMatrix) -> list[DoubleMatrix]:
        """Of (q, d) queries and their (q, classes) probabilities: three (q, cells) arrays."""
        own = np.log(np.maximum(probabilities, _LEAST_PROBABILITY))[:, self.cells.classes]
        near = self.cells.closeness(X).astype(np.float64) if self.split else np.zeros_like(own)
        return [own, near, np.broadcast_to(np.log(self.cells.sizes), own.shape)]

    def fitted(self, X: FloatMatrix, probabilities: DoubleMatrix, neighbors: IntArray) -> CellGate:
        """Another gate for these cells, with weights for queries whose true neighbours lie in ``neighbors``: (q, k)."""
        if not self.split:
            return self
        features = self.features(X, probabilities)
        truth = np.zeros(features[0].shape)
        np.add.at(truth, (np.arange(len(X))[:, None], neighbors), 1.0 / neighbors.shape[1])
        # A classifier that knows nothing may seem to know the opposite; closeness never does.
        for used in ([0, 1, 2], [1, 2]):
            weights = np.zeros(3)
            weights[used] = _fitted([features[i] for i in used], truth)
            if weights[0] >= 0:
                break
        return CellGate(self.cells, weights)

    def ranking(
        self, X: FloatMatrix, probabilities: DoubleMatrix, available: IntArray, allowed: Mask, top: int
    ) -> Ranking:
        """Rank the cells for each query.

        Parameters
        ----------
        X : (q, d) float32 array
        probabilities : (q, classes) float64 array
        available : (cells,) int64 array
            Rows of each cell that pass a filter; cells without any are left out.
        allowed : (classes,) bool array
            Classes that may be searched at all.
        top : int
            How many of the most probable classes are preferred: their cells come first. 0: cells are ranked alone.
        """
        seen = (available > 0) & allowed[self.cells.classes]
        classes = np.unique(self.cells.classes[seen])
        scores = np.zeros((len(X), len(self.cells)))
        for weight, feature in zip(self.weights, self.features(X, probabilities), strict=True):
            scores += weight * feature
        scores[:, ~seen] = -np.inf
        if len(classes):
            scores -= scores.max(axis=1, keepdims=True)
            np.exp(scores, out=scores)
            scores /= scores.sum(axis=1, keepdims=True)
        else:
            scores[:] = 0
        rank = np.empty((len(X), len(classes)), np.int64)
        best = np.argsort(-probabilities[:, classes], axis=1, kind="stable")
        np.put_along_axis(rank, best, np.broadcast_to(np.arange(len(classes)), rank.shape), axis=1)
        preferred = np.zeros(scores.shape, bool)
        column = np.searchsorted(classes, self.cells.classes[seen])
        preferred[:, seen] = (rank < top)[:, column]
        return _ranked(scores, preferred, np.where(seen, available, 0), seen)


def _ranked(scores: DoubleMatrix, preferred: Mask, available: IntArray, seen: Mask) -> Ranking:
    keys = np.where(seen, -scores, np.inf)
    order = np.lexsort((keys, ~preferred), axis=-1) if preferred.any() else np.argsort(keys, axis=1, kind="stable")
    ordered = np.take_along_axis(scores, order, axis=1)
    mass = np.zeros(ordered.shape)
    np.cumsum(ordered[:, :-1], axis=1, out=mass[:, 1:])
    mass[~seen[order]] = np.inf
    sizes = available[order]
    return Ranking(order, mass, np.cumsum(sizes, axis=1) - sizes, sizes, np.take_along_axis(preferred, order, axis=1))


def _fitted(features: list[DoubleMatrix], truth: DoubleMatrix) -> npt.NDArray[np.float64]:
    """Weights that maximise the likelihood, with a standard normal prior on those of standardised features."""
    scales = np.array([max(float(feature.std()), 1e-12) for feature in features])
    F = np.stack([feature / scale for feature, scale in zip(features, scales, strict=True)], axis=2)
    target = np.einsum("qc,qcf->f", truth, F)
    weights = np.zeros(len(features))

    def value(weights: npt.NDArray[np.float64]) -> tuple[float, DoubleMatrix]:
        scores = F @ weights
        scores -= scores.max(axis=1, keepdims=True)
        p = np.exp(scores)
        total = p.sum(axis=1, keepdims=True)
        return float(np.log(total).sum() - (truth * scores).sum() + 0.5 * weights @ weights), p / total

    cost, p = value(weights)
    for _ in range(_STEPS):
        means = np.einsum("qc,qcf->qf", p, F)
        gradient = means.sum(axis=0) - target + weights
        hessian = np.einsum("qc,qcf,qcg->fg", p, F, F, optimize=True) - means.T @ means + np.eye(len(weights))
        step = np.linalg.solve(hessian, gradient)
        if float(step @ gradient) < _ACCURACY:
            break
        size = 1.0
        while True:  # the cost is convex: a step that is short enough lowers it
            new_cost, new_p = value(weights - size * step)
            if new_cost < cost or size < 1e-6:
                break
            size /= 2
        weights, cost, p = weights - size * step, new_cost, new_p
    return np.asarray(weights / scales)
