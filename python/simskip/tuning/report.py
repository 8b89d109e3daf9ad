"""The best trial on rows that no trial has seen: what its figures are worth, and what tuning has gained."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..evaluation.scores import Score, bootstrap_interval
from ..extras import require
from .table import html_table, text_table

__all__ = ["Comparison", "TuningReport", "compared", "metric_title"]


def metric_title(name: str, k: int, rerank: int) -> str:
    """What a metric is called in tables and sentences."""
    return {
        "recall": f"Recall@{k}",
        "recall-reranked": f"Recall@{k}, {rerank}x{k} reranked",
        "recall-asymmetric": f"Recall@{k}, asymmetric",
        "map": "mAP",
        "seconds": "training s",
        "bytes": "bytes/code",
    }[name]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One quality on the rows for choosing and on those for reporting.

    Attributes
    ----------
    metric, title : str
    chosen : float
        On the rows for choosing: the figure that made the trial the best, so likely too good.
    reported, low, high : float
        On the rows for reporting, with its interval.
    optimism, optimism_low, optimism_high : float
        ``chosen - reported`` with an interval: how far the choice has flattered the figure.
    default, default_low, default_high : float
        The default parameters on the rows for reporting (same bits, objective and fixed parameters).
    gain, gain_low, gain_high : float
        ``reported - default`` with an interval from the same queries, paired.
    """

    metric: str
    title: str
    chosen: float
    reported: float
    low: float
    high: float
    optimism: float
    optimism_low: float
    optimism_high: float
    default: float
    default_low: float
    default_high: float
    gain: float
    gain_low: float
    gain_high: float


@dataclasses.dataclass(frozen=True)
class TuningReport:
    """What ``Study.report`` found.

    Attributes
    ----------
    number : int
        The trial.
    rows : tuple of Comparison
        The study's own qualities first.
    parameters : dict
        Of the trial's hasher, for ``DeepHash(**parameters)``.
    n_queries, n_database : int
        Rows for reporting.
    """

    number: int
    rows: tuple[Comparison, ...]
    parameters: Mapping[str, Any]
    n_queries: int
    n_database: int

    def __getitem__(self, metric: str) -> Comparison:
        for row in self.rows:
            if row.metric == metric:
                return row
        raise ValueError(f"metric must be one of {', '.join(row.metric for row in self.rows)}, got {metric!r}")

    @property
    def verdict(self) -> str:
        """In words, for the first metric."""
        row = self.rows[0]
        first = (
            f"Trial {self.number}: {row.title} {row.reported:.3f} [{row.low:.3f}, {row.high:.3f}] on"
            f" {self.n_queries:,} queries that no trial has seen"
        )
        return f"{first}. {_optimism(row)}. {_gain(row)}."

    def to_frame(self) -> Any:
        """pandas.DataFrame with a line per metric."""
        pandas = require("pandas", "tune", "TuningReport.to_frame")
        return pandas.DataFrame([dataclasses.asdict(row) for row in self.rows]).set_index("metric")

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        rows = [
            {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in dataclasses.asdict(row).items()}
            for row in self.rows
        ]
        return {**dataclasses.asdict(self), "rows": rows, "verdict": self.verdict}

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Heads and cells, as people read them."""
        return HEADS, [
            [
                row.title,
                f"{row.chosen:.3f}",
                f"{row.reported:.3f} [{row.low:.3f}, {row.high:.3f}]",
                f"{row.optimism:+.3f} [{row.optimism_low:+.3f}, {row.optimism_high:+.3f}]",
                f"{row.default:.3f}",
                f"{row.gain:+.3f} [{row.gain_low:+.3f}, {row.gain_high:+.3f}]",
            ]
            for row in self.rows
        ]

    def __repr__(self) -> str:
        return f"TuningReport: {self.verdict}\n{text_table(*self.table())}"

    def _repr_html_(self) -> str:
        return html_table(self.verdict, *self.table())


HEADS = ["", "chosen", "unseen rows", "optimism", "defaults", "gain over defaults"]


def _optimism(row: Comparison) -> str:
    if row.optimism_low > 0:
        return f"The figure it was chosen for, {row.chosen:.3f}, was too good by {row.optimism:.3f}"
    if row.optimism_high < 0:
        return f"The figure it was chosen for, {row.chosen:.3f}, was too low by {-row.optimism:.3f}"
    spread = f"[{row.optimism_low:+.3f}, {row.optimism_high:+.3f}]"
    return f"The figure it was chosen for, {row.chosen:.3f}, agrees with that ({row.optimism:+.3f} {spread})"


def _gain(row: Comparison) -> str:
    spread = f"{row.gain:+.3f} [{row.gain_low:+.3f}, {row.gain_high:+.3f}]"
    if row.gain_low > 0:
        return f"Tuning gained {spread} over the default parameters ({row.default:.3f})"
    if row.gain_high < 0:
        return f"The default parameters are better ({row.default:.3f}; {spread}): stay with them"
    return f"No gain over the default parameters ({row.default:.3f}) is resolved: {spread}"


def compared(
    metric: str, title: str, recorded: float, chosen: Score, reported: Score, default: Score, seed: int
) -> Comparison:
    """A comparison from the values per query; ``recorded`` is the trial's own figure.

    It is ``chosen`` unless the trial was run by another version of the trainer or with other threads.
    """
    low, high = reported.interval(random_state=seed)
    default_low, default_high = default.interval(random_state=seed)
    gain_low, gain_high = bootstrap_interval(reported.values - default.values, random_state=seed)
    optimism_low, optimism_high = _interval_of_difference(chosen, reported, seed)
    moved = recorded - float(chosen)
    return Comparison(
        metric,
        title,
        recorded,
        float(reported),
        low,
        high,
        recorded - float(reported),
        optimism_low + moved,
        optimism_high + moved,
        float(default),
        default_low,
        default_high,
        float(reported) - float(default),
        gain_low,
        gain_high,
    )


def _interval_of_difference(one: Score, other: Score, seed: int) -> tuple[float, float]:
    """Percentile bootstrap of the difference of two means over different queries."""
    rng = np.random.default_rng(seed)
    means = []
    for score in (one, other):
        values = score.values[~np.isnan(score.values)]
        if len(values) < 2:
            return math.nan, math.nan
        means.append(np.array([values[rng.integers(0, len(values), len(values))].mean() for _ in range(2000)]))
    low, high = np.quantile(means[0] - means[1], [0.025, 0.975])
    return float(low), float(high)
