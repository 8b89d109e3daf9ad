"""A collection as Parquet, which pandas, Spark and DuckDB read: one file, or a folder of parts.

==============  =========================  ==========================================================================
column          type                       what
==============  =========================  ==========================================================================
id              int64
key             string
label           string                     null: none
attributes      string                     a JSON object
vector          fixed_size_list<float>     as stored
code            fixed_size_binary          little bit order, zero padding (``Codes.to("arrow")``); null: none yet
held_out        bool                       whether the hasher was not trained on it
source          int64                      these four only if items were synced; see the tables ``sources``, ``files``
file_size       int64                      in bytes
file_mtime_ns   int64
file_hash       binary                     BLAKE2b, 16 bytes
==============  =========================  ==========================================================================

The models, and all else that ``Collection.import_`` restores, are in the file's metadata under ``simskip`` (JSON).
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CollectionError, FormatError
from ..extras import require
from ..files import atomic_write
from .database import Database
from .parquet_manifest import Manifest

__all__ = ["export"]

# Of vectors: a row group is what is in memory at once, a part what is in one file of a folder.
_GROUP_BYTES = 16 << 20
_PART_BYTES = 512 << 20
_GROUP_ROWS = (1024, 65536)

_FILE_COLUMNS = ("source", "file_size", "file_mtime_ns", "file_hash")
_QUERY = """
    SELECT items.id, key, label, attributes, held_out.id IS NOT NULL, source, size, mtime_ns, hash, {vector}, {code}
    FROM items LEFT JOIN held_out ON held_out.id = items.id LEFT JOIN files ON files.id = items.id
    {joins} ORDER BY items.id
"""


def export(database: Database, path: str | os.PathLike[str], *, vectors: bool, codes: bool) -> int:
    """Write a collection as it is at this moment, whoever changes it meanwhile; little of it is in memory at once.

    A crash, or an error, leaves what was there before.

    Parameters
    ----------
    database : Database
    path : path
        One file if it ends in ``.parquet``, replaced if it is there; else a folder, new or empty, which gets parts of
        at most 512 MiB of vectors.
    vectors, codes : bool
        False leaves them out. Without vectors it cannot be imported.

    Returns
    -------
    int
        Items written.

    Raises
    ------
    ValueError
        If the path is a folder with something in it, or another kind of file.
    CollectionError
        If there is no space left, or no permission.

    Examples
    --------
    >>> import numpy as np, pathlib, simskip, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> with simskip.Collection.open(folder / "items.db") as collection:
    ...     collection.add(["a", "b"], np.eye(2), labels=["x", None])
    ...     collection.export(folder / "items.parquet")
    2
    >>> with simskip.Collection.import_(folder / "items.parquet", folder / "copy.db") as copy:
    ...     copy.labels
    {'x': 1}
    """
    arrow = require("pyarrow", "parquet", "Exporting to Parquet")
    target = Path(path)
    to_file = target.suffix.lower() == ".parquet" and not target.is_dir()
    if not to_file and target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f"path must be a .parquet file, or a folder that is new or empty, got {os.fspath(path)!r}")
    with contextlib.closing(database.connect_reader()) as connection, database.explained(), _explained(target):
        connection.execute("BEGIN")  # one state of the collection, whoever writes meanwhile
        whole = Manifest.of_collection(connection)
        tables = _Tables(arrow, connection, whole, database.path, vectors, codes)
        if to_file:
            with atomic_write(target) as file:
                tables.write(file, whole, whole.items)
        else:
            rows = tables.part_rows
            parts = max(1, -(-whole.items // rows))
            with _new_folder(target) as folder:
                for part in range(parts):
                    with atomic_write(folder / f"part-{part:05d}.parquet") as file:
                        tables.write(file, whole.of_part(part, parts), min(rows, whole.items - part * rows))
    return whole.items


class _Tables:
    """Reads the collection from beginning to end as Arrow tables, one row group at a time."""

    def __init__(
        self,
        arrow: Any,
        connection: sqlite3.Connection,
        manifest: Manifest,
        path: str,
        vectors: bool,
        codes: bool,
    ) -> None:
        self._arrow, self._path = arrow, path
        embedder, hasher = manifest.model("embedder"), manifest.model("hasher")
        dim = 0 if embedder is None else int(embedder["parameters"]["dim"])
        width = 0 if hasher is None else (int(hasher["parameters"]["n_bits"]) + 7) // 8
        self._dim, self._width = dim if vectors else 0, width if codes else 0
        fields = [("id", arrow.int64()), ("key", arrow.string()), ("label", arrow.string())]
        fields += [("attributes", arrow.string()), ("held_out", arrow.bool_())]
        types = (arrow.int64(), arrow.int64(), arrow.int64(), arrow.binary())
        fields += zip(_FILE_COLUMNS, types, strict=True) if manifest.sources else ()
        fields += [("vector", arrow.list_(arrow.float32(), self._dim))] if self._dim else []
        fields += [("code", arrow.binary(self._width))] if self._width else []
        self._schema = arrow.schema(fields)
        least, most = _GROUP_ROWS
        self._group = max(least, min(most, _GROUP_BYTES // max(1, 4 * self._dim)))
        joins = {"vector": "vectors" if self._dim else "", "code": "codes" if self._width else ""}
        self._cursor = connection.execute(
            _QUERY.format(
                joins=" ".join(f"LEFT JOIN {table} ON {table}.id = items.id" for table in joins.values() if table),
                **{column: column if table else "NULL" for column, table in joins.items()},
            )
        )

    @property
    def part_rows(self) -> int:
        """Rows of one file of a folder: whole row groups."""
        return self._group * max(1, _PART_BYTES // (self._group * max(1, 4 * self._dim)))

    def write(self, file: Any, manifest: Manifest, rows: int) -> None:
        """Write the next rows as one Parquet file."""
        parquet = require("pyarrow.parquet", "parquet", "Exporting to Parquet")
        described = replace(manifest, columns=self._schema.names)
        schema = self._schema.with_metadata(described.to_metadata())
        writer = parquet.ParquetWriter(
            file,
            schema,
            compression="zstd",
            use_dictionary=["label"],
            # Of vectors and codes smallest and largest say nothing.
            write_statistics=["id", "key", "label"],
            write_page_checksum=True,
        )
        with writer:
            for start in range(0, rows, self._group):
                found = self._cursor.fetchmany(min(self._group, rows - start))
                writer.write_table(self._table(found).cast(schema))

    def _table(self, rows: list[Any]) -> Any:
        arrow = self._arrow
        columns = list(zip(*rows, strict=True))
        found: dict[str, Any] = dict(zip(("id", "key", "label", "attributes"), columns, strict=False))
        found["held_out"] = [bool(value) for value in columns[4]]
        found |= zip(_FILE_COLUMNS, columns[5:9], strict=True)
        arrays = []
        for field in self._schema:
            if field.name == "vector":
                flat = arrow.array(self._flat(columns[9], columns[0], "<f4", self._dim))
                arrays.append(arrow.FixedSizeListArray.from_arrays(flat, self._dim, mask=_missing(arrow, columns[9])))
            elif field.name == "code":
                self._flat(columns[10], columns[0], "u1", self._width)
                arrays.append(arrow.array(columns[10], field.type))
            else:
                arrays.append(arrow.array(found[field.name], field.type))
        return arrow.Table.from_arrays(arrays, schema=self._schema)

    def _flat(self, blobs: Any, ids: Any, dtype: str, width: int) -> Any:
        """The numbers of all blobs, zeros where there is none."""
        size = width * np.dtype(dtype).itemsize
        for id, blob in zip(ids, blobs, strict=True):
            if blob is not None and len(blob) != size:
                raise FormatError(f"{self._path}: the stored vector or code of item {id} is damaged")
        return np.frombuffer(b"".join([blob or bytes(size) for blob in blobs]), dtype)


def _missing(arrow: Any, blobs: Any) -> Any:
    return arrow.array([blob is None for blob in blobs]) if None in blobs else None


@contextlib.contextmanager
def _new_folder(target: Path) -> Iterator[Path]:
    """A folder that takes its name when it is whole."""
    folder = target.absolute()
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        os.replace(temporary, folder)  # over nothing or an empty folder
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


@contextlib.contextmanager
def _explained(target: Path) -> Iterator[None]:
    """Errors of the file system as errors that say what is left."""
    try:
        yield
    except OSError as error:
        if isinstance(error, CollectionError):
            raise
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise CollectionError(f"no space left for {target}; what was there before is intact") from error
        raise CollectionError(f"{target} cannot be written: {error.strerror or error}") from error
