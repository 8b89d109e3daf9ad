"""Parquet as a collection: one that was exported, or a table of keys and vectors from elsewhere."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..codes import Codes
from ..errors import CollectionError, FormatError
from ..extras import require
from ..hashing import Hasher, hasher_from_bytes
from ..validation import matrix
from . import editing
from .database import Database
from .items import checked_attributes, checked_keys, next_revision, write_codes, write_vectors
from .models import Models
from .parquet_manifest import Manifest
from .registration import GIVEN, EmbedderOfCollection
from .training import encode

__all__ = ["ParquetItems", "removed_on_error"]

Vectors = npt.NDArray[np.float32]

_BATCH_BYTES = 16 << 20  # of vectors
_OWN_COLUMNS = ("id", "key", "label", "attributes", "held_out")
_TEXT_COLUMNS = ("label", "attributes")
# What SQLite says of rows that cannot be: twice the same, or of types that it does not know.
_CONTRADICTIONS = (sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError)


class ParquetItems:
    """The items in a Parquet file or in a folder of them, checked as far as is possible without reading the rows.

    A collection that was exported comes back as it was: the same ids, models, codes and sources (a ``sync`` goes on
    where it stopped); all but the neighbour table, which ``knn_table`` makes again. Of files that simskip did not
    write, ``key`` and ``vector`` are read, and ``label`` and ``attributes`` (JSON objects) if they are there; other
    columns are not. In a collection that has something already, items are added, or replaced by key.

    Parameters
    ----------
    path : path
    metric : {"cosine", "l2", "dot"}, optional
        Of a new collection, where the file does not say it.

    Raises
    ------
    CollectionError
        If there is nothing to read.
    FormatError
        If it is no Parquet, damaged, or an export that misses parts.
    ValueError
        If columns are missing or of another type, or the file says another metric.
    """

    def __init__(self, path: str | os.PathLike[str], metric: str | None = None) -> None:
        self._arrow = require("pyarrow", "parquet", "Importing Parquet")
        self._parquet = require("pyarrow.parquet", "parquet", "Importing Parquet")
        self._compute = require("pyarrow.compute", "parquet", "Importing Parquet")
        self.path = Path(path)
        self._paths = self._files()
        self.manifest: Manifest | None = None
        self.dim = 0  # stays 0 where there are no items and no vectors
        with self._damage(self.path):
            self._look()
        if self.manifest is not None and metric not in (None, self.manifest.metric):
            raise ValueError(f"metric must be {self.manifest.metric!r}, that of {self.path}, got {metric!r}")
        self.metric = metric if self.manifest is None else self.manifest.metric

    def _files(self) -> list[Path]:
        if not self.path.exists():
            raise CollectionError(f"there is no file or folder {self.path}")
        if not self.path.is_dir():
            return [self.path]
        found = sorted(self.path.glob("*.parquet"))
        if not found:
            raise CollectionError(f"there are no .parquet files in the folder {self.path}")
        return found

    def _look(self) -> None:
        manifests: list[Manifest | None] = []
        for path in self._paths:
            with self._opened(path) as file:
                schema = file.schema_arrow
                manifests.append(Manifest.from_metadata(schema.metadata, str(path)))
                self._check_columns(schema, path, manifests[-1])
        first = manifests[0]
        if first is None and not any(manifests):
            return
        parts = [(manifest.export, manifest.part) for manifest in manifests if manifest is not None]
        if first is None or parts != [(first.export, part) for part in range(first.parts)]:
            wanted = "" if first is None else f" of {first.parts}"
            raise FormatError(f"{self.path} is not one whole export: it has the parts {[p for _, p in parts]}{wanted}")
        self.manifest = first
        embedder = first.model("embedder")
        if self.dim and (embedder is None or embedder["parameters"]["dim"] != self.dim):
            raise FormatError(f"{self.path}: its vectors have {self.dim} numbers, its models say something else")

    def _check_columns(self, schema: Any, path: Path, manifest: Manifest | None) -> None:
        types = self._arrow.types
        if manifest is not None and schema.names != manifest.columns:
            raise FormatError(f"{path} should have the columns {manifest.columns}, it has {schema.names}")
        needed = ["key", "vector"] if manifest is None else [*_OWN_COLUMNS, *(["vector"] if manifest.items else [])]
        missing = [name for name in needed if name not in schema.names]
        if missing:
            hint = ": it was exported without vectors" if missing == ["vector"] and manifest is not None else ""
            raise ValueError(
                f"{path} must have the columns {', '.join(needed)}; {', '.join(missing)} is missing{hint}, it has "
                f"{', '.join(schema.names)}"
            )
        for name in ("key", *_TEXT_COLUMNS):
            if name in schema.names:
                type_ = schema.field(name).type
                plain = type_.value_type if types.is_dictionary(type_) else type_
                if not (types.is_string(plain) or types.is_large_string(plain) or types.is_null(plain)):
                    raise ValueError(f"{path}: the column {name} must hold text, got {type_}")
        if "vector" not in schema.names:
            return
        type_ = schema.field("vector").type
        is_list = types.is_list(type_) or types.is_large_list(type_) or types.is_fixed_size_list(type_)
        if not is_list or not types.is_floating(type_.value_type):
            raise ValueError(f"{path}: the column vector must hold lists of floats, got {type_}")
        dim = type_.list_size if types.is_fixed_size_list(type_) else self._first_length(path)
        if self.dim not in (0, dim) and dim:
            raise ValueError(f"{path}: its vectors have {dim} numbers, those of {self._paths[0].name} have {self.dim}")
        self.dim = dim or self.dim

    def _first_length(self, path: Path) -> int:
        with self._opened(path) as file:
            for batch in file.iter_batches(batch_size=1, columns=["vector"]):
                row = batch.column(0)[0].as_py()
                return 0 if row is None else len(row)
        return 0

    @contextlib.contextmanager
    def _opened(self, path: Path) -> Iterator[Any]:
        with self._damage(path), self._parquet.ParquetFile(path, page_checksum_verification=True) as file:
            yield file

    @contextlib.contextmanager
    def _damage(self, path: Path) -> Iterator[None]:
        """What Arrow says of a broken file as ``FormatError``."""
        try:
            yield
        except (CollectionError, FormatError):
            raise
        except (self._arrow.ArrowException, OSError, MemoryError, UnicodeDecodeError) as error:
            raise FormatError(f"{path} is no Parquet file, or damaged: {error}") from error

    def into(self, database: Database, models: Models, embedder: EmbedderOfCollection) -> None:
        """Write everything in one transaction; then give codes to items without, if there is a hasher.

        Raises
        ------
        FormatError
            If rows are damaged or missing.
        ValueError
            If a row has no vector or not numbers only, keys stand twice, or the collection holds vectors of another
            model.
        """
        hasher = models.hasher()
        with database.writing() as connection:
            begun = connection.execute("SELECT 1 FROM items UNION ALL SELECT 1 FROM models").fetchone() is not None
            if self.manifest is not None and not begun:
                self._restore(connection, self.manifest)
            else:
                if begun:
                    self._check_model(connection, database.path)
                self._add(database, embedder, hasher)
        if models.hasher() is not None:
            encode(database, models)

    def _check_model(self, connection: sqlite3.Connection, path: str) -> None:
        name, fingerprint, parameters = connection.execute(
            "SELECT name, fingerprint, parameters FROM models WHERE role = 'embedder'"
        ).fetchone()
        model = None if self.manifest is None else self.manifest.model("embedder")
        dim = json.loads(parameters)["dim"]
        if model is None and name == GIVEN and dim == self.dim:
            return
        if model is not None and model["fingerprint"] == fingerprint:
            return
        made = (
            f"unknown vectors of {self.dim} numbers" if model is None else f"{model['name']} ({model['fingerprint']})"
        )
        raise ValueError(
            f"parquet must hold vectors of the model of {path}, {name} ({fingerprint}), got {made}; vectors of "
            "different models cannot be compared, import into another collection"
        )

    def _restore(self, connection: sqlite3.Connection, manifest: Manifest) -> None:
        hasher = _hasher_of(manifest, self.path)
        try:
            manifest.restore(connection)
            revision, count = next_revision(connection), 0
            for batch in self._batches():
                count += batch.num_rows
                self._restore_rows(connection, batch, revision, hasher)
            connection.execute("DELETE FROM sqlite_sequence WHERE name = 'items'")
            connection.execute("INSERT INTO sqlite_sequence VALUES ('items', ?)", (manifest.last_id,))
        except (*_CONTRADICTIONS, OverflowError, KeyError, TypeError) as error:
            raise FormatError(f"{self.path}: its rows contradict each other: {error}") from error
        if count != manifest.items:
            raise FormatError(f"{self.path} should hold {manifest.items} items, it holds {count}")

    def _restore_rows(self, connection: sqlite3.Connection, batch: Any, revision: int, hasher: Hasher | None) -> None:
        rows = {name: batch.column(name).to_pylist() for name in batch.schema.names if name not in ("vector", "code")}
        ids, nothing = rows["id"], [None] * batch.num_rows
        checked_keys(rows["key"], f"{self.path}: key")
        _checked_texts(rows["attributes"], self.path)
        sources = rows.get("source", nothing)
        connection.executemany(
            "INSERT INTO items (id, key, label, attributes, source) VALUES (?, ?, ?, ?, ?)",
            zip(ids, rows["key"], rows["label"], rows["attributes"], sources, strict=True),
        )
        files = zip(ids, *(rows.get(f"file_{name}", nothing) for name in ("size", "mtime_ns", "hash")), strict=True)
        connection.executemany("INSERT INTO files VALUES (?, ?, ?, ?)", (row for row in files if row[3] is not None))
        kept = [(id,) for id, held_out in zip(ids, rows["held_out"], strict=True) if held_out]
        connection.executemany("INSERT INTO held_out VALUES (?)", kept)
        there = batch.column("vector").is_valid().to_numpy(zero_copy_only=False)
        numbers = np.array(ids, np.int64)
        vectors = self._vectors(batch.column("vector").filter(self._arrow.array(there)))
        write_vectors(connection, numbers[there].tolist(), vectors, revision)
        if hasher is not None and "code" in batch.schema.names:
            column = batch.column("code")
            coded = column.is_valid().to_numpy(zero_copy_only=False)
            codes = Codes.from_(column.drop_null(), n_bits=hasher.n_bits, format="arrow")
            write_codes(connection, numbers[coded], codes)

    def _add(self, database: Database, embedder: EmbedderOfCollection, hasher: Hasher | None) -> None:
        seen: set[str] = set()
        for batch in self._batches():
            keys = checked_keys(batch.column("key").to_pylist(), f"{self.path}: key")
            if twice := next((key for key in keys if key in seen), None):
                raise ValueError(f"{self.path}: key must be distinct, got {twice!r} more than once")
            seen.update(keys)
            texts = {name: batch.column(name).to_pylist() for name in _TEXT_COLUMNS if name in batch.schema.names}
            attributes = None
            if "attributes" in texts:
                attributes = _checked_texts([text or "{}" for text in texts["attributes"]], self.path)
            labels = [label or None for label in texts["label"]] if "label" in texts else None
            column = batch.column("vector")
            if column.null_count:
                raise ValueError(
                    f"{self.path}: the item {keys[column.is_valid().index(False).as_py()]!r} has no vector"
                )
            editing.add(database, embedder, None, keys, self._vectors(column), hasher, labels, attributes)

    def _vectors(self, column: Any) -> Vectors:
        """A column of lists without nulls as (n, dim) float32."""
        flat = column.flatten()
        lengths = self._compute.list_value_length(column).to_numpy(zero_copy_only=False)
        if flat.null_count or self.dim < min(1, len(column)) or (lengths != self.dim).any():
            raise ValueError(f"{self.path}: the column vector must hold lists of {self.dim} floats, all of them")
        values = flat.to_numpy(zero_copy_only=False).reshape(-1, max(1, self.dim))
        return matrix(values, f"{self.path}: vector", min_rows=0)

    def _batches(self) -> Iterator[Any]:
        rows = max(256, min(8192, _BATCH_BYTES // max(1, 4 * self.dim)))
        for path in self._paths:
            with self._opened(path) as file:
                # Group by group: one iterator over all would keep what it has read in memory.
                for group in range(file.num_row_groups):
                    batches = iter(file.iter_batches(batch_size=rows, row_groups=[group]))
                    while True:
                        with self._damage(path):
                            batch = next(batches, None)
                        if batch is None:
                            break
                        yield batch


@contextlib.contextmanager
def removed_on_error(path: str | os.PathLike[str]) -> Iterator[None]:
    """If the block raises, a collection that it has made is removed again."""
    new = not os.path.exists(path)
    try:
        yield
    except BaseException:
        for name in (path, f"{os.fspath(path)}-wal", f"{os.fspath(path)}-shm") if new else ():
            Path(name).unlink(missing_ok=True)
        raise


def _hasher_of(manifest: Manifest, path: Path) -> Hasher | None:
    model = manifest.model("hasher")
    if model is None:
        return None
    hasher = hasher_from_bytes(base64.b64decode(model["content"] or ""), f"the hasher in {path}")
    if hasher.fingerprint != model["fingerprint"]:
        raise FormatError(f"{path} is damaged: its hasher is another one than its metadata says")
    return hasher


def _checked_texts(texts: list[Any], path: Path) -> list[dict[str, Any]]:
    """Attributes from JSON."""
    found: list[dict[str, Any]] = []
    for text in texts:
        try:
            value = {} if text == "{}" else json.loads(text)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: attributes must be JSON, got {text!r}: {error}") from None
        if value != {}:
            checked_attributes(value, f"{path}: attributes")
        found.append(value)
    return found
