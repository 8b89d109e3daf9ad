"""ClassGate: a classifier and the cells of its classes, from queries to the cells that are searched."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ...validation import FloatMatrix, choice, fraction, positive_int
from .cell_gate import GATES, CellGate, Plan
from .class_cells import ClassCells
from .class_labels import class_numbers

__all__ = ["ClassGate", "GateOptions", "least_probability"]

IntArray = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

# One-sided 95 %: how far below the target a mean of other queries may fall is left to one case in twenty.
_SURE = 1.645


@dataclasses.dataclass(frozen=True)
class GateOptions:
    """Options of ``HierarchicalSearch.search`` that say which cells are searched, checked."""

    gate: str
    probability: float
    budget: int | None
    top: int
    widen: bool

    @classmethod
    def checked(
        cls, gate: str, probability: float | None, budget: int | None, top: int, widen: bool, default: float
    ) -> GateOptions:
        """``ValueError`` for values that do not fit; ``default``: the probability where it is None."""
        return cls(
            choice(gate, "gate", GATES),
            default if probability is None else fraction(probability, "probability"),
            None if budget is None else positive_int(budget, "budget"),
            positive_int(top, "top"),
            bool(widen),
        )


class ClassGate:
    """Ranks the cells of each query.

    Parameters
    ----------
    classifier : object with ``classes_`` and ``predict_proba``, or None
        None for one class.
    classes : list of int or str
        Classes of the items, ascending; the classifier may know others.
    """

    def __init__(self, classifier: Any, classes: list[Any]) -> None:
        self._classifier = classifier
        self._classes = classes
        self._columns = _columns(classifier, classes)
        self._gate: CellGate | None = None

    @property
    def cell_gate(self) -> CellGate:
        """What ranks cells; set once cells are known, by ``take``."""
        assert self._gate is not None
        return self._gate

    def take(self, cells: ClassCells) -> None:
        """From now on the cells are these."""
        self._gate = CellGate(cells)

    def probabilities(self, X: FloatMatrix) -> Doubles:
        """(q, classes of items); what classes without items have is left out."""
        if self._classifier is None:
            return np.ones((len(X), 1))
        if not len(X):
            return np.empty((0, len(self._columns)))
        given = np.asarray(self._classifier.predict_proba(X), np.float64)
        if given.ndim != 2 or len(given) != len(X) or not np.isfinite(given).all():
            raise ValueError(
                f"classifier.predict_proba(X) must give finite probabilities for {len(X)} rows, got shape {given.shape}"
            )
        return given[:, self._columns]

    def fit(self, X: FloatMatrix, neighbors: IntArray) -> None:
        """Fit the weights to the (q, k) cells in which the queries' true neighbours lie."""
        self._gate = self.cell_gate.fitted(X, self.probabilities(X), neighbors)

    def plan(
        self, X: FloatMatrix, k: int, options: GateOptions, available: IntArray, allowed: npt.NDArray[np.bool_] | None
    ) -> Plan:
        """Which cells are searched for k of their ``available`` rows, of ``allowed`` classes (None: all)."""
        if allowed is None:
            allowed = np.ones(len(self._classes), bool)
        top = options.top if options.gate == "hard" else 0
        ranking = self.cell_gate.ranking(X, self.probabilities(X), available, allowed, top)
        return ranking.plan(options.gate, k, options.probability, options.budget, options.widen)

    def needed(self, X: FloatMatrix, k: int, neighbors: IntArray) -> Doubles:
        """(q, k) cells -> the probability beyond which a soft search for k rows looks into them; -1: it always does."""
        everywhere = np.ones(len(self._classes), bool)
        cells = self.cell_gate.cells
        return self.cell_gate.ranking(X, self.probabilities(X), cells.sizes, everywhere, 0).least_mass(k, neighbors)

    def allowed(self, labels: Any) -> npt.NDArray[np.bool_]:
        """(classes,) which of them are named; ``ValueError`` if one has no items."""
        wanted = [labels] if isinstance(labels, (str, int, np.integer)) else list(labels)
        numbers, _ = class_numbers(wanted, "labels", len(wanted), self._classes)
        if not len(numbers) or (numbers < 0).any():
            raise ValueError(f"labels must name classes, got {labels!r}")
        named = np.zeros(len(self._classes), bool)
        named[numbers] = True
        return named


def _columns(classifier: Any, classes: list[Any]) -> IntArray:
    """The classifier's column of each class."""
    if classifier is None:
        return np.zeros(1, np.int64)
    if not callable(getattr(classifier, "predict_proba", None)):
        raise ValueError(f"classifier must have predict_proba(), got {type(classifier).__name__}")
    if getattr(classifier, "classes_", None) is None:
        raise ValueError(f"classifier must be fitted, got {classifier!r}: call fit(X, y) first")
    known = {value: i for i, value in enumerate(np.asarray(classifier.classes_).tolist())}
    strangers = [value for value in classes if value not in known]
    if strangers:
        raise ValueError(f"labels must be classes that the classifier knows, got also {strangers[0]!r}: fit it again")
    return np.array([known[value] for value in classes], np.int64)


def least_probability(needed: Doubles, target: float) -> float:
    """The least probability whose recall reaches the target, even at the lower end of its interval.

    Parameters
    ----------
    needed : (q, k) array
        See ``ClassGate.needed``.
    target : float

    Examples
    --------
    >>> import numpy as np
    >>> needed = np.tile([-1.0, 0.2, 0.6, 0.9], (50, 1))  # at 0.7, three of four are found, for every query alike
    >>> round(least_probability(needed, 0.7), 6), least_probability(needed, 1.0) > 0.9
    (0.6, True)
    """
    if target == 0:
        return 0.0
    steps = np.unique(needed)
    low, high = 0, len(steps)  # the first step that is enough; none: everything
    while low < high:
        middle = (low + high) // 2
        found = (needed <= steps[middle]).mean(axis=1)
        if found.mean() - _SURE * found.std(ddof=1) / math.sqrt(len(found)) >= target:
            high = middle
        else:
            low = middle + 1
    if low == len(steps):
        return 1.0
    return float(np.clip(np.nextafter(steps[low], 1.0), 0.0, 1.0))
