"""The exact Hamming index."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from .. import _core
from ..codes import Codes, require_codes
from ..validation import bit_count, choice, positive_int, thread_count, unique_ids
from .ids import FILTER_BLOCK, IdArray, WhereEach, calls_back, is_for_each_query, resolved, resolved_for_each
from .locks import ReadWriteLock

__all__ = ["METHODS", "HammingIndex"]

METHODS = ("auto", "scan", "multi-index")

Distances = npt.NDArray[np.int32]


class HammingIndex:
    """Exact nearest codes by Hamming distance, under stable int64 ids.

    Like a dictionary from ids to codes that can be asked for the nearest. Every answer is exact and ordered by
    (distance, id); the same for any method, number of threads, instruction set and batch size. Searches may run in
    several threads beside one that changes the index: each sees the state before or after a change.

    Parameters
    ----------
    n_bits : int
        Bits per code, 1 to 4096.
    method : {"auto", "scan", "multi-index"}
        How to search; the answers are the same. ``"scan"`` looks at all codes. ``"multi-index"`` builds tables of parts
        of the codes when first searched and looks only where near codes can be [1]_ (``stats()`` says at how many,
        and what the tables take). ``"auto"`` scans until that has cost about as much as building tables, which
        it then does if there are enough codes; queries for which a scan is cheaper are still scanned.

    Notes
    -----
    A change costs O(log n) per code, amortised: new codes go to small segments that are merged as they grow, removed
    ones are only marked until they are a quarter of their segment. Codes of a mapped file are not copied before that.

    References
    ----------
    .. [1] M. Norouzi, A. Punjani, D. J. Fleet, "Fast exact search in Hamming space with multi-index hashing", IEEE
       Transactions on Pattern Analysis and Machine Intelligence 36 (2014).

    Examples
    --------
    >>> import numpy as np, simskip
    >>> codes = simskip.pack(np.array([[1, 1, 1], [1, 1, 0], [0, 0, 0]]))
    >>> index = simskip.HammingIndex(3)
    >>> index.add(codes)
    >>> distances, ids = index.search(codes[:1], k=2)
    >>> distances.tolist(), ids.tolist()
    ([[0, 1]], [[0, 1]])
    """

    def __init__(self, n_bits: int, method: str = "auto") -> None:
        choice(method, "method", METHODS)
        self._native = _core.HammingIndex(bit_count(n_bits), 0, method)
        self._lock = ReadWriteLock()

    @property
    def n_bits(self) -> int:
        """Bits per code."""
        return int(self._native.n_bits)

    @property
    def method(self) -> str:
        """How it searches."""
        return self._native.method

    @property
    def nbytes(self) -> int:
        """Bytes of memory (or mapped file) that codes, ids, marks of removed codes and tables take."""
        return _nbytes(self._native.sizes())

    @property
    def ids(self) -> IdArray:
        """All ids, ascending, (n,) int64."""
        return self._native.ids()

    def __len__(self) -> int:
        return len(self._native)

    def __contains__(self, id: Any) -> bool:
        return isinstance(id, (int, np.integer)) and int(id) >= 0 and int(id) < 2**63 and int(id) in self._native

    def __repr__(self) -> str:
        sizes = self._native.sizes()
        held = sizes["codes"] + sizes["ids"]  # what a file of it holds: tables come and go
        return f"HammingIndex({len(self):,} codes x {self.n_bits} bits, {held:,} bytes)"

    def add(self, codes: Codes, ids: npt.ArrayLike | None = None) -> None:
        """Add codes.

        Parameters
        ----------
        codes : Codes
            n codes of ``n_bits`` bits.
        ids : (n,) integers, optional
            Distinct, non-negative, not in the index yet. Default: the next free numbers, upwards.

        Raises
        ------
        ValueError
            For wrong bits, or an id that is there already; nothing is changed then.
        """
        data = require_codes(codes, "codes", self.n_bits).data
        new = None if ids is None else unique_ids(ids, "ids", len(codes))
        with self._lock.writing():
            self._native.add(data, new)

    def remove(self, ids: npt.ArrayLike) -> None:
        """Remove codes by id; ``ValueError`` (and no change) if one is not there."""
        gone = unique_ids(ids, "ids")
        with self._lock.writing():
            self._native.remove(gone)

    def upsert(self, codes: Codes, ids: npt.ArrayLike) -> None:
        """Replace the codes of ids that are there and add the others; parameters as for ``add``."""
        data = require_codes(codes, "codes", self.n_bits).data
        new = unique_ids(ids, "ids", len(codes))
        with self._lock.writing():
            self._native.upsert(data, new)

    def codes(self, ids: npt.ArrayLike | None = None) -> Codes:
        """The codes of ``ids``, or all in ascending order of id."""
        return Codes(self._native.codes(None if ids is None else unique_ids(ids, "ids")), self.n_bits)

    def search(
        self,
        codes: Codes,
        k: int = 25,
        where: WhereEach = None,
        max_distance: int | None = None,
        threads: int | None = None,
    ) -> tuple[Distances, IdArray]:
        """The k nearest codes of each query.

        Parameters
        ----------
        codes : Codes
            q query codes.
        k : int
            Neighbours per query. If fewer pass, slots are filled with id -1 and distance 2**31 - 1.
        where : ids, mask or callable, or a list of them, optional
            Only these: an array of ids; a boolean mask with an entry per code in ascending order of id; or a callable
            that gets int64 arrays of at most 65,536 ids and returns masks. A list or tuple with one of these, or
            None, for each query filters each by its own. If at least k pass, k come back.
        max_distance : int, optional
            Farther codes are not neighbours.
        threads : int, optional
            Default: ``simskip.set_threads``'s.

        Returns
        -------
        distances : (q, k) int32
        ids : (q, k) int64

        Raises
        ------
        ValueError
            For wrong bits, ``k < 1``, an unknown id in ``where``, an empty index.

        Examples
        --------
        >>> import numpy as np, simskip
        >>> index = simskip.HammingIndex(4)
        >>> index.add(simskip.pack(np.array([[0, 0, 0, 0], [0, 0, 0, 1], [0, 1, 1, 1]])))
        >>> queries = simskip.pack(np.zeros((2, 4)))
        >>> index.search(queries, k=1, where=lambda ids: ids > 0)[1].tolist()
        [[1], [1]]
        >>> index.search(queries, k=1, where=[None, [2]])[1].tolist()
        [[0], [2]]
        """
        data = require_codes(codes, "codes", self.n_bits).data
        k = positive_int(k, "k", maximum=2**31 - 1)
        farthest = None if max_distance is None else positive_int(max_distance, "max_distance", minimum=0)
        farthest = None if farthest is None else min(farthest, self.n_bits)
        n_threads = thread_count(threads)
        with self._filtering(where, len(codes)) as allowed:
            return self._native.search(data, k, allowed, farthest, n_threads)

    def range_search(
        self, codes: Codes, radius: int, where: WhereEach = None, threads: int | None = None
    ) -> tuple[npt.NDArray[np.int64], Distances, IdArray]:
        """All codes within ``radius`` (inclusive) of each query.

        Parameters
        ----------
        codes : Codes
            q query codes.
        radius : int
            Largest distance of a hit.
        where, threads
            As for ``search``.

        Returns
        -------
        limits : (q + 1,) int64
            Query i's neighbours are entries ``limits[i]:limits[i + 1]`` of the other two.
        distances : (hits,) int32
        ids : (hits,) int64
        """
        data = require_codes(codes, "codes", self.n_bits).data
        radius = min(positive_int(radius, "radius", minimum=0), self.n_bits)
        n_threads = thread_count(threads)
        with self._filtering(where, len(codes)) as allowed:
            return self._native.range_search(data, radius, allowed, n_threads)

    def knn_graph(self, k: int, threads: int | None = None) -> tuple[Distances, IdArray]:
        """Each code's k nearest others.

        Parameters
        ----------
        k : int
            Neighbours per code. If there are fewer others, slots are filled with id -1 and distance 2**31 - 1.
        threads : int, optional
            Default: ``simskip.set_threads``'s.

        Returns
        -------
        distances : (n, k) int32
            Rows in ascending order of id, as ``ids`` has them.
        ids : (n, k) int64
            A code is not among its own neighbours; others that equal it are.

        Raises
        ------
        ValueError
            For ``k < 1``, an empty index.

        Examples
        --------
        >>> import numpy as np, simskip
        >>> index = simskip.HammingIndex(3)
        >>> index.add(simskip.pack(np.array([[0, 0, 0], [0, 0, 0], [0, 1, 1]])), ids=[5, 6, 7])
        >>> distances, ids = index.knn_graph(1)
        >>> distances.ravel().tolist(), ids.ravel().tolist()
        ([0, 0, 2], [6, 5, 5])
        """
        k = positive_int(k, "k", maximum=2**31 - 1)
        n_threads = thread_count(threads)
        if len(self) == 0:
            raise ValueError("the index is empty: add codes before searching")
        return self._native.knn_graph(k, n_threads)

    def duplicates(self, radius: int = 0, threads: int | None = None) -> list[IdArray]:
        """Groups of codes that are the same or nearly so.

        Two codes belong to the same group if a chain of codes, each within ``radius`` of the next, leads from one to
        the other.

        Parameters
        ----------
        radius : int
            Largest distance (inclusive) of two codes that are near; 0: equal codes.
        threads : int, optional
            Default: ``simskip.set_threads``'s.

        Returns
        -------
        groups : list of (m,) int64 arrays
            Ids, each group's ascending; groups ordered by their first id. Codes with nothing near are left out.

        Examples
        --------
        >>> import numpy as np, simskip
        >>> index = simskip.HammingIndex(3)
        >>> index.add(simskip.pack(np.array([[0, 0, 0], [1, 1, 1], [0, 0, 1], [1, 1, 1]])))
        >>> [group.tolist() for group in index.duplicates(0)], [group.tolist() for group in index.duplicates(1)]
        ([[1, 3]], [[0, 2], [1, 3]])
        """
        radius = min(positive_int(radius, "radius", minimum=0), self.n_bits)
        limits, ids = self._native.duplicates(radius, thread_count(threads))
        return np.split(ids, limits[1:-1]) if len(ids) else []

    def build(self, threads: int | None = None) -> None:
        """Build the tables of the multi-index now rather than when searches ask for them.

        Other threads go on searching meanwhile. Interrupted (Ctrl-C), it leaves the index as it was.

        Raises
        ------
        ValueError
            If the index's method is ``"scan"``.
        """
        n_threads = thread_count(threads)
        if self.method == "scan":
            raise ValueError("method must be 'auto' or 'multi-index' to build tables, got 'scan'")
        self._native.build(n_threads)

    def stats(self) -> dict[str, Any]:
        """What the index takes, and what its searches have cost so far.

        Returns
        -------
        stats : dict
            ``n_codes``, ``n_bits``, ``method``, ``isa``; ``nbytes`` and its parts ``nbytes_codes``, ``nbytes_ids``
            (with marks of removed codes), ``nbytes_multi_index``; ``bytes_per_code``; ``segments``, ``tombstones``
            (removed codes that are still held), ``substrings`` (of the multi-index; 0 without one). Since it was made
            or loaded: ``queries``, of which ``queries_by_multi_index`` and ``queries_by_scan``; ``codes_seen``
            (compared with a query) and ``codes_seen_per_query``, ``buckets_probed`` (table entries looked up).
        """
        n, sizes, done = len(self), self._native.sizes(), self._native.stats()
        nbytes, queries = _nbytes(sizes), done["by_index"] + done["by_scan"]
        return {
            "n_codes": n,
            "n_bits": self.n_bits,
            "method": self.method,
            "isa": _core.active_isa(),
            "nbytes": nbytes,
            "nbytes_codes": sizes["codes"],
            "nbytes_ids": sizes["ids"] + sizes["marks"],
            "nbytes_multi_index": sizes["multi_index"],
            "bytes_per_code": nbytes / n if n else 0.0,
            "segments": sizes["segments"],
            "tombstones": sizes["tombstones"],
            "substrings": sizes["substrings"],
            "queries": queries,
            "queries_by_multi_index": done["by_index"],
            "queries_by_scan": done["by_scan"],
            "codes_seen": done["codes"],
            "codes_seen_per_query": done["codes"] / queries if queries else 0.0,
            "buckets_probed": done["buckets"],
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to one file, atomically: a crash leaves the old file or the new one."""
        self._native.save(os.fspath(path))

    @classmethod
    def load(cls, path: str | os.PathLike[str], mmap: bool = False) -> HammingIndex:
        """Read an index.

        Parameters
        ----------
        path : path-like
        mmap : bool
            Leave the codes in the file: opening takes no time whatever the size, and processes share the memory.
            They are then not verified against their checksum, and the file must not change while it is open.

        Raises
        ------
        FormatError
            If the file is damaged or of another kind.
        """
        index = cls.__new__(cls)
        index._native = _core.HammingIndex.load(os.fspath(path), bool(mmap))
        index._lock = ReadWriteLock()
        return index

    def __getstate__(self) -> dict[str, Any]:
        with self._lock.reading():
            return {"method": self.method, "ids": self.ids, "codes": self.codes(), "next_id": self._native.next_id}

    def __setstate__(self, state: dict[str, Any]) -> None:
        codes: Codes = state["codes"]
        self._lock = ReadWriteLock()
        self._native = _core.HammingIndex(codes.n_bits, state["next_id"], state["method"])
        self._native.add(codes.data, state["ids"])

    @contextmanager
    def _filtering(self, where: WhereEach, n_queries: int) -> Iterator[Any]:
        """What a search may return, for the native index. Ids that a callable saw must not change before it is used."""
        if len(self) == 0:
            raise ValueError("the index is empty: add codes before searching")
        if where is None:
            yield None
            return
        with self._lock.reading() if calls_back(where) else nullcontext():
            if is_for_each_query(where):
                yield resolved_for_each(cast(Any, where), n_queries, self._id_blocks)
            else:
                yield resolved(cast(Any, where), self._id_blocks)

    def _id_blocks(self) -> Iterator[IdArray]:
        first = 0
        while len(block := self._native.ids_from(first, FILTER_BLOCK)):
            yield block
            first = int(block[-1]) + 1


def _nbytes(sizes: dict[str, int]) -> int:
    return sizes["codes"] + sizes["ids"] + sizes["marks"] + sizes["multi_index"]
