"""A trial as people read it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .space import Space

__all__ = ["FINISHED", "STATES", "TrialRecord", "non_dominated", "record_of"]

# "interrupted": by Ctrl-C, or its process was killed; it is run again. "failed": by an error of its own.
STATES = ("completed", "pruned", "failed", "interrupted", "running")
FINISHED = STATES[:3]


@dataclasses.dataclass(frozen=True)
class TrialRecord:
    """One trial.

    Attributes
    ----------
    number : int
        From 0, in the order in which trials began.
    state : {"completed", "pruned", "failed", "interrupted", "running"}
    values : dict
        What it had for each parameter of the space that was part of it.
    figures : dict of str to float
        All figures on the choosing rows (completed trials): ``recall``, ``recall-asymmetric``, ``recall-reranked``,
        ``map`` with labels, ``seconds`` of processor time for the training, ``bytes`` per code.
    seconds : float
        Processor time of the training; NaN if it did not end.
    epochs : int or None
        Epochs trained.
    collapsed : bool or None
        Whether its codes have fallen together.
    error : str or None
        Why it failed.
    """

    number: int
    state: str
    values: dict[str, Any]
    figures: dict[str, float]
    seconds: float
    epochs: int | None
    collapsed: bool | None
    error: str | None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready but for NaN."""
        return dataclasses.asdict(self)


def record_of(trial: Any, space: Space) -> TrialRecord:
    """From an Optuna trial."""
    attributes = trial.user_attrs
    state = {"COMPLETE": "completed", "PRUNED": "pruned", "RUNNING": "running", "WAITING": "running"}.get(
        trial.state.name, "failed" if "error" in attributes else "interrupted"
    )
    try:
        values = space.decoded(trial.params)
    except KeyError:  # killed before all were suggested
        values = dict(trial.params)
    return TrialRecord(
        number=trial.number,
        state=state,
        values=values,
        figures=dict(attributes.get("figures", {})) if state == "completed" else {},
        seconds=float(attributes.get("seconds", np.nan)),
        epochs=attributes.get("epochs"),
        collapsed=attributes.get("collapsed"),
        error=attributes.get("error"),
    )


def non_dominated(figures: npt.ArrayLike, minimised: Sequence[bool]) -> npt.NDArray[np.bool_]:
    """Which rows are on the Pareto front: no other row is at least as good in everything and better in something.

    Parameters
    ----------
    figures : (n, m) array of float
    minimised : m booleans
        Whether small values of a column are good.

    Returns
    -------
    (n,) bool array

    Examples
    --------
    >>> from simskip.tuning.record import non_dominated
    >>> non_dominated([[0.9, 16], [0.8, 8], [0.8, 16]], [False, True]).tolist()
    [True, True, False]
    """
    signs = np.where(np.asarray(minimised, bool), 1.0, -1.0)
    costs = np.asarray(figures, np.float64).reshape(-1, len(signs)) * signs
    no_worse = (costs[:, None, :] <= costs[None, :, :]).all(axis=2)
    better = (costs[:, None, :] < costs[None, :, :]).any(axis=2)
    return np.asarray(~(no_worse & better).any(axis=0))
