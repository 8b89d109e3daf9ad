"""Word vectors in NumPy's files: ``.npy`` with the words in a text file beside it, ``.npz`` with both."""

from __future__ import annotations

import errno
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...errors import FormatError
from ...validation import float_rows, matrix

if TYPE_CHECKING:
    import zipfile

__all__ = ["read_npy", "read_npz"]

_BESIDE = (".txt", ".vocab")
_COUNTED = re.compile(r"(.*\S)\s+[0-9]+")

Words = list[str]
Vectors = npt.NDArray[np.float32]


def read_npy(path: Path) -> tuple[Words, Vectors]:
    """Vectors from ``NAME.npy``, mapped where they are float32; words from ``NAME.txt`` or ``NAME.vocab``.

    The text file has a word per line; in a ``.vocab`` file each may be followed by how often it was seen, as
    word2vec and gensim write it.

    Raises
    ------
    FormatError
        If the array is no matrix of finite numbers, or the words are not as many as its rows.
    FileNotFoundError
        If there is no file of words.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    # NumPy reads a header as Python's source: damaged ones raise nearly anything (TokenError, SyntaxError, ...).
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise FormatError(f"{path} is no array of NumPy's: {error}") from error
    beside = [path.with_suffix(suffix) for suffix in _BESIDE]
    found = next((file for file in beside if file.is_file()), None)
    if found is None:
        raise FileNotFoundError(f"{path} needs its words, one per line, in {' or '.join(map(str, beside))}")
    return _matching(_words_of(found), array, f"{path} with {found.name}")


def read_npz(archive: zipfile.ZipFile, place: str) -> tuple[Words, Vectors]:
    """Words and vectors from the arrays ``words`` and ``vectors`` (strings, or lines of UTF-8 as uint8).

    Raises ``FormatError`` for other arrays; one that promises more than the file holds takes no memory.
    """
    words, vectors = (_member(archive, name, place) for name in ("words", "vectors"))
    if words.ndim != 1 or (words.dtype.kind not in "US" and words.dtype != np.uint8):
        raise FormatError(f"{place}: words must be a row of strings, got {words.dtype} {words.shape}")
    try:
        if words.dtype == np.uint8:
            listed = words.tobytes().decode().split("\n")
        else:
            listed = [word if isinstance(word, str) else word.decode() for word in words.tolist()]
    except UnicodeDecodeError as error:
        raise FormatError(f"{place}: words must be UTF-8: {error}") from None
    return _matching(listed, vectors, place)


def _member(archive: zipfile.ZipFile, name: str, place: str) -> npt.NDArray[Any]:
    if f"{name}.npy" not in archive.namelist():
        held = ", ".join(entry.removesuffix(".npy") for entry in archive.namelist()[:10])
        raise FormatError(f"{place} must hold the arrays words and vectors, it holds {held}")
    size = archive.getinfo(f"{name}.npy").file_size
    layout = np.lib.format
    try:
        with archive.open(f"{name}.npy") as file:
            version = layout.read_magic(file)
            read = layout.read_array_header_1_0 if version == (1, 0) else layout.read_array_header_2_0
            shape, _, dtype = read(file)
            if dtype.hasobject or math.prod(shape) * dtype.itemsize != size - file.tell():
                raise ValueError(f"{dtype} {shape} in {size} bytes")
        with archive.open(f"{name}.npy") as file:
            return np.asarray(layout.read_array(file, allow_pickle=False))
    except Exception as error:  # as in read_npy, and what unpacking raises
        raise FormatError(f"{place}: {name} is no array of numbers or strings: {error}") from error


def _words_of(path: Path) -> Words:
    try:
        lines = path.read_bytes().decode().removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is not UTF-8: {error}") from None
    lines = [line.removesuffix("\r") for line in lines]
    counted = [_COUNTED.fullmatch(line) for line in lines] if path.suffix == ".vocab" else [None]
    if all(counted):
        return [match[1] for match in counted if match]
    return lines


def _matching(words: Words, array: npt.NDArray[Any], place: str) -> tuple[Words, Vectors]:
    try:
        as_is = array.dtype == np.float32 and array.flags.c_contiguous
        vectors: Vectors = (float_rows if as_is else matrix)(array, "vectors")
    except ValueError as error:
        raise FormatError(f"{place}: {error}") from None
    if len(words) != len(vectors):
        raise FormatError(f"{place}: {len(words):,} words for {len(vectors):,} vectors")
    if "" in words:
        raise FormatError(f"{place}, line {words.index('') + 1}: a word without characters")
    return words, vectors
