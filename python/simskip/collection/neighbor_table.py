"""The precomputed answer to "what is like this item?", for every item of a collection, in memory."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["NeighborTable"]

Ids = npt.NDArray[np.int64]
Distances = npt.NDArray[np.float32]


class NeighborTable:
    """The k nearest items of every item, as they were at one state of a collection. Made by ``Collection.knn_table``.

    Takes n * k * 12 bytes. Answers for items only: something new must be searched for, and every item that is added,
    changed or removed changes the lists of others, so that the whole table has to be made again.

    Parameters
    ----------
    ids : (n,) int64 array
        The items, ascending.
    keys : list of n str
    distances : (n, k) float32 array
        In the collection's metric, the nearest first; +inf (``"dot"``: -inf) where there are fewer than k others.
    neighbors : (n, k) int64 array
        Ids; -1 where there are fewer.
    revision : int
        Of the collection.
    method : {"exact", "codes"}
        Whether all vectors were compared, or those of the nearest codes.

    Examples
    --------
    >>> import numpy as np, pathlib, simskip, tempfile
    >>> with simskip.Collection.open(pathlib.Path(tempfile.mkdtemp()) / "items.db") as collection:
    ...     collection.add(["a", "b", "c"], np.array([[0.0, 1], [1, 1], [1, 3]]))
    ...     table = collection.knn_table(k=2, progress=False)
    >>> table
    NeighborTable(3 items, k=2, exact)
    >>> distances, keys = table.of("a")
    >>> keys
    ['c', 'b']
    """

    def __init__(
        self, ids: Ids, keys: list[str], distances: Distances, neighbors: Ids, revision: int, method: str
    ) -> None:
        self.ids, self.keys = ids, keys
        self.distances, self.neighbors = distances, neighbors
        self.revision, self.method = revision, method

    @property
    def k(self) -> int:
        """Neighbours per item."""
        return int(self.neighbors.shape[1])

    @property
    def nbytes(self) -> int:
        """Bytes that ids, neighbours and distances take."""
        return self.ids.nbytes + self.neighbors.nbytes + self.distances.nbytes

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, id: Any) -> bool:
        return self._row(id) is not None

    def __repr__(self) -> str:
        return f"NeighborTable({len(self):,} items, k={self.k}, {self.method})"

    def lookup(self, id: int) -> tuple[Distances, Ids]:
        """What is nearest to an item: one row of the table, found by bisection, not copied.

        Returns
        -------
        distances : (k,) float32
        ids : (k,) int64

        Raises
        ------
        ValueError
            If there is no such item.
        """
        row = self._row(id)
        if row is None:
            raise ValueError(f"id {id!r} is not in the table")
        return self.distances[row], self.neighbors[row]

    def of(self, key: str) -> tuple[Distances, list[str]]:
        """As ``lookup``, with keys, and without padding where there are fewer than k others."""
        row = self._rows_by_key.get(key)
        if row is None:
            raise ValueError(f"key {key!r} is not in the table")
        found = self.neighbors[row]
        found = found[found >= 0]
        return self.distances[row, : len(found)], [self.keys[i] for i in np.searchsorted(self.ids, found)]

    def _row(self, id: Any) -> int | None:
        row = int(self.ids.searchsorted(id))
        return row if row < len(self.ids) and self.ids[row] == id else None

    @cached_property
    def _rows_by_key(self) -> dict[str, int]:
        return {key: row for row, key in enumerate(self.keys)}
