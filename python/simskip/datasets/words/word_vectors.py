"""Words and their vectors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["WordVectors"]


@dataclass(frozen=True, repr=False)
class WordVectors:
    """Words and their vectors.

    Attributes
    ----------
    words : (n,) array of str
        The most frequent first, as files of word vectors are sorted. Of ``read_words`` and ``glove`` an array of
        objects: with a fixed width, one word of a thousand characters would make every word take 4 kB.
    vectors : (n, d) float32 array
        Not scaled to length 1.
    name : str
        Where they come from.
    """

    words: npt.NDArray[Any]
    vectors: npt.NDArray[np.float32]
    name: str

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, rows: Any) -> WordVectors:
        """Some of the words: rows as a slice, an index array or a mask."""
        if isinstance(rows, (int, np.integer)):
            rows = [rows]
        return WordVectors(self.words[rows], self.vectors[rows], self.name)

    @cached_property
    def rows(self) -> dict[str, int]:
        """The row of every word; of two that are equal the first's."""
        words = self.words.tolist()
        return dict(zip(reversed(words), range(len(words) - 1, -1, -1), strict=True))

    def row_of(self, word: str) -> int:
        """Row number of a word.

        Raises ``ValueError`` if it has no vector.
        """
        row = self.rows.get(word)
        if row is None:
            raise ValueError(f"word must be one of the {len(self):,} words of {self.name}, got {word!r}")
        return row

    def __repr__(self) -> str:
        return f"WordVectors({self.name}: {len(self):,} words, {self.vectors.shape[1]} numbers each)"
