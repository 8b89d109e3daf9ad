"""A metric's mean over queries together with the per-query values, and bootstrap intervals over queries."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..validation import fraction, positive_int

__all__ = ["Score", "bootstrap_interval"]

FloatVector = npt.NDArray[np.float64]

# Resampled indices are drawn in pieces of this many, so that memory does not grow with the number of queries.
_DRAWS_AT_ONCE = 1 << 21


class Score(float):
    """A mean over queries: a ``float`` that also keeps the per-query values.

    Queries for which the metric is undefined (no relevant item, say) hold NaN and are left out of the mean;
    if it is undefined for every query, the score is NaN.

    Parameters
    ----------
    values : (q,) array of float
        One value for each query.

    Attributes
    ----------
    values : (q,) float64 array
        Read-only copy of the per-query values.

    Examples
    --------
    >>> from simskip.evaluation.scores import Score
    >>> score = Score([1.0, 0.5, float("nan")])
    >>> score + 0, score.values.tolist()
    (0.75, [1.0, 0.5, nan])
    """

    values: FloatVector

    def __new__(cls, values: npt.ArrayLike) -> Score:
        array = np.array(values, dtype=np.float64)
        if array.ndim != 1:
            raise ValueError(f"values must be one-dimensional, got {array.ndim} dimensions")
        array.flags.writeable = False
        defined = array[~np.isnan(array)]
        score = super().__new__(cls, defined.mean() if len(defined) else float("nan"))
        score.values = array
        return score

    def interval(self, level: float = 0.95, *, random_state: int = 0) -> tuple[float, float]:
        """Bootstrap interval of the mean over queries; see ``bootstrap_interval``."""
        return bootstrap_interval(self.values, level, random_state=random_state)

    def __repr__(self) -> str:
        return f"Score({float(self):.4f}, {len(self.values):,} queries)"

    def __reduce__(self) -> tuple[Any, ...]:
        return Score, (self.values,)


def bootstrap_interval(
    values: npt.ArrayLike, level: float = 0.95, *, random_state: int = 0, resamples: int = 2000
) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean (Efron 1979): how much another sample of queries could move it.

    Queries are drawn with replacement ``resamples`` times; the interval holds the central ``level`` of the
    means. It says nothing about another database or another training run, and it has no width where all
    queries score the same.

    Parameters
    ----------
    values : (q,) array of float
        One value for each query; NaN values are left out.
    level : float
        Share of the resampled means inside the interval, in (0, 1).
    random_state : int
        Seed; the same seed and values give the same interval.
    resamples : int
        How many samples to draw.

    Returns
    -------
    low, high : float
        NaN, NaN if fewer than two queries have a value.

    Raises
    ------
    ValueError
        If ``values`` is not one-dimensional or holds infinities, or ``level`` is not inside (0, 1).

    Examples
    --------
    >>> import numpy as np, simskip
    >>> low, high = simskip.metrics.bootstrap_interval(np.tile([0.0, 1.0], 200))
    >>> bool(low < 0.5 < high), round(high - low, 1)
    (True, 0.1)
    """
    if not 0.0 < fraction(level, "level") < 1.0:
        raise ValueError(f"level must lie inside (0, 1), got {level!r}")
    resamples = positive_int(resamples, "resamples")
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"values must have one value for each query, got {array.ndim} dimensions")
    array = array[~np.isnan(array)]
    if np.isinf(array).any():
        raise ValueError("values must be finite or NaN, got an infinity")
    if len(array) < 2:
        return float("nan"), float("nan")
    if (array == array[0]).all():
        return float(array[0]), float(array[0])
    rng = np.random.default_rng(positive_int(random_state, "random_state", minimum=0))
    means = np.empty(resamples)
    step = max(1, _DRAWS_AT_ONCE // len(array))
    for start in range(0, resamples, step):
        stop = min(start + step, resamples)
        draws = rng.integers(0, len(array), size=(stop - start, len(array)))
        means[start:stop] = array[draws].mean(axis=1)
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return float(low), float(high)
