"""The items, cell after cell in memory, and exact search in some of the cells."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from .. import _core
from ..validation import FloatMatrix
from .cell_gate import Plan
from .class_cells import ClassCells

__all__ = ["CellScan"]

IntArray = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Found = tuple[npt.NDArray[np.float32], IntArray]

_PRODUCTS = 1 << 21  # products of queries and rows at once: 8 MiB


class CellScan:
    """Vectors in the order of their cells: an item's number there is its *place*. Immutable; threads may share it.

    Parameters
    ----------
    X : (n, d) float32 array
    ids : (n,) int64 array
    cells : ClassCells
    """

    def __init__(self, X: FloatMatrix, ids: IntArray, cells: ClassCells) -> None:
        self.cells = cells
        self.ids = np.ascontiguousarray(ids[cells.order])
        self.vectors = np.ascontiguousarray(X[cells.order])
        self._cell_of_place = np.repeat(np.arange(len(cells)), cells.sizes)
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

    def places_of(self, ids: IntArray) -> IntArray:
        """The place of each id; ``ValueError`` if one is not there."""
        at = np.minimum(np.searchsorted(self._sorted_ids, ids), len(self) - 1)
        strangers = self._sorted_ids[at] != ids
        if strangers.any():
            raise ValueError(f"id {ids[strangers][0]} is not in the search")
        return np.asarray(self._by_id[at])

    def cells_of(self, ids: IntArray) -> IntArray:
        """The cell of each id; ``ValueError`` if one is not there."""
        return np.asarray(self._cell_of_place[self.places_of(ids)])

    def nearest(self, X: FloatMatrix, plan: Plan, k: int, passed: Mask | None, threads: int) -> Found:
        """The k nearest items in each query's cells, of those whose place passes: (q, k) distances and ids.

        Queries are grouped by cell (and by class, where they read all its cells), so each is read once and multiplied
        with all its queries at once.
        """
        if passed is None and plan.rows.min(initial=len(self)) == len(self):
            return self.whole(X, k, threads)
        metric = self.cells.metric
        found = [_core.FloatTopK(X[i : i + 1], k, metric, self._longest, 1) for i in range(len(X))]
        for begin, end, asking in self._stretches(plan):
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

    def _stretches(self, plan: Plan) -> Iterator[tuple[int, int, IntArray]]:
        """(first place, last place + 1, queries): together what the plan says, each once."""
        cells, classes = self.cells, self.cells.classes
        queries = plan.queries
        read = np.zeros((len(plan.rows), int(classes[-1]) + 1), np.int64)
        np.add.at(read, (queries, classes[plan.cells]), 1)
        whole = read == np.bincount(classes, minlength=read.shape[1])
        for number in np.flatnonzero(whole.any(axis=0) & np.isin(np.arange(read.shape[1]), classes)).tolist():
            first, last = np.searchsorted(classes, [number, number + 1])
            yield int(cells.limits[first]), int(cells.limits[last]), np.flatnonzero(whole[:, number])
        single = ~whole[queries, classes[plan.cells]]
        asked, asking = plan.cells[single], queries[single]
        if not len(asked):
            return
        order = np.argsort(asked, kind="stable")
        numbers, starts = np.unique(asked[order], return_index=True)
        for number, together in zip(numbers.tolist(), np.split(asking[order], starts[1:]), strict=True):
            yield int(cells.limits[number]), int(cells.limits[number + 1]), together

    def whole(self, X: FloatMatrix, k: int, threads: int) -> Found:
        """The k nearest of all items."""
        search = _core.FloatTopK(X, k, self.cells.metric, self._longest, threads)
        step = max(1, _PRODUCTS // max(1, len(X)))
        for start in range(0, len(self), step):
            stop = min(len(self), start + step)
            search.add(X @ self.vectors[start:stop].T, None, start, self._norms[start:stop])
        return search.finish(self.vectors, self.ids, self._norms)

    def cells_of_nearest(self, X: FloatMatrix, k: int, threads: int, own_ids: IntArray | None = None) -> IntArray:
        """Where the k nearest of all items lie, (q, k) cells; of each query without the item ``own_ids``, if given."""
        if own_ids is None:
            return self.cells_of(self.whole(X, k, threads)[1])
        near = self.whole(X, k + 1, threads)[1]
        other = near != own_ids[:, None]
        other[other.all(axis=1), -1] = False  # its own is hidden behind as many duplicates
        return self.cells_of(near[other].reshape(len(X), k))

    def ids_of(self, plan: Plan, passed: Mask | None) -> list[IntArray]:
        """The ids that each query may find, ascending."""
        lists = []
        for i in range(len(plan.rows)):
            cells = np.sort(plan.cells[plan.limits[i] : plan.limits[i + 1]])
            parts = [np.arange(self.cells.limits[cell], self.cells.limits[cell + 1]) for cell in cells]
            places = np.concatenate([*parts, np.empty(0, np.int64)])
            lists.append(np.sort(self.ids[places if passed is None else places[passed[places]]]))
        return lists

    def reranked(self, X: FloatMatrix, candidates: IntArray, k: int, threads: int) -> Found:
        """Order (q, c) candidate ids (-1: none) by the metric and keep k."""
        places = np.full(candidates.shape, -1, np.int64)
        given = candidates >= 0
        places[given] = self.places_of(candidates[given])
        return _core.rerank(self.vectors, self.ids, self._norms, X, places, k, self.cells.metric, threads)
