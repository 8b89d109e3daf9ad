"""One code per class: where it comes from, and which of them a row gets."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ..codes import Codes, pack
from .training_data import Problem

__all__ = ["majority_centres", "snapped"]

FloatMatrix = npt.NDArray[np.float32]

_MAX_ROWS = 100_000
_ROW_BLOCK = 4096


def majority_centres(project: Callable[[FloatMatrix], FloatMatrix], problem: Problem) -> FloatMatrix:
    """For each class the bitwise majority of its rows' codes.

    Parameters
    ----------
    project : callable
        (n, d) vectors to (n, n_bits) outputs.
    problem : Problem
        With labels; at most 100,000 evenly spaced ones count.

    Returns
    -------
    (n_classes, n_bits) float32 array
        Of 1 and -1.
    """
    assert problem.labels is not None
    known = np.flatnonzero(problem.labels >= 0)
    known = known[:: -(-len(known) // _MAX_ROWS)]
    sums = np.zeros((problem.n_classes, problem.n_bits))
    for start in range(0, len(known), _ROW_BLOCK):
        rows = known[start : start + _ROW_BLOCK]
        np.add.at(sums, problem.labels[rows], np.sign(project(np.asarray(problem.X[rows], np.float32))))
    return np.where(sums > 0, 1, -1).astype(np.float32)


def snapped(outputs: FloatMatrix, centres: FloatMatrix) -> Codes:
    """The code of the centre with the largest inner product with each row of outputs, the first among equals."""
    return pack(centres)[(outputs @ centres.T).argmax(axis=1)]
