"""Word vectors as an embedder: a text is the mean of its words."""

from __future__ import annotations

import os
import string
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..cache import array_fingerprint, fingerprint
from ..datasets.words import WordVectors, glove, read_words
from ..validation import choice
from .model_name import joined
from .ordered_work import Cancellation
from .text_embedder import TextEmbedder, Unusable, Vectors

__all__ = ["WordEmbedder"]

# Part of the fingerprint: raise it when the same text gives another vector.
_RULE = "mean of words 1"
# Stripped from both ends of a word that is not known as it stands.
_PUNCTUATION = string.punctuation + "“”„‘’«»‹›…–—¿¡"
_BLOCK = 4096


class WordEmbedder(TextEmbedder):
    """Vectors of words, looked up: GloVe, word2vec or other files of words and numbers.

    Made by ``simskip.embedding.text("glove")`` and ``simskip.embedding.text("words:PATH")``. A text that is itself
    in the vocabulary gets that vector. Any other is split at white space, and its vector is the mean of its words'.
    A word is looked up as it stands, in lower case, and then the same without punctuation at its ends.

    Parameters
    ----------
    words : WordVectors
        See ``simskip.datasets.read_words``. Of words that occur twice the first counts.
    name : str, optional
        What ``simskip.embedding.load`` knows it as.
    on_unknown : {"error", "zero"}
        A text with a word that has no vector is an error (``embed``) or skipped (``embed_batches``); or such words
        are left out, and a text with no known word is all zeros.

    Raises
    ------
    ValueError
        For another ``on_unknown``.

    Examples
    --------
    >>> import numpy as np
    >>> from simskip.datasets import WordVectors
    >>> from simskip.embedding import WordEmbedder
    >>> vectors = np.array([[1, 0], [0, 1]], np.float32)
    >>> embedder = WordEmbedder(WordVectors(np.array(["old", "town"], object), vectors, "tiny"))
    >>> embedder.embed(["old", "Town", "old town"]).tolist()
    [[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]
    >>> embedder.vocabulary
    ('old', 'town')
    """

    # Looking up takes less time than handing it to a thread.
    concurrent = False

    def __init__(self, words: WordVectors, *, name: str | None = None, on_unknown: str = "error") -> None:
        super().__init__(batch_size=_BLOCK, window=_BLOCK)
        self.words = words
        self.name = words.name if name is None else name
        self.dim = words.vectors.shape[1]
        self.on_unknown = choice(on_unknown, "on_unknown", ("error", "zero"))

    @classmethod
    def glove(cls, *, cache_dir: str | os.PathLike[str] | None = None, on_unknown: str = "error") -> WordEmbedder:
        """The 341,479 words of ``simskip.datasets.glove``."""
        return cls(glove(cache_dir=cache_dir), name=_named("glove", on_unknown), on_unknown=on_unknown)

    @classmethod
    def read(
        cls, path: str | os.PathLike[str], *, member: str | None = None, on_unknown: str = "error"
    ) -> WordEmbedder:
        """Those of a file; see ``simskip.datasets.read_words``."""
        words = read_words(path, member=member)
        name = _named(f"words:{Path(path).resolve()}", on_unknown, member=member)
        return cls(words, name=name, on_unknown=on_unknown)

    @cached_property
    def fingerprint(self) -> str:
        """Identity of words, vectors and the rule for several words; the file's name and format do not matter."""
        words = fingerprint("\n".join(self.words.words.tolist()))
        return f"{_RULE} words={words} vectors={array_fingerprint(self.words.vectors)}"

    @cached_property
    def vocabulary(self) -> Sequence[str]:
        """All words that have a vector, in the file's order: the most frequent first, as these files are sorted."""
        return tuple(dict.fromkeys(self.words.words.tolist()))

    def _row(self, word: str) -> int | None:
        """The row of a single word."""
        bare = word.strip(_PUNCTUATION)
        for form in (word, word.lower(), bare, bare.lower()):
            row = self.words.rows.get(form)
            if row is not None:
                return row
        return None

    def _prepare(self, texts: list[str]) -> list[Any]:
        return [self._looked_up(text) for text in texts]

    def _looked_up(self, text: str) -> int | list[int] | Unusable:
        row = self.words.rows.get(text)
        if row is not None:
            return row
        rows = []
        parts = text.split()
        for word in parts:
            row = self._row(word)
            if row is not None:
                rows.append(row)
            elif self.on_unknown == "error":
                return Unusable(f"no vector for the word {word!r}")
        if not parts:
            return Unusable("no word in it")
        return rows[0] if len(rows) == 1 else rows

    def _run(self, prepared: list[Any], cancellation: Cancellation) -> Vectors:
        single = np.fromiter((isinstance(rows, int) for rows in prepared), bool, len(prepared))
        out = np.zeros((len(prepared), self.dim), np.float32)
        out[single] = self.words.vectors[np.array([rows for rows in prepared if isinstance(rows, int)], np.int64)]
        for i in np.flatnonzero(~single):
            if prepared[i]:
                out[i] = self.words.vectors[prepared[i]].mean(axis=0, dtype=np.float64)
        return out

    def __repr__(self) -> str:
        return f"WordEmbedder({self.name!r}, {len(self.words):,} words, dim={self.dim})"


def _named(base: str, on_unknown: str, **options: Any) -> str:
    return joined(base, {**options, "on_unknown": None if on_unknown == "error" else on_unknown})
