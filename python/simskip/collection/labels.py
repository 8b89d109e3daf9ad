"""Labels and attributes from a table: a CSV file or mappings."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

__all__ = ["LabelTable", "read_labels"]

# Per key: a label, or None for "leave it", and attributes.
LabelTable = dict[str, tuple[str | None, dict[str, Any]]]

_KEYS = ("key", "path", "file", "filename", "name", "word")
_LABELS = ("label", "class", "category")


def read_labels(path: str | os.PathLike[str]) -> LabelTable:
    """Read a CSV file with a head: a column of keys, one of labels, and any others as attributes.

    Parameters
    ----------
    path : path
        Comma-, semicolon- or tab-separated UTF-8. The first column of ``key``, ``path``, ``file``, ``filename``,
        ``name``, ``word`` holds the keys, the first of ``label``, ``class``, ``category`` the labels; the others
        become attributes, numbers as numbers, empty cells left out.

    Returns
    -------
    dict of key to (label or None, attributes)

    Raises
    ------
    ValueError
        Naming file and line of what is wrong.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "labels.csv"
    >>> _ = path.write_text("key,label,year\\nhut.jpg,mountain,2003\\n")
    >>> read_labels(path)
    {'hut.jpg': ('mountain', {'year': 2003})}
    """
    file = Path(path)
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            head = lines.readline()
            delimiter = max(",;\t", key=head.count)
            columns = next(csv.reader([head], delimiter=delimiter), [])
            names = [column.strip() for column in columns]
            key = _place(names, _KEYS)
            label = _place(names, _LABELS)
            if key is None or len(names) < 2:
                raise ValueError(f"{file}, line 1: expected a column named {', '.join(_KEYS)} and others, got {names}")
            return _table(csv.reader(lines, delimiter=delimiter, strict=True), names, key, label, file)
    except FileNotFoundError:
        raise ValueError(f"labels must be a CSV file, there is nothing at {str(file)!r}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"labels must be a CSV file in UTF-8: {file}: {error}") from None


def _place(names: list[str], wanted: tuple[str, ...]) -> int | None:
    lowered = [name.lower() for name in names]
    return next((lowered.index(name) for name in wanted if name in lowered), None)


def _table(rows: Any, names: list[str], key: int, label: int | None, file: Path) -> LabelTable:
    table: LabelTable = {}
    for row in rows:
        number = rows.line_num + 1  # behind the head
        if not row:
            continue
        if len(row) != len(names):
            raise ValueError(f"{file}, line {number}: expected {len(names)} cells, got {len(row)}")
        if not row[key]:
            raise ValueError(f"{file}, line {number}: the column {names[key]!r} is empty")
        if row[key] in table:
            raise ValueError(f"{file}, line {number}: {row[key]!r} stands here a second time")
        attributes = {
            name: _value(cell)
            for i, (name, cell) in enumerate(zip(names, row, strict=True))
            if i not in (key, label) and cell
        }
        table[row[key]] = (row[label] or None if label is not None else None, attributes)
    return table


def _value(cell: str) -> Any:
    for kind in (int, float):
        try:
            value = kind(cell)
        except ValueError:
            continue
        if value == value and abs(value) != float("inf"):
            return value
    return cell
