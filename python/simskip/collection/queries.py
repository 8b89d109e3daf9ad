"""From what a user asks with (an image, a text, a key, a vector) to vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..validation import matrix
from .database import Database
from .items import checked_keys, read_vectors, required_ids
from .sources import kind_of

__all__ = ["Question", "one_given"]

Vectors = npt.NDArray[np.float32]


def one_given(**given: Any) -> tuple[str, Any]:
    """The one argument that is not None.

    Raises
    ------
    ValueError
        If there is none or more than one.
    """
    found = [(name, value) for name, value in given.items() if value is not None]
    if len(found) != 1:
        names = ", ".join(given)
        raise ValueError(f"exactly one of {names} must be given, got {', '.join(name for name, _ in found) or 'none'}")
    return found[0]


class Question:
    """Queries as vectors, and the ids of the items they are, if they are items.

    Parameters
    ----------
    database : Database
    dim : int or None
        Of the collection; None while it is empty.
    embedder : callable
        Gives the collection's embedder; called for images and texts only.
    """

    def __init__(self, database: Database, dim: int | None, embedder: Callable[[], Any]) -> None:
        self._database, self._dim, self._embedder = database, dim, embedder

    def vectors(self, name: str, value: Any) -> tuple[Vectors, npt.NDArray[np.int64] | None]:
        """Vectors of ``images``, ``texts``, ``keys`` or ``vectors``.

        Raises
        ------
        ValueError
            For unknown keys, an embedder of another kind, or things that cannot be embedded.
        """
        if name == "vectors":
            return matrix(value, name, dim=self._dim, min_rows=0), None
        if name == "keys":
            return self._of_items(value)
        kind = "images" if name == "images" else "text"
        embedder = self._embedder()
        if kind_of(embedder) != kind:
            raise ValueError(
                f"{name} cannot be compared with vectors of {embedder.name}, which embeds {kind_of(embedder)}"
            )
        return matrix(embedder.embed(value), f"{embedder.name}.embed({name})", dim=self._dim, min_rows=0), None

    def _of_items(self, value: Sequence[str]) -> tuple[Vectors, npt.NDArray[np.int64]]:
        distinct = checked_keys(list(dict.fromkeys(value)) if not isinstance(value, str) else value)
        with self._database.reading() as connection:
            numbers = dict(zip(distinct, required_ids(connection, distinct, self._database.path), strict=True))
            ids = np.array([numbers[key] for key in value], np.int64)
            found, vectors = read_vectors(connection, self._dim or 1, np.unique(ids))
        lacking = np.setdiff1d(ids, found)
        if len(lacking):
            key = next(key for key in distinct if numbers[key] == lacking[0])
            raise ValueError(f"key {key!r} has no vector")
        return vectors[np.searchsorted(found, ids)], ids
