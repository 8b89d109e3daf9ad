"""Text files of word vectors: on each line a word and its numbers, as GloVe, word2vec and fastText write them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ...errors import FormatError
from .word_table import MAX_DIM, WordTable

__all__ = ["HEADER", "read_text"]

# word2vec's first line: words, numbers per word.
HEADER = re.compile(rb"([0-9]{1,18}) ([0-9]{1,18})[ \r]*\Z")
_BLOCK = 1 << 20
_MAX_LINE = 1 << 23


def read_text(stream: BinaryIO, place: str) -> tuple[list[str], npt.NDArray[np.float32]]:
    """Words and vectors from lines of text.

    Some words of the larger files hold spaces: the numbers are counted from the end of the line. A first line of two
    integers is word2vec's promise of how many words and numbers follow, and is held to it.

    Parameters
    ----------
    stream : binary file
        Read once, in blocks.
    place : str
        For error messages.

    Raises
    ------
    FormatError
        Naming the line that is no word with as many finite numbers as the others have.
    """
    table = WordTable(place)
    promised: int | None = None
    dim: int | None = None
    for number, lines in _blocks(stream, place):
        if number == 1 and (header := HEADER.match(lines[0])):
            promised, dim = int(header[1]), int(header[2])
            number, lines = 2, lines[1:]
            if not 1 <= dim <= MAX_DIM:
                raise FormatError(f"{place}, line 1: expected 1 to {MAX_DIM} numbers per word, got {dim}")
        if not lines:
            continue
        if dim is None:
            dim = min(lines[0].rstrip().count(b" "), MAX_DIM)
        words, rows = _at_once(lines, dim) or _one_by_one(lines, dim, number, place)
        if promised is not None and len(table) + len(words) > promised:
            line = number + promised - len(table)
            raise FormatError(f"{place}, line {line}: the first line promises {promised:,} words, more follow")
        table.add(words, rows)
    return table.finish(promised)


def _blocks(stream: BinaryIO, place: str) -> Iterator[tuple[int, list[bytes]]]:
    """Number of the first line, and some megabytes of whole lines."""
    number, rest = 1, b""
    while block := stream.read(_BLOCK):
        whole, newline, tail = block.rpartition(b"\n")
        if newline:
            lines = (rest + whole).split(b"\n")
            yield number, lines
            number, rest = number + len(lines), tail
        else:
            rest += block
        if len(rest) > _MAX_LINE:
            raise FormatError(f"{place}, line {number}: more than {_MAX_LINE:,} bytes long")
    if rest:
        yield number, [rest]


def _at_once(lines: list[bytes], dim: int) -> tuple[list[str], npt.NDArray[Any]] | None:
    """What nearly all blocks are: words without spaces, and numbers that are fine. None for other blocks."""
    parts = [line.rstrip().partition(b" ") for line in lines]
    try:
        words = [word.decode() for word, _, _ in parts]
        numbers = [numbers.decode("ascii") for _, _, numbers in parts]
        # Reading no row at all is a warning of NumPy's.
        if not all(words) or not all(numbers):
            return None
        with np.errstate(over="ignore"):
            rows = np.loadtxt(numbers, np.float32, comments=None, delimiter=" ", ndmin=2)
    except ValueError:
        return None
    return (words, rows) if rows.shape == (len(lines), dim) and np.isfinite(rows).all() else None


def _one_by_one(lines: list[bytes], dim: int, first: int, place: str) -> tuple[list[str], npt.NDArray[Any]]:
    words, rows = [], np.empty((len(lines), dim), np.float32)
    for i, line in enumerate(lines):
        parts = line.rstrip().split(b" ")
        word = b" ".join(parts[:-dim] if dim else parts)
        try:
            if dim < 1 or not word:
                raise ValueError(f"{len(parts) - 1} numbers")
            with np.errstate(over="ignore"):
                rows[i] = [float(value) for value in parts[-dim:]]
            if not np.isfinite(rows[i]).all():
                raise ValueError("a number that is not finite")
            words.append(word.decode())
        except ValueError as error:
            raise FormatError(
                f"{place}, line {first + i}: expected a word and {dim or 'some'} numbers, got {error}"
            ) from None
    return words, rows
