"""Embed many things batch by batch, with any embedder, leaving out what cannot be embedded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..validation import matrix

__all__ = ["Batch", "embed_batches"]

# Positions of the things that were embedded, their vectors, and (position, reason) of the others.
Batch = tuple[list[int], npt.NDArray[np.float32], list[tuple[int, str]]]

_BATCH = 64


def embed_batches(embedder: Any, things: Sequence[Any]) -> Iterator[Batch]:
    """Vectors of things in their order; what cannot be embedded is left out, with the reason.

    simskip's embedders do it themselves, in threads. For any other object, ``embed`` is called with 64 things, and
    where that fails, one by one.

    Yields
    ------
    rows : list of int
        Positions in ``things``.
    vectors : (len(rows), embedder.dim) float32 array
    skipped : list of (int, str)
        Positions and reasons.

    Examples
    --------
    >>> import numpy as np
    >>> class Lengths:
    ...     name, dim, fingerprint = "lengths", 1, "1"
    ...     def embed(self, batch, progress=False):
    ...         return np.array([[len(text)] for text in batch], np.float32)
    >>> list(embed_batches(Lengths(), ["a", None, "abc"]))[0][2]
    [(1, "object of type 'NoneType' has no len()")]
    """
    own = getattr(embedder, "embed_batches", None)
    if own is not None:
        yield from _with_positions(own(things, progress=False))
        return
    for start in range(0, len(things), _BATCH):
        batch = things[start : start + _BATCH]
        try:
            yield list(range(start, start + len(batch))), _embedded(embedder, batch), []
        except Exception:
            yield _one_by_one(embedder, batch, start)


def _with_positions(pieces: Iterable[Any]) -> Iterator[Batch]:
    """Pieces whose skipped things come without their positions: these are the ones that are not among the rows."""
    start = 0
    for rows, vectors, skipped in pieces:
        end = start + len(rows) + len(skipped)
        left_out = np.setdiff1d(np.arange(start, end), rows).tolist()
        yield [int(row) for row in rows], vectors, list(zip(left_out, [one.reason for one in skipped], strict=True))
        start = end


def _one_by_one(embedder: Any, batch: Sequence[Any], start: int) -> Batch:
    rows: list[int] = []
    vectors = [np.empty((0, embedder.dim), np.float32)]
    skipped: list[tuple[int, str]] = []
    for row, thing in enumerate(batch, start):
        try:
            vectors.append(_embedded(embedder, [thing]))
            rows.append(row)
        except Exception as error:
            skipped.append((row, str(error) or type(error).__name__))
    return rows, np.concatenate(vectors), skipped


def _embedded(embedder: Any, batch: Sequence[Any]) -> npt.NDArray[np.float32]:
    vectors = matrix(embedder.embed(batch), f"{embedder.name}.embed(batch)", dim=embedder.dim, min_rows=0)
    if len(vectors) != len(batch):
        raise ValueError(f"{embedder.name}.embed(batch) gave {len(vectors)} vectors for {len(batch)} things")
    return vectors
