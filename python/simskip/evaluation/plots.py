"""The report's drawings: recall over time and over bytes, single-query times. No pyplot, no global state."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..extras import require
from ..validation import choice
from .rows import Row

__all__ = ["KINDS", "colour", "draw", "svg"]

KINDS = ("recall-time", "recall-bytes", "latency")

# Middle tones: at least 3:1 against white and against the page's dark ground.
_COLOURS = ("#2f7fd4", "#d9730d", "#2e9e5b", "#9a5fd0", "#d6455d", "#1496a8", "#a8763e", "#b8548f")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
_EXACT = "#7d8590"

# Stand for the page's own colours, which change with its theme; ``svg`` puts CSS variables in their place.
_INK, _LINE = "#1b1f24", "#d0d4da"


def _marker(i: int) -> str:
    """The i-th row's marker; where the colours come round again they meet other markers."""
    return _MARKERS[(i + i // len(_COLOURS)) % len(_MARKERS)]


def colour(rows: Sequence[Row], row: Row) -> str:
    """A row's colour, the same in every drawing and in the table."""
    if row.kind in ("exact", "control"):
        return _EXACT
    drawn = [other for other in rows if other.kind not in ("exact", "control")]
    return _COLOURS[drawn.index(row) % len(_COLOURS)]


def draw(rows: Sequence[Row], k: int, kind: str | None = None) -> Any:
    """One drawing, or all three in one figure; see ``Report.plot``."""
    if kind is not None:
        choice(kind, "kind", KINDS)
    figure_module = require("matplotlib.figure", "report", "Drawing a report")
    kinds = KINDS if kind is None else (kind,)
    figure = figure_module.Figure(figsize=(4.7 * len(kinds), 4.2), layout="constrained")
    figure.patch.set_alpha(0.0 if kind else 1.0)
    painters = {"recall-time": _recall_time, "recall-bytes": _recall_bytes, "latency": _latency}
    for axes, name in zip(figure.subplots(1, len(kinds), squeeze=False)[0], kinds, strict=True):
        painters[name](axes, rows, k)
        _dress(axes)
    return figure


def _recall_time(axes: Any, rows: Sequence[Row], k: int) -> None:
    _scatter(axes, rows, k, "latency_p50_ms")
    axes.set_xlabel("median time of one query, ms (left is better)")
    axes.set_title("Recall over time")


def _recall_bytes(axes: Any, rows: Sequence[Row], k: int) -> None:
    _scatter(axes, rows, k, "bytes_per_item")
    axes.set_xlabel("bytes per item in memory (left is better)")
    axes.set_title("Recall over memory")


def _scatter(axes: Any, rows: Sequence[Row], k: int, key: str) -> None:
    values = []
    for i, row in enumerate(row for row in rows if row.kind != "control"):
        x, y = row.get(key), row.get(f"recall@{k}")
        if not (np.isfinite(x) and np.isfinite(y)):
            continue
        values.append(x)
        low, high = row.get(f"recall@{k} low"), row.get(f"recall@{k} high")
        # Of a skewed sample the interval may not hold the mean's last digit: bars cannot be negative.
        bars = [[max(y - low, 0.0)], [max(high - y, 0.0)]] if np.isfinite(low) else None
        axes.errorbar(
            [x],
            [y],
            yerr=bars,
            marker="*" if row.kind == "exact" else _marker(i - 1),
            markersize=12 if row.kind == "exact" else 8,
            color=colour(rows, row),
            elinewidth=2,
            capsize=4,
            linestyle="none",
            label=_label(row),
        )
    if values:
        _log_axis(axes, min(values) / 2, max(values) * 2)
    axes.set_ylim(-0.03, 1.06)
    axes.set_ylabel(f"Recall@{k} (up is better)")
    _legend(axes)


def _latency(axes: Any, rows: Sequence[Row], k: int) -> None:
    axes.set_title(f"Time of one query, k = {k}")
    axes.set_xlabel("ms (each query's fastest repetition)")
    axes.set_ylabel("share of queries")
    timed = [row for row in rows if len(row.latencies_ms) and (row.latencies_ms > 0).all()]
    if not timed:
        return
    everything = np.concatenate([row.latencies_ms for row in timed])
    low, high = everything.min() / 1.2, everything.max() * 1.2
    edges = np.geomspace(low, high, 61)
    _log_axis(axes, low, high)
    for row in timed:
        weights = np.full(len(row.latencies_ms), 1.0 / len(row.latencies_ms))
        shade = colour(rows, row)
        axes.hist(
            row.latencies_ms,
            edges,
            weights=weights,
            histtype="stepfilled",
            color=shade,
            alpha=0.45,
            label=_label(row),
        )
        axes.axvline(float(np.median(row.latencies_ms)), color=shade, linewidth=1.5, linestyle=(0, (4, 2)))
    _legend(axes)


def _log_axis(axes: Any, low: float, high: float) -> None:
    """Logarithmic, with ticks at 1, 2 and 5 (or powers of ten if there would be many) in plain numbers."""
    ticker = require("matplotlib.ticker", "report", "Drawing a report")
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    decades = np.log10(high / low)
    subs = (1.0, 2.0, 5.0) if decades < 2 else (1.0, 3.0) if decades < 3 else (1.0,)
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=subs, numticks=12))
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())


def _label(row: Row) -> str:
    # matplotlib hides labels that start with an underscore and reads $...$ as mathematics.
    text = row.name if len(row.name) <= 28 else row.name[:27] + "…"
    text = text.replace("$", r"\$")
    return f"\u200b{text}" if text.startswith("_") else text


def _legend(axes: Any) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2, frameon=False, fontsize=10)


def _dress(axes: Any) -> None:
    axes.patch.set_alpha(0.0)
    axes.grid(True, color=_LINE, linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_LINE)
    axes.tick_params(which="both", colors=_INK, labelsize=9.5)
    axes.title.set_color(_INK)
    axes.title.set_fontsize(12)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(_INK)
        label.set_fontsize(10)
    legend = axes.get_legend()
    for text in legend.get_texts() if legend else ():
        text.set_color(_INK)


def svg(figure: Any, name: str, description: str) -> str:
    """A figure as an ``<svg>`` element to put into a page.

    Text stays text, colours follow the page's theme, identifiers start with ``name`` (two drawings on one
    page must not share them), and nothing refers to another document.
    """
    matplotlib = require("matplotlib", "report", "Drawing a report")
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata=nothing, transparent=True)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]  # the XML declaration and the document type (an address) go
    text = re.sub(r'\s(?:xmlns(?::\w+)?|version)="[^"]*"', "", text, count=3)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    text = re.sub(r'(?:xlink:)?href="#', f'href="#{name}-', text)
    text = text.replace(_INK, "var(--ink)").replace(_LINE, "var(--line)")
    text = re.sub(r'\s(?:width|height)="[\d.]+pt"', "", text, count=2)  # the page scales it by its view box
    label = html.escape(description, quote=True)
    return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
