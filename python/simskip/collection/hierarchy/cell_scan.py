"""The items, cell after cell in memory, and exact search in some of the cells."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ... import _core
from ...validation import FloatMatrix
from .cell_gate import Plan
from .class_cells import ClassCells

__all__ = ["CellScan"]

IntArray = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Found = tuple[npt.NDArray[np.float32], IntArray]

_PRODUCTS = 1 << 21  # products of queries and rows at once: 8 MiB
_ROWS_PER_CALL = 1500  # that FloatTopK passes over in the time that a call of it takes


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

        Each cell is read once and multiplied with all queries that ask for it; neighbouring cells that the same
        queries ask for are read as one.
        """
        if passed is None and plan.rows.min(initial=len(self)) == len(self):
            return self.whole(X, k, threads)
        asked = np.zeros((len(X), len(self.cells)), bool)
        asked[plan.queries, plan.cells] = True
        stretches = _stretches(asked)
        together = self._together(asked, stretches)
        metric, longest = self.cells.metric, self._longest
        groups = [X] if together else [X[i : i + 1] for i in range(len(X))]
        searches = [_core.FloatTopK(group, k, metric, longest, threads if together else 1) for group in groups]
        step = max(1, _PRODUCTS // max(1, len(X)))
        for first, last in stretches:
            asking = np.flatnonzero(asked[:, first])
            begin, end = int(self.cells.limits[first]), int(self.cells.limits[last])
            for start in range(begin, end, step):
                stop = min(end, start + step)
                places, rows, norms = None, self.vectors[start:stop], self._norms[start:stop]
                if passed is not None:
                    places = start + np.flatnonzero(passed[start:stop])
                    if not len(places):
                        continue
                    if len(places) < len(rows):
                        rows, norms = self.vectors[places], self._norms[places]
                products = X[asking] @ rows.T
                if together:
                    # NaN is not nearer than anything, so FloatTopK passes over it: others do not ask for these rows.
                    everyone = np.full((len(X), len(rows)), np.nan, np.float32)
                    everyone[asking] = products
                    searches[0].add(everyone, places, start, norms)
                else:
                    for i, query in enumerate(asking.tolist()):
                        searches[query].add(products[i : i + 1], places, start, norms)
        found = [search.finish(self.vectors, self.ids, self._norms) for search in searches]
        return np.concatenate([one[0] for one in found]), np.concatenate([one[1] for one in found])

    def _together(self, asked: Mask, stretches: list[tuple[int, int]]) -> bool:
        """Whether one search of all queries, which looks at all rows that any of them asks for, is the cheaper way."""
        looked_at = sum(int(self.cells.limits[last] - self.cells.limits[first]) for first, last in stretches)
        calls = sum(int(np.count_nonzero(asked[:, first])) for first, _ in stretches)
        return looked_at * len(asked) <= _ROWS_PER_CALL * calls

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


def _stretches(asked: Mask) -> list[tuple[int, int]]:
    """(first cell, last cell + 1) of neighbouring cells that the same queries (one or more) ask for."""
    used = np.flatnonzero(asked.any(axis=0))
    if not len(used):
        return []
    columns = asked[:, used]
    breaks = (np.diff(used) > 1) | (columns[:, 1:] != columns[:, :-1]).any(axis=0)
    ends = np.append(np.flatnonzero(breaks), len(used) - 1)
    starts = np.append(0, ends[:-1] + 1)
    return list(zip(used[starts].tolist(), (used[ends] + 1).tolist(), strict=True))
