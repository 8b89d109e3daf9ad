"""One row of a report's table, and the columns: what each is called, means and looks like."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from .provenance import Origin
from .scores import Score

__all__ = ["Column", "Row", "bytes_text", "columns", "number", "speed_text"]


@dataclass
class Row:
    """Everything measured about one searcher.

    Attributes
    ----------
    name, description, kind : str
        The user's name for it; what it is, in words; and ``"exact"``, ``"codes"``, ``"asymmetric"``,
        ``"reranked"``, ``"bucket"``, ``"index"`` or ``"control"``.
    values : dict of str to float
        By column key; intervals under ``"<key> low"`` and ``"<key> high"``. NaN: not measured, or undefined.
    flags : list of str
        Reasons to distrust the row.
    disqualified : bool
        One of the flags says that the row compares exact search with itself: no verdict may rest on it.
    latencies_ms : (m,) float64 array
        Single-query latencies; empty if not measured.
    origin : Origin
        Where the row's lists came from.
    """

    name: str
    description: str
    kind: str
    origin: Origin
    values: dict[str, float] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)
    disqualified: bool = False
    latencies_ms: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    def set_score(self, key: str, score: Score, level: float, random_state: int) -> None:
        """Store a mean over queries with its bootstrap interval."""
        self.values[key] = float(score)
        low, high = score.interval(level, random_state=random_state)
        self.values[f"{key} low"], self.values[f"{key} high"] = low, high

    def get(self, key: str) -> float:
        """A value, NaN if there is none."""
        return self.values.get(key, float("nan"))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: NaN becomes None."""
        return {
            "name": self.name,
            "description": self.description,
            "kind": self.kind,
            "values": {key: value if math.isfinite(value) else None for key, value in self.values.items()},
            "flags": self.flags,
            "latencies_ms": [round(float(value), 6) for value in self.latencies_ms],
            "origin": self.origin.as_dict(),
        }


@dataclass(frozen=True)
class Column:
    """A column: its key in ``Row.values``, heading, explanation, and how a value is written."""

    key: str
    title: str
    explanation: str
    write: Callable[[float], str]
    interval: bool = False
    group: str = ""

    def text(self, row: Row) -> str:
        """The cell of a row; a dash where there is nothing to say."""
        value = row.get(self.key)
        return "–" if math.isnan(value) else self.write(value)

    def interval_text(self, row: Row) -> str:
        """``"[low, high]"`` or nothing."""
        low, high = row.get(f"{self.key} low"), row.get(f"{self.key} high")
        if not self.interval or math.isnan(low) or math.isnan(high):
            return ""
        return f"[{self.write(low)}, {self.write(high)}]"


def number(value: float) -> str:
    """Three significant digits, thousands separated: ``0.00123``, ``12.3``, ``45,600``."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(digits, 6)}f}"


def _share(value: float) -> str:
    return f"{value:.3f}"


def _times(value: float) -> str:
    return f"{value:,.0f}x" if value >= 9.95 else f"{value:.2g}x" if value < 0.95 else f"{value:.1f}x"


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _bytes(value: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 1000 or unit == "GB":
            return f"{number(value)} {unit}" if unit != "B" else f"{value:.3g} B"
        value /= 1000
    raise AssertionError("unreachable: the last unit always returns")


def columns(ks: Sequence[int], k: int, *, labelled: bool, level: float = 0.95) -> list[Column]:
    """The columns of a report, in order."""
    interval = f" In brackets: {level:.0%} bootstrap interval over queries."
    result = [
        Column(
            f"recall@{j}",
            f"Recall@{j}",
            f"Share of the {j} nearest by exact float search that a search for {j} finds." + interval,
            _share,
            True,
            "Same neighbours as exact search",
        )
        for j in ks
    ]
    if labelled:
        result += [
            Column(
                "map",
                "mAP",
                "Mean average precision of the ranking of the whole database by label, expected value over"
                " items at equal distance. A dash where the search does not rank the whole database." + interval,
                _share,
                True,
                "Labels",
            ),
            Column(
                f"precision@{k}",
                f"Precision@{k}",
                f"Share of the {k} found that have the query's label." + interval,
                _share,
                True,
                "Labels",
            ),
            Column(
                "coverage",
                "Coverage",
                "Mean over classes of the share of a class in its most common code. 1 is good only if the"
                " computation ratio is near 1 too: collapsed codes also reach 1.",
                _share,
                group="Labels",
            ),
            Column(
                "computation_ratio",
                "Comput. ratio",
                "Sum of squared bucket sizes over sum of squared class sizes: 1 is ideal, the number of"
                " classes means that everything has one code.",
                number,
                group="Labels",
            ),
        ]
    result += [
        Column("n_codes", "Codes", "Number of different codes in the database.", _whole, group="Memory"),
        Column(
            "bytes_per_item",
            "Bytes/item",
            "What a search scans in memory, bytes for each item.",
            _bytes,
            group="Memory",
        ),
        Column(
            "vector_bytes",
            "Vector bytes",
            "Float vectors that one query reads besides (to order the nearest codes or its buckets); all of them for"
            " exact search.",
            _bytes,
            group="Memory",
        ),
        Column(
            "memory_ratio",
            "Smaller",
            "Bytes per item of exact search over this row's.",
            _times,
            group="Memory",
        ),
        Column(
            "build_seconds",
            "Build s",
            "Seconds to encode the database and fill the index; training is not included. A dash for an index"
            " that came ready.",
            number,
            group="Time",
        ),
        Column(
            "latency_p50_ms",
            "p50 ms",
            "Median time of one query alone, milliseconds (fastest repetition of each).",
            number,
            group="Time",
        ),
        Column(
            "latency_p95_ms",
            "p95 ms",
            "95 % of the single queries were at least as fast.",
            number,
            group="Time",
        ),
        Column(
            "queries_per_second",
            "Queries/s",
            "Throughput when all queries are given at once (fastest repetition).",
            number,
            group="Time",
        ),
        Column(
            "speedup",
            "Speed-up",
            "Speed relative to exact float search: the smaller of the two ratios, single query (median) and"
            " batch (throughput).",
            _times,
            group="Time",
        ),
    ]
    return result


def speed_text(value: float) -> str:
    """A ratio as the verdict writes it: ``31x``, ``1.4x``, ``0.82x``."""
    return _times(value)


def bytes_text(value: float) -> str:
    """Bytes as the table writes them: ``8 B``, ``5.12 kB``."""
    return _bytes(value)
