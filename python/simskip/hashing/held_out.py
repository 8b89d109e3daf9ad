"""How good codes are on rows that were held out of the training: the figure that early stopping watches."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .neighbor_graph import nearest

__all__ = ["HeldOutMap", "HeldOutRecall"]

FloatMatrix = npt.NDArray[np.float32]
RowNumbers = npt.NDArray[np.int32]

_K = 25
_MAX_QUERIES = 1000
_MAX_RECALL_DATABASE = 20_000
_MAX_MAP_DATABASE = 5000


def _distances(queries: FloatMatrix, database: FloatMatrix) -> npt.NDArray[np.int32]:
    """(q, n) Hamming distances between the signs of outputs, by one matrix product (exact in float32)."""
    n_bits = queries.shape[1]
    signs = [np.where(u > 0, np.float32(1), np.float32(-1)) for u in (queries, database)]
    return ((n_bits - signs[0] @ signs[1].T) / 2).astype(np.int32)


class HeldOutRecall:
    """Recall@25 of the codes of held-out rows against their exact neighbours among training rows.

    At most 1,000 queries and 20,000 training rows (a random sample) take part. Ties in Hamming distance count with
    their expected value: of the rows at the distance where the list ends, each is in it with the same probability.
    """

    name = "recall@25"

    def __init__(
        self,
        X: FloatMatrix,
        metric: str,
        held_out: RowNumbers,
        training: RowNumbers,
        seed: int,
        threads: int | None = None,
    ) -> None:
        rng = np.random.default_rng(seed)
        self.queries = held_out[:_MAX_QUERIES]
        self.database = np.sort(rng.permutation(training)[:_MAX_RECALL_DATABASE])
        self.k = min(_K, len(self.database))
        neighbors, _ = nearest(X, metric, self.queries, self.database, self.k, exclude_self=False, threads=threads)
        self._truth = np.searchsorted(self.database, neighbors)

    @property
    def evaluation_rows(self) -> RowNumbers:
        """Rows whose outputs ``__call__`` wants, in this order."""
        return np.concatenate([self.queries, self.database])

    def __call__(self, outputs: FloatMatrix) -> float:
        """The figure, from (len(evaluation_rows), n_bits) outputs."""
        distances = _distances(outputs[: len(self.queries)], outputs[len(self.queries) :])
        last = np.partition(distances, self.k - 1, axis=1)[:, self.k - 1 : self.k]
        inside = (distances < last).sum(axis=1)
        tied = (distances == last).sum(axis=1)
        own = np.take_along_axis(distances, self._truth, axis=1)
        expected = (own < last).sum(axis=1) + (own == last).sum(axis=1) * (self.k - inside) / tied
        return float(expected.mean() / self.k)


class HeldOutMap:
    """Mean average precision among held-out rows: each is a query once, the others are the database.

    At most 1,000 queries and 5,000 rows take part. Rows are relevant to each other if they share a class. Ties in
    Hamming distance count with their expected value over all orders, in closed form. Queries whose classes no other
    held-out row has are left out.

    Parameters
    ----------
    held_out : (h,) int32 array
        Row numbers.
    classes : (n,) int32 array, or (n, n_classes) array
        A class for each row, or a weight for each class: 0.5 and more is a member.
    """

    name = "map"

    def __init__(self, held_out: RowNumbers, classes: npt.NDArray[Any]) -> None:
        self.database = held_out[:_MAX_MAP_DATABASE]
        own = classes[self.database]
        if own.ndim == 1:
            counts = np.bincount(own)
            self._queries = np.flatnonzero(counts[own] > 1)[:_MAX_QUERIES]
            self._same = own[self._queries][:, None] == own
        else:
            member = (own >= 0.5).astype(np.float32)
            shared = member[:_MAX_QUERIES] @ member.T > 0
            shared[np.arange(len(shared)), np.arange(len(shared))] = False
            self._queries = np.flatnonzero(shared.any(axis=1))
            self._same = shared[self._queries]

    @property
    def possible(self) -> bool:
        """Whether any query has a relevant row."""
        return len(self._queries) > 0

    @property
    def evaluation_rows(self) -> RowNumbers:
        """Rows whose outputs ``__call__`` wants, in this order."""
        return self.database

    def __call__(self, outputs: FloatMatrix) -> float:
        """The figure, from (len(evaluation_rows), n_bits) outputs."""
        n_bits = outputs.shape[1]
        distances = _distances(outputs[self._queries], outputs)
        distances[np.arange(len(self._queries)), self._queries] = n_bits + 1  # the query itself, past all others
        cells = distances + (n_bits + 2) * np.arange(len(self._queries))[:, None]
        shape = (len(self._queries), n_bits + 2)
        size = np.prod(shape)
        sizes = np.bincount(cells.ravel(), minlength=size).reshape(shape)[:, :-1]
        relevant = np.bincount(cells[self._same], minlength=size).reshape(shape)[:, :-1]
        before = np.cumsum(sizes, axis=1) - sizes
        # Imported late: evaluation imports the hashers.
        from ..evaluation.ties import Harmonic, average_precision

        harmonic = Harmonic(len(self.database))
        scores = []
        for size_row, relevant_row, before_row in zip(sizes, relevant, before, strict=True):
            groups = relevant_row > 0
            scores.append(average_precision(size_row[groups], relevant_row[groups], before_row[groups], harmonic))
        return float(np.mean(scores))
