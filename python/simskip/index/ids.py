"""Ids of the rows of an index, and the filters (``where=``) that choose among them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..validation import array_of, unique_ids

__all__ = ["SortedIds", "Where", "allowed_ids", "needs_ids"]

IdArray = npt.NDArray[np.int64]
Where = npt.ArrayLike | Callable[[IdArray], npt.ArrayLike] | None

# Ids that a callable filter sees at once: enough to make its NumPy calls cheap, little memory.
_FILTER_BLOCK = 1 << 16


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
        blocks = [present[i : i + _FILTER_BLOCK] for i in range(0, len(present), _FILTER_BLOCK)]
        passed = [block[_mask(where(block), len(block), "where(ids)")] for block in blocks]
        return np.concatenate(passed) if passed else present
    array = array_of(where, "where")
    if array.dtype == np.bool_:
        present = ids()
        return present[_mask(array, len(present), "where")]
    return np.sort(unique_ids(array, "where"))


def _mask(value: Any, n: int, name: str) -> npt.NDArray[np.bool_]:
    mask = np.asarray(value)
    if mask.dtype != np.bool_ or mask.shape != (n,):
        raise ValueError(f"{name} must be a boolean mask of {n} entries, got {mask.dtype} {mask.shape}")
    return mask
