"""Average precision of rankings with ties, in closed form over each group of equal distances.

Items at equal distance have no order of their own. Sorting them by chance (or by row number) makes average
precision depend on it: with 12-bit codes the same search scores .67 or .81. McSherry and Najork ("Computing
information retrieval performance measures efficiently in the presence of tied scores", ECIR 2008) average
over all orders instead. For a group of n tied items, r of them relevant, after N items of which R are
relevant, the group adds to the sum of precisions at relevant ranks, in expectation,

    sum_{i=1..n} (r/n) * (R + 1 + (i-1) (r-1)/(n-1)) / (N + i)

because rank i holds a relevant item with probability r/n, and then the other r-1 are spread evenly over the
other n-1 ranks. With H = 1/(N+1) + ... + 1/(N+n) the sum is (r/n) * ((R+1) H + (r-1)/(n-1) * (n - (N+1) H)).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["TIES", "Harmonic", "average_precision"]

TIES = ("expected", "best", "worst")

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class Harmonic:
    """Sums of reciprocals 1/(start+1) + ... + 1/(start+count) for integers up to a limit.

    One table of harmonic numbers; the rounding error of a difference stays below 1e-12 for 10**7 items.
    """

    def __init__(self, limit: int) -> None:
        self._table = np.zeros(limit + 1)
        np.cumsum(1.0 / np.arange(1, limit + 1), out=self._table[1:])

    def between(self, start: IntArray, count: IntArray) -> FloatArray:
        """The sums for arrays of ``start`` and ``count`` (``start + count`` at most the limit)."""
        return np.asarray(self._table[start + count] - self._table[start])


def average_precision(
    sizes: IntArray,
    relevant: IntArray,
    before: IntArray,
    harmonic: Harmonic,
    *,
    ties: str = "expected",
    k: int | None = None,
) -> float:
    """Average precision of one ranking given as groups of equal distance, nearest first.

    Parameters
    ----------
    sizes, relevant, before : (g,) int64 arrays
        Items in each group, relevant items in it, and items before it. Groups without relevant items may be
        left out (they add nothing and ``before`` counts them).
    harmonic : Harmonic
        Table whose limit is at least the number of ranked items.
    ties : {"expected", "best", "worst"}
        Mean over all orders of tied items, relevant items first, or relevant items last.
    k : int, optional
        Only the first k ranks count; the sum is then divided by min(k, relevant items).

    Returns
    -------
    float
        NaN if nothing is relevant.
    """
    total = int(relevant.sum())
    if total == 0:
        return float("nan")
    relevant_before = np.cumsum(relevant) - relevant
    ranks = sizes if k is None else np.clip(k - before, 0, sizes)  # ranks of the group inside the cut
    if ties == "expected":
        sums = harmonic.between(before, ranks)
        # A group of one has no "other" items: any finite spread will do, for relevant - 1 is 0 there (or -1
        # in a group without relevant items, which the factor relevant / sizes removes).
        spread = (relevant - 1) / np.maximum(sizes - 1, 1)
        added = relevant / sizes * ((relevant_before + 1) * sums + spread * (ranks - (before + 1) * sums))
    else:
        # Relevant items sit at consecutive ranks M+1, M+2, ...: (R+j)/(M+j) = 1 + (R-M)/(M+j).
        first = before if ties == "best" else before + sizes - relevant
        counted = np.clip(before + ranks - first, 0, relevant)
        first = np.where(counted > 0, first, before)
        added = counted + (relevant_before - first) * harmonic.between(first, counted)
    return float(added.sum() / (total if k is None else min(total, k)))
