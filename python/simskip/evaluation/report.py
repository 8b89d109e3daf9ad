"""The report of an evaluation: table, verdict, figures, and one page that holds everything."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..extras import require
from ..files import atomic_write
from . import page, plots
from .pictures import Shown
from .rows import Column, Row
from .verdict import Verdict

__all__ = ["Report"]

FORMAT = "simskip-report"
FORMAT_VERSION = 1


class Report:
    """What ``evaluate()`` found. Made by it; nothing is computed later but drawings.

    Attributes
    ----------
    rows : list of Row
        Exact search first, then the searchers as given, the control last.
    columns : list of Column
        What the table shows, with explanations.
    k : int
        Neighbours asked for.
    decision : Verdict
        The verdict as data: sentence, ``replace`` (may codes replace the vectors), the row it speaks of.
    warnings : list of str
        Reasons for caution; read them before the numbers.
    provenance : dict
        Fingerprints of the matrices, parameters, versions, processor.
    """

    def __init__(
        self,
        *,
        rows: Sequence[Row],
        columns: Sequence[Column],
        k: int,
        verdict: Verdict,
        warnings: Sequence[str],
        provenance: dict[str, Any],
        pictures: Sequence[Shown] | None = None,
    ) -> None:
        self.rows = list(rows)
        self.columns = list(columns)
        self.k = k
        self.decision = verdict
        self.warnings = list(warnings)
        self.provenance = provenance
        self.pictures = None if pictures is None else list(pictures)

    @property
    def verdict(self) -> str:
        """One sentence: what may replace the float vectors and what it costs, or "stay with float: ..."."""
        return self.decision.sentence

    def row(self, name: str) -> Row:
        """The row of a name.

        Raises
        ------
        ValueError
            If there is none.
        """
        for row in self.rows:
            if row.name == name:
                return row
        raise ValueError(f"name must be one of {', '.join(repr(row.name) for row in self.rows)}, got {name!r}")

    @property
    def table(self) -> Any:
        """pandas.DataFrame: one line for each row, plain numbers, interval ends in columns of their own."""
        pandas = require("pandas", "report", "Report.table")
        header, lines = self._grid()
        return pandas.DataFrame(lines, columns=header).set_index("name")

    def plot(self, kind: str | None = None) -> Any:
        """Draw with matplotlib; pyplot and its backend are left alone.

        Parameters
        ----------
        kind : {None, "recall-time", "recall-bytes", "latency"}
            One of the drawings, or all in one figure.

        Returns
        -------
        matplotlib.figure.Figure
        """
        return plots.draw(self.rows, self.k, kind)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the report; the suffix says how.

        ``.html``: one page with everything, which needs no other file and no network. ``.json``: all numbers
        with provenance. ``.csv``: the table.

        Returns
        -------
        Path
            Where it was written.

        Raises
        ------
        ValueError
            For another suffix.
        """
        target = Path(path)
        writers = {".html": self.to_html, ".json": self.to_json, ".csv": self.to_csv}
        if target.suffix.lower() not in writers:
            raise ValueError(f"path must end in .html, .json or .csv, got {str(path)!r}")
        text = writers[target.suffix.lower()]()
        with atomic_write(target) as file:  # nobody ever opens half a page
            file.write(text.encode())
        return target

    def to_html(self) -> str:
        """The page as a string."""
        return page.render(self)

    def to_json(self) -> str:
        """All numbers as JSON; undefined ones are null."""
        return json.dumps(
            {
                "format": FORMAT,
                "format_version": FORMAT_VERSION,
                "verdict": {
                    "sentence": self.verdict,
                    "replace": self.decision.replace,
                    "row": self.decision.row,
                },
                "warnings": self.warnings,
                "k": self.k,
                "rows": [row.as_dict() for row in self.rows],
                "provenance": self.provenance,
            },
            indent=2,
            allow_nan=False,
        )

    def to_csv(self) -> str:
        """The table as comma-separated values; undefined numbers are empty."""
        header, lines = self._grid()
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([["" if value != value else value for value in line] for line in lines])
        return text.getvalue()

    def _grid(self) -> tuple[list[str], list[list[Any]]]:
        keys: list[str] = []
        for column in self.columns:
            keys += [column.key, f"{column.key} low", f"{column.key} high"] if column.interval else [column.key]
        lines = [
            [
                row.name,
                row.description,
                row.kind,
                *(row.get(key) for key in keys),
                "; ".join(row.flags),
            ]
            for row in self.rows
        ]
        return ["name", "description", "kind", *keys, "flags"], lines

    def __repr__(self) -> str:
        wanted = {f"recall@{self.k}", "map", "bytes_per_item", "latency_p50_ms", "queries_per_second"}
        shown = [column for column in self.columns if column.key in wanted | {"speedup", "memory_ratio"}]
        lines = [["", *(column.title for column in shown)]]
        for row in self.rows:
            cells = [f"{column.text(row)} {column.interval_text(row)}".strip() for column in shown]
            lines.append([row.name, *cells])
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = [
            "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])
            for line in lines
        ]
        notes = [f"! {warning}" for warning in self.warnings]
        return "\n".join([self.verdict, "", *(line.rstrip() for line in text), *notes])

    def _repr_html_(self) -> str:
        return page.fragment(self)
