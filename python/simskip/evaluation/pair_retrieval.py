"""How well one side of a pair finds the other: Recall@k and reciprocal rank, exact over ties.

Captions find pictures and pictures find captions: each query has a partner among the items, and what counts is how
soon it comes. Codes put many items at one distance, so the rank of the first relevant item is a random variable: the
figures here are its expectations over all orders of items at equal distance (McSherry and Najork, ECIR 2008, do the
same for other measures). If t items tie, r of them relevant, after b items, and the first k - b = s places of the tie
are inside the list (0 <= s <= t), then

    P(a relevant item among the first k)  =  1 - C(t - r, s) / C(t, s)
    E[1 / rank of the first relevant one] =  sum over x of C(t - x, r - 1) / C(t, r) / (b + x)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..codes import Codes, require_codes, unpack
from ..validation import array_of, matrix, positive_int
from .scores import Score
from .ties import Harmonic

__all__ = ["pair_figures", "pair_retrieval"]

IntArray = npt.NDArray[np.int64]
BoolMatrix = npt.NDArray[np.bool_]

# Distances of one block of queries: 2**21 take 16 MiB at most.
_BLOCK_VALUES = 1 << 21


def pair_retrieval(
    queries: Codes | npt.ArrayLike | None = None,
    codes: Codes | None = None,
    *,
    distances: npt.ArrayLike | None = None,
    k: Sequence[int] = (1, 10, 25),
    query_items: npt.ArrayLike | None = None,
    items: npt.ArrayLike | None = None,
) -> dict[str, Score]:
    """Recall@k and mean reciprocal rank of the partners: row i of the queries belongs to row i of the items.

    Parameters
    ----------
    queries : Codes or (n, n_bits) float array
        Codes rank by Hamming distance; a hasher's real outputs (``project``) by the asymmetric distance, the sum of
        ``|output|`` over the bits that differ.
    codes : Codes
        n of them.
    distances : (n, n) array
        Instead of both: any distances, row i those of query i, smaller is nearer (negate similarities).
    k : sequence of int
        Lengths of the list.
    query_items, items : (n,) arrays of int or str, optional
        What each row shows. Rows with the same entry are partners of each other's partners, too: five captions of one
        photograph are all right for it. Default: every row shows something of its own.

    Returns
    -------
    dict of str to Score
        ``"recall@K"`` for each K: share of queries with a partner among the first K. ``"mrr"``: mean of one over the
        rank of the first partner. Expected values over ties; per query in ``.values``.

    Raises
    ------
    ValueError
        If neither or both of codes and distances are given, sizes do not fit, or distances hold NaN.

    Notes
    -----
    Chance is K / n where every row has one partner; the mean reciprocal rank of chance is about ln(n) / n. The
    direction matters: call it again with the sides exchanged.

    Examples
    --------
    >>> import numpy as np, simskip
    >>> photos = simskip.pack(np.array([[1, 1], [0, 0], [0, 1]], bool))
    >>> words = simskip.pack(np.array([[1, 1], [0, 1], [0, 1]], bool))
    >>> found = simskip.metrics.pair_retrieval(words, photos, k=(1, 2))
    >>> {name: round(score + 0, 3) for name, score in found.items()}
    {'recall@1': 0.667, 'recall@2': 0.833, 'mrr': 0.806}
    """
    if distances is not None:
        if codes is not None or queries is not None:
            raise ValueError("distances must not be given together with queries or codes")
        distance_rows, n = _given_distances(distances)
    elif codes is None or queries is None:
        raise ValueError("queries and codes (or distances) must be given")
    else:
        distance_rows, n = _code_distances(queries, require_codes(codes, "codes"))
    if n == 0:
        raise ValueError("there must be at least one pair, got 0")
    lengths = [positive_int(length, "k") for length in k]
    shown = _numbers(query_items, "query_items", n), _numbers(items, "items", n)
    parts = []
    step = max(1, _BLOCK_VALUES // n)
    for start in range(0, n, step):
        rows = slice(start, min(n, start + step))
        parts.append(_first_partners(distance_rows(rows), partners(*shown, rows)))
    before, tied, right = (np.concatenate(part) for part in zip(*parts, strict=True))
    return _figures(before, tied, right, lengths, n)


def _given_distances(distances: npt.ArrayLike) -> tuple[Callable[[slice], npt.NDArray[Any]], int]:
    given = np.asarray(distances)
    if given.ndim != 2 or given.shape[0] != given.shape[1] or given.dtype.kind not in "fiub":
        raise ValueError(f"distances must be numbers of shape (n, n), got {given.dtype} {given.shape}")
    if given.dtype.kind == "f" and np.isnan(given).any():
        raise ValueError("distances must not hold NaN")
    return given.__getitem__, len(given)


def _code_distances(queries: Codes | npt.ArrayLike, codes: Codes) -> tuple[Callable[[slice], npt.NDArray[Any]], int]:
    """What gives a block of distances, and the number of pairs."""
    if isinstance(queries, Codes):
        words = require_codes(queries, "queries", codes.n_bits).to("uint64"), codes.to("uint64")

        def hamming(rows: slice) -> npt.NDArray[Any]:
            block = np.zeros((len(words[0][rows]), len(codes)), np.int32)
            for query, word in zip(words[0][rows].T, words[1].T, strict=True):
                block += np.bitwise_count(query[:, None] ^ word)
            return block

        found: Callable[[slice], npt.NDArray[Any]] = hamming
    else:
        outputs = matrix(queries, "queries", dim=codes.n_bits).astype(np.float64)
        signs = unpack(codes).T.astype(np.float64) * 2 - 1

        def asymmetric(rows: slice) -> npt.NDArray[Any]:
            # Rounded, so that equal codes are at equal distances in whatever order a product was summed.
            block = outputs[rows]
            return np.round(np.abs(block).sum(axis=1, keepdims=True) - block @ signs, 9)

        found = asymmetric
    if len(queries) != len(codes):  # type: ignore[arg-type]
        raise ValueError(f"queries must hold one row for each of the {len(codes)} codes, got {len(queries)}")  # type: ignore[arg-type]
    return found, len(codes)


def pair_figures(distances: npt.NDArray[Any], relevant: BoolMatrix, k: Sequence[int]) -> dict[str, Score]:
    """``pair_retrieval`` for (q, n) distances without NaN and which of the items are right for each query."""
    return _figures(*_first_partners(distances, relevant), k, distances.shape[1])


def partners(query_items: IntArray, items: IntArray, rows: slice = slice(None)) -> BoolMatrix:
    """(q, n): which items are right for the queries ``rows``, from the numbers of what all rows show."""
    return (query_items[rows, None] == query_items) | (items[rows, None] == items)


def _numbers(value: npt.ArrayLike | None, name: str, n: int) -> IntArray:
    if value is None:
        return np.arange(n)
    array = array_of(value, name)
    if array.shape != (n,) or array.dtype.kind not in "iubUSO":
        raise ValueError(f"{name} must be {n} integers or strings, got {array.dtype} of shape {array.shape}")
    return np.unique(array, return_inverse=True)[1].reshape(-1)


def _first_partners(distances: npt.NDArray[Any], relevant: BoolMatrix) -> tuple[IntArray, IntArray, IntArray]:
    """Per query: items nearer than its first relevant one, items at that distance, and how many of them are right."""
    own = np.where(relevant, distances, distances.max(axis=1, keepdims=True)).min(axis=1, keepdims=True)
    at = distances == own
    return (distances < own).sum(axis=1), at.sum(axis=1), (at & relevant).sum(axis=1)


def _figures(before: IntArray, tied: IntArray, right: IntArray, k: Sequence[int], n: int) -> dict[str, Score]:
    log_factorial = np.zeros(n + 1)
    np.cumsum(np.log(np.arange(1, n + 1)), out=log_factorial[1:])

    def log_choose(a: IntArray, b: IntArray) -> npt.NDArray[np.float64]:
        return np.asarray(log_factorial[a] - log_factorial[b] - log_factorial[a - b])

    figures = {}
    for length in k:
        inside = np.clip(length - before, 0, tied)
        possible = inside <= tied - right  # to hold none of the right ones
        places = np.where(possible, inside, 0)
        missed = np.exp(log_choose(tied - right, places) - log_choose(tied, places))
        figures[f"recall@{length}"] = Score(np.where(possible, 1.0 - missed, 1.0))
    # One right item in the tie stands at each of its places with the same probability.
    reciprocal = Harmonic(n).between(before, tied) / tied
    for i in np.flatnonzero(right > 1):
        b, t, r = before[i], tied[i], right[i]
        x = np.arange(1, t - r + 2)
        reciprocal[i] = (np.exp(log_choose(t - x, np.full_like(x, r - 1)) - log_choose(t, r)) / (b + x)).sum()
    figures["mrr"] = Score(reciprocal)
    return figures
