"""Health while training: the figures of each epoch, and the watch that says when codes have collapsed for good."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..codes import pack
from ..validation import choice, positive_int
from .collapse_cause import Cause, TrainingFacts, collapse_causes
from .health import code_health

__all__ = ["ON_COLLAPSE", "CollapseWatch", "epoch_health", "shown_health"]

FloatMatrix = npt.NDArray[np.float32]

ON_COLLAPSE = ("warn", "stop", "ignore")

# Rows looked at: enough for shares of a few per cent, and 64 bits cost 3 ms an epoch.
_ROWS = 4000
# Where tanh's slope has fallen to 2 % of its slope at 0.
_SATURATED = 0.99
# csq through eight layers with dropout 0.5 looked collapsed for 9 of 30 short epochs and recovered; all that time its
# loss fell, its largest bucket shrank or its class codes multiplied. dtsh through the same network got no better.
_MIN_PATIENCE, _PATIENCE_SHARE = 3, 0.2
_FALLING_LOSS, _SHRINKING_BUCKET = 0.95, 0.8
_HOPE_SHARE = 0.5  # of the planned epochs: after that even a hopeful collapse is told
_TOLD_CAUSES = 2


def epoch_health(outputs: FloatMatrix, labels: npt.ArrayLike | None = None) -> dict[str, Any]:
    """Health of the codes that outputs stand for, as plain numbers for a record of ``history_``.

    Parameters
    ----------
    outputs : (n, n_bits) float32 array
        Real outputs of a hasher for n >= 1 rows, best rows it was not trained on; the last 4,000 count.
    labels : (n,) array of int or str, optional
        A class for each row.

    Returns
    -------
    dict
        ``codes`` (different ones), ``largest_bucket``, ``bit_entropy``, ``bit_correlation`` (None if fewer than two
        bits vary), ``saturation`` (share of outputs beyond 0.99), ``spread`` (mean over bits of the outputs' standard
        deviation over rows) and ``collapsed``; with labels also ``coverage``, ``computation_ratio`` and
        ``distinct_class_codes``. See ``CodeHealth`` for what they mean. JSON-ready.

    Raises
    ------
    ValueError
        If outputs hold NaN, or labels do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> figures = epoch_health(np.repeat(np.eye(4, dtype=np.float32), 10, axis=0), np.repeat(np.arange(4), 10))
    >>> figures["codes"], figures["coverage"], figures["distinct_class_codes"], figures["collapsed"]
    (4, 1.0, 4, False)
    """
    outputs = outputs[-_ROWS:]
    health = code_health(pack(outputs), None if labels is None else np.asarray(labels)[-_ROWS:])
    figures: dict[str, Any] = {}
    if health.n_classes is not None:
        figures["coverage"] = health.coverage
        figures["computation_ratio"] = health.computation_ratio
        figures["distinct_class_codes"] = health.distinct_class_codes
    figures["codes"] = health.n_codes
    figures["largest_bucket"] = health.largest_bucket
    figures["bit_entropy"] = health.bit_entropy
    figures["bit_correlation"] = None if math.isnan(health.bit_correlation) else health.bit_correlation
    figures["saturation"] = float((np.abs(outputs) > _SATURATED).mean())
    figures["spread"] = float(outputs.std(axis=0, dtype=np.float64).mean())
    figures["collapsed"] = health.collapsed
    return figures


def shown_health(record: Mapping[str, Any]) -> dict[str, str]:
    """Two or three of the figures, for a progress line: those that show a collapse soonest.

    Examples
    --------
    >>> shown_health({"codes": 12, "bit_entropy": 0.71, "collapsed": False})
    {'codes': '12', 'entropy': '0.71'}
    >>> shown_health({"codes": 2, "coverage": 0.98, "computation_ratio": 5.1, "collapsed": True})
    {'codes': '2 COLLAPSED', 'coverage': '0.98', 'ratio': '5.1'}
    """
    shown = {"codes": f"{record['codes']}{' COLLAPSED' if record['collapsed'] else ''}"}
    if "coverage" in record:
        shown["coverage"] = f"{record['coverage']:.2f}"
        shown["ratio"] = f"{record['computation_ratio']:.2g}"
    else:
        shown["entropy"] = f"{record['bit_entropy']:.2f}"
    return shown


class CollapseWatch:
    """Sees every epoch's record and says when the codes have collapsed and will not recover.

    Parameters
    ----------
    facts : TrainingFacts
        What the training was asked to do, for the cause.
    on_collapse : {"warn", "stop", "ignore"}
        What ``update`` answers to a collapse.
    patience : int, optional
        Epochs in a row that must look collapsed and get no better: the loss falls by less than 5 %, the largest bucket
        shrinks by less than a fifth, and there are no more class codes. Default: a fifth of the planned epochs, at
        least 3. A collapse of half the planned epochs (and as many as the patience) is told in any case.

    Attributes
    ----------
    collapsed : bool
        Whether the latest epochs are a collapse.
    causes : list of Cause
        What explains it, the surest first; empty while nothing has collapsed.

    Notes
    -----
    The first epochs of a healthy training may look collapsed. On Fashion-MNIST, csq through eight layers with dropout
    0.5 had 3 and 5 different class codes after 200 and 400 steps and 9 after 1,400; the same network trained by dtsh
    stayed at 2 of 10 for ever.

    Examples
    --------
    >>> from simskip.hashing.collapse_cause import TrainingFacts
    >>> facts = TrainingFacts(objective="dtsh", n_bits=7, n_classes=10, margin=5.0, epochs=4)
    >>> watch = CollapseWatch(facts, "stop")
    >>> epoch = {"loss": 2.7, "codes": 2, "coverage": 0.98, "distinct_class_codes": 2, "largest_bucket": 0.61,
    ...          "saturation": 1.0, "spread": 0.97, "collapsed": True}
    >>> [watch.update(epoch) for _ in range(4)]
    [None, None, 'stop', None]
    >>> watch.causes[0].name
    'margin'
    """

    def __init__(self, facts: TrainingFacts, on_collapse: str = "warn", patience: int | None = None) -> None:
        self.facts = facts
        self.on_collapse = choice(on_collapse, "on_collapse", ON_COLLAPSE)
        default = max(_MIN_PATIENCE, math.ceil(_PATIENCE_SHARE * facts.epochs))
        self.patience = default if patience is None else positive_int(patience, "patience")
        self.causes: list[Cause] = []
        self._records: list[dict[str, Any]] = []
        self._in_a_row = 0
        self._told = False

    @property
    def collapsed(self) -> bool:
        """Whether the latest epochs are a collapse; of fewer epochs than the patience, whether all are."""
        return self._in_a_row >= min(self.patience, max(1, len(self._records)))

    def begin(self) -> None:
        """A training begins anew: its epochs are counted from 1; what was told is not told again."""
        self._records, self._in_a_row, self.causes = [], 0, []

    def update(self, record: Mapping[str, Any]) -> str | None:
        """Take an epoch's record: ``epoch_health``'s figures and ``loss``.

        Returns
        -------
        {"warn", "stop"} or None
            What to do now; a collapse is told once.
        """
        self._records.append(dict(record))
        self._in_a_row = self._in_a_row + 1 if record["collapsed"] else 0
        if self._in_a_row < self.patience or self._hopeful():
            return None
        self.causes = collapse_causes(self._records, self.facts)
        if self._told or self.on_collapse == "ignore":
            return None
        self._told = True
        return self.on_collapse

    def _hopeful(self) -> bool:
        """Whether the latest epochs, all collapsed, were on the way out."""
        if self._in_a_row >= max(self.patience, _HOPE_SHARE * self.facts.epochs):
            return False
        before, now = self._records[-self.patience], self._records[-1]
        return bool(
            now["loss"] < before["loss"] - (1 - _FALLING_LOSS) * abs(before["loss"])
            or now["largest_bucket"] < _SHRINKING_BUCKET * before["largest_bucket"]
            or now.get("distinct_class_codes", 0) > before.get("distinct_class_codes", 0)
        )

    @property
    def told(self) -> bool:
        """Whether ``update`` has said so."""
        return self._told

    @property
    def message(self) -> str:
        """What to warn of: the symptom, its likely cause and the remedy."""
        causes = self.causes or collapse_causes(self._records, self.facts)
        last = self._records[-1]
        symptom = f"different codes: {last['codes']:,}; in the largest bucket: {last['largest_bucket']:.0%} of the rows"
        if "distinct_class_codes" in last and self.facts.n_classes:
            symptom += f"; different class codes: {last['distinct_class_codes']} for {self.facts.n_classes} classes"
        epochs = f" for {self._in_a_row} epochs" if self._in_a_row > 1 else ""
        told = [f"codes have been collapsed{epochs} ({symptom})"]
        for cause in causes[:_TOLD_CAUSES]:
            told.append(f"{'Cause' if len(told) == 1 else 'Also'}: {cause.explanation}. Remedy: {cause.remedy}")
        return ". ".join(told)
