"""A study as text: one HTML page, JSON, comma-separated values."""

from __future__ import annotations

import csv
import html
import io
import json
import math
from typing import TYPE_CHECKING, Any

from . import plots
from .task import METRICS

if TYPE_CHECKING:
    from .importances import Importances
    from .report import TuningReport
    from .study import Study

__all__ = ["as_csv", "as_html", "as_json"]

FORMAT = "simskip-tuning"
FORMAT_VERSION = 1

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --line: #d0d4da; --ground: #fff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --line: #3a4048; --ground: #14171b; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: var(--ink); background: var(--ground); }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }
caption { text-align: left; padding: .3rem 0; font-weight: 600; }
th, td { padding: .2rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
svg { max-width: 44rem; height: auto; background: #fff; }
pre { overflow-x: auto; }
"""


def as_html(study: Study, importances: Importances | None, report: TuningReport | None) -> str:
    """One page that needs no other file and no network."""
    from ..evaluation.plots import svg

    parts = [f"<h1>Tuning {html.escape(study.name)}</h1>", f"<p>{html.escape(study.summary())}</p>"]
    if report is not None:
        parts += ["<h2>On rows that no trial has seen</h2>", report._repr_html_()]
        parts.append(f"<pre>DeepHash(**{html.escape(repr(dict(report.parameters)))})</pre>")
    parts += ["<h2>Trials</h2>", study._repr_html_()]
    if any(record.state == "completed" for record in study.trials):
        parts.append(svg(plots.history_figure(study), "history", "Figures of the trials in their order"))
        if len(study.metrics) > 1:
            parts.append(svg(plots.pareto_figure(study), "pareto", "Trials over the first two metrics"))
    if importances is not None:
        parts += ["<h2>What mattered</h2>", importances._repr_html_()]
        parts.append(svg(plots.importances_figure(importances), "importances", importances.statement))
    parts += ["<h2>Searched</h2>", f"<pre>{html.escape(repr(study.space))}</pre>"]
    title = html.escape(f"simskip: tuning {study.name}")
    head = f'<meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>'


def as_json(study: Study, importances: Importances | None, report: TuningReport | None) -> str:
    """All numbers; undefined ones are null."""
    content: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "name": study.name,
        "metrics": list(study.metrics),
        "interrupted": study.interrupted,
        "counts": study.counts(),
        "settings": study.settings.as_dict(),
        "space": study.space.as_dict(),
        "trials": [record.as_dict() for record in study.trials],
        "pareto": [record.number for record in study.pareto()] if study.counts().get("completed") else [],
        "importances": None if importances is None else importances.as_dict(),
        "report": None if report is None else report.as_dict(),
    }
    return json.dumps(_defined(content), indent=2, allow_nan=False)


def as_csv(study: Study) -> str:
    """A line per trial; undefined numbers are empty."""
    names = sorted(study.space.parameters)
    figures = [name for name in METRICS if name != "seconds"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["number", "state", *names, *figures, "seconds", "epochs", "error"])
    for record in study.trials:
        cells = [record.number, record.state, *(record.values.get(name) for name in names)]
        cells += [record.figures.get(name) for name in figures]
        cells += [None if math.isnan(record.seconds) else record.seconds, record.epochs, record.error]
        writer.writerow(["" if cell is None else cell for cell in cells])
    return text.getvalue()


def _defined(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _defined(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_defined(item) for item in value]
    return value
