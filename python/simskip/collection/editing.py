"""Changing items one by one: adding with vectors, removing, labels, attributes."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..hashing import Hasher
from .database import Database
from .items import checked_attributes, checked_keys, ids_of, next_revision, required_ids, write_vectors
from .labels import LabelTable, read_labels
from .registration import EmbedderOfCollection

__all__ = ["add", "apply_table", "remove", "set_attributes", "set_labels"]


def add(
    database: Database,
    embedder: EmbedderOfCollection,
    model: Any,
    keys: list[str],
    vectors: npt.NDArray[np.float32],
    hasher: Hasher | None,
    labels: Sequence[str | None] | None,
    attributes: Sequence[Mapping[str, Any]] | None,
) -> None:
    """Add or replace items in one transaction; ``model`` made the vectors (``None``: the caller's program)."""
    names = None if labels is None else _checked_labels(labels, len(keys))
    texts = None if attributes is None else _checked_attribute_list(attributes, len(keys))
    if not keys:
        return
    codes = None if hasher is None else hasher.encode(vectors)
    with database.writing() as connection:
        if model is None:
            embedder.register_given(vectors.shape[1])
        else:
            embedder.register(model)
        revision = next_revision(connection)
        connection.executemany("INSERT OR IGNORE INTO items (key) VALUES (?)", [(key,) for key in keys])
        numbers = ids_of(connection, keys)
        ids = [numbers[key] for key in keys]
        write_vectors(connection, ids, vectors, revision, codes)
        if names is not None:
            connection.executemany("UPDATE items SET label = ? WHERE id = ?", zip(names, ids, strict=True))
        if texts is not None:
            _merge_attributes(connection, zip(texts, ids, strict=True))


def remove(database: Database, keys: list[str]) -> None:
    """Remove items that are all there."""
    with database.writing() as connection:
        ids = required_ids(connection, keys, database.path)
        next_revision(connection)
        connection.executemany("DELETE FROM items WHERE id = ?", [(id,) for id in ids])


def set_labels(database: Database, labels: Mapping[str, str | None] | str | os.PathLike[str]) -> None:
    """Set labels from a mapping or a CSV file."""
    if isinstance(labels, (str, os.PathLike)):
        apply_table(database, read_labels(labels), os.fspath(labels))
        return
    if not isinstance(labels, Mapping):
        raise ValueError(f"labels must be a mapping of keys to labels or a CSV file, got {type(labels).__name__}")
    keys = checked_keys(list(labels), "labels")
    names = _checked_labels(list(labels.values()), len(keys))
    with database.writing() as connection:
        ids = required_ids(connection, keys, database.path)
        connection.executemany("UPDATE items SET label = ? WHERE id = ?", zip(names, ids, strict=True))


def set_attributes(database: Database, attributes: Mapping[str, Mapping[str, Any]]) -> None:
    """Merge attributes into those that items have."""
    if not isinstance(attributes, Mapping):
        raise ValueError(f"attributes must be a mapping of keys to mappings, got {type(attributes).__name__}")
    keys = checked_keys(list(attributes), "attributes")
    texts = [checked_attributes(attributes[key], f"attributes[{key!r}]") for key in keys]
    with database.writing() as connection:
        ids = required_ids(connection, keys, database.path)
        _merge_attributes(connection, zip(texts, ids, strict=True))


def apply_table(database: Database, table: LabelTable, name: str, *, known_only: bool = False) -> None:
    """Set labels and attributes from a table; keys that are not there are an error, or left out."""
    texts = {key: checked_attributes(attributes, name) for key, (_, attributes) in table.items()}
    with database.writing() as connection:
        keys = list(table)
        numbers = ids_of(connection, keys)
        if known_only:
            keys = [key for key in keys if key in numbers]
        required_ids(connection, keys, database.path)
        connection.executemany(
            "UPDATE items SET label = ? WHERE id = ?",
            [(table[key][0], numbers[key]) for key in keys if table[key][0] is not None],
        )
        _merge_attributes(connection, [(texts[key], numbers[key]) for key in keys if texts[key] != "{}"])


def _merge_attributes(connection: sqlite3.Connection, rows: Any) -> None:
    # RFC 7396: a null takes the name away.
    connection.executemany("UPDATE items SET attributes = json_patch(attributes, ?) WHERE id = ?", rows)


def _checked_labels(labels: Any, n: int) -> list[str | None]:
    found = [str(label) if isinstance(label, np.str_) else label for label in labels]
    if len(found) != n:
        raise ValueError(f"labels must hold one label for each of the {n} keys, got {len(found)}")
    wrong = next((label for label in found if label is not None and (not isinstance(label, str) or not label)), None)
    if wrong is not None:
        raise ValueError(f"labels must be non-empty strings or None, got {wrong!r}")
    return found


def _checked_attribute_list(attributes: Any, n: int) -> list[str]:
    found = [checked_attributes(one, f"attributes[{i}]") for i, one in enumerate(attributes)]
    if len(found) != n:
        raise ValueError(f"attributes must hold one mapping for each of the {n} keys, got {len(found)}")
    return found
