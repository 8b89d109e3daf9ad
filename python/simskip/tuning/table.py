"""Tables of cells, as text and as HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence

__all__ = ["html_table", "text_table"]


def text_table(heads: Sequence[str], lines: Sequence[Sequence[str]], indent: str = "  ") -> str:
    """Columns of equal width, the first one flush left, the others flush right."""
    widths = [max(len(line[i]) for line in [heads, *lines]) for i in range(len(heads))]
    shown = []
    for line in [heads, *lines]:
        cells = [cell.rjust(width) for cell, width in zip(line, widths, strict=True)]
        shown.append((indent + "  ".join([line[0].ljust(widths[0]), *cells[1:]])).rstrip())
    return "\n".join(shown)


def html_table(caption: str, heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A ``<table>``; everything is escaped."""
    rows = ["".join(f"<th>{html.escape(head)}</th>" for head in heads)]
    for line in lines:
        cells = "".join(f"<td>{html.escape(cell)}</td>" for cell in line[1:])
        rows.append(f"<th style='text-align:left'>{html.escape(line[0])}</th>{cells}")
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table><caption>{html.escape(caption)}</caption>{body}</table>"
