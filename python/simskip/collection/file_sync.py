"""Bring a collection up to a folder: embed files that are new or whose content has changed."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import cpu
from ..embedding.batches import embed_batches
from ..hashing import Hasher
from ..progress import progress_bar
from .database import Database
from .items import read_vectors
from .sources import NOT_TRUSTED, FileEntry, FolderSource
from .sync import ItemWriter, NewItem, SyncReport, record_unreadable, remove_items, unreadable

__all__ = ["FileSync"]

_HASHED_AT_ONCE = 512
_HASH_BYTES = 16
_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class _KnownFile:
    id: int
    size: int
    mtime_ns: int
    hash: bytes


class FileSync:
    """One sync of a folder.

    A file counts as unchanged if its size and time of modification are; else its content decides. Content that is in
    the collection already, under a name that is gone or under another one, is not embedded again. Whatever has been
    committed stays if the sync is interrupted, and the next one goes on from there.

    Parameters
    ----------
    database : Database
    source : FolderSource
    number : int
        The source's id.
    embedder : Embedder
    hasher : Hasher or None
        Gives codes to the new vectors.
    labelled : bool
        Take the first folder on the way to a file as its label.
    """

    def __init__(
        self,
        database: Database,
        source: FolderSource,
        number: int,
        embedder: Any,
        hasher: Hasher | None,
        *,
        labelled: bool = False,
        progress: bool = False,
        batch_size: int | None = None,
    ) -> None:
        self._database, self._source, self._number, self._embedder = database, source, number, embedder
        self._labelled, self._progress = labelled, progress
        self._writer = ItemWriter(database, number, hasher, source.kind, embedder.dim, batch_size)
        self._report = SyncReport()
        self._known: dict[str, _KnownFile] = {}
        self._gone: dict[bytes, list[str]] = {}  # names by content

    def run(self, entries: list[FileEntry]) -> SyncReport:
        """Do it, with the entries that the source has."""
        started = time.monotonic()
        todo = self._plan(entries)
        done = len(entries) - len(todo)
        with progress_bar(
            len(entries), "file", "syncing", self._progress, extra=self._source.kind, done=done
        ) as advance:
            for start in range(0, len(todo), _HASHED_AT_ONCE):
                chunk = todo[start : start + _HASHED_AT_ONCE]
                fresh = self._sorted_out(chunk)
                advance(len(chunk) - len(fresh))
                self._embed(fresh, advance)
            self._writer.flush()
        self._report.removed = remove_items(self._database, [key for keys in self._gone.values() for key in keys])
        present = {entry.key for entry in entries} | {key for key, _ in self._source.unlisted}
        self._report.unreadable = unreadable(self._database, self._number, present)
        self._report.seconds = time.monotonic() - started
        return self._report

    def _plan(self, entries: list[FileEntry]) -> list[FileEntry]:
        """What must be looked into."""
        number = (self._number,)
        rows = self._database.rows(
            "SELECT key, id, size, mtime_ns, hash FROM items JOIN files USING (id) WHERE source = ?", number
        )
        self._known = {key: _KnownFile(*file) for key, *file in rows}
        failed = {
            path: (size, mtime_ns)
            for path, size, mtime_ns in self._database.rows(
                "SELECT path, size, mtime_ns FROM unreadable WHERE source = ?", number
            )
        }
        present = {entry.key for entry in entries}
        for key, file in self._known.items():
            if key not in present and not self._source.is_unlisted(key):
                self._gone.setdefault(file.hash, []).append(key)
        record_unreadable(
            self._database, self._number, [(key, reason, None, None) for key, reason in self._source.unlisted]
        )
        todo = []
        for entry in entries:
            known = self._known.get(entry.key)
            now = (entry.size, entry.mtime_ns)
            if entry.mtime_ns == NOT_TRUSTED:
                todo.append(entry)
            elif known is not None and now == (known.size, known.mtime_ns):
                self._report.unchanged += 1
            elif failed.get(entry.key) != now:
                todo.append(entry)
        return todo

    def _sorted_out(self, chunk: list[FileEntry]) -> list[tuple[FileEntry, bytes]]:
        """Settle what needs no model; the rest, with the hash of the content."""
        bad, touched, moved, twins, rest = [], [], [], [], []
        for entry, digest in zip(chunk, _hashes([entry.path for entry in chunk]), strict=True):
            known = self._known.get(entry.key)
            if isinstance(digest, str):
                bad.append((entry.key, digest, entry.size, entry.mtime_ns))
            elif known is not None and known.hash == digest:
                touched.append((entry.size, entry.mtime_ns, known.id))
                self._report.unchanged += 1
            elif known is None and self._gone.get(digest):
                moved.append((entry, self._gone[digest].pop()))
                self._report.moved += 1
            elif twin := self._database.value("SELECT id FROM files WHERE hash = ? LIMIT 1", (digest,)):
                twins.append((entry, digest, twin))
            else:
                rest.append((entry, digest))
        record_unreadable(self._database, self._number, bad)
        if touched or moved:
            with self._database.writing() as connection:
                connection.executemany("UPDATE files SET size = ?, mtime_ns = ? WHERE id = ?", touched)
                for entry, old in moved:
                    id = self._known[old].id
                    connection.execute("UPDATE items SET key = ? WHERE id = ?", (entry.key, id))
                    connection.execute("UPDATE files SET mtime_ns = ? WHERE id = ?", (entry.mtime_ns, id))
                    if self._labelled:  # unless somebody has given it another label
                        connection.execute(
                            "UPDATE items SET label = ? WHERE id = ? AND label IS ?",
                            (entry.label, id, self._source.label_of(old)),
                        )
        self._copy(twins)
        return rest

    def _copy(self, twins: list[tuple[FileEntry, bytes, int]]) -> None:
        """Give files the vectors of items with the same content."""
        if not twins:
            return
        with self._database.reading() as connection:
            ids, vectors = read_vectors(connection, self._embedder.dim, np.unique([id for _, _, id in twins]))
        rows = np.searchsorted(ids, [id for _, _, id in twins])
        self._write([(entry, digest) for entry, digest, _ in twins], vectors[rows])

    def _embed(self, files: list[tuple[FileEntry, bytes]], advance: Any) -> None:
        entries = [entry for entry, _ in files]
        if self._source.kind == "images":
            things: list[Any] = [entry.path for entry in entries]
            positions = list(range(len(files)))
        else:
            things, positions = self._texts(entries)
            advance(len(files) - len(positions))
        for rows, vectors, skipped in embed_batches(self._embedder, things):
            self._write([files[positions[row]] for row in rows], vectors)
            self._report.embedded += len(rows)
            failed = [(entries[positions[row]], reason) for row, reason in skipped]
            record_unreadable(
                self._database, self._number, [(entry.key, why, entry.size, entry.mtime_ns) for entry, why in failed]
            )
            advance(len(rows) + len(skipped))

    def _texts(self, entries: list[FileEntry]) -> tuple[list[str], list[int]]:
        """The files' contents, and the positions of those that are text."""
        texts, positions = [], []
        for i, entry in enumerate(entries):
            try:
                text = entry.path.read_text("utf-8-sig").strip()
                if not text:
                    raise ValueError("the file is empty")
            except (OSError, ValueError) as error:
                reason = "the file is not text in UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
                record_unreadable(self._database, self._number, [(entry.key, reason, entry.size, entry.mtime_ns)])
            else:
                texts.append(text)
                positions.append(i)
        return texts, positions

    def _write(self, files: Sequence[tuple[FileEntry, bytes]], vectors: Any) -> None:
        items = []
        for entry, digest in files:
            if entry.key in self._known:
                self._report.updated += 1
            else:
                self._report.added += 1
            label = entry.label if self._labelled else None
            items.append(NewItem(entry.key, label, (entry.size, entry.mtime_ns, digest)))
        self._writer.add(items, vectors)


def _hashes(paths: list[Path]) -> list[bytes | str]:
    """The files' BLAKE2b hashes, or the reasons why they cannot be read."""
    with ThreadPoolExecutor(cpu.threads()) as pool:
        return list(pool.map(_hash, paths))


def _hash(path: Path) -> bytes | str:
    digest = hashlib.blake2b(digest_size=_HASH_BYTES)
    try:
        with path.open("rb") as file:
            while block := file.read(_READ_BYTES):
                digest.update(block)
    except OSError as error:
        return error.strerror or str(error)
    return digest.digest()
