"""Answers a collection's questions: query to vector, condition to ids, gate or index, rows to hits."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..validation import choice, positive_int
from .database import Database
from .filters import Filters, Parameters
from .gated_index import GatedIndex
from .hits import Hit, Hits
from .items import rows_of
from .live_index import LiveIndex, State, without_own
from .models import Models
from .queries import Question
from .registration import EmbedderOfCollection

__all__ = ["How", "Searcher"]

Ids = npt.NDArray[np.int64]

# With a hasher the exact metric orders this many times k candidates, unless told otherwise.
_RERANK = 10


@dataclass(frozen=True)
class How:
    """How to search; ``Collection.search_many`` explains each."""

    scoring: str | None = None
    rerank: int | None = _RERANK
    recall: float | None = None
    exact: bool = False
    gate: str | None = None
    probability: float | None = None
    budget: int | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        choice(self.gate, "gate", (None, "soft", "hard"))
        if self.gate is None:
            for name in ("probability", "budget"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} needs a gate, got {name}={getattr(self, name)!r} and gate=None")
        elif self.scoring is not None or self.recall is not None:
            name = "scoring" if self.recall is None else "recall"
            raise ValueError(f"{name} must not be given beside gate: behind a gate all vectors are compared")


class Searcher:
    """Searches a collection; holds what searching needs in memory.

    Parameters
    ----------
    database : Database
    models : Models
    embedder : EmbedderOfCollection
    metric : {"cosine", "l2", "dot"}
    """

    def __init__(self, database: Database, models: Models, embedder: EmbedderOfCollection, metric: str) -> None:
        self._database, self._embedder, self._metric = database, embedder, metric
        self._live = LiveIndex(database, models, metric)
        self._gated = GatedIndex(database, models, metric)
        self._lock = threading.Lock()
        self._filters: Filters | None = None

    def close(self) -> None:
        """Close what is open."""
        with self._lock:
            if self._filters is not None:
                self._filters.close()

    def many(
        self, name: str, value: Any, k: int, where: str | None, parameters: Parameters, exclude_self: bool, how: How
    ) -> tuple[npt.NDArray[Any], Ids]:
        """Distances and ids, (q, k) each, of ``images``, ``texts``, ``keys`` or ``vectors``."""
        k = positive_int(k, "k", maximum=2**31 - 2)
        return self._found(self.state(), name, value, k, where, parameters, exclude_self, how)

    def one(
        self, name: str, value: Any, k: int, where: str | None, parameters: Parameters, exclude_self: bool, how: How
    ) -> Hits:
        """The hits of the only query in ``value``."""
        k = positive_int(k, "k", maximum=2**31 - 2)
        state = self.state()
        distances, ids = self._found(state, name, value, k, where, parameters, exclude_self, how)
        return self.hits(distances[0].tolist(), ids[0].tolist(), self._measure(state, how))

    def _found(
        self,
        state: State,
        name: str,
        value: Any,
        k: int,
        where: str | None,
        parameters: Parameters,
        exclude_self: bool,
        how: How,
    ) -> tuple[npt.NDArray[Any], Ids]:
        queries, own = self.question(state.index.dim).vectors(name, value)
        leave_out = own is not None and exclude_self
        allowed = None if where is None else self.filters().ids(where, parameters)
        if allowed is not None:  # the file may have changed since the index was looked at
            allowed = np.intersect1d(allowed, state.index.ids, assume_unique=True)
        wanted = k + leave_out
        if how.gate is not None:
            found = self._gated.search(state.revision, queries, wanted, allowed, how)
        else:
            recall = 1.0 if how.exact else how.recall
            rerank = None if recall is not None else how.rerank
            found = state.search(
                queries, wanted, allowed, scoring=how.scoring, rerank=rerank, recall=recall, threads=how.threads
            )
        return without_own(*found, own) if leave_out and own is not None else found

    def question(self, dim: int | None) -> Question:
        """What turns queries into vectors of so many numbers (None: any)."""
        return Question(self._database, dim, self._embedder.get)

    def filters(self) -> Filters:
        """What evaluates conditions."""
        with self._lock:
            if self._filters is None:
                self._filters = Filters(self._database)
            return self._filters

    def gated(self) -> GatedIndex:
        """What searches behind a gate."""
        return self._gated

    def state(self) -> State:
        """The index as of the last commit."""
        return self._live.current()

    def hits(self, distances: Sequence[float], ids: Sequence[int], measure: str) -> Hits:
        """Items with what is known of them; ids of -1 and of items that are gone are left out."""
        wanted = [(distance, id) for distance, id in zip(distances, ids, strict=True) if id >= 0]
        with self._database.reading() as connection:
            rows = rows_of(connection, [id for _, id in wanted])
        found = []
        for distance, id in wanted:
            if id in rows:
                row = rows[id]
                found.append(Hit(row.key, row.label, distance, id, json.loads(row.attributes), row.file))
        return Hits(tuple(found), measure)

    def _measure(self, state: State, how: How) -> str:
        by_codes = state.hasher is not None and not how.exact and how.gate is None
        if not by_codes or how.recall is not None or how.rerank is not None:
            return self._metric
        return "asymmetric" if how.scoring == "asymmetric" else "bits"
