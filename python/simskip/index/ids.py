"""Ids of the rows of an index, and the filters (``where=``) that choose among them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..validation import array_of, unique_ids

__all__ = [
    "FILTER_BLOCK",
    "Filter",
    "IdArray",
    "SortedIds",
    "Where",
    "WhereEach",
    "allowed_ids",
    "calls_back",
    "is_for_each_query",
    "needs_ids",
    "resolved",
    "resolved_for_each",
]

IdArray = npt.NDArray[np.int64]
Filter = IdArray | npt.NDArray[np.bool_]
Where = npt.ArrayLike | Callable[[IdArray], npt.ArrayLike] | None
WhereEach = Where | Sequence[Where]

# Ids that a callable filter sees at once: enough to make its NumPy calls cheap, little memory.
FILTER_BLOCK = 1 << 16


class SortedIds:
    """Ascending, distinct ids of ``n`` rows; ids that are 0 ... n - 1 take no memory. Immutable.

    Parameters
    ----------
    n : int
        Number of rows.
    values : (n,) int64 array, optional
        The ids; ``None`` for 0 ... n - 1.
    """

    __slots__ = ("n", "values")

    def __init__(self, n: int, values: IdArray | None = None) -> None:
        if values is not None and (n == 0 or values[-1] == n - 1):
            values = None  # ascending, distinct and non-negative: they are 0 ... n - 1
        self.n = n
        self.values = values

    def __len__(self) -> int:
        return self.n

    def __contains__(self, id: int) -> bool:
        return bool(self.found(np.array([id]))[0])

    def array(self) -> IdArray:
        """All ids, (n,) int64."""
        return np.arange(self.n) if self.values is None else self.values

    def found(self, ids: IdArray) -> npt.NDArray[np.bool_]:
        """Which of ``ids`` are here."""
        if self.values is None:
            return (ids >= 0) & (ids < self.n)
        places = np.minimum(np.searchsorted(self.values, ids), self.n - 1)
        return self.values[places] == ids

    def rows(self, ids: IdArray) -> IdArray:
        """The row of each id, all of which must be here; -1 stays -1."""
        if self.values is None:
            return ids
        return np.where(ids < 0, -1, np.searchsorted(self.values, ids))

    def require(self, ids: IdArray) -> None:
        """Raise ``ValueError`` unless all ``ids`` are here."""
        found = self.found(ids)
        if not found.all():
            raise ValueError(f"id {ids[~found][0]} is not in the index")


def needs_ids(where: Where) -> bool:
    """Whether ``allowed_ids`` will ask for the ids of the index: for masks and callables."""
    return callable(where) or (where is not None and array_of(where, "where").dtype == np.bool_)


def allowed_ids(where: Where, ids: Callable[[], IdArray]) -> IdArray | None:
    """What a filter lets through, ascending; ``None`` for no filter.

    Parameters
    ----------
    where : array of ids, boolean mask, callable, or None
        A mask has one entry for each row of the index, in ascending order of id. A callable gets blocks of
        ascending ids (int64 arrays) and returns a mask for each.
    ids : callable
        Gives the ids of the index, ascending; asked only when the filter needs them.
    """
    if where is None:
        return None
    if callable(where):
        present = ids()
        blocks = [present[i : i + FILTER_BLOCK] for i in range(0, len(present), FILTER_BLOCK)]
        passed = [block[_mask(where(block), len(block), "where(ids)")] for block in blocks]
        return np.concatenate(passed) if passed else present
    array = array_of(where, "where")
    if array.dtype == np.bool_:
        present = ids()
        return present[_mask(array, len(present), "where")]
    return np.sort(unique_ids(array, "where"))


def is_for_each_query(where: WhereEach) -> bool:
    """Whether ``where`` is a list of filters, one per query, rather than a list of ids or of booleans."""
    return isinstance(where, (list, tuple)) and any(
        one is None or callable(one) or isinstance(one, (list, tuple, np.ndarray, range)) for one in where
    )


def calls_back(where: WhereEach) -> bool:
    """Whether a callable is among the filters: it sees ids, which must not change before its answer is used."""
    return any(map(callable, where)) if is_for_each_query(where) else callable(where)  # type: ignore[arg-type]


def resolved(where: Where, blocks: Callable[[], Iterable[IdArray]], name: str = "where") -> Filter | None:
    """A filter as the native index takes it.

    Parameters
    ----------
    where : array of ids, boolean mask, callable, or None
        See ``allowed_ids``.
    blocks : callable
        Gives all ids of the index, ascending, in blocks; asked only for callables.

    Returns
    -------
    filter : (m,) int64, ascending; or (n,) bool in ascending order of id; or None
        Whether a mask is as long as the index, and whether ids are there, is left to the native index.
    """
    if where is None:
        return None
    if callable(where):
        masks = [_mask(where(block), len(block), f"{name}(ids)") for block in blocks()]
        return np.concatenate(masks) if masks else np.empty(0, np.bool_)
    array = array_of(where, name)
    if array.dtype == np.bool_ and array.ndim == 1:
        return np.ascontiguousarray(array)
    if array.dtype == np.int64 and array.ndim == 1 and array.size and array[0] >= 0 and (array[1:] > array[:-1]).all():
        return np.ascontiguousarray(array)  # as it should be: sorting it would take most of a search
    return np.sort(unique_ids(array, name))


def resolved_for_each(
    where: Sequence[Where], n_queries: int, blocks: Callable[[], Iterable[IdArray]]
) -> tuple[list[Filter], npt.NDArray[np.int32]]:
    """Filters for each query as the native index takes them: the distinct ones, and each query's place (-1: none)."""
    if len(where) != n_queries:
        raise ValueError(f"where must hold one filter for each of the {n_queries} queries, got {len(where)}")
    filters: list[Filter] = []
    places = np.full(n_queries, -1, np.int32)
    by_object: dict[int, int] = {}
    by_content: dict[tuple[str, int, bytes], int] = {}
    for query, one in enumerate(where):
        if one is None:
            continue
        place = by_object.get(id(one))
        if place is None:
            filter = resolved(one, blocks, f"where[{query}]")
            assert filter is not None
            content = (filter.dtype.char, len(filter), hashlib.blake2b(filter.data, digest_size=16).digest())
            place = by_content.setdefault(content, len(filters))
            if place == len(filters):
                filters.append(filter)
            by_object[id(one)] = place
        places[query] = place
    return filters, places


def _mask(value: Any, n: int, name: str) -> npt.NDArray[np.bool_]:
    mask = np.asarray(value)
    if mask.dtype != np.bool_ or mask.shape != (n,):
        raise ValueError(f"{name} must be a boolean mask of {n} entries, got {mask.dtype} {mask.shape}")
    return mask
