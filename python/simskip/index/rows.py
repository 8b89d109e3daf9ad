"""What a vector index holds: rows with their ids and lengths, as states that never change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .ids import IdArray, SortedIds

__all__ = ["Appender", "Rows", "StoredMatrix", "removed"]

StoredMatrix = npt.NDArray[np.float32] | npt.NDArray[np.float16]


@dataclass(frozen=True)
class Rows:
    """One state of an index; searches take one and are not disturbed by later changes."""

    ids: SortedIds
    vectors: StoredMatrix  # (n, dim), rows in ascending order of id
    norms: npt.NDArray[np.float64]
    next_id: int

    def bits(self) -> npt.NDArray[Any]:
        """The vectors as the core takes them: float32, or the bits of float16."""
        return self.vectors if self.vectors.dtype == np.float32 else self.vectors.view(np.uint16)


def removed(rows: Rows, ids: IdArray) -> Rows:
    """A new state without these ids, all of which must be there."""
    if len(ids) == 0:
        return rows
    rows.ids.require(ids)
    kept = np.ones(len(rows.ids), bool)
    kept[rows.ids.rows(ids)] = False
    left = rows.ids.array()[kept]
    return Rows(SortedIds(len(left), left), rows.vectors[kept], rows.norms[kept], rows.next_id)


class Appender:
    """Joins arrays in a buffer with room, so that appending costs O(rows appended), amortised."""

    def __init__(self) -> None:
        self._buffer = np.empty(0)
        self._last: npt.NDArray[Any] | None = None

    def join(self, array: npt.NDArray[Any], more: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """``array`` followed by ``more``. Older results stay as they are: they see only their own rows."""
        n, total = len(array), len(array) + len(more)
        if array is not self._last or total > len(self._buffer):
            # Something else stands (or may stand) behind `array`, or there is no room.
            self._buffer = np.empty((max(total, n + n // 2), *array.shape[1:]), array.dtype)
            self._buffer[:n] = array
        self._buffer[n:total] = more
        self._last = self._buffer[:total]
        return self._last
