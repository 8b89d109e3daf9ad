"""The items, cell after cell in memory, and exact search in some of the cells."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .. import _core
from ..validation import FloatMatrix
from .cell_gate import Plan
from .class_cells import ClassCells

__all__ = ["CellScan"]

IdArray = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Found = tuple[npt.NDArray[np.float32], IdArray]

_PRODUCTS = 1 << 21  # products of queries and rows at once: 8 MiB


class CellScan:
    """Vectors in the order of their cells. Immutable; several threads may search at once.

    A *row* is an item's number as given, a *place* its number in the order of cells.

    Parameters
    ----------
    X : (n, d) float32 array
    ids : (n,) int64 array
    cells : ClassCells
    """

    def __init__(self, X: FloatMatrix, ids: IdArray, cells: ClassCells) -> None:
        self.cells = cells
        self.ids = np.ascontiguousarray(ids[cells.order])
        self.vectors = np.ascontiguousarray(X[cells.order])
        self.place_of_row = np.empty(len(ids), np.int64)
        self.place_of_row[cells.order] = np.arange(len(ids))
        self._norms = _core.row_norms(self.vectors)
        self._longest = float(self._norms.max())
        self._by_id = np.argsort(self.ids)
        self._sorted_ids = self.ids[self._by_id]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dim(self) -> int:
        """Columns."""
        return int(self.vectors.shape[1])

    def places_of(self, ids: IdArray) -> IdArray:
        """The place of each id; ``ValueError`` if one is not there."""
        at = np.minimum(np.searchsorted(self._sorted_ids, ids), len(self) - 1)
        strangers = self._sorted_ids[at] != ids
        if strangers.any():
            raise ValueError(f"id {ids[strangers][0]} is not in the search")
        return np.asarray(self._by_id[at])

    def rows_of(self, ids: IdArray) -> IdArray:
        """The row of each id; ``ValueError`` if one is not there."""
        return self.cells.order[self.places_of(ids)]

    def nearest(self, X: FloatMatrix, plan: Plan, k: int, passed: Mask | None, threads: int) -> Found:
        """The k nearest rows in each query's cells, of those whose place passes: (q, k) distances and ids.

        Queries are grouped by cell, so each cell is read once and multiplied with all its queries at once.
        """
        if passed is None and plan.rows.min(initial=len(self)) == len(self):
            return self._whole(X, k, self.ids, threads)
        metric = self.cells.metric
        found = [_core.FloatTopK(X[i : i + 1], k, metric, self._longest, 1) for i in range(len(X))]
        queries = plan.queries
        order = np.argsort(plan.cells, kind="stable")
        cells, first = np.unique(plan.cells[order], return_index=True)
        for cell, asking in zip(cells.tolist(), np.split(queries[order], first[1:]), strict=True):
            begin, end = self.cells.limits[cell : cell + 2].tolist()
            together = X[asking]
            step = max(1, _PRODUCTS // len(asking))
            for start in range(begin, end, step):
                stop = min(end, start + step)
                places, rows, norms = None, self.vectors[start:stop], self._norms[start:stop]
                if passed is not None:
                    places = start + np.flatnonzero(passed[start:stop])
                    if not len(places):
                        continue
                    if len(places) < len(rows):
                        rows, norms = self.vectors[places], self._norms[places]
                products = together @ rows.T
                for i, query in enumerate(asking.tolist()):
                    found[query].add(products[i : i + 1], places, start, norms)
        answers = [one.finish(self.vectors, self.ids, self._norms) for one in found]
        return np.concatenate([one[0] for one in answers]), np.concatenate([one[1] for one in answers])

    def exact_rows(self, X: FloatMatrix, k: int, threads: int) -> IdArray:
        """The k nearest of all items, (q, k) rows; k at most their number."""
        return self.cells.order[self.places_of(self._whole(X, k, self.ids, threads)[1])]

    def _whole(self, X: FloatMatrix, k: int, ids: IdArray, threads: int) -> Found:
        search = _core.FloatTopK(X, k, self.cells.metric, self._longest, threads)
        step = max(1, _PRODUCTS // max(1, len(X)))
        for start in range(0, len(self), step):
            stop = min(len(self), start + step)
            search.add(X @ self.vectors[start:stop].T, None, start, self._norms[start:stop])
        return search.finish(self.vectors, ids, self._norms)

    def ids_of(self, plan: Plan, passed: Mask | None) -> list[IdArray]:
        """The ids that each query may find, ascending."""
        lists = []
        for i in range(len(plan.rows)):
            cells = np.sort(plan.cells[plan.limits[i] : plan.limits[i + 1]])
            parts = [np.arange(self.cells.limits[cell], self.cells.limits[cell + 1]) for cell in cells]
            places = np.concatenate([*parts, np.empty(0, np.int64)])
            lists.append(np.sort(self.ids[places if passed is None else places[passed[places]]]))
        return lists

    def reranked(self, X: FloatMatrix, candidates: IdArray, k: int, threads: int) -> Found:
        """Order (q, c) candidate ids (-1: none) by the metric and keep k."""
        places = np.full(candidates.shape, -1, np.int64)
        given = candidates >= 0
        places[given] = self.places_of(candidates[given])
        return _core.rerank(self.vectors, self.ids, self._norms, X, places, k, self.cells.metric, threads)
