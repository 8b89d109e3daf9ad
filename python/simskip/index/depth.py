"""How many candidates to rerank for a wanted recall: a rule per query, learned from held-out queries.

Reading one more candidate pays in proportion to the probability that it is a true neighbour. So, for a given mean
recall, the fewest vectors are read on average if every query goes on until that probability falls below one common
level. A logistic regression estimates it from what the search of the codes shows without reading any vector: how deep
the candidate stands, its code distance, and the code distances at three fixed depths (how crowded the query's
neighbourhood is). The level is then chosen on other held-out queries, such that the mean recall of new samples of
queries reaches the target with a margin for both samples' chance (split calibration: Vovk, Gammerman, Shafer,
Algorithmic Learning in a Random World, 2005, 4.2, with a normal bound instead of a rank).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["SAMPLE", "DepthRule", "depth_grid", "landmarks", "learn"]

Floats = npt.NDArray[np.float64]

# Queries whose mean recall is to reach the target.
SAMPLE = 200
# Margins in standard errors: of a sample's mean (1.85: 96.8 % of samples), of the calibration's mean (2.33: 99 %).
_SAMPLE_MARGIN = 1.85
_CALIBRATION_MARGIN = 2.33
# Depths at which a rule may stop are so far apart: on average half of it is read in vain.
_GRID_RATIO = 1.05
# Depths, in multiples of k, whose code distances describe a query.
_LANDMARKS = (1, 4, 16)
# Levels that are tried, and the targets for which one model must beat the other.
_LEVELS = 400
_USUAL_TARGETS = (0.9, 0.95, 0.99)


def depth_grid(k: int, deepest: int) -> npt.NDArray[np.int64]:
    """Depths at which a rule may stop: from k to ``deepest`` in steps of 5 %, ascending."""
    steps = int(np.ceil(np.log(deepest / k) / np.log(_GRID_RATIO))) if deepest > k else 0
    grid = np.unique(np.ceil(k * _GRID_RATIO ** np.arange(steps + 1)).astype(np.int64))
    return np.unique(np.append(grid[grid < deepest], deepest))


def landmarks(k: int, deepest: int) -> npt.NDArray[np.int64]:
    """Depths, (3,), whose code distances tell how crowded a query's neighbourhood is."""
    return np.minimum(k * np.array(_LANDMARKS, np.int64), deepest)


@dataclass(frozen=True)
class DepthRule:
    """When to stop reading candidates, for one k and one kind of code distance.

    Parameters
    ----------
    grid : (g,) int64
        Depths at which a query may stop, the first is k; one that does not stop at the last is searched exactly.
    bias : (g,) float64
        What the depth itself says about the next candidates: log odds that one of them is a true neighbour.
    slope : (g,) float64
        Of the code distance at the depth.
    weights : (4,) float64
        Of that distance's square, and of the code distances at the landmarks.
    levels, recalls, reads, usual : (l,) float64
        For each level of the log odds: the recall that samples of queries reach with confidence, vectors read per
        query, and the depth that nine of ten queries stay within. From least to most reading.
    """

    grid: npt.NDArray[np.int64]
    bias: Floats
    slope: Floats
    weights: Floats
    levels: Floats
    recalls: Floats
    reads: Floats
    usual: Floats

    @property
    def k(self) -> int:
        """Neighbours per query."""
        return int(self.grid[0])

    @property
    def deepest(self) -> int:
        """The longest list of candidates that is ever looked at."""
        return int(self.grid[-1])

    def level_for(self, recall: float) -> int:
        """The place of the level that reads least among those that reach ``recall``."""
        reaching = np.flatnonzero(self.recalls >= recall)
        return int(reaching[0]) if len(reaching) else len(self.recalls) - 1  # which searches exactly

    def first_depth(self, place: int) -> int:
        """How long a list of candidates is enough for nine of ten queries, and for the landmarks."""
        return max(int(landmarks(self.k, self.deepest)[-1]), int(np.ceil(self.usual[place])))

    def depths(self, distances: npt.NDArray[Any], place: int) -> npt.NDArray[np.int64]:
        """How many candidates each query reads.

        Parameters
        ----------
        distances : (q, d) array
            Code distances, ascending; d at least ``first_depth`` of some place.
        place : int
            See ``level_for``.

        Returns
        -------
        (q,) int64
            A depth of the grid, or -1 if the query goes on beyond d.
        """
        marks = distances[:, landmarks(self.k, self.deepest) - 1]
        grid = self.grid[self.grid <= distances.shape[1]]
        stops = self.log_odds(distances[:, grid - 1], marks) < self.levels[place]
        return np.where(stops.any(axis=1), grid[stops.argmax(axis=1)], -1)

    def log_odds(self, at_grid: npt.NDArray[Any], at_landmarks: npt.NDArray[Any]) -> Floats:
        """The lowest log odds so far at the first depths of the grid. Sums in a fixed order, the same in any batch."""
        crowd = sum(weight * at_landmarks[:, i] for i, weight in enumerate(self.weights[1:]))
        g = at_grid.shape[1]
        odds = (self.bias[:g] + (self.slope[:g] + self.weights[0] * at_grid) * at_grid) + np.asarray(crowd)[:, None]
        return np.minimum.accumulate(odds, axis=1)

    def to_dict(self) -> dict[str, list[float]]:
        """Lists of numbers."""
        return {field.name: getattr(self, field.name).tolist() for field in fields(self)}

    @classmethod
    def from_dict(cls, values: dict[str, list[float]]) -> DepthRule:
        """The inverse of ``to_dict``; ``ValueError``, ``KeyError`` or ``TypeError`` for anything else."""
        arrays = {field.name: np.array(values[field.name], np.float64) for field in fields(cls)}
        if any(array.ndim != 1 or not len(array) or not np.isfinite(array).all() for array in arrays.values()):
            raise ValueError("a depth rule consists of lists of numbers")
        rule = cls(arrays.pop("grid").astype(np.int64), **arrays)
        lengths = {len(array) for array in (rule.levels, rule.recalls, rule.reads, rule.usual)}
        fits = (
            len(rule.bias) == len(rule.slope) == len(rule.grid)
            and len(rule.weights) == 1 + len(_LANDMARKS)
            and len(lengths) == 1
        )
        if rule.k < 1 or (np.diff(rule.grid) <= 0).any() or not fits:
            raise ValueError("the lists of a depth rule do not fit together")
        return rule


def learn(
    at_grid: npt.NDArray[Any],
    at_landmarks: npt.NDArray[Any],
    found: npt.NDArray[np.int64],
    grid: npt.NDArray[np.int64],
    n: int,
) -> DepthRule:
    """Learn a rule from held-out queries.

    Parameters
    ----------
    at_grid : (m, g) array
        Each query's code distance at the depths of the grid.
    at_landmarks : (m, 3) array
        The same at the landmarks.
    found : (m, g) int64
        True neighbours among that many candidates.
    grid : (g,) int64
        See ``depth_grid``; its first entry is k.
    n : int
        Items of the index: what a query reads that does not stop.
    """
    split = len(found) // 4  # a quarter learns the weights, the others choose the level
    models = [
        _log_odds(at_grid[:split], at_landmarks[:split], found[:split], grid),
        (-np.log(grid), np.zeros(len(grid)), np.zeros(1 + len(_LANDMARKS))),  # the depth alone
    ]
    rules = []
    for bias, slope, weights in models:
        none = np.empty(0)
        rule = DepthRule(grid, _rounded(bias), _rounded(slope), _rounded(weights), none, none, none, none)
        rules.append(_with_levels(rule, at_grid[split:], at_landmarks[split:], found[split:], n))
    return min(rules, key=lambda rule: np.prod([rule.reads[rule.level_for(recall)] for recall in _USUAL_TARGETS]))


def _with_levels(
    rule: DepthRule, at_grid: npt.NDArray[Any], at_landmarks: npt.NDArray[Any], found: npt.NDArray[np.int64], n: int
) -> DepthRule:
    """The rule with levels from one that stops all queries at once to one that searches all of them exactly."""
    odds = rule.log_odds(at_grid, at_landmarks)
    levels = np.unique(np.quantile(odds, np.linspace(0, 1, _LEVELS)))[::-1]
    depths = np.append(rule.grid, n)
    recall_at = np.pad(found / rule.k, ((0, 0), (0, 1)), constant_values=1.0)
    recalls, reads, usual = (np.empty(len(levels)) for _ in range(3))
    for i, level in enumerate(levels):
        stop = (odds >= level).sum(axis=1)  # odds fall, so this is the first place below the level
        recall = recall_at[np.arange(len(stop)), stop]
        margin = _margin(recall, _SAMPLE_MARGIN, SAMPLE) + _margin(recall, _CALIBRATION_MARGIN, len(recall))
        recalls[i] = recall.mean() - margin
        reads[i] = depths[stop].mean()
        usual[i] = min(np.quantile(depths[stop], 0.9), rule.deepest)
    return replace(rule, levels=levels, recalls=recalls, reads=reads, usual=usual)


def _margin(recall: Floats, errors: float, n: int) -> float:
    """How far below its expectation a mean of n may lie: standard errors, with the Cornish-Fisher term for skewness.

    Near a recall of 1 a few queries miss much and most nothing, so means scatter farther down than up.
    """
    deviation = recall.std(ddof=1)
    if deviation == 0.0:
        return 0.0
    skewness = float(np.mean(((recall - recall.mean()) / deviation) ** 3))
    return float(deviation / np.sqrt(n) * (errors - min(skewness, 0.0) * (errors**2 - 1.0) / (6.0 * np.sqrt(n))))


def _log_odds(
    at_grid: npt.NDArray[Any],
    at_landmarks: npt.NDArray[Any],
    found: npt.NDArray[np.int64],
    grid: npt.NDArray[np.int64],
) -> tuple[Floats, Floats, Floats]:
    """Bias, slope and weights: a logistic regression of the true neighbours between one depth and the next."""
    m, steps = len(found), len(grid) - 1
    if steps == 0:
        return np.zeros(1), np.zeros(1), np.zeros(1 + len(_LANDMARKS))
    depth, distance = np.log(grid), at_grid[:, :-1].astype(np.float64)
    columns = [np.broadcast_to(depth[:-1], (m, steps)), distance, distance * depth[:-1], distance**2]
    columns += [np.broadcast_to(mark[:, None], (m, steps)) for mark in at_landmarks.T]
    features = np.stack([column.ravel() for column in columns], axis=1)
    constant, weights = _regression(features, np.diff(found, axis=1).ravel(), np.tile(np.diff(grid), m))
    return constant + weights[0] * depth, weights[1] + weights[2] * depth, weights[3:]


def _rounded(values: Floats) -> Floats:
    """To 7 digits: the last bits depend on the machine's BLAS and its threads, and must not change answers."""
    return np.array([float(f"{value:.6e}") for value in values])


def _regression(features: Floats, hits: npt.NDArray[np.int64], tries: npt.NDArray[np.int64]) -> tuple[float, Floats]:
    """Constant and weights of a logistic regression of ``hits`` out of ``tries``: Newton's method, a slight ridge."""
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale == 0.0] = 1.0  # says nothing: its weight stays 0
    X = np.concatenate([np.ones((len(features), 1)), (features - mean) / scale], axis=1)
    weights, ridge = np.zeros(X.shape[1]), 1e-3

    def loss(weights: Floats) -> float:
        odds = X @ weights
        return float((tries * np.logaddexp(0.0, odds) - hits * odds).sum() + 0.5 * ridge * weights @ weights)

    least = loss(weights)
    for _ in range(100):
        p = 1.0 / (1.0 + np.exp(-np.clip(X @ weights, -500.0, 500.0)))
        gradient = X.T @ (hits - tries * p) - ridge * weights
        curvature = (X * (tries * p * (1.0 - p))[:, None]).T @ X + ridge * np.eye(len(weights))
        step = np.linalg.solve(curvature, gradient)
        # Far from the solution a full step may lead farther away. The loss is convex, so some part of it helps.
        size = 1.0
        while size > 1e-6 and (tried := loss(weights + size * step)) > least:
            size /= 2.0
        if size <= 1e-6 or least - tried <= 1e-12 * abs(least):
            break
        weights, least = weights + size * step, tried
    slopes = weights[1:] / scale
    return float(weights[0] - slopes @ mean), slopes
