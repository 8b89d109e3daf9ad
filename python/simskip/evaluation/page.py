"""The report as one page: style, drawings and pictures inside, nothing outside; everything escaped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from itertools import groupby
from string import Template
from typing import TYPE_CHECKING, Any

from . import plots
from .pictures import Shown
from .rows import Column, Row, speed_text

if TYPE_CHECKING:
    from .report import Report

__all__ = ["fragment", "render"]


def render(report: Report) -> str:
    """The whole page."""
    rows, k = report.rows, report.k
    return Template(_asset("page.html")).substitute(
        title=escape(f"simskip: {report.verdict}"),
        css=_asset("page.css").rstrip(),
        verdict=escape(_sentence(report.verdict)),
        verdict_class="replace" if report.decision.replace else "stay",
        setting=escape(_setting(report)),
        warnings=_warnings(report.warnings),
        cards=_cards(report),
        tables=_tables(report),
        explanations=_explanations(report.columns),
        plots="\n".join(_plot(rows, k, kind) for kind in plots.KINDS),
        pictures=_pictures(report),
        provenance=_provenance(report),
        footer=escape(_footer(report)),
    )


def fragment(report: Report) -> str:
    """Verdict, warnings and table, for a notebook; the style touches nothing outside."""
    return (
        f"<div class='simskip-report' style='padding:1rem'><style>{_asset('page.css')}</style>"
        f"<p class='verdict {'replace' if report.decision.replace else 'stay'}'>"
        f"{escape(_sentence(report.verdict))}</p>"
        f"<p class='setting'>{escape(_setting(report))}</p>{_warnings(report.warnings)}"
        f"<section>{_tables(report)}{_explanations(report.columns)}</section></div>"
    )


def _asset(name: str) -> str:
    return files(__package__ or "simskip.evaluation").joinpath(name).read_text(encoding="utf-8")


def _sentence(text: str) -> str:
    # A sentence that begins with a searcher's name keeps the name as the user wrote it.
    starts = text.startswith(("stay with float", "no verdict"))
    return (text[:1].upper() + text[1:] if starts else text) + "."


def _setting(report: Report) -> str:
    database, queries = report.provenance["database"], report.provenance["queries"]
    return (
        f"{database['rows']:,} items of {database['dim']:,} dimensions, {queries['rows']:,} queries,"
        f" {report.k} neighbours by {report.provenance['metric']}, compared with exact float search."
    )


def _footer(report: Report) -> str:
    about = report.provenance["environment"]
    return (
        f"simskip {about['simskip']}, {report.provenance['created']}, {about['processor']}, kernels"
        f" {about['isa']}, {report.provenance['search_threads'] or about['threads']} threads."
        " Times change from machine to machine and from run to run; ratios say more."
    )


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return ""
    items = "".join(f"<li>{escape(warning)}</li>" for warning in warnings)
    return f'<section class="warnings" role="note"><h2>Read this first</h2><ul>{items}</ul></section>'


def _cards(report: Report) -> str:
    """The four numbers of the row that the verdict speaks of."""
    if report.decision.row is None:
        return ""
    row = report.row(report.decision.row)
    key = f"recall@{report.k}"
    by_key = {column.key: column for column in report.columns}
    exact = report.rows[0]
    chosen = [
        (key, f"of the exact {report.k} nearest are found", by_key[key].interval_text(row)),
        ("speedup", "relative to exact search", _both_speeds(row)),
        ("memory_ratio", "in memory than float vectors", f"{by_key['bytes_per_item'].text(row)} per item"),
        ("latency_p50_ms", "median time of one query", f"exact: {by_key['latency_p50_ms'].text(exact)} ms"),
    ]
    cards = "".join(
        f'<div class="card"><dt>{escape(by_key[name].title)}</dt><dd>{escape(by_key[name].text(row))}</dd>'
        f'<dd class="note">{escape(caption)}<br>{escape(note)}</dd></div>'
        for name, caption, note in chosen
    )
    return f'<dl class="cards" aria-label="{escape(row.name)} in four numbers">{cards}</dl>'


def _both_speeds(row: Row) -> str:
    single, batch = (speed_text(row.get(f"speedup_{kind}")) for kind in ("single", "batch"))
    return f"{single} for one query, {batch} in batches"


def _tables(report: Report) -> str:
    """Two tables, quality and cost: one would be wider than a screen, with the cost out of sight."""
    quality = [column for column in report.columns if column.group not in ("Memory", "Time")]
    cost = [column for column in report.columns if column.group in ("Memory", "Time")]
    measured = [row for row in report.rows if row.kind != "control"]
    return _table(report, report.rows, quality, "What is found") + _table(report, measured, cost, "What it takes")


def _table(report: Report, rows: Sequence[Row], columns: Sequence[Column], title: str) -> str:
    groups = [(name, len(list(members))) for name, members in groupby(columns, key=lambda c: c.group)]
    starts = {columns[sum(size for _, size in groups[:i])].key for i in range(len(groups))}  # a line before each group
    head = "".join(
        f'<th class="group first" scope="colgroup" colspan="{size}">{escape(name)}</th>' for name, size in groups
    )
    titles = "".join(
        f'<th scope="col"{_first(column, starts)} title="{escape(column.explanation)}">{escape(column.title)}</th>'
        for column in columns
    )
    body = "\n".join(_line(report, row, columns, starts) for row in rows)
    return (
        f'<div class="scroll" role="region" aria-label="{escape(title)}" tabindex="0"><table>'
        f'<caption>{escape(title)}</caption><thead><tr><td class="name"></td>{head}</tr>'
        f'<tr><th class="name" scope="col">Searcher</th>{titles}</tr>'
        f"</thead><tbody>\n{body}\n</tbody></table></div>"
    )


def _line(report: Report, row: Row, columns: Sequence[Column], starts: set[str]) -> str:
    cells = []
    for column in columns:
        interval = column.interval_text(row)
        value = row.get(column.key)
        text = f"{escape(column.text(row))}{f'<small>{escape(interval)}</small>' if interval else ''}"
        if column.interval and not math.isnan(value):
            share = 100 * min(max(value, 0.0), 1.0)
            text = f'<div class="measure" style="--share:{share:.1f}%">{text}</div>'
        cells.append(f"<td{_first(column, starts)}>{text}</td>")
    flag = '<small class="flag">see the notes above</small>' if row.flags else ""
    best = " best" if row.name == report.decision.row and report.decision.replace else ""
    kind = row.kind if row.kind in ("exact", "control") else "judged"
    about = f"<small>{escape(row.description)}</small>" if row.description != row.name else ""
    return (
        f'<tr class="{kind}{best}"><th class="name" scope="row">{_swatch(report.rows, row)}'
        f"{escape(row.name)}{about}{flag}</th>{''.join(cells)}</tr>"
    )


def _first(column: Column, starts: set[str]) -> str:
    return ' class="first"' if column.key in starts else ""


def _swatch(rows: Sequence[Row], row: Row) -> str:
    if row.kind == "control":  # not in the drawings
        return ""
    return f'<span class="swatch" style="background:{plots.colour(rows, row)}"></span>'


def _explanations(columns: Sequence[Column]) -> str:
    items = "".join(f"<dt>{escape(c.title)}</dt><dd>{escape(c.explanation)}</dd>" for c in columns)
    return f'<details><summary>What the columns mean</summary><dl class="explained">{items}</dl></details>'


def _plot(rows: Sequence[Row], k: int, kind: str) -> str:
    drawn = [row for row in rows if row.kind != "control"]
    recall = "; ".join(
        f"{row.name}: Recall@{k} {row.get(f'recall@{k}'):.3f}, {row.get('latency_p50_ms'):.3g} ms,"
        f" {row.get('bytes_per_item'):.4g} bytes per item"
        for row in drawn
    )
    description = {
        "recall-time": f"Recall over the median time of one query. {recall}",
        "recall-bytes": f"Recall over bytes per item. {recall}",
        "latency": "Histograms of single-query times. "
        + "; ".join(
            f"{row.name}: median {row.get('latency_p50_ms'):.3g} ms, 95 % within {row.get('latency_p95_ms'):.3g} ms"
            for row in drawn
        ),
    }[kind]
    return f"<figure>{plots.svg(plots.draw(rows, k, kind), kind, description)}</figure>"


def _pictures(report: Report) -> str:
    shown = report.pictures
    if not shown:
        return ""
    # Ordered by the verdict's row, or by the first where there is no verdict (Album.page).
    judged = report.decision.row or report.rows[1].name
    legend = (
        '<ul class="legend"><li><strong>✓</strong> solid frame: one of the exact'
        f" {report.k} nearest</li><li><strong>✕</strong> dashed frame: not one of them</li></ul>"
    )
    blocks = "\n".join(_query(item) for item in shown)
    return (
        '<section aria-labelledby="pictures-heading"><h2 id="pictures-heading">'
        "Queries and what was found</h2>"
        f"<p>Queries from the lowest recall of {escape(judged)} to the highest, the nearest"
        f" {len(shown[0].strips[0].items)} of each list.</p>"
        f"{legend}\n{blocks}\n</section>"
    )


def _query(shown: Shown) -> str:
    own = ""
    if shown.picture is not None:
        own = f'<img src="{shown.picture}" alt="query {shown.query}">'
    strips = "".join(
        f'<div class="strip"><p>{escape(strip.name)}'
        f"<small>{_strip_note(strip.name, strip.recall)}</small></p>"
        f"<ol>{''.join(_found(*item) for item in strip.items)}</ol></div>"
        for strip in shown.strips
    )
    return (
        f'<div class="query"><figure>{own}<figcaption>query {shown.query}</figcaption></figure>'
        f"<div>{strips}</div></div>"
    )


def _strip_note(name: str, recall: float) -> str:
    return "the reference" if name == "exact" else f"recall {recall:.2f}"


def _found(item: int, picture: str, hit: bool) -> str:
    kind, mark, word = ("hit", "✓", "hit") if hit else ("miss", "✕", "miss")
    return (
        f'<li class="{kind}"><img src="{picture}" alt="item {item}, {word}">'
        f'<span class="mark" aria-hidden="true">{mark}</span></li>'
    )


def _provenance(report: Report) -> str:
    facts = report.provenance
    pairs: list[tuple[str, Any]] = [
        ("Database", f"{facts['database']['rows']:,} x {facts['database']['dim']:,} float32"),
        ("", f"sha256 {facts['database']['sha256']}"),
        ("Queries", f"{facts['queries']['rows']:,} x {facts['queries']['dim']:,} float32"),
        ("", f"sha256 {facts['queries']['sha256']}"),
        ("Queries in the database", f"{facts['queries_in_database']:,}"),
        (
            "Verdict's rule",
            f"lower end of the Recall@{report.k} interval at least {facts['min_recall']:g}, and at least"
            f" {facts['min_speedup']:g} times as fast as exact search",
        ),
        ("Intervals", f"{facts['level']:.0%} bootstrap over queries, seed {facts['random_state']}"),
        ("Ties at the k-th distance", f"recall compares {facts['recall_ties']}"),
    ]
    pairs += [(name.capitalize(), value) for name, value in facts["environment"].items()]
    items = "".join(
        f"<dt>{escape(name)}</dt><dd>{'<code>' * (not name)}{escape(str(value))}{'</code>' * (not name)}</dd>"
        for name, value in pairs
    )
    lists = "".join(f"<dt>{escape(row.name)}</dt><dd>{_origin(row)}</dd>" for row in report.rows)
    return (
        f'<dl class="explained">{items}</dl><details><summary>Who made each list</summary>'
        f'<dl class="explained">{lists}</dl></details>'
    )


def _origin(row: Row) -> str:
    origin = row.origin
    text = f"{origin.engine}, order by {origin.metric}, n = {origin.n:,}, dim = {origin.dim:,}, k = {origin.k}"
    if origin.options:
        text += ", " + ", ".join(f"{key} = {value}" for key, value in origin.options.items())
    parts = [escape(text)]
    if origin.hasher is not None:
        parts.append(f"<code>{escape(origin.hasher)}</code>")
    if origin.hasher_fingerprint is not None:
        parts.append(f"hasher <code>{escape(str(origin.hasher_fingerprint))}</code>")
    if origin.codes is not None:
        parts.append(f"codes sha256 <code>{escape(origin.codes)}</code>")
    return "<br>".join(parts)
