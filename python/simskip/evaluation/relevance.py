"""Which database rows are relevant to a query, from class labels or from several labels per item."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..validation import labels as one_label_each

__all__ = ["Relevance"]

BoolVector = npt.NDArray[np.bool_]


class Relevance:
    """Relevance of database rows to queries.

    With one label per item a row is relevant if the labels are equal; with several labels per item if the two
    share at least one.

    Parameters
    ----------
    query_labels, labels : (q,) and (n,) arrays, or (q, c) and (n, c) arrays
        One-dimensional: one label each (integers or strings). Two-dimensional: indicators, row i has label j
        where the value is true (or non-zero).

    Raises
    ------
    ValueError
        If the two are not of the same kind, or the number of label columns differs.
    """

    def __init__(
        self,
        query_labels: npt.ArrayLike,
        labels: npt.ArrayLike,
        *,
        n_queries: int | None = None,
        n_items: int | None = None,
    ) -> None:
        of_queries, of_items = np.asarray(query_labels), np.asarray(labels)
        if of_queries.ndim != of_items.ndim:
            raise ValueError(
                "query_labels and labels must both be one-dimensional (one label each) or both"
                f" two-dimensional (indicators), got shapes {of_queries.shape} and {of_items.shape}"
            )
        expected_queries = len(of_queries) if n_queries is None and of_queries.ndim else n_queries
        expected_items = len(of_items) if n_items is None and of_items.ndim else n_items
        self.multi_label = of_queries.ndim == 2
        if self.multi_label:
            self._queries = _indicators(of_queries, "query_labels", expected_queries)
            self._items = _indicators(of_items, "labels", expected_items)
            if self._queries.shape[1] != self._items.shape[1]:
                raise ValueError(
                    f"query_labels must have the {self._items.shape[1]} columns of labels, got {self._queries.shape[1]}"
                )
        else:
            of_queries = one_label_each(of_queries, "query_labels", expected_queries or 0)
            of_items = one_label_each(of_items, "labels", expected_items or 0)
            self._queries, self._items = _as_integers(of_queries, of_items)

    @property
    def n_queries(self) -> int:
        """Number of queries."""
        return len(self._queries)

    @property
    def n_items(self) -> int:
        """Number of database rows."""
        return len(self._items)

    def row(self, query: int) -> BoolVector:
        """Relevance of every database row to one query, (n,) bool."""
        if self.multi_label:
            return (self._items @ self._queries[query]) > 0
        return np.asarray(self._items == self._queries[query])

    def of(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Relevance of given rows: (q, k) row numbers, -1 for none -> (q, k) bool."""
        present = ids >= 0
        rows = np.where(present, ids, 0)
        if self.multi_label:
            shared = [self._items[row] @ label for row, label in zip(rows, self._queries, strict=True)]
            return (np.array(shared).reshape(ids.shape) > 0) & present
        return np.asarray((self._items[rows] == self._queries[:, None]) & present)


def _indicators(array: npt.NDArray[Any], name: str, n: int | None) -> npt.NDArray[np.float32]:
    if array.dtype.kind not in "biuf" or not np.isfinite(array).all() or (array.size and array.min() < 0):
        raise ValueError(f"{name} must be indicators (booleans or numbers >= 0), got dtype {array.dtype}")
    if len(array) != n:
        raise ValueError(f"{name} must hold one row for each of the {n} rows, got shape {array.shape}")
    return np.ascontiguousarray(array > 0, dtype=np.float32)


def _as_integers(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Both as small integers that are equal where the labels are: comparing those is quick."""
    numbers = [array.dtype.kind in "iub" for array in (first, second)]
    if numbers[0] != numbers[1]:
        raise ValueError(f"query_labels and labels must be of one type, got {first.dtype} and {second.dtype}")
    try:
        _, inverse = np.unique(np.concatenate([first, second]), return_inverse=True)
    except TypeError as error:
        raise ValueError(f"labels must be of one type that can be compared ({error})") from None
    inverse = inverse.astype(np.int32)
    return inverse[: len(first)], inverse[len(first) :]
