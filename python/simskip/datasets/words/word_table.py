"""Words and vectors while a file is read."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import FormatError

__all__ = ["MAX_DIM", "MAX_WORD", "WordTable"]

MAX_DIM = 1 << 16  # numbers per word; more is damage, not a file of words
MAX_WORD = 1 << 14  # bytes of a word


class WordTable:
    """Collects rows without knowing how many will come.

    The numbers lie in one growing buffer, at most an eighth larger than its content, which becomes the result
    without a copy.

    Parameters
    ----------
    place : str
        The file, for error messages.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self.words: list[str] = []
        self._numbers = array("f")

    def __len__(self) -> int:
        return len(self.words)

    def add(self, words: Sequence[str], rows: npt.NDArray[Any]) -> None:
        """Append one row of finite numbers per word."""
        self._numbers.frombytes(np.ascontiguousarray(rows, np.float32).reshape(-1).view(np.uint8).data)
        self.words += words

    def finish(self, promised: int | None = None) -> tuple[list[str], npt.NDArray[np.float32]]:
        """All words and vectors.

        Raises ``FormatError`` if there are none, or fewer than the file promised.
        """
        if not self.words:
            raise FormatError(f"{self.place} holds no words")
        if promised is not None and len(self) < promised:
            raise FormatError(
                f"{self.place} is cut short: its first line promises {promised:,} words, {len(self):,} are there"
            )
        return self.words, np.frombuffer(self._numbers, np.float32).reshape(len(self), -1)
