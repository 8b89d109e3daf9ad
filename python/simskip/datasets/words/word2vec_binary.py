"""word2vec's binary files: a line "words numbers", then for each word its bytes, a space and its numbers."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from ...errors import FormatError
from .text_lines import HEADER
from .word_table import MAX_DIM, MAX_WORD, WordTable

__all__ = ["read_binary"]

_BLOCK = 1 << 20
_FASTTEXT = (793712314).to_bytes(4, "little")


def read_binary(stream: BinaryIO, place: str) -> tuple[list[str], npt.NDArray[np.float32]]:
    """Words and vectors from a file of Mikolov et al.'s word2vec (2013), as ``word2vec -binary 1`` writes it.

    Parameters
    ----------
    stream : binary file
        Read once, in blocks; the promises of its first line cost no memory.
    place : str
        For error messages.

    Raises
    ------
    FormatError
        Naming the word that is cut short, not UTF-8 or has numbers that are not finite.
    """
    line = stream.readline(64)
    if line.startswith(_FASTTEXT):
        raise FormatError(f"{place} is a model of fastText; its vectors are in the .vec file beside it")
    header = HEADER.match(line.rstrip(b"\n"))
    if header is None:
        raise FormatError(f"{place}: expected a first line with two integers (words, numbers per word), got {line!r}")
    promised, dim = int(header[1]), int(header[2])
    if not 1 <= dim <= MAX_DIM:
        raise FormatError(f"{place}, line 1: expected 1 to {MAX_DIM} numbers per word, got {dim}")
    table = WordTable(place)
    rest = b""
    while len(table) < promised and (block := stream.read(max(_BLOCK, 4 * dim))):
        rest = _records(rest + block, table, promised, dim)
    if len(table) == promised and (rest + stream.read(64)).strip():
        raise FormatError(f"{place}: the first line promises {promised:,} words, more follow")
    return table.finish(promised)


def _records(data: bytes, table: WordTable, promised: int, dim: int) -> bytes:
    """Add the whole records at the beginning of ``data``; returns what is left."""
    words: list[str] = []
    numbers: list[bytes] = []
    start = 0
    while len(table) + len(words) < promised:
        space = data.find(b" ", start, start + MAX_WORD)
        end = space + 1 + 4 * dim
        if space < 0 or end > len(data):
            break
        number = len(table) + len(words) + 1
        # Some writers end each record with a newline; others do not.
        word = data[start:space].lstrip(b"\n")
        try:
            words.append(word.decode())
        except UnicodeDecodeError as error:
            raise FormatError(f"{table.place}, word {number}: {word[:40]!r} is not UTF-8: {error}") from None
        if not word:
            raise FormatError(f"{table.place}, word {number}: it has no characters")
        numbers.append(data[space + 1 : end])
        start = end
    if _endless_word(data, start, promised, len(table) + len(words)):
        number = len(table) + len(words) + 1
        raise FormatError(f"{table.place}, word {number}: longer than {MAX_WORD:,} bytes")
    rows = np.frombuffer(b"".join(numbers), "<f4").reshape(-1, dim)
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        number = len(table) + int(np.flatnonzero(~finite)[0])
        raise FormatError(
            f"{table.place}, word {number + 1} ({words[number - len(table)]!r}): a number that is not finite"
        )
    table.add(words, rows)
    return data[start:]


def _endless_word(data: bytes, start: int, promised: int, found: int) -> bool:
    """Whether a word goes on for longer than any does."""
    return found < promised and len(data) - start >= MAX_WORD and data.find(b" ", start, start + MAX_WORD) < 0
