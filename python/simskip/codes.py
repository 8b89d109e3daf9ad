"""Packed binary codes: the array, its bit count, and converters to and from other tools' layouts."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from .validation import array_of, bit_count, choice, positive_int, thread_count

__all__ = ["Codes", "pack", "unpack"]

ByteMatrix = npt.NDArray[np.uint8]


class Codes:
    """Packed binary codes of one bit count.

    Bit ``i`` of a code is bit ``i % 8`` of byte ``i // 8`` (little bit order); padding bits are zero. Think of
    it as a list of fixed-width integers: it has a length, slices, compares and pickles.

    Parameters
    ----------
    data : (n, ceil(n_bits / 8)) uint8 array
        The packed rows. Used as it is (no copy) if it is C-contiguous.
    n_bits : int
        From 1 to 4096.

    Raises
    ------
    ValueError
        If shape or dtype do not fit ``n_bits`` or a padding bit is set.

    Examples
    --------
    >>> import numpy as np, simskip
    >>> codes = simskip.pack(np.array([[0.5, -1.0, 2.0]], dtype=np.float32))
    >>> codes.n_bits, codes.data.tolist()
    (3, [[5]])
    """

    __slots__ = ("_data", "_n_bits")

    def __init__(self, data: ByteMatrix, n_bits: int) -> None:
        n_bits = bit_count(n_bits)
        array = np.asarray(data)
        n_bytes = (n_bits + 7) // 8
        if array.dtype != np.uint8:
            raise ValueError(f"data must be uint8, got {array.dtype} (pack() makes codes from values)")
        if array.ndim != 2 or array.shape[1] != n_bytes:
            raise ValueError(f"data must have shape (n, {n_bytes}) for {n_bits} bits, got {array.shape}")
        array = np.ascontiguousarray(array)
        if _core.has_padding_bits(array, n_bits):
            raise ValueError(f"data has bits set past bit {n_bits}: another bit order or another bit count?")
        self._data = array
        self._n_bits = n_bits

    @property
    def data(self) -> ByteMatrix:
        """The packed rows, (n, ceil(n_bits / 8)) uint8."""
        return self._data

    @property
    def n_bits(self) -> int:
        """Bits per code."""
        return self._n_bits

    @property
    def nbytes(self) -> int:
        """Bytes of all codes."""
        return self._data.nbytes

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, rows: Any) -> Codes:
        """Rows as ``Codes``: an int gives one code (length 1); slices, index arrays and masks as in NumPy."""
        if isinstance(rows, (int, np.integer)):
            n = len(self)
            if not -n <= rows < n:
                raise IndexError(f"row {rows} is out of range for {n} codes")
            rows = slice(rows % n, rows % n + 1)
        return Codes(self._data[rows], self._n_bits)

    def __iter__(self) -> Iterator[Codes]:
        return (self[i] for i in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Codes):
            return NotImplemented
        return self._n_bits == other._n_bits and np.array_equal(self._data, other._data)

    __hash__ = None  # type: ignore[assignment]  # the array can be changed in place

    def __repr__(self) -> str:
        return f"Codes({len(self):,} x {self._n_bits} bits, {self.nbytes:,} bytes)"

    def __reduce__(self) -> tuple[Any, ...]:
        return Codes, (self._data, self._n_bits)

    def prefix(self, n_bits: int) -> Codes:
        """The first ``n_bits`` bits of every code.

        Of a hasher that was trained for it (matryoshka codes: A. Kusupati et al., "Matryoshka representation
        learning", NeurIPS 2022), or whose bits come in order of importance, short prefixes are good codes: one
        encoding serves a coarse first search and a fine second one.

        Parameters
        ----------
        n_bits : int
            From 1 to this object's ``n_bits``.

        Returns
        -------
        Codes
            n codes of ``n_bits`` bits, padding zero; always a copy.

        Raises
        ------
        ValueError
            If ``n_bits`` is less than 1 or more than there are.

        Examples
        --------
        >>> import numpy as np, simskip
        >>> codes = simskip.pack(np.array([[1, 0, 1, 1, 0, 1, 1, 1, 1, 0]]))
        >>> codes.prefix(3).data.tolist(), codes.prefix(9).data.tolist()
        ([[5]], [[237, 1]])
        """
        n_bits = positive_int(n_bits, "n_bits", maximum=self._n_bits)
        data = self._data[:, : (n_bits + 7) // 8].copy()
        if n_bits % 8:
            data[:, -1] &= (1 << n_bits % 8) - 1
        return Codes(data, n_bits)

    def to(self, format: str) -> Any:
        """Convert to the layout of another tool; see ``Codes.from_`` for the inverse.

        Parameters
        ----------
        format : str
            ``"faiss"``: uint8 rows, little bit order (bit count a multiple of 8);
            ``"numpy-big"``: uint8 rows as ``np.packbits`` makes them;
            ``"uint64"``: little-endian words, (n, ceil(n_bits / 64)), zero padded;
            ``"sentence-transformers"``: int8 rows, big bit order, offset by -128 (its ``"binary"`` precision);
            ``"elasticsearch"``: list of lists of signed bytes, big bit order (``dense_vector`` of type ``bit``);
            ``"postgres"``: list of strings of 0 and 1 (``bit(n)`` literals of pgvector);
            ``"arrow"``: ``pyarrow.FixedSizeBinaryArray``; ``"hex"``: list of hexadecimal strings.

        Returns
        -------
        array or list
            As described for the format.
        """
        write, _ = _FORMATS[choice(format, "format", tuple(_FORMATS))]
        return write(self)

    @classmethod
    def from_(cls, array: Any, *, n_bits: int, format: str) -> Codes:
        """Read codes in another tool's layout; the formats are those of ``to``.

        Raises
        ------
        ValueError
            If the array does not fit the format or the bit count.
        """
        _, read = _FORMATS[choice(format, "format", tuple(_FORMATS))]
        return cls(read(array, bit_count(n_bits)), n_bits)


def pack(values: npt.ArrayLike, threshold: float = 0.0, *, threads: int | None = None) -> Codes:
    """Turn values into codes: a bit is 1 where ``value > threshold``.

    Parameters
    ----------
    values : (n, n_bits) array
        Real numbers, booleans, or -1/+1 integers; ``n_bits`` from 1 to 4096.
    threshold : float
        Compared with every value, strictly and exactly: rounded to no other precision.
    threads : int, optional
        Threads to use; default ``simskip.set_threads``'s.

    Returns
    -------
    Codes

    Raises
    ------
    ValueError
        For a wrong shape or dtype, or NaN (which would silently become 0). Infinities are fine, -0.0 equals 0.0.

    Examples
    --------
    >>> import numpy as np, simskip
    >>> simskip.pack(np.array([[True, False, True, True]])).data.tolist()
    [[13]]
    """
    array = array_of(values, "values")
    if array.ndim != 2:
        raise ValueError(f"values must have shape (n, n_bits), got {array.shape}")
    if array.dtype.kind not in "fiub":
        raise ValueError(f"values must be numbers or booleans, got dtype {array.dtype}")
    if not isinstance(threshold, numbers.Real) or threshold != threshold:
        raise ValueError(f"threshold must be a number, got {threshold!r}")
    bit_count(array.shape[1], "the number of columns of values")
    n_threads = thread_count(threads)
    if array.dtype.kind == "f":
        with np.errstate(invalid="ignore"):  # inf - inf
            total = array.sum(dtype=np.float64)
        if np.isnan(total) and np.isnan(array).any():
            row, column = np.argwhere(np.isnan(array))[0]
            raise ValueError(f"values must not hold NaN, got nan at row {row}, column {column}")
        threshold = _floor_to(array.dtype, threshold)
        if array.dtype == np.float32:
            return Codes(
                _core.pack_float(np.ascontiguousarray(array, np.float32), threshold, n_threads), array.shape[1]
            )
    # Other types are compared as they are: a tiny float64 must not become 0 on the way.
    bits = np.ascontiguousarray(array > threshold).view(np.int8)
    return Codes(_core.pack_int8(bits, 0, n_threads), array.shape[1])


def _floor_to(dtype: np.dtype[Any], threshold: Any) -> Any:
    """The largest number of a float type that is not above ``threshold``: exactly the same values are greater."""
    with np.errstate(over="ignore"):
        rounded = dtype.type(threshold)
    return np.nextafter(rounded, dtype.type(-np.inf)) if rounded > np.longdouble(threshold) else rounded


def unpack(codes: Codes, *, threads: int | None = None) -> ByteMatrix:
    """The bits of codes as 0 and 1, shape (n, n_bits) uint8; the inverse of ``pack``."""
    return _core.unpack(require_codes(codes, "codes").data, codes.n_bits, thread_count(threads))


def require_codes(value: Any, name: str, n_bits: int | None = None) -> Codes:
    """Return ``value`` if it is ``Codes`` (of ``n_bits`` bits), else raise ``ValueError``."""
    if not isinstance(value, Codes):
        raise ValueError(f"{name} must be simskip.Codes, got {type(value).__name__}; simskip.pack() makes them")
    if n_bits is not None and value.n_bits != n_bits:
        raise ValueError(f"{name} must have {n_bits} bits, got {value.n_bits}")
    return value


_REVERSED_BITS = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1), axis=1, bitorder="little")[
    :, 0
]


def _byte_rows(array: Any, n_bits: int, dtype: Any = np.uint8) -> npt.NDArray[Any]:
    rows = np.asarray(array)
    if rows.dtype != dtype or rows.ndim != 2 or rows.shape[1] != (n_bits + 7) // 8:
        raise ValueError(
            f"array must be {np.dtype(dtype)} of shape (n, {(n_bits + 7) // 8}) for {n_bits} bits,"
            f" got {rows.dtype} {rows.shape}"
        )
    return rows


def _to_faiss(codes: Codes) -> ByteMatrix:
    if codes.n_bits % 8:
        raise ValueError(f"faiss takes multiples of 8 bits, got {codes.n_bits}")
    return codes.data


def _to_uint64(codes: Codes) -> npt.NDArray[np.uint64]:
    n_words = (codes.n_bits + 63) // 64
    words = np.zeros((len(codes), n_words * 8), np.uint8)
    words[:, : codes.data.shape[1]] = codes.data
    return words.view("<u8")


def _from_uint64(array: Any, n_bits: int) -> ByteMatrix:
    words = np.asarray(array)
    n_words = (n_bits + 63) // 64
    if words.dtype != np.uint64 or words.ndim != 2 or words.shape[1] != n_words:
        raise ValueError(f"array must be uint64 of shape (n, {n_words}), got {words.dtype} {words.shape}")
    data = np.ascontiguousarray(words.astype("<u8", copy=False)).view(np.uint8)
    n_bytes = (n_bits + 7) // 8
    if data[:, n_bytes:].any():
        raise ValueError(f"array has bits set past bit {n_bits}")
    return data[:, :n_bytes]


def _from_postgres(strings: Any, n_bits: int) -> ByteMatrix:
    rows = list(strings)
    for i, row in enumerate(rows):
        if not isinstance(row, str) or len(row) != n_bits or set(row) - {"0", "1"}:
            raise ValueError(f"array must hold strings of {n_bits} characters 0 and 1, got {row!r} at {i}")
    bits = np.frombuffer("".join(rows).encode(), np.uint8).reshape(len(rows), n_bits) - ord("0")
    return np.packbits(bits, axis=1, bitorder="little")


def _from_elasticsearch(rows: Any, n_bits: int) -> ByteMatrix:
    try:
        signed = np.asarray(rows, np.int8).reshape(len(rows), -1 if len(rows) else (n_bits + 7) // 8)
    except (OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"array must hold rows of signed bytes: {error}") from None
    return _REVERSED_BITS[_byte_rows(signed, n_bits, np.int8).view(np.uint8)]


def _to_arrow(codes: Codes) -> Any:
    from .extras import require

    pa = require("pyarrow", "parquet", "Converting codes to Arrow")
    width = codes.data.shape[1]
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(codes), [None, pa.py_buffer(codes.data)])


def _from_arrow(array: Any, n_bits: int) -> ByteMatrix:
    width = (n_bits + 7) // 8
    found = getattr(array, "type", type(array).__name__)
    if str(found) != f"fixed_size_binary[{width}]" or array.null_count:
        raise ValueError(f"array must be fixed-size binary of {width} bytes without nulls, got {found}")
    return np.frombuffer(b"".join(array.to_pylist()), np.uint8).reshape(len(array), width)


def _from_hex(strings: Any, n_bits: int) -> ByteMatrix:
    width = (n_bits + 7) // 8
    rows = list(strings)
    for i, row in enumerate(rows):
        if not isinstance(row, str) or len(row) != 2 * width:
            raise ValueError(f"array must hold strings of {2 * width} hexadecimal digits, got {row!r} at {i}")
    return np.frombuffer(bytes.fromhex("".join(rows)), np.uint8).reshape(len(rows), width)


# name -> (Codes -> layout, (layout, n_bits) -> packed rows). Big bit order is a table lookup per byte: bit i of
# a byte becomes bit 7 - i, so padding stays at the end of the code in both orders.
_FORMATS: dict[str, tuple[Callable[[Codes], Any], Callable[[Any, int], ByteMatrix]]] = {
    "faiss": (_to_faiss, lambda array, n_bits: _byte_rows(array, n_bits)),
    "numpy-big": (
        lambda codes: _REVERSED_BITS[codes.data],
        lambda array, n_bits: _REVERSED_BITS[_byte_rows(array, n_bits)],
    ),
    "uint64": (_to_uint64, _from_uint64),
    "sentence-transformers": (
        lambda codes: (_REVERSED_BITS[codes.data] ^ 0x80).view(np.int8),
        lambda array, n_bits: _REVERSED_BITS[_byte_rows(array, n_bits, np.int8).view(np.uint8) ^ 0x80],
    ),
    "elasticsearch": (
        lambda codes: _REVERSED_BITS[codes.data].view(np.int8).tolist(),
        _from_elasticsearch,
    ),
    "postgres": (lambda codes: ["".join(map(str, row)) for row in unpack(codes).tolist()], _from_postgres),
    "arrow": (_to_arrow, _from_arrow),
    "hex": (lambda codes: [row.tobytes().hex() for row in codes.data], _from_hex),
}
