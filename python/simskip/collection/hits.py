"""Answers of a collection: the nearest items with what is known of them."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

__all__ = ["Hit", "Hits"]


@dataclass(frozen=True)
class Hit:
    """One item that was found.

    Attributes
    ----------
    key : str
        Its name: a path relative to the synced folder, a word, what ``add`` was given.
    label : str or None
    distance : float
        See ``Hits.measure``.
    id : int
    attributes : dict
    file : Path or None
        What the item was synced from, where that was; it may be gone since.
    """

    key: str
    label: str | None
    distance: float
    id: int
    attributes: dict[str, Any]
    file: Path | None = None


@dataclass(frozen=True, repr=False)
class Hits(Sequence[Hit]):
    """The nearest items of one query, the nearest first; a sequence of ``Hit``.

    Attributes
    ----------
    measure : str
        What ``distance`` is: ``"cosine"`` (1 - cos), ``"l2"``, ``"dot"`` (larger is nearer), ``"bits"`` (that
        differ) or ``"asymmetric"``.
    """

    items: tuple[Hit, ...]
    measure: str

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Hit, ...]: ...
    def __getitem__(self, index: int | slice) -> Hit | tuple[Hit, ...]:
        return self.items[index]

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.items)

    @property
    def keys(self) -> list[str]:
        """The items' keys."""
        return [hit.key for hit in self.items]

    def as_dicts(self) -> list[dict[str, Any]]:
        """Rows for JSON or a table: rank, key, label, distance, id, attributes, file."""
        return [
            {
                "rank": rank,
                "key": hit.key,
                "label": hit.label,
                "distance": hit.distance,
                "id": hit.id,
                "attributes": hit.attributes,
                "file": None if hit.file is None else str(hit.file),
            }
            for rank, hit in enumerate(self.items, 1)
        ]

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Heads and lines of a table, with the columns that say something."""
        labels = any(hit.label is not None for hit in self.items)
        names = list(dict.fromkeys(name for hit in self.items for name in hit.attributes))
        heads = ["rank", "key", *(["label"] if labels else []), self.measure, *names]
        lines = []
        for rank, hit in enumerate(self.items, 1):
            label = [hit.label or ""] if labels else []
            values = [_text(hit.attributes[name]) if name in hit.attributes else "" for name in names]
            lines.append([str(rank), hit.key, *label, _number(hit.distance), *values])
        return heads, lines

    def __repr__(self) -> str:
        heads, lines = self.table()
        widths = [max(map(len, column)) for column in zip(heads, *lines, strict=True)]
        rows = (
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [heads, *lines]
        )
        return "\n".join(row.rstrip() for row in rows)

    def _repr_html_(self) -> str:
        heads, lines = self.table()
        pictures = [_picture(hit.file) for hit in self.items]
        if any(pictures):
            heads = ["", *heads]
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in heads)
        body = ""
        for line, picture in zip(lines, pictures, strict=True):
            first = f"<td>{picture}</td>" if any(pictures) else ""
            body += f"<tr>{first}{''.join(f'<td>{html.escape(cell)}</td>' for cell in line)}</tr>"
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _picture(file: Path | None) -> str:
    """A thumbnail; nothing for what is no picture, or without Pillow."""
    if file is None:
        return ""
    from ..evaluation.pictures import data_uri

    try:
        return f'<img alt="" style="max-height: 96px" src="{data_uri(file, "file")}">'
    except (ImportError, OSError, ValueError):
        return ""


def _number(distance: float) -> str:
    return str(distance) if isinstance(distance, int) else f"{distance:.4f}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value)
