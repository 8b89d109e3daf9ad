"""What a gate lets through: rows and classes per query, and the share of the true neighbours that are among them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .cell_gate import Plan
from .class_cells import ClassCells

__all__ = ["GateRecall", "GateReport"]

IntArray = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class GateReport:
    """What a search with this gate compares each query with.

    Attributes
    ----------
    rows : (q,) int64 array
        Items scanned.
    cells : (q,) int64 array
        Cells that they lie in.
    classes : (q,) int64 array
        Classes that these belong to.
    n_items : int
        Items in all.
    """

    rows: IntArray
    cells: IntArray
    classes: IntArray
    n_items: int

    @classmethod
    def of(cls, plans: Sequence[Plan], cells: ClassCells) -> GateReport:
        """Of the plans of blocks of queries."""
        none = np.empty(0, np.int64)
        classes = []
        for plan in plans:
            opened = np.zeros((len(plan.rows), int(cells.classes[-1]) + 1), bool)
            opened[plan.queries, cells.classes[plan.cells]] = True
            classes.append(opened.sum(axis=1))
        return cls(
            np.concatenate([none, *(plan.rows for plan in plans)]),
            np.concatenate([none, *(np.diff(plan.limits) for plan in plans)]),
            np.concatenate([none, *classes]),
            int(cells.limits[-1]),
        )

    @property
    def share(self) -> float:
        """Mean share of all items that a query is compared with; NaN without queries."""
        return float(self.rows.mean() / self.n_items) if len(self.rows) else float("nan")

    def __repr__(self) -> str:
        if not len(self.rows):
            return f"GateReport(0 queries, {self.n_items:,} items)"
        return (
            f"GateReport({len(self.rows):,} queries, {self.rows.mean():,.0f} of {self.n_items:,} rows,"
            f" {self.cells.mean():.1f} cells, {self.classes.mean():.1f} classes each)"
        )


@dataclasses.dataclass(frozen=True)
class GateRecall:
    """Share of the true nearest items that lie in what the gate lets through.

    Attributes
    ----------
    recall : float
        Mean over the queries.
    low, high : float
        95 % bootstrap interval over the queries; NaN for fewer than two.
    values : (q,) float64 array
        Of each query.
    k : int
        How many nearest items of each query are sought.
    probability : float or None
        Of the gate; None for a hard one.
    report : GateReport
        What was scanned.
    """

    recall: float
    low: float
    high: float
    values: npt.NDArray[np.float64]
    k: int
    probability: float | None
    report: GateReport

    def __repr__(self) -> str:
        return (
            f"GateRecall({self.recall:.3f} [{self.low:.3f}, {self.high:.3f}] of the {self.k} nearest,"
            f" {self.report.share:.1%} of the rows scanned, {len(self.values):,} queries)"
        )
