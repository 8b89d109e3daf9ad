"""What every sync does: commit embedded items batch by batch, forget what is gone, report."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..embedding.batches import embed_batches
from ..hashing import Hasher
from ..progress import progress_bar
from .database import Database
from .items import ids_of, next_revision, write_vectors
from .sources import TextSource

__all__ = [
    "ItemWriter",
    "NewItem",
    "SyncReport",
    "record_unreadable",
    "remove_items",
    "sync_texts",
    "unreadable",
]

Vectors = npt.NDArray[np.float32]

_COMMIT_BYTES = 8 << 20  # of vectors
_MAX_COMMIT_ROWS = {"images": 256, "text": 16384}


@dataclass
class SyncReport:
    """What a sync did.

    Attributes
    ----------
    added, updated, moved, removed, unchanged : int
        Items. Moved: the same content under another name, not embedded again.
    embedded : int
        Things that went through the model.
    unreadable : list of (str, str)
        Keys and reasons of all in the source that could not be read, in this run or before; an item whose file has
        become unreadable stays as it was.
    seconds : float
    """

    added: int = 0
    updated: int = 0
    moved: int = 0
    removed: int = 0
    unchanged: int = 0
    embedded: int = 0
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        parts = [f"{getattr(self, name):,} {name}" for name in ("added", "updated", "moved", "removed", "unchanged")]
        return ", ".join([*parts, f"{len(self.unreadable):,} unreadable"])


@dataclass(frozen=True)
class NewItem:
    """An item to be written: added, or replaced if the key is there; with what is known of the file behind it."""

    key: str
    label: str | None = None
    file: tuple[int, int, bytes] | None = None  # size, mtime_ns, hash


class ItemWriter:
    """Collects embedded items of one source and commits them batch by batch, with codes if there is a hasher.

    Parameters
    ----------
    database : Database
    source : int or None
        The id of the source.
    hasher : Hasher or None
    kind : {"images", "text"}
    batch_size : int, optional
        Items per commit, which is what a crash may cost. Default: up to 256 images or 16,384 texts.
    """

    def __init__(
        self, database: Database, source: int | None, hasher: Hasher | None, kind: str, dim: int, batch_size: int | None
    ) -> None:
        self._database, self._source, self._hasher = database, source, hasher
        self._rows = batch_size or max(1, min(_MAX_COMMIT_ROWS[kind], _COMMIT_BYTES // (4 * dim)))
        self._items: list[NewItem] = []
        self._vectors: list[Vectors] = []

    def add(self, items: Sequence[NewItem], vectors: Vectors) -> None:
        """Take items; commit if there are enough."""
        self._items += items
        self._vectors.append(vectors)
        if len(self._items) >= self._rows:
            self.flush()

    def flush(self) -> None:
        """Commit what is left."""
        if not self._items:
            return
        items, vectors = self._items, np.concatenate(self._vectors)
        self._items, self._vectors = [], []
        codes = None if self._hasher is None else self._hasher.encode(vectors)
        with self._database.writing() as connection:
            revision = next_revision(connection)
            connection.executemany(
                "INSERT INTO items (key, label, source) VALUES (?, ?, ?) ON CONFLICT (key) DO NOTHING",
                [(item.key, item.label, self._source) for item in items],
            )
            numbers = ids_of(connection, [item.key for item in items])
            ids = [numbers[item.key] for item in items]
            write_vectors(connection, ids, vectors, revision, codes)
            files = [(id, *item.file) for id, item in zip(ids, items, strict=True) if item.file is not None]
            connection.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", files)
            connection.executemany(
                "DELETE FROM unreadable WHERE source = ? AND path = ?", [(self._source, item.key) for item in items]
            )


def sync_texts(
    database: Database,
    source: TextSource,
    number: int,
    embedder: Any,
    hasher: Hasher | None,
    *,
    progress: bool = False,
    batch_size: int | None = None,
) -> SyncReport:
    """Sync texts that are their own keys; ``number`` is the source's id."""
    report, started = SyncReport(), time.monotonic()
    known = {row[0] for row in database.rows("SELECT key FROM items WHERE source = ?", (number,))}
    wanted = dict.fromkeys(source.texts)
    new = [text for text in wanted if text not in known]
    report.unchanged = len(wanted) - len(new)
    writer = ItemWriter(database, number, hasher, "text", embedder.dim, batch_size)
    with progress_bar(len(wanted), "text", "syncing", progress, extra="text", done=report.unchanged) as advance:
        for rows, vectors, skipped in embed_batches(embedder, new):
            writer.add([NewItem(new[row]) for row in rows], vectors)
            report.added += len(rows)
            record_unreadable(database, number, [(new[row], reason, None, None) for row, reason in skipped])
            advance(len(rows) + len(skipped))
        writer.flush()
    report.embedded = report.added
    report.removed = remove_items(database, [key for key in known if key not in wanted])
    report.unreadable = unreadable(database, number, wanted)
    report.seconds = time.monotonic() - started
    return report


def record_unreadable(
    database: Database, source: int, entries: Sequence[tuple[str, str, int | None, int | None]]
) -> None:
    """Remember what could not be read: key, reason, size and time of modification."""
    if entries:
        with database.writing() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO unreadable VALUES (?, ?, ?, ?, ?)", [(source, *entry) for entry in entries]
            )


def unreadable(database: Database, source: int, present: Collection[str]) -> list[tuple[str, str]]:
    """Keys and reasons of what cannot be read, after forgetting what is no longer there."""
    rows = database.rows("SELECT path, reason FROM unreadable WHERE source = ? ORDER BY path", (source,))
    stale = [(source, path) for path, _ in rows if path not in present]
    if stale:
        with database.writing() as connection:
            connection.executemany("DELETE FROM unreadable WHERE source = ? AND path = ?", stale)
    return [(path, reason) for path, reason in rows if path in present]


def remove_items(database: Database, keys: Iterable[str]) -> int:
    """Remove items by key; how many there were."""
    gone = [(key,) for key in keys]
    if gone:
        with database.writing() as connection:
            next_revision(connection)
            connection.executemany("DELETE FROM items WHERE key = ?", gone)
    return len(gone)
