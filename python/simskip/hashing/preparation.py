"""What a deep hasher does to vectors before its network sees them: the metric's normalisation, and a projection."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .linear import _leading_axes

__all__ = ["METRICS", "Preparation", "row_blocks", "standardisation", "start_sample", "unit_scale"]

FloatMatrix = npt.NDArray[np.float32]
METRICS = ("cosine", "l2", "dot")

# Rows from which directions and moments are estimated: standard errors of a few thousandths.
_SAMPLE_ROWS = 20_000
_LEAST_DEVIATION = 1e-3  # of the largest: columns that hardly vary must not be blown up
_BLOCK_VALUES = 1 << 22


def row_blocks(n: int, width: int) -> list[slice]:
    """Slices over ``n`` rows of ``width`` values, about 16 MiB of float32 each."""
    step = max(1, _BLOCK_VALUES // max(1, width))
    return [slice(start, min(n, start + step)) for start in range(0, n, step)]


def unit_scale(X: FloatMatrix) -> FloatMatrix:
    """(n,) factors that give the rows length 1; 0 for rows of zeros, which have no direction."""
    scale = np.empty(len(X), np.float32)
    for rows in row_blocks(*X.shape):
        lengths = np.sqrt(np.einsum("ij,ij->i", X[rows], X[rows], dtype=np.float64))
        scale[rows] = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return scale


def start_sample(inputs: FloatMatrix, row_scale: FloatMatrix | None, rows: npt.NDArray[np.int32]) -> FloatMatrix:
    """At most 20,000 evenly spaced rows of the trainer's inputs, as its networks see them: for the start of weights."""
    chosen = rows[:: -(-len(rows) // _SAMPLE_ROWS)]
    sample = inputs[chosen].astype(np.float32)
    if row_scale is not None:
        sample *= row_scale[chosen, None]
    return sample


def standardisation(sample: FloatMatrix) -> tuple[FloatMatrix, FloatMatrix]:
    """(d,) centre and (d,) gain: columns minus the one, times the other, have mean 0 and deviation 1."""
    deviation = sample.std(axis=0)
    floor = _LEAST_DEVIATION * float(deviation.max()) + 1e-12
    return sample.mean(axis=0).astype(np.float32), (1 / np.maximum(deviation, floor)).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Preparation:
    """z = normalised x, times ``projection`` if there is one.

    Attributes
    ----------
    metric : {"cosine", "l2", "dot"}
        cosine: rows get length 1. l2: ``mean`` is subtracted and rows are multiplied by ``scale``. dot: multiplied
        only. Inner products (for l2 distances) of prepared rows rank like the metric.
    mean : (d,) float32 array or None
    scale : float
        One over the root mean square length of the rows, so that temperatures are comparable between data sets.
    projection : (d, m) float32 array or None
        Orthonormal leading directions of the second moment of the normalised rows: of all m directions these
        keep most of the inner products.
    """

    metric: str
    mean: FloatMatrix | None
    scale: float
    projection: FloatMatrix | None

    @classmethod
    def fitted(cls, X: FloatMatrix, rows: npt.NDArray[np.int32], metric: str, width: int, seed: int) -> Preparation:
        """Choose mean, scale and projection (if X has more than ``width`` columns) from a sample of ``rows``."""
        sample = X[np.sort(rows[:: -(-len(rows) // _SAMPLE_ROWS)])]
        mean = sample.mean(axis=0, dtype=np.float64).astype(np.float32) if metric == "l2" else None
        scale = 1.0
        if metric != "cosine":
            square = np.square(sample - mean if mean is not None else sample, dtype=np.float64).sum(axis=1).mean()
            if square > 0:
                scale = float(1 / np.sqrt(square))
        plain = cls(metric, mean, scale, None)
        if X.shape[1] <= width:
            return plain
        axes, _, _ = _leading_axes(plain.apply(sample), np.zeros(X.shape[1]), width, seed)
        return dataclasses.replace(plain, projection=axes.astype(np.float32))

    def apply(self, X: FloatMatrix) -> FloatMatrix:
        """(n, d) -> (n, m) float32; the caller cuts large inputs into blocks."""
        z: FloatMatrix
        if self.metric == "cosine":
            z = X * unit_scale(X)[:, None]
        elif self.mean is not None:
            z = (X - self.mean) * np.float32(self.scale)
        else:
            z = X * np.float32(self.scale)
        return z if self.projection is None else z @ self.projection

    @property
    def copies(self) -> bool:
        """Whether prepared rows are a copy; otherwise they are the rows themselves, times a factor each."""
        return not (self.projection is None and self.mean is None and self.scale == 1.0)

    def width(self, dim: int) -> int:
        """Columns of prepared rows of ``dim`` columns."""
        return dim if self.projection is None else int(self.projection.shape[1])

    def training_inputs(
        self, X: FloatMatrix, rows: npt.NDArray[np.int32] | None = None
    ) -> tuple[FloatMatrix, FloatMatrix | None]:
        """Prepared rows for the trainer as (inputs, row scale): X itself where a factor per row is all it takes.

        A copy holds ``rows`` (default: all) in their order.
        """
        if not self.copies:
            return X, unit_scale(X) if self.metric == "cosine" else None
        n = len(X) if rows is None else len(rows)
        inputs = np.empty((n, self.width(X.shape[1])), np.float32)
        for block in row_blocks(n, X.shape[1]):
            inputs[block] = self.apply(X[block] if rows is None else X[rows[block]])
        return inputs, None

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """By name, for a file."""
        named: dict[str, npt.NDArray[Any]] = {"scale": np.array([self.scale], np.float64)}
        if self.mean is not None:
            named["mean"] = self.mean
        if self.projection is not None:
            named["projection"] = self.projection
        return named

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, npt.NDArray[Any]], metric: str) -> Preparation:
        """The inverse of ``tensors``. ``KeyError`` or ``ValueError`` if they do not fit together."""
        mean, projection = tensors.get("mean"), tensors.get("projection")
        if metric not in METRICS or (metric == "l2") != (mean is not None):
            raise ValueError(f"metric {metric!r} does not fit the tensors")
        if projection is not None and (projection.ndim != 2 or projection.dtype != np.float32):
            raise ValueError("projection must be a float32 matrix")
        if mean is not None and (mean.ndim != 1 or mean.dtype != np.float32):
            raise ValueError("mean must be a float32 vector")
        return cls(metric, mean, float(tensors["scale"][0]), projection)
