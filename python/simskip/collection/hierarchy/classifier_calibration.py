"""Whether a classifier's probabilities mean what they say: rows held out for it, the temperature, the figures."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from ...hashing.softmax_network import best_temperature, class_probabilities

__all__ = ["ClassifierCalibration", "calibrated", "calibration_error", "held_out_turns", "log_loss"]

Numbers = npt.NDArray[np.int32]
RowNumbers = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.float64]

# A temperature found on fewer rows is a poor one: with 100 labelled rows, 10 of them held out, the calibration error on
# new rows was .15 and .34 (CIFAR-10 and Fashion-MNIST through EfficientNet-Lite0); held out in turns .05 and .04.
FEW_ROWS = 200
_TURNS = 5
_BINS = 15


@dataclasses.dataclass(frozen=True)
class ClassifierCalibration:
    """How good a classifier is on rows that it was not trained on.

    No row is judged at a temperature that was chosen on it: each half of the rows is judged at the one that suits the
    other half.

    Attributes
    ----------
    rows : int
        Held-out rows.
    accuracy : float
        Share whose most probable class is theirs.
    error_before, error : float
        Expected calibration error at temperature 1 and at the temperature found: the mean gap between how sure the
        classifier is and how often it is right, over 15 bins of equal width.
    log_loss_before, log_loss : float
        Mean of minus the logarithm of the true class's probability.
    """

    rows: int
    accuracy: float
    error_before: float
    error: float
    log_loss_before: float
    log_loss: float


def held_out_turns(numbers: Numbers, share: float, seed: int) -> tuple[list[RowNumbers], RowNumbers]:
    """Which rows are held out together, and which the final classifier is trained on.

    Parameters
    ----------
    numbers : (n,) int32 array
        Classes; -1: rows that take no part.
    share : float
        Of the rows of every class; at least one row of a class is trained on.
    seed : int

    Returns
    -------
    turns : list of (m,) int64 arrays
        Disjoint and ascending; none if nothing is held out. One, of ``share`` of the rows; or, where these would be
        fewer than 200, five that make up all rows of classes with two rows and more.
    trained : (t,) int64 array
        What is not in the one turn; all rows, if there are five.
    """
    drawn = np.random.default_rng(seed).random(len(numbers))
    order = np.lexsort((drawn, numbers))[np.count_nonzero(numbers < 0) :]  # by class, shuffled
    own = numbers[order]
    place = np.arange(len(order)) - np.searchsorted(own, own)
    size = np.bincount(own)[own]
    if share == 0 or not (size > 1).any():
        return [], np.sort(order)
    chosen = place < np.minimum(np.round(share * size), size - 1)
    if np.count_nonzero(chosen) >= FEW_ROWS:
        return [np.sort(order[chosen])], np.sort(order[~chosen])
    turn = np.where(size > 1, np.arange(len(order)) % _TURNS, -1)
    # A turn must leave a row of each class: a class of two has its rows in two turns, for they are neighbours here.
    turns = [np.sort(order[turn == t]) for t in range(_TURNS)]
    return [rows for rows in turns if len(rows)], np.sort(order)


def calibrated(logits: npt.NDArray[np.float32], numbers: Numbers) -> tuple[float, ClassifierCalibration]:
    """The temperature that suits rows, and the figures; ``numbers``: their true classes."""
    truth = np.eye(logits.shape[1])[numbers]
    before = class_probabilities(logits, 1.0)
    after = before.copy()
    halves = [np.arange(len(logits)) % 2 == side for side in (0, 1)]
    if len(logits) > 1:
        for half, other in (halves, halves[::-1]):
            after[half] = class_probabilities(logits[half], best_temperature(logits[other], truth[other]))
    return best_temperature(logits, truth), ClassifierCalibration(
        len(logits),
        float((before.argmax(axis=1) == numbers).mean()),
        calibration_error(before, numbers),
        calibration_error(after, numbers),
        log_loss(before, numbers),
        log_loss(after, numbers),
    )


def calibration_error(probabilities: Probabilities, numbers: Numbers) -> float:
    """Expected calibration error of (n, c) probabilities of rows of these classes, over 15 bins.

    Examples
    --------
    >>> import numpy as np
    >>> sure = np.tile([0.9, 0.1], (10, 1))
    >>> round(calibration_error(sure, np.array([0] * 7 + [1] * 3, np.int32)), 3)
    0.2
    """
    sure = probabilities.max(axis=1)
    gap = sure - (probabilities.argmax(axis=1) == numbers)
    bins = np.minimum((sure * _BINS).astype(int), _BINS - 1)
    return float(np.abs(np.bincount(bins, gap, minlength=_BINS)).sum() / len(numbers))


def log_loss(probabilities: Probabilities, numbers: Numbers) -> float:
    """Mean of minus the logarithm of the true class's probability."""
    own = probabilities[np.arange(len(numbers)), numbers]
    return float(-np.log(np.maximum(own, 1e-300)).mean())
