"""The compared objectives as Markdown: for the terminal, for a file beside the results, for the README."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .features import DATA
from .zoo import BASELINES, RERANK, K

__all__ = ["BEGIN", "END", "document", "replaced", "short"]

Row = dict[str, Any]
Column = tuple[str, Callable[[Row], str]]

BEGIN = "<!-- objectives: written by python -m benchmarks.objectives --write-readme -->"
END = "<!-- objectives: end -->"


def _mean(name: str, digits: int = 3) -> Callable[[Row], str]:
    return lambda row: f"{row[name]:.{digits}f}"


def _spread(name: str, digits: int = 3) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        spread = row[f"{name}_sd"]
        return f"{row[name]:.{digits}f}" + ("" if spread is None else f" ± {spread:.{digits}f}")

    return text


def _seconds(row: Row) -> str:
    return f"{row['cpu_s']:.1f}" + (" (cut)" if row["cut"] else "")


def _over(row: Row) -> str:
    return f"{row['over_baselines']:.2f}x" if row["method"] not in BASELINES else ""


METHOD: Column = ("codes", lambda row: row["shown"])
LABELS_SHORT: list[Column] = [
    METHOD,
    ("mAP, unseen items", _spread("map")),
    ("", lambda row: row["map_letters"]),
    ("mAP, training items", _mean("seen_map")),
    (f"Recall@{K}", _spread("recall")),
    ("", lambda row: row["recall_letters"]),
    (f"+ rerank x{RERANK}", _mean("recall_rerank")),
    ("coverage", _mean("coverage", 2)),
    ("ratio", _mean("computation_ratio", 2)),
    ("CPU s", _seconds),
]
LABELS_LONG: list[Column] = [
    *LABELS_SHORT[:3],
    ("worst to best order of ties", lambda row: f"{row['map_worst']:.3f} to {row['map_best']:.3f}"),
    *LABELS_SHORT[3:6],
    ("asymmetric", _mean("recall_asymmetric")),
    *LABELS_SHORT[6:9],
    ("different codes", lambda row: f"{row['n_codes']:,.0f}"),
    ("class codes", _mean("distinct_class_codes", 1)),
    ("bit entropy", _mean("bit_entropy")),
    ("epochs", _mean("epochs", 0)),
    LABELS_SHORT[9],
]
NEIGHBORS: list[Column] = [
    ("bits", lambda row: str(row["n_bits"])),
    METHOD,
    (f"Recall@{K}", _spread("recall")),
    ("", lambda row: row["recall_letters"]),
    ("over the best of random, PCA, ITQ", _over),
    ("asymmetric", _mean("recall_asymmetric")),
    (f"+ rerank x{RERANK}", _mean("recall_rerank")),
    ("bit entropy", _mean("bit_entropy")),
    ("CPU s", _seconds),
]
TARGETS: list[Column] = [
    ("measured", lambda row: row["target"]),
    ("wanted", lambda row: f"{row['wanted']:g}"),
    ("hoped for", lambda row: f"{row['hoped_for']:g}"),
    ("reached", lambda row: f"{row['reached']:.3f}"),
    ("", lambda row: "hoped for" if row["reached"] >= row["hoped_for"] else "yes" if row["met"] else "no"),
]
CONTROLS: list[Column] = [
    ("data", lambda row: row["data"]),
    ("control", lambda row: row["control"]),
    ("found", lambda row: f"{row['found']:.5f}"),
    ("by chance", lambda row: f"{row['chance']:.5f}"),
]


def table(columns: list[Column], rows: Iterable[Row]) -> str:
    """A Markdown table; the first column and text on the left, the rest on the right."""
    lines = ["| " + " | ".join(title for title, _ in columns) + " |"]
    lines.append(
        "|"
        + "|".join("---" if title in ("", "codes", "measured", "data", "control") else "---:" for title, _ in columns)
        + "|"
    )
    lines += ["| " + " | ".join(text(row) for _, text in columns) + " |" for row in rows]
    return "\n".join(lines)


def short(result: dict[str, Any]) -> str:
    """The README's block."""
    return _sections(result, LABELS_SHORT)


def document(result: dict[str, Any]) -> str:
    """Everything: all columns, targets, controls."""
    parts = [_sections(result, LABELS_LONG)]
    for title, columns, rows in (("Targets", TARGETS, result["targets"]), ("Controls", CONTROLS, result["controls"])):
        if rows:
            parts.append(f"**{title}**\n\n" + table(columns, rows))
    return "\n\n".join(parts)


def _sections(result: dict[str, Any], labels: list[Column]) -> str:
    parts = []
    order = [*DATA, *(section["data"] for section in result["sections"])]
    for section in sorted(result["sections"], key=lambda each: (order.index(each["data"]), each["task"])):
        supervised = section["task"] == "labels"
        rows = sorted(section["rows"], key=lambda row: (row["n_bits"], -row["map" if supervised else "recall"]))
        parts += [_heading(section), table(labels if supervised else NEIGHBORS, rows)]
    parts.append(_explained(result["sections"]))
    return "\n\n".join(parts)


def _heading(section: dict[str, Any]) -> str:
    seeds = " or ".join(str(count) for count in sorted({row["seeds"] for row in section["rows"]}))
    sizes = f"{section['n_queries']:,} new queries, {seeds} seed" + "s" * (seeds != "1")
    if section["task"] == "neighbors":
        return (
            f"**{section['title']}**, trained without labels on the {section['n_items']:,} items that are searched;"
            f" {sizes}:"
        )
    bits = " and ".join(str(bits) for bits in sorted({row["n_bits"] for row in section["rows"]}))
    return (
        f"**{section['title']}**, {bits} bits, trained on {section['n_labelled']:,} rows (where marked, with their "
        f"labels), searched among {section['n_items']:,} unseen items; {sizes}:"
    )


def _explained(sections: list[dict[str, Any]]) -> str:
    processors = " or ".join(sorted({section["processor"] for section in sections}))
    budget = max((section["budget"] for section in sections), default=0)
    cut = any(row["cut"] for section in sections for row in section["rows"])
    return (
        "Means over seeds (± standard deviation between them). mAP is the expected value over the order of items at one"
        " distance. Methods that share a letter are not told apart by a paired test over queries and seeds (Holm's"
        " correction over all pairs of a table, 5 %)."
        f" One thread of {processors}, at most {budget:g} s of processor time for a fit"
        + (" (cut: stopped there)." if cut else ".")
    )


def replaced(text: str, block: str, begin: str = BEGIN, end: str = END) -> str:
    """``text`` with what stands between the two marks replaced.

    Raises ``ValueError`` unless there is exactly one block.
    """
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"text must hold one block from {begin!r} to {end!r}")
    before, rest = text.split(begin)
    return f"{before}{begin}\n{block}\n{end}{rest.split(end)[1]}"
