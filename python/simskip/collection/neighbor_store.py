"""The neighbour table in a collection's file: computing it in blocks, storing it, reading it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import CollectionError
from ..hashing.progress import EpochBar
from .database import Database
from .items import ids_in, required_ids, revision_of
from .live_index import State, without_own
from .neighbor_table import NeighborTable

__all__ = ["NeighborStore"]

Ids = npt.NDArray[np.int64]
Distances = npt.NDArray[np.float32]

# Items whose neighbours are searched at once; Ctrl-C is heard in between, and the search itself stays small.
_BLOCK = 2048
_FETCH = 1 << 15
_STORED_ROW = np.dtype([("id", np.int64), ("rank", np.int64), ("neighbor", np.int64), ("distance", np.float64)])


@dataclass(frozen=True)
class _Stored:
    """What the file says of its table: row ``neighbors`` of ``meta``."""

    k: int
    revision: int
    method: str
    hasher: str | None  # the fingerprint, where codes chose the candidates

    @classmethod
    def read(cls, connection: sqlite3.Connection) -> _Stored | None:
        row = connection.execute("SELECT value FROM meta WHERE name = 'neighbors'").fetchone()
        return None if row is None else cls(**json.loads(row[0]))

    def write(self, connection: sqlite3.Connection) -> None:
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('neighbors', ?)", (json.dumps(vars(self)),))


class NeighborStore:
    """Makes, stores and reads the neighbour table of one collection.

    Parameters
    ----------
    database : Database
    current : callable
        Gives what is searched: the index as of the last commit.
    metric : {"cosine", "l2", "dot"}
    rerank : int
        So many times k of the nearest codes are compared by their vectors, where there is a hasher.
    """

    def __init__(self, database: Database, current: Callable[[], State], metric: str, rerank: int) -> None:
        self._database, self._current, self._rerank = database, current, rerank
        self._nothing = -np.inf if metric == "dot" else np.inf

    def table(self, k: int, exact: bool | None, progress: bool) -> NeighborTable:
        """The stored table if it is one of the items as they are now, else a new one, which is stored.

        Takes one search per item and n * k * 12 bytes of memory, of the file about twice that.

        Parameters
        ----------
        k : int
        exact : bool or None
            Compare all vectors (True), or let codes choose the candidates as ``search`` does (False). ``None``: codes
            if there is a hasher, but an exact table is taken if it is there.
        progress : bool
            Show a bar.

        Raises
        ------
        ValueError
            If there are no items, or no hasher where codes are asked for.
        CollectionError
            If items are changed meanwhile.
        """
        state = self._current()
        if exact is False and state.hasher is None:
            raise ValueError(f"exact must be True or None: {self._database.path} has no hasher")
        with self._database.reading() as connection:
            stored = _Stored.read(connection)
            if stored is not None and self._serves(stored, state, k, exact):
                return self._read(connection, stored, k)
        by_codes = state.hasher is not None and not exact
        made = _Stored(k, state.revision, "codes" if by_codes else "exact", state.fingerprint if by_codes else None)
        ids, distances, neighbors = self._computed(state, k, by_codes, progress)
        with self._database.writing() as connection:
            if revision_of(connection) != state.revision:
                raise self._changed()
            connection.execute("DELETE FROM neighbors")
            connection.executemany(
                "INSERT INTO neighbors (id, rank, neighbor, distance) VALUES (?, ?, ?, ?)",
                _rows(ids, neighbors, distances),
            )
            made.write(connection)
            keys = _keys(connection)
        return NeighborTable(ids, keys, distances, neighbors, made.revision, made.method)

    def of(self, key: str, k: int) -> tuple[Distances, Ids]:
        """Distances and ids of the k nearest of an item (or of all others, if they are fewer), from the file.

        Raises
        ------
        ValueError
            If there is no table, it is out of date, it has fewer than k neighbours per item, or no such item.
        """
        path = self._database.path
        with self._database.reading() as connection:
            stored = _Stored.read(connection)
            if stored is None:
                raise ValueError(f"{path} has no neighbour table: call knn_table() first")
            if stored.revision != revision_of(connection):
                raise ValueError(
                    f"the neighbour table of {path} is out of date: items were added, changed or removed since; call "
                    "knn_table() again"
                )
            if k > stored.k:
                raise ValueError(
                    f"k must be at most {stored.k}, got {k}: the neighbour table has no more, knn_table(k={k}) makes "
                    "another"
                )
            (id,) = required_ids(connection, [key], path)
            rows = connection.execute(
                "SELECT distance, neighbor FROM neighbors WHERE id = ? AND rank < ? ORDER BY rank", (id, k)
            ).fetchall()
        return np.array([row[0] for row in rows], np.float32), np.array([row[1] for row in rows], np.int64)

    def _serves(self, stored: _Stored, state: State, k: int, exact: bool | None) -> bool:
        if stored.revision != state.revision or stored.k < k:
            return False
        # An exact table answers unless codes are asked for by name; one by codes if they are those of today's hasher.
        if stored.method == "exact":
            return exact is not False
        return not exact and stored.hasher == state.fingerprint

    def _computed(self, state: State, k: int, by_codes: bool, progress: bool) -> tuple[Ids, Distances, Ids]:
        ids = state.index.ids
        distances = np.empty((len(ids), k), np.float32)
        neighbors = np.empty((len(ids), k), np.int64)
        with EpochBar(len(ids), "neighbours", progress, unit="item") as bar:
            for start in range(0, len(ids), _BLOCK):
                block = ids[start : start + _BLOCK]
                part = slice(start, start + len(block))
                if self._current().revision != state.revision:  # the index follows the file
                    raise self._changed()
                distances[part], neighbors[part] = self._nearest(state, block, k, by_codes)
                bar.update({}, len(block))
        return ids, distances, neighbors

    def _nearest(self, state: State, ids: Ids, k: int, by_codes: bool) -> tuple[Distances, Ids]:
        how: dict[str, Any] = {"rerank": self._rerank} if by_codes else {"recall": 1.0}
        return without_own(*state.search(state.index.vectors(ids), k + 1, **how), ids)

    def _read(self, connection: sqlite3.Connection, stored: _Stored, k: int) -> NeighborTable:
        ids = ids_in(connection, "vectors")
        cursor = connection.execute("SELECT id, rank, neighbor, distance FROM neighbors WHERE rank < ?", (k,))
        distances = np.full((len(ids), k), self._nothing, np.float32)
        neighbors = np.full((len(ids), k), -1, np.int64)
        while fetched := cursor.fetchmany(_FETCH):
            rows = np.fromiter(fetched, _STORED_ROW, len(fetched))
            places = np.searchsorted(ids, rows["id"]), rows["rank"]
            distances[places], neighbors[places] = rows["distance"], rows["neighbor"]
        return NeighborTable(ids, _keys(connection), distances, neighbors, stored.revision, stored.method)

    def _changed(self) -> CollectionError:
        return CollectionError(
            f"{self._database.path} was changed while the neighbours were being computed: call knn_table() again"
        )


def _keys(connection: sqlite3.Connection) -> list[str]:
    """Of all items that have a vector, by id."""
    return [row[0] for row in connection.execute("SELECT key FROM items JOIN vectors USING (id) ORDER BY items.id")]


def _rows(ids: Ids, neighbors: Ids, distances: Distances) -> Iterator[tuple[Any, ...]]:
    """Rows of the SQL table, without padding."""
    for id, row, gaps in zip(ids, neighbors, distances, strict=True):
        number = int(id)
        for rank, (neighbor, gap) in enumerate(zip(row.tolist(), gaps.tolist(), strict=True)):
            if neighbor >= 0:
                yield number, rank, neighbor, gap
