"""Binary indexes of faiss: read and write its files, faiss not needed.

``read_index`` opens what ``faiss.write_index_binary`` wrote, ``write_index`` writes what ``faiss.read_index_binary``
opens. The kinds are ``IndexBinaryFlat`` (ids 0 ... n - 1) and ``IndexBinaryIDMap`` or ``IndexBinaryIDMap2`` around one.
faiss's other indexes are graphs and lists over the same codes: rebuilt, not converted.

The format is that of ``faiss/impl/index_write.cpp`` (1.5 to 1.15, little-endian):

======== =====================================================
bytes    content
======== =====================================================
4        kind: ``IBxF`` (flat), ``IBMp`` (IDMap), ``IBM2`` (IDMap2)
4 + 4    bits per code, bytes per code (int32)
8        number of codes n (int64)
1 + 4    trained (bool), metric (int32; 1)
...      flat: byte count (uint64), then the packed codes
...      IDMap: the flat index inside, then n (uint64) and n ids (int64)
======== =====================================================

It has no checksum: a flipped bit in a code loads as another code. ``HammingIndex.save`` writes files that notice.
"""

from __future__ import annotations

import os
import struct
from io import BufferedReader
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ..codes import Codes
from ..errors import FormatError
from ..files import atomic_write
from ..index import HammingIndex
from ..validation import MAX_BITS, MAX_ID

__all__ = ["read_index", "write_index"]

_HEADER = struct.Struct("<4siiq?i")
_COUNT = struct.Struct("<Q")
_L2 = 1  # what faiss writes; binary indexes do not look at it

_FLAT, _ID_MAP, _ID_MAP_2 = b"IBxF", b"IBMp", b"IBM2"
_OTHERS = {
    b"IBwF": "an IndexBinaryIVF",
    b"IBFf": "an IndexBinaryFromFloat",
    b"IBHf": "an IndexBinaryHNSW",
    b"IBHc": "an IndexBinaryHNSWCagra",
    b"IBHh": "an IndexBinaryHash",
    b"IBHm": "an IndexBinaryMultiHash",
    b"sims": "something of simskip's own (HammingIndex.load reads indexes)",
}

# Codes are read and added this many bytes at a time: the file is never in memory as a whole beside the index.
_BLOCK_BYTES = 1 << 24


def read_index(path: str | os.PathLike[str], method: str = "auto") -> HammingIndex:
    """Read a binary index that faiss wrote.

    Parameters
    ----------
    path : path-like
        A file of ``faiss.write_index_binary``: an ``IndexBinaryFlat``, or an ``IndexBinaryIDMap`` or
        ``IndexBinaryIDMap2`` of one.
    method : str
        How the new index searches; see ``HammingIndex``.

    Returns
    -------
    HammingIndex
        With the map's ids, or 0 ... n - 1.

    Raises
    ------
    FormatError
        If the file is of another kind, cut short or contradicts itself; if ids are negative or not distinct (faiss
        accepts both). The message says what and at which byte. Nothing larger than the file is ever allocated.

    Examples
    --------
    >>> import numpy as np, simskip, simskip.compat.faiss
    >>> index = simskip.HammingIndex(8)
    >>> index.add(simskip.pack(np.eye(8)), ids=[5, 1, 9, 30, 31, 32, 33, 34])
    >>> simskip.compat.faiss.write_index(index, "codes.faiss")
    >>> simskip.compat.faiss.read_index("codes.faiss").ids.tolist()
    [1, 5, 9, 30, 31, 32, 33, 34]
    """
    name = os.fspath(path)
    with open(name, "rb") as file:
        reader = _Reader(file, str(name))
        kind, n_bits, n = reader.header((_FLAT, _ID_MAP, _ID_MAP_2))
        if kind != _FLAT:
            reader.header((_FLAT,), same_as=(n_bits, n))
        width = n_bits // 8
        start = reader.array(n * width, 1, "codes")
        ids = None if kind == _FLAT else _ids(reader, n)
        reader.end()
        index = HammingIndex(n_bits, method=method)
        if ids is None or (np.diff(ids) > 0).all():
            step = max(1, _BLOCK_BYTES // width)
            for row in range(0, n, step):
                count = min(step, n - row)
                codes = Codes(reader.rows(start + row * width, count, width), n_bits)
                index.add(codes, None if ids is None else ids[row : row + count])
        else:  # ids in any order are sorted once, not once for each block
            index.add(Codes(reader.rows(start, n, width), n_bits), ids)
    return index


def write_index(index: HammingIndex, path: str | os.PathLike[str]) -> None:
    """Write an index for faiss, atomically: a crash leaves the old file or the new one.

    Parameters
    ----------
    index : HammingIndex
        If its ids are 0 ... n - 1 the file holds an ``IndexBinaryFlat``, else an ``IndexBinaryIDMap2`` of one. Takes
        the memory of its packed codes once more.
    path : path-like
        Read it with ``faiss.read_index_binary``.

    Raises
    ------
    ValueError
        If the bit count is not a multiple of 8: faiss has whole bytes only, and its distances would be those of a
        code padded with zeros under another bit count.
    """
    if not isinstance(index, HammingIndex):
        raise ValueError(f"index must be a HammingIndex, got {type(index).__name__}")
    if index.n_bits % 8:
        raise ValueError(
            f"index must have a multiple of 8 bits, got {index.n_bits}: a faiss code is whole bytes;"
            f" pad the codes to {(index.n_bits + 7) // 8 * 8} bits (distances stay the same)"
        )
    with index._lock.reading():  # ids and codes of one state
        ids, data = index.ids, index.codes().data
    n = len(ids)
    flat = n == 0 or ids[-1] == n - 1  # ascending, distinct, not negative
    fields = (index.n_bits, index.n_bits // 8, n, True, _L2)
    with atomic_write(path) as file:
        if not flat:
            file.write(_HEADER.pack(_ID_MAP_2, *fields))
        file.write(_HEADER.pack(_FLAT, *fields))
        _write_array(file, data.reshape(-1))
        if not flat:
            _write_array(file, ids.astype("<i8", copy=False))


def _write_array(file: BinaryIO, values: npt.NDArray[Any]) -> None:
    file.write(_COUNT.pack(len(values)))
    file.write(values.view(np.uint8).data)


def _ids(reader: _Reader, n: int) -> npt.NDArray[np.int64]:
    at = reader.array(n, 8, "ids")
    ids = reader.rows(at, n, 8).reshape(-1).view("<i8").astype(np.int64, copy=False)
    for wrong, what in ((ids < 0, "negative"), (ids > MAX_ID, "larger than 2**63 - 2")):
        if wrong.any():
            place = int(np.argmax(wrong))
            raise reader.error(f"id {ids[place]} of code {place} is {what}", at + 8 * place)
    order = np.argsort(ids, kind="stable")
    again = np.flatnonzero(np.diff(ids[order]) == 0)
    if len(again):
        place = int(order[again[0] + 1])
        raise reader.error(f"id {ids[place]} appears more than once, again for code {place}", at + 8 * place)
    return ids


class _Reader:
    """Walks through a file, checking every size against what is left of it before anything is read."""

    def __init__(self, file: BufferedReader, path: str) -> None:
        self._file, self._path = file, path
        self._size = os.fstat(file.fileno()).st_size
        self._at = 0

    def error(self, what: str, at: int) -> FormatError:
        return FormatError(f"{self._path}: {what} (offset {at})")

    def header(self, kinds: tuple[bytes, ...], same_as: tuple[int, int] | None = None) -> tuple[bytes, int, int]:
        """The next index's kind, bits per code and number of codes."""
        at = self._at
        fields = self._take(_HEADER.size, "header")
        kind = fields[:4]
        if kind not in kinds:
            found = _OTHERS.get(kind, f"kind {kind!r}, not a binary index of faiss")
            inside = "the map is of" if same_as else "holds"
            raise self.error(f"{inside} {found}; only IndexBinaryFlat and IDMaps of it can be read", at)
        # Checked as a byte: a bool of 7 unpacks as True.
        if fields[20] > 1:
            raise self.error(f"'trained' must be 0 or 1, got {fields[20]}", at + 20)
        _, n_bits, width, n, _, _ = _HEADER.unpack(fields)
        if n_bits < 8 or n_bits % 8 or n_bits > MAX_BITS:
            raise self.error(f"bits per code must be a multiple of 8 from 8 to {MAX_BITS}, got {n_bits}", at + 4)
        if width != n_bits // 8:
            raise self.error(f"bytes per code must be {n_bits // 8} for {n_bits} bits, got {width}", at + 8)
        if not 0 <= n <= (self._size - self._at) // width:
            raise self.error(f"{n} codes of {width} bytes cannot be in a file of {self._size} bytes", at + 12)
        if same_as is not None and (n_bits, n) != same_as:
            raise self.error(f"the map says {same_as[1]} codes of {same_as[0]} bits, its index {n} of {n_bits}", at + 4)
        return kind, n_bits, n

    def array(self, expected: int, item_size: int, what: str) -> int:
        """Step over an array of ``expected`` items; returns where it begins."""
        at = self._at
        (count,) = _COUNT.unpack(self._take(_COUNT.size, f"number of {what}"))
        if count != expected:
            raise self.error(f"{what} must take {expected} items, got {count}", at)
        start = self._at
        if expected * item_size > self._size - start:
            raise self.error(f"is cut short in its {what}: {self._size} bytes in all", start)
        self._at += expected * item_size
        return start

    def rows(self, at: int, n: int, width: int) -> npt.NDArray[np.uint8]:
        """(n, width) bytes from ``at``, a place that ``array`` has passed."""
        rows = np.empty((n, width), np.uint8)
        self._file.seek(at)
        if self._file.readinto(rows.reshape(-1).data) != rows.size:
            raise self.error("became shorter while it was read", at)
        return rows

    def end(self) -> None:
        """Nothing may follow."""
        if self._at != self._size:
            raise self.error(f"{self._size - self._at} bytes follow the end of the index", self._at)

    def _take(self, n: int, what: str) -> bytes:
        if n > self._size - self._at:
            raise self.error(f"is cut short before its {what}: {self._size} bytes in all", self._at)
        self._file.seek(self._at)
        self._at += n
        return self._file.read(n)
