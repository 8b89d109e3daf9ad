"""The IDX format: arrays of bytes, as MNIST and its descendants are published."""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import FormatError

__all__ = ["parse_idx", "read_idx", "unpacked"]


def read_idx(path: str | os.PathLike[str]) -> npt.NDArray[np.uint8]:
    """Read an array of bytes in IDX format (that of MNIST and its descendants), gzipped or not.

    Two zero bytes, the type (8 for unsigned bytes, the only one taken here), the number of dimensions, each
    dimension as a big-endian 32-bit number, then the elements.

    Raises
    ------
    FormatError
        For another kind of file, another type, or more or fewer elements than the dimensions say.
    """
    path = Path(path)
    return parse_idx(unpacked(path), path)


def parse_idx(content: bytes, path: Path) -> npt.NDArray[np.uint8]:
    """``read_idx`` for content that is in memory; ``path`` names it in errors."""
    if len(content) < 4 or content[:2] != b"\0\0":
        raise FormatError(f"{path} is no IDX file: it must start with two zero bytes, got {content[:2]!r}")
    kind, n_dims = content[2], content[3]
    if kind != 8 or not 1 <= n_dims <= 8:
        raise FormatError(f"{path}: expected unsigned bytes (type 8) in 1 to 8 dimensions, got type {kind}, {n_dims}")
    start = 4 + 4 * n_dims
    if len(content) < start:
        raise FormatError(f"{path} ends in its header, after {len(content)} bytes")
    shape = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4))
    expected = 1
    for size in shape:  # Python's integers: a hostile header must not wrap around
        expected *= size
    if len(content) - start != expected:
        raise FormatError(f"{path} must hold {expected} bytes for shape {shape}, got {len(content) - start}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def unpacked(path: Path) -> bytes:
    """Content of a file, unpacked if it is gzipped; ``FormatError`` if that fails."""
    data = path.read_bytes()
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise FormatError(f"{path} cannot be unpacked: {error}") from error
