"""BucketSearch: the hash-table search of deep hashing papers, exact inside the query's bucket, to be judged."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from ..codes import Codes
from ..hashing import Hasher
from ..hashing.hasher import checked_codes, require_fitted
from ..index import HammingIndex, VectorIndex
from ..index.rows import StoredMatrix
from ..validation import choice, matrix, positive_int, thread_count

__all__ = ["WIDENINGS", "BucketSearch"]

IntArray = npt.NDArray[np.int64]

WIDENINGS = ("bucket", "ring")
METRICS = ("cosine", "l2", "dot")

# Different query codes whose buckets are collected at once. Radius 1 gives an item to at most n_bits + 1 of them.
_CODE_BLOCK = 64
# A bucket of so many items gets an index of its own when it is first searched: gathering its vectors for every query
# would take longer than comparing them.
_OWN_INDEX_ITEMS = 64


class BucketSearch:
    """Search the bucket of the query's code exactly; look into near buckets only if it holds too few.

    Items with equal codes form a bucket, as in a hash table. A query reads the vectors of its own bucket. Where these
    are fewer than k it reads on in the buckets at Hamming distance 1, 2, ... up to ``radius``, and orders all it read
    by the exact metric. What it costs is the number of vectors read, so it pays only if buckets are small and the
    neighbours are in them: where all items share one code it is exact search, with recall 1 and no gain.

    Parameters
    ----------
    hasher : fitted hasher
        Its codes are the buckets; short ones (about log2 of the number of buckets that are wanted) make sense.
    metric : {"cosine", "l2", "dot"}
        Orders the vectors that are read; see ``VectorIndex``.
    radius : int
        Largest Hamming distance of a bucket that is read; 0: the query's own only.
    widen : {"bucket", "ring"}
        How it reads on: bucket by bucket (by distance, then by the lowest bits that differ) until there are k vectors,
        or all buckets of a distance at a time.

    Attributes
    ----------
    rows_read_ : (q,) int64 array
        Vectors that each query of the latest search read.

    Notes
    -----
    Unlike the indexes of simskip it may return fewer than k: slots are then filled with id -1 and +inf (dot: -inf).

    Queries with one code share their bucket: it is gathered once for all of them. The vectors of buckets of 64 items
    and more are kept together once they were searched, a second copy. Beyond that, memory is O(n_bits * n) at most for
    ``radius=1``. Several threads may search at once (``rows_read_`` is then that of any of them); ``add`` must not run
    beside a search.

    References
    ----------
    A. Torralba, R. Fergus, Y. Weiss, "Small codes and large image databases for recognition", CVPR 2008, and
    R. Salakhutdinov, G. Hinton, "Semantic hashing", International Journal of Approximate Reasoning 50 (2009), who look
    up codes in a ball around the query's.

    Examples
    --------
    >>> import numpy as np, simskip
    >>> from simskip.evaluation import BucketSearch
    >>> X = np.random.default_rng(0).normal(size=(1000, 16)).astype(np.float32)
    >>> search = BucketSearch(simskip.PCAHash(4).fit(X), metric="l2")
    >>> search.add(X)
    >>> distances, ids = search.search(X[:2], k=3)
    >>> ids[:, 0].tolist(), bool((search.rows_read_ < 1000).all())
    ([0, 1], True)

    ``evaluate`` fills an empty one with its database:

    >>> report = simskip.evaluate({"buckets": BucketSearch(simskip.PCAHash(4).fit(X))},
    ...                           database=X[:900], queries=X[900:], k=5, latency_queries=2, repetitions=1)
    >>> [row.name for row in report.rows]
    ['exact', 'buckets', 'control']
    """

    def __init__(self, hasher: Hasher, metric: str = "cosine", radius: int = 1, widen: str = "bucket") -> None:
        dim = require_fitted(hasher)
        self._hasher = hasher
        self._radius = positive_int(radius, "radius", minimum=0, maximum=hasher.n_bits)
        self._widen = choice(widen, "widen", WIDENINGS)
        self._vectors = VectorIndex(dim, choice(metric, "metric", METRICS))
        self._codes = HammingIndex(hasher.n_bits)
        self._buckets: dict[bytes, VectorIndex] = {}
        self._counting = threading.Lock()
        self._queries_answered, self._rows_read = 0, 0
        self.rows_read_ = np.empty(0, np.int64)

    @property
    def hasher(self) -> Hasher:
        """What turns vectors into codes."""
        return self._hasher

    @property
    def metric(self) -> str:
        """What orders the vectors that are read."""
        return self._vectors.metric

    @property
    def dim(self) -> int:
        """Columns of the vectors."""
        return self._vectors.dim

    @property
    def n_bits(self) -> int:
        """Bits per code."""
        return self._codes.n_bits

    @property
    def radius(self) -> int:
        """Largest Hamming distance of a bucket that is read."""
        return self._radius

    @property
    def widen(self) -> str:
        """How a search reads on."""
        return self._widen

    @property
    def ids(self) -> IntArray:
        """All ids, (n,) int64: the numbers of the rows in the order of ``add``."""
        return self._vectors.ids

    @property
    def codes(self) -> Codes:
        """All codes in order of id (a copy)."""
        return self._codes.codes()

    def __len__(self) -> int:
        return len(self._codes)

    def __repr__(self) -> str:
        return (
            f"BucketSearch({len(self):,} items, {self.n_bits} bits, metric={self.metric!r}, radius={self._radius},"
            f" widen={self._widen!r})"
        )

    def add(self, X: npt.ArrayLike) -> None:
        """Add (n, dim) vectors under the next free ids; errors as for ``VectorIndex.add``."""
        rows = matrix(X, "X", dim=self.dim, min_rows=0)
        codes = checked_codes(self._hasher, rows, self.n_bits)
        self._vectors.add(rows)
        self._codes.add(codes)
        self._buckets = {}

    def filled(self, X: npt.ArrayLike) -> BucketSearch:
        """Another search with these settings that holds the rows of ``X`` and nothing else."""
        other = BucketSearch(self._hasher, self.metric, self._radius, self._widen)
        other.add(X)
        return other

    def vectors(self, ids: npt.ArrayLike | None = None) -> StoredMatrix:
        """The vectors of ``ids``, or all in order of id (then without a copy, read-only)."""
        return self._vectors.vectors(ids)

    def search(
        self, X: npt.ArrayLike, k: int = 25, *, threads: int | None = None
    ) -> tuple[npt.NDArray[np.float32], IntArray]:
        """The k nearest of the vectors in each query's buckets.

        Parameters
        ----------
        X : (q, dim) array
            Queries.
        k : int
            Neighbours per query, and the number of vectors at which a search stops reading on.
        threads : int, optional
            Default: ``simskip.set_threads``'s.

        Returns
        -------
        distances : (q, k) float32
            In the exact metric; +inf (dot: -inf) in empty slots.
        ids : (q, k) int64
            -1 in empty slots.

        Raises
        ------
        ValueError
            For a wrong shape, NaN or infinity, ``k < 1``, or if it holds nothing.
        """
        queries = matrix(X, "X", dim=self.dim, min_rows=0)
        k = positive_int(k, "k", maximum=2**31 - 1)
        thread_count(threads)
        if len(self) == 0:
            raise ValueError("the search holds nothing: add vectors before searching")
        distances = np.full((len(queries), k), -np.inf if self.metric == "dot" else np.inf, np.float32)
        ids = np.full((len(queries), k), -1, np.int64)
        read = np.zeros(len(queries), np.int64)
        if len(queries):
            data, group = np.unique(checked_codes(self._hasher, queries, self.n_bits).data, axis=0, return_inverse=True)
            # Queries by code: those of code number c are order[first[c]:first[c + 1]].
            order = np.argsort(group.reshape(-1), kind="stable")
            first = np.searchsorted(group.reshape(-1)[order], np.arange(len(data) + 1))
            for start in range(0, len(data), _CODE_BLOCK):
                block = Codes(data[start : start + _CODE_BLOCK], self.n_bits)
                for code, (index, where) in enumerate(self._collected(block, k, threads), start):
                    asking = order[first[code] : first[code + 1]]
                    read[asking] = len(index) if where is None else len(where)
                    if where is None or len(where):
                        distances[asking], ids[asking] = index.search(queries[asking], k, where, threads)
        with self._counting:
            self._queries_answered += len(queries)
            self._rows_read += int(read.sum())
        self.rows_read_ = read
        return distances, ids

    def stats(self) -> dict[str, Any]:
        """``n_items``, ``n_bits``, ``queries`` answered, ``vectors_read`` by them, ``vectors_read_per_query``."""
        with self._counting:
            queries, reads = self._queries_answered, self._rows_read
        return {
            "n_items": len(self),
            "n_bits": self.n_bits,
            "queries": queries,
            "vectors_read": reads,
            "vectors_read_per_query": reads / queries if queries else 0.0,
        }

    def _collected(self, codes: Codes, k: int, threads: int | None) -> list[tuple[VectorIndex, IntArray | None]]:
        """For each code the index to ask, and which of its ids (None: all)."""
        keys = [row.tobytes() for row in codes.data]
        answer: dict[int, tuple[VectorIndex, IntArray | None]] = {}
        new = []
        for i, key in enumerate(keys):
            own = self._buckets.get(key)
            if own is not None and len(own) >= k:
                answer[i] = (own, None)
            else:
                new.append(i)
        if new:
            limits, _, ids = self._codes.range_search(codes[new], 0, threads=threads)
            short = []
            for i, found in zip(new, np.split(ids, limits[1:-1]), strict=True):
                answer[i] = (self._vectors, found)
                if len(found) < k and self._radius > 0:
                    short.append(i)
                elif len(found) == len(self):
                    answer[i] = (self._vectors, None)
                elif len(found) >= max(k, _OWN_INDEX_ITEMS):
                    own = VectorIndex(self.dim, self.metric)
                    own.add(self._vectors.vectors(found), found)
                    self._buckets[keys[i]] = own
                    answer[i] = (own, None)
            if short:
                limits, distances, ids = self._codes.range_search(codes[short], self._radius, threads=threads)
                for i, begin, end in zip(short, limits[:-1], limits[1:], strict=True):
                    near = self._widened(codes.data[i], distances[begin:end], ids[begin:end], k)
                    answer[i] = (self._vectors, near)
        return [answer[i] for i in range(len(codes))]

    def _widened(
        self, code: npt.NDArray[np.uint8], distances: npt.NDArray[np.int32], ids: IntArray, k: int
    ) -> IntArray:
        """Of the ids within the radius those in the buckets that are read until there are k."""
        if len(ids) <= k:
            return ids
        steps: npt.NDArray[Any] = distances[:, None]
        if self._widen == "bucket":
            # Most significant first: the distance, then the differing bits as a little-endian number.
            differing = self._codes.codes(ids).data ^ code
            steps = np.concatenate([steps, differing[:, ::-1]], axis=1)
        order = np.lexsort(steps.T[::-1])
        steps = steps[order]
        # The step that holds the k-th vector is read to its end.
        last = np.flatnonzero((steps[k:] != steps[k - 1]).any(axis=1))
        return ids[order[: k + last[0]] if len(last) else order]
