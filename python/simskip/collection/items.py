"""Reading and writing items, vectors and codes: every SQL statement about them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..codes import Codes
from ..errors import FormatError
from .database import Database
from .filters import COLUMNS

__all__ = [
    "RESERVED_NAMES",
    "ItemRow",
    "changed_vectors",
    "checked_attributes",
    "checked_keys",
    "ids_in",
    "ids_of",
    "labels_by_id",
    "next_revision",
    "read_codes",
    "read_vectors",
    "required_ids",
    "revision_of",
    "rows_of",
    "vector_blocks",
    "without_code",
    "write_codes",
    "write_vectors",
]

Vectors = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

# What `where` would not take for an attribute: SQLite reads "true" and "false", quoted or not, as numbers.
RESERVED_NAMES = frozenset((*COLUMNS, "rowid", "oid", "_rowid_", "true", "false"))

_FETCH = 4096
_BLOCK_BYTES = 16 << 20
_STORED = np.dtype("<f4")


def checked_keys(keys: Any, name: str = "keys") -> list[str]:
    """Distinct, non-empty strings.

    Raises
    ------
    ValueError
        Naming the first that is not.
    """
    if isinstance(keys, str) or not isinstance(keys, (Sequence, np.ndarray)):
        raise ValueError(f"{name} must be a sequence of strings, got {type(keys).__name__}")
    found = [str(key) if isinstance(key, np.str_) else key for key in keys]
    for i, key in enumerate(found):
        if not isinstance(key, str) or not key:
            raise ValueError(f"{name} must be non-empty strings, got {key!r} at position {i}")
        if not _storable(key):
            raise ValueError(f"{name} must be text that UTF-8 can hold, got {key!r} at position {i}")
    if len(set(found)) != len(found):
        seen: set[str] = set()
        twice = next(key for key in found if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"{name} must be distinct, got {twice!r} more than once")
    return found


def _storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def checked_attributes(attributes: Mapping[str, Any], name: str = "attributes") -> str:
    """An item's attributes as JSON.

    Raises
    ------
    ValueError
        For names that ``where`` could not use, or values that JSON has not.
    """
    if not isinstance(attributes, Mapping):
        raise ValueError(f"{name} must be a mapping of names to values, got {type(attributes).__name__}")
    for attribute in attributes:
        if not isinstance(attribute, str) or not attribute or '"' in attribute or not _storable(attribute):
            raise ValueError(f'{name} must have non-empty strings without " as names, got {attribute!r}')
        if attribute.lower() in RESERVED_NAMES:
            raise ValueError(f"{name} must not be called {attribute!r}: that name means something else in a condition")
    try:
        return json.dumps(dict(attributes), allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must hold what JSON can: text, numbers, true, false, null, lists: {error}") from None


def ids_of(connection: sqlite3.Connection, keys: Sequence[str]) -> dict[str, int]:
    """Ids by key, of those that are there."""
    rows = connection.execute(
        "SELECT key, id FROM items WHERE key IN (SELECT value FROM json_each(?))", (json.dumps(list(keys)),)
    )
    return dict(rows.fetchall())


def required_ids(connection: sqlite3.Connection, keys: Sequence[str], where: str) -> list[int]:
    """Ids in the order of the keys; ``ValueError`` naming the first key that is not in ``where``."""
    numbers = ids_of(connection, keys)
    missing = next((key for key in keys if key not in numbers), None)
    if missing is not None:
        raise ValueError(f"key {missing!r} is not in {where}")
    return [numbers[key] for key in keys]


def ids_in(connection: sqlite3.Connection, table: str) -> Ids:
    """The ids in ``vectors``, ``codes`` or ``held_out``, ascending."""
    return np.fromiter((row[0] for row in connection.execute(f"SELECT id FROM {table} ORDER BY id")), np.int64)


def labels_by_id(connection: sqlite3.Connection) -> dict[int, str]:
    """The labels of all items that have one."""
    return dict(connection.execute("SELECT id, label FROM items WHERE label IS NOT NULL").fetchall())


@dataclass(frozen=True)
class ItemRow:
    """What is known of an item; ``file``: what it was synced from, where that was."""

    key: str
    label: str | None
    attributes: str  # JSON
    file: Path | None


def rows_of(connection: sqlite3.Connection, ids: Iterable[int]) -> dict[int, ItemRow]:
    """What is known of items, by id; those that are there."""
    rows = connection.execute(
        "SELECT items.id, key, label, attributes, location, prefix, files.id IS NOT NULL FROM items "
        "LEFT JOIN files USING (id) LEFT JOIN sources ON sources.id = source "
        "WHERE items.id IN (SELECT value FROM json_each(?))",
        (json.dumps([int(id) for id in ids]),),
    )
    return {
        id: ItemRow(key, label, attributes, Path(location, key[len(prefix) :]) if of_file else None)
        for id, key, label, attributes, location, prefix, of_file in rows
    }


def next_revision(connection: sqlite3.Connection) -> int:
    """Count a change of vectors or of which items there are; inside a transaction."""
    connection.execute("UPDATE meta SET value = value + 1 WHERE name = 'revision'")
    return revision_of(connection)


def revision_of(connection: sqlite3.Connection) -> int:
    """How many changes there have been."""
    revision: int = connection.execute("SELECT value FROM meta WHERE name = 'revision'").fetchone()[0]
    return revision


def write_vectors(
    connection: sqlite3.Connection, ids: Sequence[int], vectors: Vectors, revision: int, codes: Codes | None = None
) -> None:
    """Add or replace vectors, and their codes: without any, old codes go."""
    stored = np.ascontiguousarray(vectors, _STORED)
    connection.executemany(
        "INSERT INTO vectors VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET vector = excluded.vector, "
        "revision = excluded.revision",
        ((int(id), row.tobytes(), revision) for id, row in zip(ids, stored, strict=True)),
    )
    if codes is None:
        connection.executemany("DELETE FROM codes WHERE id = ?", ((int(id),) for id in ids))
    else:
        write_codes(connection, ids, codes)


def write_codes(connection: sqlite3.Connection, ids: Sequence[int] | Ids, codes: Codes) -> None:
    """Add or replace codes."""
    connection.executemany(
        "INSERT OR REPLACE INTO codes VALUES (?, ?)",
        ((int(id), row.tobytes()) for id, row in zip(ids, codes.data, strict=True)),
    )


def without_code(connection: sqlite3.Connection) -> Ids:
    """Ids of items that have a vector and no code, ascending."""
    rows = connection.execute(
        "SELECT id FROM vectors WHERE NOT EXISTS (SELECT 1 FROM codes WHERE codes.id = vectors.id) ORDER BY id"
    )
    return np.fromiter((row[0] for row in rows), np.int64)


def _joined(ids: Sequence[int] | Ids, blobs: list[bytes], width: int, dtype: Any) -> npt.NDArray[Any]:
    """A matrix, read-only, from rows of bytes; each must have ``width`` entries."""
    # One conversion for all: a row of another length shows as a wrong total.
    content = b"".join(blobs)
    if len(content) != len(blobs) * width * np.dtype(dtype).itemsize:
        raise FormatError(f"a stored vector or code between the items {ids[0]} and {ids[-1]} is damaged")
    return np.frombuffer(content, dtype).reshape(len(blobs), width)


def _fetched(cursor: sqlite3.Cursor, n: int, width: int, dtype: Any) -> tuple[Ids, npt.NDArray[Any]]:
    """Ids and a matrix from at most n rows (id, blob)."""
    ids, matrix = np.empty(n, np.int64), np.empty((n, width), dtype)
    start = 0
    while rows := cursor.fetchmany(_FETCH):
        end = start + len(rows)
        ids[start:end] = [row[0] for row in rows]
        matrix[start:end] = _joined(ids[start:end], [row[1] for row in rows], width, dtype)
        start = end
    return ids[:start], matrix[:start]


def read_vectors(connection: sqlite3.Connection, dim: int, ids: Ids | None = None) -> tuple[Ids, Vectors]:
    """Ids, ascending, and vectors: all, or those of ``ids`` that have one."""
    if ids is None:
        n = connection.execute("SELECT count(*) FROM vectors").fetchone()[0]
        cursor = connection.execute("SELECT id, vector FROM vectors ORDER BY id")
    else:
        n = len(ids)
        cursor = connection.execute(
            "SELECT id, vector FROM vectors WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id",
            (json.dumps(ids.tolist()),),
        )
    found, matrix = _fetched(cursor, n, dim, _STORED)
    return found, matrix.astype(np.float32, copy=False)


def changed_vectors(
    connection: sqlite3.Connection, dim: int, after: int, n_bits: int | None
) -> Iterator[tuple[Ids, Vectors, Codes | None]]:
    """Ids, vectors and codes of the rows changed after a revision, by id, in blocks; no codes where one is missing."""
    cursor = connection.execute(
        "SELECT id, vector, code FROM vectors LEFT JOIN codes USING (id) WHERE revision > ? ORDER BY id", (after,)
    )
    while rows := cursor.fetchmany(max(1, _BLOCK_BYTES // (4 * dim))):
        ids = np.array([row[0] for row in rows], np.int64)
        vectors = _joined(ids, [row[1] for row in rows], dim, _STORED).astype(np.float32, copy=False)
        codes = None
        if n_bits and all(row[2] is not None for row in rows):
            codes = Codes(_joined(ids, [row[2] for row in rows], (n_bits + 7) // 8, np.uint8), n_bits)
        yield ids, vectors, codes


def read_codes(connection: sqlite3.Connection, n_bits: int) -> tuple[Ids, Codes]:
    """Ids, ascending, and codes of all items that have one."""
    n = connection.execute("SELECT count(*) FROM codes").fetchone()[0]
    ids, data = _fetched(connection.execute("SELECT id, code FROM codes ORDER BY id"), n, (n_bits + 7) // 8, np.uint8)
    return ids, Codes(data, n_bits)


def vector_blocks(database: Database, dim: int, ids: Ids, rows: int = 8192) -> Iterator[tuple[Ids, Vectors]]:
    """Vectors of ``ids`` in blocks, so that memory stays bounded."""
    for start in range(0, len(ids), rows):
        with database.reading() as connection:
            block = read_vectors(connection, dim, ids[start : start + rows])
        yield block
