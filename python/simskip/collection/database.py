"""The SQLite file under a collection: connections, transactions, and errors in the user's words."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import CollectionError, FormatError
from . import schema

__all__ = ["Database"]

# How long SQLite waits for a lock in one go. It does not hear Ctrl-C meanwhile, so waiting goes on in Python.
_WAIT = 0.05


class Database:
    """One file, one connection that writes and one that only reads.

    Readers see the last commit while a writer works (write-ahead log); any number of processes may read, one writes at
    a time. Each connection is guarded by a lock, so that threads may share the object.

    Parameters
    ----------
    path : path
    create : bool
        Make the file if there is none.
    read_only : bool
        Refuse to write; works on files that belong to others.
    lock_timeout : float
        Seconds to wait for another process that writes.

    Raises
    ------
    CollectionError
        If the file is missing, locked or cannot be read.
    FormatError
        If it is no collection, damaged, or of a newer simskip.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        create: bool = True,
        read_only: bool = False,
        lock_timeout: float = 10.0,
    ) -> None:
        self.path = os.fspath(path)
        self.read_only = read_only
        self.lock_timeout = lock_timeout
        self._check_path(create and not read_only)
        self._writing, self._reading = threading.RLock(), threading.RLock()
        self._writer: sqlite3.Connection | None = None
        with self.explained():
            if not read_only:
                self._writer = self._open("rwc" if create else "rw")
                self._prepare(self._writer)
            self._reader = self._open("ro" if read_only else "rw")
            self._reader.execute("PRAGMA query_only = ON")
            version = schema.version_of(self._reader, self.path)
            if version < schema.SCHEMA_VERSION:  # read-only: nobody may change the tables
                raise FormatError(
                    f"{self.path} is empty"
                    if version == 0
                    else f"{self.path} has the older schema version {version}: open it once for writing"
                )

    def _check_path(self, create: bool) -> None:
        path = Path(self.path)
        if path.is_dir():
            raise CollectionError(f"{self.path} is a folder, not a collection")
        if not path.exists():
            if not create:
                raise CollectionError(f"there is no collection {self.path}")
            if not path.absolute().parent.is_dir():
                raise CollectionError(f"there is no folder {path.absolute().parent} for {path.name}")

    def _open(self, mode: str) -> sqlite3.Connection:
        uri = f"{Path(self.path).absolute().as_uri()}?mode={mode}"
        connection = sqlite3.connect(uri, uri=True, timeout=_WAIT, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA foreign_keys = ON")
        # Durable after each commit, power failure included: a batch is embedded in seconds, flushed in milliseconds.
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        version = self._patiently(lambda: schema.version_of(connection, self.path))
        if version == schema.SCHEMA_VERSION:
            return
        if version == 0:
            self._patiently(lambda: schema.create(connection))
        self._patiently(lambda: connection.execute("BEGIN IMMEDIATE"))
        try:
            # Read again: another process may have done it since.
            schema.upgrade(connection, schema.version_of(connection, self.path))
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise

    def _patiently(self, action: Any) -> Any:
        """Do it, waiting for other writers up to ``lock_timeout`` seconds."""
        end = time.monotonic() + self.lock_timeout
        while True:
            try:
                return action()
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or time.monotonic() >= end:
                    raise
                time.sleep(_WAIT)

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it is committed, or nothing if the block raises."""
        if self._writer is None:
            raise CollectionError(f"{self.path} was opened for reading only")
        with self._writing, self.explained():
            if self._writer.in_transaction:  # a block inside a block is part of it
                yield self._writer
                return
            self._patiently(lambda: self._writer.execute("BEGIN IMMEDIATE"))  # type: ignore[union-attr]
            try:
                yield self._writer
                self._patiently(lambda: self._writer.execute("COMMIT"))  # type: ignore[union-attr]
            except BaseException:
                if self._writer.in_transaction:  # SQLite itself rolls back when the disk is full
                    self._writer.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A consistent view of the last commit."""
        with self._reading, self.explained():
            if self._reader.in_transaction:
                yield self._reader
                return
            self._patiently(lambda: self._reader.execute("BEGIN"))
            try:
                yield self._reader
            finally:
                if self._reader.in_transaction:
                    self._reader.execute("ROLLBACK")

    def rows(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[Any]:
        """All rows of one query."""
        with self.reading() as connection:
            return connection.execute(sql, parameters).fetchall()

    def value(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> Any:
        """The first column of the first row; ``None`` without rows."""
        with self.reading() as connection:
            row = connection.execute(sql, parameters).fetchone()
        return None if row is None else row[0]

    def data_version(self) -> int:
        """A number that changes when anybody, this object included, commits a change."""
        with self._reading, self.explained():
            number: int = self._reader.execute("PRAGMA data_version").fetchone()[0]
            return number

    def connect_reader(self) -> sqlite3.Connection:
        """One more connection, which cannot write; the caller closes it."""
        with self.explained():
            connection = self._open("ro" if self.read_only else "rw")
            connection.execute("PRAGMA query_only = ON")
            return connection

    def close(self) -> None:
        """Close the file; later calls raise ``CollectionError``."""
        with self._writing, self._reading:
            self._reader.close()
            if self._writer is not None:
                self._writer.close()

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Errors of SQLite as errors that say what to do."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise CollectionError(self._explanation(error)) from error
        except sqlite3.ProgrammingError as error:
            if "closed" in str(error):
                raise CollectionError(f"{self.path} has been closed") from error
            raise
        except sqlite3.DatabaseError as error:
            if type(error) is not sqlite3.DatabaseError:  # IntegrityError and others are mistakes of the program
                raise
            raise FormatError(f"{self.path} is no collection, or damaged: {error}") from error

    def _explanation(self, error: sqlite3.OperationalError) -> str:
        text = str(error)
        if _is_busy(error):
            return (
                f"{self.path} is locked: another process has been writing for {self.lock_timeout:g} s; "
                "nothing was changed, try again"
            )
        if "full" in text:
            return f"no space left for {self.path}; what was saved before is intact, the last step was not saved"
        if "readonly" in text:
            return f"{self.path} cannot be written: no permission for the file or its folder"
        if "unable to open" in text:
            return f"{self.path} cannot be opened: no permission for the file or its folder, or too many open files"
        if "disk I/O" in text:
            return f"{self.path} cannot be read or written (disk I/O error); what was saved before is intact"
        return f"{self.path}: {text}"


def _is_busy(error: sqlite3.OperationalError) -> bool:
    return "locked" in str(error) or "busy" in str(error)
