"""Pairs that were held out of a cross-modal training: which they are, and how well their sides find each other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["HeldOutPairs", "row_numbers", "split_pairs"]

FloatMatrix = npt.NDArray[np.float32]
RowNumbers = npt.NDArray[np.int32]
IntArray = npt.NDArray[np.int64]

_K = 10
_MOST = 2000
_BLOCK_VALUES = 1 << 22


def row_numbers(X: FloatMatrix) -> IntArray:
    """(n,) numbers, equal for equal rows. Two different rows get one number with probability 2**-64."""
    factors = np.random.default_rng(0).integers(0, 2**64, X.shape[1], np.uint64) | np.uint64(1)
    keys = np.empty(len(X), np.uint64)
    step = max(1, _BLOCK_VALUES // X.shape[1])
    for start in range(0, len(X), step):
        # Adding 0 makes -0.0 and 0.0 the same bytes. Sums wrap around, which is what a hash is free to do.
        words = (X[start : start + step] + np.float32(0)).view(np.uint32)
        mixed = words.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        keys[start : start + step] = ((mixed ^ (mixed >> np.uint64(29))) * factors).sum(axis=1, dtype=np.uint64)
    return np.unique(keys, return_inverse=True)[1].reshape(-1)


def _connected(first: IntArray, second: IntArray) -> IntArray:
    """(n,) numbers, equal for pairs that share a side, directly or through others."""
    labels = np.arange(len(first))
    while True:
        before = labels
        for side in (first, second):
            least = np.full(int(side.max()) + 1, len(first))
            np.minimum.at(least, side, labels)
            labels = least[side]
        labels = labels[labels]  # a label is a row's number: following it twice halves long chains
        if np.array_equal(labels, before):
            return labels


def split_pairs(first: IntArray, second: IntArray, share: float, seed: int) -> tuple[RowNumbers, RowNumbers]:
    """(held-out rows, training rows): both sorted, disjoint, together all; at least two rows are trained on.

    Pairs that share a side (five captions of a photograph) are held out together or not at all, so that no held-out
    row was seen in training. Where so many pairs are connected that this cannot be (ten class names for all
    photographs), rows are drawn one by one.

    Parameters
    ----------
    first, second : (n,) int64 arrays
        From ``row_numbers``.
    share : float
        Of the rows, at most 2,000 of them, to hold out.
    seed : int
    """
    n = len(first)
    count = max(0, min(int(n * share), _MOST, n - 2))
    rng = np.random.default_rng(seed)
    _, groups, sizes = np.unique(_connected(first, second), return_inverse=True, return_counts=True)
    if sizes.max() > max(1, count // 10):
        groups, sizes = np.arange(n), np.ones(n, np.int64)
    order = rng.permutation(len(sizes))
    taken = order[np.cumsum(sizes[order]) <= count]
    held_out = np.isin(groups.reshape(-1), taken)
    return np.flatnonzero(held_out).astype(np.int32), np.flatnonzero(~held_out).astype(np.int32)


class HeldOutPairs:
    """Recall@10 among held-out pairs, the mean of both directions, with the expected value over ties.

    Parameters
    ----------
    held_out : (m,) int32 array
        Rows. With fewer than 100 of them, k is a tenth of them (at least 1), so that chance stays near 0.1.
    first, second : (n,) int64 arrays
        From ``row_numbers``: rows with an equal side are right for each other, too.
    """

    def __init__(self, held_out: RowNumbers, first: IntArray, second: IntArray) -> None:
        from ..evaluation.pair_retrieval import partners  # its package imports this one

        self.evaluation_rows = held_out
        self.k = max(1, min(_K, len(held_out) // 10))
        self.name = f"recall@{self.k}"
        self._relevant = partners(first[held_out], second[held_out])

    def __call__(self, outputs: FloatMatrix) -> dict[str, float]:
        """Figures by name from (2 m, n_bits) outputs, the first side's above the second's.

        ``recall@K`` is the mean of ``recall@K forward`` (first side's rows look for the second's) and ``recall@K
        backward``.
        """
        from ..evaluation.pair_retrieval import pair_figures

        signs = np.where(outputs > 0, np.float32(1), np.float32(-1))
        m = len(self.evaluation_rows)
        distances = -(signs[:m] @ signs[m:].T)
        forward = float(pair_figures(distances, self._relevant, (self.k,))[self.name])
        backward = float(pair_figures(distances.T, self._relevant.T, (self.k,))[self.name])
        return {
            self.name: (forward + backward) / 2,
            f"{self.name} forward": forward,
            f"{self.name} backward": backward,
        }
