"""Retrieval metrics over queries (``simskip.metrics``): recall, precision, mean average precision."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..codes import Codes, require_codes
from ..hashing.health import CodeHealth, code_health, computation_ratio, coverage
from ..validation import choice, positive_int
from .pair_retrieval import pair_retrieval
from .relevance import Relevance
from .scores import Score, bootstrap_interval
from .ties import TIES, Harmonic, average_precision

__all__ = [
    "CodeHealth",
    "Score",
    "bootstrap_interval",
    "code_health",
    "computation_ratio",
    "coverage",
    "mean_average_precision",
    "pair_retrieval",
    "precision_at_k",
    "recall_at_k",
]

IntArray = npt.NDArray[np.int64]


def recall_at_k(
    found_ids: npt.ArrayLike,
    exact_ids: npt.ArrayLike,
    k: int | None = None,
    *,
    found_distances: npt.ArrayLike | None = None,
    exact_distances: npt.ArrayLike | None = None,
    descending: bool = False,
    tolerance: float = 0.0,
) -> Score:
    """Share of the exact k nearest that are among the first k found.

    The order inside the first k does not matter. Ids are compared as they are: where several items lie at the
    k-th exact distance, the exact list holds those with the smallest ids (simskip's total order), and another
    item at the very same distance counts as a miss. Pass both distances to count it as a hit instead.

    Parameters
    ----------
    found_ids, exact_ids : (q, >= k) integer arrays
        One row per query, nearest first; -1 where there was nothing to return. The share is of the exact
        ids that are there; a query without any has NaN.
    k : int, optional
        Default: all columns of ``exact_ids``.
    found_distances, exact_distances : (q, >= k) arrays, optional
        Both or none. *Exact* distances (of the metric that made ``exact_ids``) of the found and of the exact
        items: then a found item is a hit if it is no farther than the k-th exact one.
    descending : bool
        The distances are similarities: larger is nearer.
    tolerance : float
        Distances this much beyond the k-th exact one still count (for rounding).

    Returns
    -------
    Score
        The mean; per query in ``.values``.

    Raises
    ------
    ValueError
        For fewer than k columns, different numbers of queries, ids below -1, an id twice in a row, or only
        one of the two distances.

    Examples
    --------
    >>> import simskip
    >>> simskip.metrics.recall_at_k([[3, 1, 7], [2, -1, -1]], [[1, 3, 5], [2, 4, 6]]).values.round(2).tolist()
    [0.67, 0.33]
    """
    exact = _id_lists(exact_ids, "exact_ids")
    k = exact.shape[1] if k is None else positive_int(k, "k")
    found = _id_lists(found_ids, "found_ids")
    if len(found) != len(exact):
        raise ValueError(f"found_ids must have one row per query ({len(exact)}), got {len(found)}")
    for array, name in ((found, "found_ids"), (exact, "exact_ids")):
        if array.shape[1] < k:
            raise ValueError(f"{name} must have at least k = {k} columns, got {array.shape[1]}")
    found, exact = found[:, :k], exact[:, :k]
    if (found_distances is None) != (exact_distances is None):
        raise ValueError("found_distances and exact_distances must be given together")
    _refuse_repeats(exact, "exact_ids")
    _refuse_repeats(found, "found_ids")
    wanted = (exact >= 0).sum(axis=1)
    if found_distances is None or exact_distances is None:
        hits = _members(exact, found).sum(axis=1)
    else:
        near = _distance_lists(found_distances, "found_distances", found.shape, k)
        far = _distance_lists(exact_distances, "exact_distances", exact.shape, k)
        if descending:
            near, far = -near, -far
        last = np.where(exact >= 0, far, -np.inf).max(axis=1, keepdims=True)
        hits = np.minimum(((near <= last + tolerance) & (found >= 0)).sum(axis=1), wanted)
    return Score(np.divide(hits, wanted, out=np.full(len(wanted), np.nan), where=wanted > 0))


def precision_at_k(
    found_ids: npt.ArrayLike, query_labels: npt.ArrayLike, labels: npt.ArrayLike, k: int | None = None
) -> Score:
    """Share of the first k found items that are relevant.

    Parameters
    ----------
    found_ids : (q, >= k) integer array
        Row numbers of the database, nearest first; -1 (nothing found) counts as not relevant.
    query_labels, labels : (q,) and (n,) arrays, or (q, c) and (n, c) arrays
        One label each (relevant if equal), or indicators of several (relevant if one is shared).
    k : int, optional
        Default: all columns.

    Returns
    -------
    Score
        The mean; per query in ``.values``.

    Raises
    ------
    ValueError
        For fewer than k columns, ids outside the database, or labels that do not fit.

    Examples
    --------
    >>> import simskip
    >>> float(simskip.metrics.precision_at_k([[0, 2], [1, -1]], ["a", "b"], ["a", "b", "b"]))
    0.5
    """
    found = _id_lists(found_ids, "found_ids")
    k = found.shape[1] if k is None else positive_int(k, "k")
    if found.shape[1] < k:
        raise ValueError(f"found_ids must have at least k = {k} columns, got {found.shape[1]}")
    relevance = Relevance(query_labels, labels, n_queries=len(found))
    if found.size and found.max() >= relevance.n_items:
        raise ValueError(f"found_ids must be rows of the {relevance.n_items} labels, got {found.max()}")
    return Score(relevance.of(found[:, :k]).mean(axis=1))


def mean_average_precision(
    query_labels: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    query_codes: Codes | None = None,
    codes: Codes | None = None,
    distances: npt.ArrayLike | None = None,
    ties: str = "expected",
    k: int | None = None,
) -> Score:
    """Mean average precision of the ranking of the whole database, exact over ties.

    Average precision is the mean, over the relevant items, of the precision at their ranks. Codes put many
    items at one distance; ``ties`` says how those are ordered. The expected value needs no sampling: see
    ``simskip.evaluation.ties`` (McSherry and Najork 2008).

    Parameters
    ----------
    query_labels, labels : (q,) and (n,) arrays, or (q, c) and (n, c) arrays
        One label each (relevant if equal), or indicators of several (relevant if one is shared).
    query_codes, codes : Codes of q and of n items
        Ranked by Hamming distance.
    distances : (q, n) array
        Instead of codes: any distances, smaller is nearer (negate similarities).
    ties : {"expected", "best", "worst"}
        Mean over all orders of items at equal distance; or relevant items first; or relevant items last.
    k : int, optional
        Count the first k ranks only and divide by min(k, relevant items): "mAP@k". Default: all.

    Returns
    -------
    Score
        The mean over queries that have a relevant item (the others are NaN in ``.values``).

    Raises
    ------
    ValueError
        If neither or both of codes and distances are given, sizes do not fit, or distances hold NaN.

    Notes
    -----
    Memory beyond the input is O(n + c n). 1,000 queries against 60,000 items of 64 bits take about a second.

    Examples
    --------
    >>> import numpy as np, simskip
    >>> codes = simskip.pack(np.array([[1, 1], [1, 1], [0, 0]], bool))
    >>> query = simskip.pack(np.array([[1, 1]], bool))
    >>> mean_ap = simskip.metrics.mean_average_precision
    >>> [float(mean_ap([0], [0, 1, 1], query_codes=query, codes=codes, ties=ties))
    ...  for ties in ("worst", "expected", "best")]
    [0.5, 0.75, 1.0]
    """
    choice(ties, "ties", TIES)
    k = None if k is None else positive_int(k, "k")
    groups: Iterator[tuple[IntArray, IntArray, IntArray]]
    if distances is not None:
        if codes is not None or query_codes is not None:
            raise ValueError("distances must not be given together with codes or query_codes")
        matrix = np.asarray(distances)
        if matrix.ndim != 2 or matrix.dtype.kind not in "fiub":
            raise ValueError(f"distances must be numbers of shape (q, n), got {matrix.dtype} {matrix.shape}")
        if matrix.dtype.kind == "f" and np.isnan(matrix).any():
            raise ValueError("distances must not hold NaN")
        relevance = Relevance(query_labels, labels, n_queries=matrix.shape[0], n_items=matrix.shape[1])
        groups = _groups_of_distances(matrix, relevance)
    else:
        if codes is None or query_codes is None:
            raise ValueError("codes and query_codes (or distances) must be given")
        codes = require_codes(codes, "codes")
        query_codes = require_codes(query_codes, "query_codes", codes.n_bits)
        relevance = Relevance(query_labels, labels, n_queries=len(query_codes), n_items=len(codes))
        groups = _groups_of_codes(query_codes, codes, relevance)
    harmonic = Harmonic(relevance.n_items)
    return Score([average_precision(*group, harmonic, ties=ties, k=k) for group in groups])


def _groups_of_codes(queries: Codes, codes: Codes, relevance: Relevance) -> Iterator[tuple[Any, Any, Any]]:
    words = np.ascontiguousarray(codes.to("uint64").T)  # word by word: each pass reads one contiguous array
    n_groups = codes.n_bits + 1
    distance = np.empty(len(codes), np.int64)
    for i, query in enumerate(queries.to("uint64")):
        distance[:] = np.bitwise_count(words[0] ^ query[0])
        for word, part in zip(words[1:], query[1:], strict=True):
            distance += np.bitwise_count(word ^ part)
        sizes = np.bincount(distance, minlength=n_groups)
        relevant = np.bincount(distance[relevance.row(i)], minlength=n_groups)
        held = sizes > 0
        yield sizes[held], relevant[held], (np.cumsum(sizes) - sizes)[held]


def _groups_of_distances(distances: npt.NDArray[Any], relevance: Relevance) -> Iterator[tuple[Any, Any, Any]]:
    for i, row in enumerate(distances):
        ranked = np.sort(row)
        values, relevant = np.unique(row[relevance.row(i)], return_counts=True)
        before = np.searchsorted(ranked, values, side="left")
        yield np.searchsorted(ranked, values, side="right") - before, relevant, before


def _id_lists(value: npt.ArrayLike, name: str) -> IntArray:
    array = np.asarray(value)
    if array.ndim != 2 or array.dtype.kind not in "iu":
        raise ValueError(f"{name} must be integers of shape (q, k), got {array.dtype} {array.shape}")
    if array.shape[0] < 1 or array.shape[1] < 1:
        raise ValueError(f"{name} must have at least one row and one column, got shape {array.shape}")
    array = array.astype(np.int64, copy=False)
    if array.min() < -1:
        raise ValueError(f"{name} must be ids >= 0, or -1 for none, got {array.min()}")
    return array


def _distance_lists(value: npt.ArrayLike, name: str, shape: tuple[int, ...], k: int) -> npt.NDArray[np.float64]:
    array = np.asarray(value, dtype=np.float64)
    if array.ndim != 2 or array.shape[0] != shape[0] or array.shape[1] < k:
        raise ValueError(f"{name} must have shape ({shape[0]}, >= {k}), got {array.shape}")
    if np.isnan(array).any():
        raise ValueError(f"{name} must not hold NaN")
    return array[:, :k]


def _refuse_repeats(ids: IntArray, name: str) -> None:
    ordered = np.sort(ids, axis=1)
    repeated = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
    if repeated.any():
        row, column = np.argwhere(repeated)[0]
        raise ValueError(f"{name} must not repeat an id in a row, got {ordered[row, column + 1]} twice in row {row}")


def _members(ids: IntArray, others: IntArray) -> npt.NDArray[np.bool_]:
    """Where ``ids[i, j]`` is one of ``others[i]`` and not -1, row by row, without a loop over rows."""
    # Small numbers for ids first: row * count + number cannot overflow, whatever the ids are.
    values, numbers = np.unique(np.concatenate([ids.ravel(), others.ravel()]), return_inverse=True)
    rows = np.arange(len(ids)) * len(values)
    wanted = numbers[: ids.size].reshape(ids.shape) + rows[:, None]
    present = numbers[ids.size :].reshape(others.shape) + rows[:, None]
    return np.asarray(np.isin(wanted, present) & (ids >= 0))
