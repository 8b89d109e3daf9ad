"""Canonical correlation between two sides of pairs: the linear start of cross-modal codes, and their baseline."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from .. import _core
from .linear import _itq

__all__ = ["CanonicalAxes", "canonical_axes", "canonical_start", "chosen_ridge"]

FloatMatrix = npt.NDArray[np.float32]
DoubleMatrix = npt.NDArray[np.float64]
LinearMap = tuple[FloatMatrix, FloatMatrix]

# Shares of the mean variance that are added to all variances before whitening; which one is decided by pairs that took
# no part. Directions of little variance correlate by chance: without this, a few thousand pairs overfit.
RIDGES = (1e-3, 1e-2, 1e-1, 1.0)
_CHOICE_PAIRS = 1000
# Canonical correlations below this share of the largest carry nothing.
_NO_CORRELATION = 1e-6


@dataclasses.dataclass(frozen=True)
class CanonicalAxes:
    """Directions of both sides whose components are as correlated as can be.

    Attributes
    ----------
    means : pair of (d,) float64 arrays
    axes : pair of (d, k) float64 arrays
        Components ``(X - mean) @ axes`` have variance 1 (less, by the ridge) and no correlation with each other.
    correlations : (k,) float64 array
        Between the components of the two sides, falling.
    """

    means: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
    axes: tuple[DoubleMatrix, DoubleMatrix]
    correlations: npt.NDArray[np.float64]

    def components(self, X: FloatMatrix, side: int, power: float = 1.0) -> FloatMatrix:
        """(n, k) float32 components of rows of a side, times their correlation to the ``power``."""
        scaled = self.axes[side] * self.correlations**power
        return np.asarray((X - self.means[side]) @ scaled, dtype=np.float32)


class _Decomposed:
    """What canonical axes of any ridge are made of; O(n (d1 + d2)^2 + d1^3 + d2^3) time, and d1 d2 min(d1, d2) each."""

    def __init__(self, first: FloatMatrix, second: FloatMatrix) -> None:
        self.means = first.mean(axis=0, dtype=np.float64), second.mean(axis=0, dtype=np.float64)
        centred = first - self.means[0], second - self.means[1]
        self._spectra = [np.linalg.eigh(side.T @ side / len(first)) for side in centred]
        turned = [side @ directions for side, (_, directions) in zip(centred, self._spectra, strict=True)]
        self._between = turned[0].T @ turned[1] / len(first)

    def axes(self, n_axes: int, ridge: float) -> CanonicalAxes:
        scales = []
        for variances, _ in self._spectra:
            floored = np.maximum(variances, 0) + ridge * max(float(variances.mean()), 0.0)
            scales.append(1 / np.sqrt(np.where(floored > 0, floored, np.inf)))
        left, correlations, right = np.linalg.svd(scales[0][:, None] * self._between * scales[1], full_matrices=False)
        least = _NO_CORRELATION * max(float(correlations[0]), _NO_CORRELATION)
        kept = min(n_axes, int((correlations > least).sum()))
        if kept == 0:
            raise ValueError("the two sides must vary together, got no correlation at all")
        sides = zip(self._spectra, scales, (left[:, :kept], right[:kept].T), strict=True)
        both = [(directions * scale) @ turned for (_, directions), scale, turned in sides]
        return CanonicalAxes(self.means, (both[0], both[1]), correlations[:kept])


def canonical_axes(first: FloatMatrix, second: FloatMatrix, n_axes: int, ridge: float) -> CanonicalAxes:
    """Regularised canonical correlation analysis in closed form.

    Parameters
    ----------
    first, second : (n, d1), (n, d2) float32 arrays
        Row i of both is a pair.
    n_axes : int
        At most so many directions; fewer if fewer correlate.
    ridge : float
        What is added to every variance, as a share of the side's mean variance.

    Raises
    ------
    ValueError
        If nothing correlates: one side is constant.

    Notes
    -----
    With whitenings W of both covariances, the directions are the singular vectors of W1' C12 W2 and the correlations
    its singular values. Source: H. Hotelling, "Relations between two sets of variates", Biometrika 1936; the ridge:
    H. Vinod, "Canonical ridge and econometrics of joint production", Journal of Econometrics 1976.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 3)).astype(np.float32)
    >>> canonical_axes(X, X @ rng.normal(size=(3, 5)).astype(np.float32), 2, 1e-6).correlations.round(3).tolist()
    [1.0, 1.0]
    """
    return _Decomposed(first, second).axes(n_axes, ridge)


def chosen_ridge(first: FloatMatrix, second: FloatMatrix, n_axes: int) -> float:
    """The one of ``RIDGES`` with which pairs that took no part (every fifth, at most 1,000) find each other best."""
    if len(first) < 20:
        return RIDGES[-1]
    from ..evaluation.pair_retrieval import pair_figures  # its package imports this one

    apart = np.arange(len(first)) % 5 == 0
    judged = np.flatnonzero(apart)[:_CHOICE_PAIRS]
    own = np.eye(len(judged), dtype=bool)
    decomposed = _Decomposed(first[~apart], second[~apart])
    best, chosen = -1.0, RIDGES[-1]
    for ridge in RIDGES:
        axes = decomposed.axes(n_axes, ridge)
        sides = [axes.components(X[judged], side) for side, X in enumerate((first, second))]
        units = [x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in sides]
        cosines = units[0] @ units[1].T
        figure = sum(float(pair_figures(-matrix, own, ())["mrr"]) for matrix in (cosines, cosines.T))
        if figure > best:
            best, chosen = figure, ridge
    return chosen


def canonical_start(
    first: FloatMatrix, second: FloatMatrix, n_bits: int, seed: int
) -> tuple[tuple[LinearMap, LinearMap], float]:
    """Linear maps of both sides to ``n_bits`` outputs whose signs are the codes of CCA-ITQ.

    Canonical components, each times its correlation, are turned by the one rotation that brings those of both sides
    closest to their signs. Outputs of both together have standard deviation 1.

    Returns
    -------
    maps : pair of (weight, bias)
        (n_bits, d) and (n_bits,) float32.
    ridge : float
        See ``chosen_ridge``.

    Notes
    -----
    Source: Y. Gong, S. Lazebnik, "Iterative quantization: a procrustean approach to learning binary codes", CVPR 2011,
    where labels were the other side.
    """
    ridge = chosen_ridge(first, second, n_bits)
    axes = canonical_axes(first, second, n_bits, ridge)
    both = np.concatenate([axes.components(first, 0), axes.components(second, 1)])
    both /= np.sqrt(np.square(both, dtype=np.float64).mean())
    rotation, _ = _itq(both, _core.random_orthogonal(seed, both.shape[1], n_bits))
    rotated = [axes.components(X, side) @ rotation for side, X in enumerate((first, second))]
    scale = 1.0 / max(float(np.sqrt(sum(x.var() for x in rotated) / 2)), 1e-12)
    maps = []
    for mean, directions in zip(axes.means, axes.axes, strict=True):
        weight = ((directions * axes.correlations) @ rotation * scale).T
        maps.append((np.ascontiguousarray(weight, np.float32), (-weight @ mean).astype(np.float32)))
    return (maps[0], maps[1]), ridge
