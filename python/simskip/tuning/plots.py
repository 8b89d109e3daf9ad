"""Drawings of a study: importances with intervals, figures over trials, the Pareto front. No pyplot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..extras import require
from .task import MINIMISED

if TYPE_CHECKING:
    from .importances import Importances
    from .study import Study

__all__ = ["KINDS", "history_figure", "importances_figure", "pareto_figure"]

KINDS = ("importances", "history", "pareto")

_FIRST, _SECOND, _GREY = "#2f7fd4", "#d9730d", "#7d8590"
_LINE = "#d0d4da"


def importances_figure(importances: Importances) -> Any:
    """A bar per parameter: mean with interval, a line at what chance reaches; unresolved neighbours are bracketed."""
    rows = importances.rows
    figure, axes = _canvas(6.4, 1.5 + 0.42 * len(rows))
    places = np.arange(len(rows))
    means = np.array([row.mean for row in rows])
    # Of a skewed sample the interval may not hold the mean: bars cannot be negative.
    bars = np.maximum([[r.mean - r.low for r in rows], [r.high - r.mean for r in rows]], 0.0)
    axes.barh(places, means, height=0.6, color=_FIRST, alpha=0.75)
    axes.errorbar(means, places, xerr=bars, fmt="none", ecolor="#1b1f24", elinewidth=1.5, capsize=4)
    axes.axvline(importances.chance, color=_SECOND, linestyle=(0, (4, 2)), label="reached by chance")
    right = max(max(row.high for row in rows), importances.chance) * 1.04
    for i, row in enumerate(rows[:-1]):
        if row.above_next < importances.level:
            axes.plot([right, right], [i + 0.08, i + 0.92], color=_GREY, linewidth=3, solid_capstyle="round")
    axes.plot([], [], color=_GREY, linewidth=3, label="order not resolved")
    axes.set_yticks(places, [row.name for row in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, right * 1.05)
    axes.set_xlabel(f"share of importance ({importances.method}, {importances.level:.0%} intervals)")
    axes.set_title(f"What decides {importances.metric} ({importances.n_trials} trials)")
    axes.legend(loc="lower right", frameon=False, fontsize=9)
    return figure


def history_figure(study: Study) -> Any:
    """The first metric of every completed trial, and the best so far."""
    name = study.metrics[0]
    figure, axes = _canvas(6.4, 4.0)
    done = [record for record in study.trials if record.state == "completed"]
    numbers = [record.number for record in done]
    figures = np.array([record.figures[name] for record in done])
    axes.plot(numbers, figures, linestyle="none", marker="o", color=_FIRST, label="completed")
    if len(figures):
        best = np.minimum.accumulate(figures) if name in MINIMISED else np.maximum.accumulate(figures)
        axes.step(numbers, best, where="post", color=_SECOND, label="best so far")
    for record in study.trials:
        if record.state in ("pruned", "failed"):
            axes.axvline(record.number, color=_GREY, linewidth=0.8, linestyle=":" if record.state == "pruned" else "-")
    axes.plot([], [], color=_GREY, linewidth=0.8, linestyle=":", label="pruned")
    axes.set_xlabel("trial")
    axes.set_ylabel(study.title(name))
    axes.set_title("Trials")
    axes.legend(frameon=False, fontsize=9)
    return figure


def pareto_figure(study: Study) -> Any:
    """Completed trials over the first two metrics, the front marked."""
    if len(study.metrics) < 2:
        raise ValueError(f"kind 'pareto' needs a study with several metrics, got {study.metrics}")
    one, other = study.metrics[:2]
    figure, axes = _canvas(6.4, 4.4)
    done = [record for record in study.trials if record.state == "completed"]
    front = {record.number for record in study.pareto()}
    for shown, label, colour in ((False, "dominated", _GREY), (True, "Pareto front", _FIRST)):
        some = [record for record in done if (record.number in front) == shown]
        x, y = [r.figures[other] for r in some], [r.figures[one] for r in some]
        axes.plot(x, y, linestyle="none", marker="o", color=colour, label=label)
    for record in study.pareto():
        place = (record.figures[other], record.figures[one])
        axes.annotate(str(record.number), place, textcoords="offset points", xytext=(6, 4), fontsize=8)
    axes.set_xlabel(f"{study.title(other)} ({'left' if other in MINIMISED else 'right'} is better)")
    axes.set_ylabel(f"{study.title(one)} ({'down' if one in MINIMISED else 'up'} is better)")
    axes.set_title(f"{len(done)} trials")
    axes.legend(frameon=False, fontsize=9)
    return figure


def _canvas(width: float, height: float) -> tuple[Any, Any]:
    figures = require("matplotlib.figure", "tune", "Drawing a study")
    figure = figures.Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.grid(True, color=_LINE, linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes
