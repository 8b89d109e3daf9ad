"""Weights on disk: the safetensors layout, written and read with NumPy only, every byte under a checksum.

Layout (https://github.com/huggingface/safetensors, "Format"): 8 bytes little-endian header length, a JSON
header (name -> dtype, shape, data offsets; ``__metadata__`` maps strings to strings), then the tensors' bytes
without gaps. Files written here open in every safetensors reader. What is added sits in ``__metadata__``:

* ``simskip.checksum``, the first entry of the header: CRC-32 of the length and the header, with the
  checksum's own eight digits taken as zeros. It covers names, types, shapes, offsets, padding and all
  metadata.
* ``simskip.crc32.NAME``: CRC-32 of the bytes of tensor NAME.

CRC-32 detects every error burst of up to 32 bits, so any single flipped byte is found; longer damage slips
through with probability 2**-32. It guards against damage, not against forgery.
"""

from __future__ import annotations

import json
import math
import os
import re
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import FormatError
from ..files import atomic_write

__all__ = ["from_bytes", "read_weights", "to_bytes", "write_weights"]

Tensors = dict[str, npt.NDArray[Any]]

_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"), "F32": np.dtype("<f4"), "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"), "I32": np.dtype("<i4"), "I16": np.dtype("<i2"), "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"), "U32": np.dtype("<u4"), "U16": np.dtype("<u2"), "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}  # fmt: skip
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}

# Parsed JSON takes some tens of times its text's memory: a header longer than this is refused unread.
_MAX_HEADER = 1 << 20
_ALIGNMENT = 64  # tensors begin on a cache line of the file, so a mapping can be used as it is
_CHECKSUM = "simskip.checksum"
_TENSOR_CHECKSUM = "simskip.crc32."
_PREFIX = b'{"__metadata__":{"simskip.checksum":"'
_ZEROS = b"0" * 8


def _crc(data: Any, start: int = 0) -> int:
    return zlib.crc32(data, start)


def _header_crc(length: bytes, header: bytes) -> str:
    at = len(_PREFIX)
    crc = _crc(header[at + 8 :], _crc(_ZEROS, _crc(header[:at], _crc(length))))
    return f"{crc:08x}"


def to_bytes(tensors: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, str] | None = None) -> bytes:
    """The content of a weights file; see ``write_weights``."""
    table: dict[str, Any] = {}
    checksums: dict[str, str] = {}
    chunks: list[bytes] = []
    offset = 0
    arrays = {name: np.asarray(array) for name, array in tensors.items()}
    # Wide types first keeps every tensor aligned to its own item size, as the reference writer does.
    for name, array in sorted(arrays.items(), key=lambda item: (-item[1].dtype.itemsize, item[0])):
        if not isinstance(name, str) or name == "__metadata__":
            raise ValueError(f"tensors must be named by strings other than '__metadata__', got {name!r}")
        dtype = array.dtype.newbyteorder("<")
        if dtype not in _NAMES:
            raise ValueError(f"tensor {name!r} must be of a plain number type or bool, got {array.dtype}")
        data = np.ascontiguousarray(array, dtype).tobytes()
        table[name] = {
            "dtype": _NAMES[dtype],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + len(data)],
        }
        checksums[_TENSOR_CHECKSUM + name] = f"{_crc(data):08x}"
        chunks.append(data)
        offset += len(data)
    for key, value in (metadata or {}).items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise ValueError(f"metadata must map strings to strings, got {key!r}: {value!r}")
        if key == _CHECKSUM or key.startswith(_TENSOR_CHECKSUM):
            raise ValueError(f"metadata must leave the key {key!r} to the checksums")
    full = {_CHECKSUM: _ZEROS.decode(), **(metadata or {}), **checksums}
    header = json.dumps({"__metadata__": full, **table}, separators=(",", ":")).encode()
    header += b" " * (-(8 + len(header)) % _ALIGNMENT)
    if len(header) > _MAX_HEADER:
        raise ValueError(f"metadata and tensor names must fit into {_MAX_HEADER:,} bytes, got {len(header):,}")
    length = len(header).to_bytes(8, "little")
    at = len(_PREFIX)
    header = header[:at] + _header_crc(length, header).encode() + header[at + 8 :]
    return b"".join([length, header, *chunks])


def write_weights(
    path: str | os.PathLike[str],
    tensors: Mapping[str, npt.NDArray[Any]],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write arrays and metadata as a safetensors file with checksums, atomically.

    Parameters
    ----------
    path : str or path-like
        The file; see ``simskip.files.atomic_write`` for what a crash leaves.
    tensors : mapping of str to array
        Any shape; float16/32/64, (u)int8/16/32/64 or bool.
    metadata : mapping of str to str, optional
        At most about 1 MiB in all.

    Raises
    ------
    ValueError
        For a type that the format or NumPy lacks, or metadata that are not strings.

    Examples
    --------
    >>> import numpy as np, os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "w.safetensors")
    >>> write_weights(path, {"w": np.eye(2, dtype=np.float32)}, {"kind": "identity"})
    >>> tensors, metadata = read_weights(path)
    >>> tensors["w"].tolist(), metadata
    ([[1.0, 0.0], [0.0, 1.0]], {'kind': 'identity'})
    """
    content = to_bytes(tensors, metadata)
    with atomic_write(path) as file:
        file.write(content)


def read_weights(path: str | os.PathLike[str], *, checksums: bool = True) -> tuple[Tensors, dict[str, str]]:
    """Read a safetensors file.

    Parameters
    ----------
    path : str or path-like
    checksums : bool
        True: only files of ``write_weights``, every byte checked. False: files of other writers too, whose
        checksums are checked if there are any.

    Returns
    -------
    tensors : dict of str to array
        Writable arrays in native byte order.
    metadata : dict of str to str
        Without the checksums.

    Raises
    ------
    FormatError
        If the file is cut short, damaged, or not of this format; the message names the file and the place. No
        more memory is taken than the file is long (plus a bounded header).
    OSError
        If it cannot be opened.
    """
    name = os.fspath(path)
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(8)
        _header_length(start, size, name)  # a wrong kind of file is refused before it is read as a whole
        content = start + file.read()
    return from_bytes(content, name, checksums=checksums)


def from_bytes(content: bytes, where: str = "weights", *, checksums: bool = True) -> tuple[Tensors, dict[str, str]]:
    """``read_weights`` for content in memory; ``where`` names it in errors."""
    n = _header_length(content[:8], len(content), where)
    header = bytes(content[8 : 8 + n])
    marked = header.startswith(_PREFIX)
    if marked:
        stored = header[len(_PREFIX) : len(_PREFIX) + 8].decode("latin-1")
        if not re.fullmatch("[0-9a-f]{8}", stored) or stored != _header_crc(content[:8], header):
            raise FormatError(f"{where}: damaged header (bytes 0 to {8 + n}): its checksum does not match")
    elif checksums:
        raise FormatError(f"{where}: damaged header or not a simskip file: no checksum at byte 8")
    table, metadata = _parse(header, where)
    tensors: Tensors = {}
    data = memoryview(content)[8 + n :]
    for name, dtype, shape, begin, end in _layout(table, len(data), where):
        place = f"{where}: tensor {name!r} (bytes {8 + n + begin} to {8 + n + end})"
        checksum = metadata.pop(_TENSOR_CHECKSUM + name, None)
        if checksum is None and (marked or checksums):
            raise FormatError(f"{place} has no checksum")
        if checksum is not None and checksum != f"{_crc(data[begin:end]):08x}":
            raise FormatError(f"{place} is damaged: its checksum does not match")
        array = np.frombuffer(data[begin:end], dtype)
        if dtype.kind == "b" and array.view(np.uint8).max(initial=0) > 1:
            raise FormatError(f"{place} holds booleans other than 0 and 1")
        try:
            tensors[name] = array.reshape(shape).astype(dtype.newbyteorder("="))
        except (ValueError, OverflowError):  # an empty tensor whose other sides are beyond NumPy's
            raise FormatError(f"{place} has the impossible shape {shape}") from None
    metadata.pop(_CHECKSUM, None)
    return tensors, metadata


def _header_length(start: bytes, size: int, where: str) -> int:
    if len(start) < 8:
        raise FormatError(f"{where}: cut short: {size} bytes, the header's length alone takes 8")
    n = int.from_bytes(start, "little")
    if n > size - 8:
        raise FormatError(f"{where}: damaged or not safetensors: a header of {n} bytes in a file of {size}")
    if n > _MAX_HEADER:
        raise FormatError(f"{where}: a header of {n} bytes, more than the {_MAX_HEADER} that are accepted")
    return n


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name occurs twice")
    return result


def _parse(header: bytes, where: str) -> tuple[dict[str, Any], dict[str, str]]:
    try:
        table = json.loads(header.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{where}: the header at byte 8 is not JSON: {error}") from None
    if not isinstance(table, dict):
        raise FormatError(f"{where}: the header at byte 8 is not a JSON object")
    metadata = table.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise FormatError(f"{where}: __metadata__ in the header does not map strings to strings")
    return table, metadata


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _layout(table: dict[str, Any], size: int, where: str) -> list[tuple[str, np.dtype[Any], tuple[int, ...], int, int]]:
    """The tensors in file order, checked to fill the data section exactly."""
    rows = []
    for name, entry in table.items():
        try:
            dtype_name, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        except (TypeError, KeyError, ValueError):
            raise FormatError(f"{where}: tensor {name!r} lacks dtype, shape or data_offsets") from None
        dtype = _DTYPES.get(dtype_name) if isinstance(dtype_name, str) else None
        if dtype is None:
            raise FormatError(f"{where}: tensor {name!r} has the unknown type {dtype_name!r:.80}")
        # NumPy has at most 64 dimensions.
        if not isinstance(shape, list) or len(shape) > 64 or not all(map(_is_size, [*shape, begin, end])):
            raise FormatError(f"{where}: tensor {name!r} has a shape or offsets that are not sizes")
        if end - begin != math.prod(shape) * dtype.itemsize:
            raise FormatError(
                f"{where}: tensor {name!r} has offsets {begin} to {end} but shape {tuple(shape)} of {dtype_name}"
            )
        rows.append((name, dtype, tuple(shape), begin, end))
    rows.sort(key=lambda row: (row[3], row[4]))
    position = 0
    for name, _, _, begin, end in rows:
        if begin != position:
            raise FormatError(f"{where}: tensor {name!r} begins at data byte {begin}, expected {position}")
        position = end
    if position != size:
        raise FormatError(f"{where}: cut short or damaged: {size} bytes of data, the header describes {position}")
    return rows
