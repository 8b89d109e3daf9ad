"""The exact Hamming index."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _core
from ..codes import Codes, require_codes
from ..validation import bit_count, choice, positive_int, thread_count, unique_ids
from .ids import IdArray, Where, allowed_ids, needs_ids
from .locks import ReadWriteLock

__all__ = ["HammingIndex"]

Distances = npt.NDArray[np.int32]


class HammingIndex:
    """Exact nearest codes by Hamming distance, under stable int64 ids.

    Like a dictionary from ids to codes that can be asked for the nearest. Every answer is exact and ordered by
    (distance, id); the same for any number of threads, instruction set and batch size. Searches may run in several
    threads beside one that changes the index: each sees the state before or after a change.

    Parameters
    ----------
    n_bits : int
        Bits per code, 1 to 4096.
    method : {"auto", "scan"}
        How to search. Both scan all codes.

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
        self._method = choice(method, "method", ("auto", "scan"))
        self._native = _core.HammingIndex(bit_count(n_bits))
        self._lock = ReadWriteLock()

    @property
    def n_bits(self) -> int:
        """Bits per code."""
        return int(self._native.n_bits)

    @property
    def method(self) -> str:
        """How it searches."""
        return self._method

    @property
    def nbytes(self) -> int:
        """Bytes of memory (or mapped file) that codes, ids and marks of removed codes take."""
        sizes = self._native.sizes()
        return sizes["codes"] + sizes["ids"] + sizes["marks"]

    @property
    def ids(self) -> IdArray:
        """All ids, ascending, (n,) int64."""
        return self._native.ids()

    def __len__(self) -> int:
        return len(self._native)

    def __contains__(self, id: Any) -> bool:
        return isinstance(id, (int, np.integer)) and int(id) >= 0 and int(id) < 2**63 and int(id) in self._native

    def __repr__(self) -> str:
        return f"HammingIndex({len(self):,} codes x {self.n_bits} bits, {self.nbytes:,} bytes)"

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
        where: Where = None,
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
        where : ids, mask or callable, optional
            Only these: an array of ids; a boolean mask with an entry per code in ascending order of id; or a callable
            that gets int64 arrays of ids and returns masks. If at least k pass, k come back.
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
        """
        data = require_codes(codes, "codes", self.n_bits).data
        k = positive_int(k, "k", maximum=2**31 - 1)
        farthest = None if max_distance is None else positive_int(max_distance, "max_distance", minimum=0)
        farthest = None if farthest is None else min(farthest, self.n_bits)
        n_threads = thread_count(threads)
        with self._filtering(where) as allowed:
            return self._native.search(data, k, allowed, farthest, n_threads)

    def range_search(
        self, codes: Codes, radius: int, where: Where = None, threads: int | None = None
    ) -> tuple[npt.NDArray[np.int64], Distances, IdArray]:
        """All codes within ``radius`` (inclusive) of each query.

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
        with self._filtering(where) as allowed:
            return self._native.range_search(data, radius, allowed, n_threads)

    def stats(self) -> dict[str, Any]:
        """What a search costs here: number of codes, bytes, instruction set, codes looked at per query."""
        n, sizes = len(self), self._native.sizes()
        nbytes = sizes["codes"] + sizes["ids"] + sizes["marks"]
        return {
            "n_codes": n,
            "n_bits": self.n_bits,
            "method": "scan",
            "isa": _core.active_isa(),
            "nbytes": nbytes,
            "nbytes_codes": sizes["codes"],
            "nbytes_ids": sizes["ids"] + sizes["marks"],
            "bytes_per_code": nbytes / n if n else 0.0,
            "segments": sizes["segments"],
            "tombstones": sizes["tombstones"],
            "codes_scanned_per_query": n + sizes["tombstones"],
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
        index._method = "auto"
        index._native = _core.HammingIndex.load(os.fspath(path), bool(mmap))
        index._lock = ReadWriteLock()
        return index

    def __getstate__(self) -> dict[str, Any]:
        with self._lock.reading():
            return {"method": self._method, "ids": self.ids, "codes": self.codes(), "next_id": self._native.next_id}

    def __setstate__(self, state: dict[str, Any]) -> None:
        codes: Codes = state["codes"]
        self.__init__(codes.n_bits, state["method"])  # type: ignore[misc]
        self._native = _core.HammingIndex(codes.n_bits, state["next_id"])
        self._native.add(codes.data, state["ids"])

    @contextmanager
    def _filtering(self, where: Where) -> Iterator[IdArray | None]:
        """The ids that a search may return. A filter that looked at the ids must be used before they change."""
        if len(self) == 0:
            raise ValueError("the index is empty: add codes before searching")
        with self._lock.reading() if needs_ids(where) else nullcontext():
            yield allowed_ids(where, self._native.ids)
