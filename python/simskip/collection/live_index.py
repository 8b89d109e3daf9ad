"""The collection's index in memory, which follows the file."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..codes import Codes
from ..hashing import Hasher
from ..index import SimilarityIndex, VectorIndex
from ..index.ids import IdArray
from .database import Database
from .items import changed_vectors, ids_in, revision_of
from .models import Models

__all__ = ["LiveIndex", "State", "without_own"]

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class State:
    """An index and which state of the file it shows."""

    index: SimilarityIndex | VectorIndex
    fingerprint: str | None  # of the hasher
    revision: int

    @property
    def hasher(self) -> Hasher | None:
        """What makes its codes."""
        return self.index.hasher if isinstance(self.index, SimilarityIndex) else None

    def search(
        self,
        queries: npt.ArrayLike,
        k: int,
        where: IdArray | None = None,
        *,
        scoring: str | None = None,
        rerank: int | None = None,
        recall: float | None = None,
        threads: int | None = None,
    ) -> tuple[npt.NDArray[Any], IdArray]:
        """Distances and ids; without a hasher all vectors are compared, else as ``SimilarityIndex.search``."""
        if isinstance(self.index, SimilarityIndex):
            return self.index.search(
                queries, k, scoring=scoring, rerank=rerank, recall=recall, where=where, threads=threads
            )
        return self.index.search(queries, k, where, threads)


class LiveIndex:
    """Reads vectors and codes when first asked for, and afterwards what has changed since, whoever changed it.

    Costs n * dim * 4 bytes for vectors and n * bits / 8 for codes.

    Parameters
    ----------
    database : Database
    models : Models
    metric : {"cosine", "l2", "dot"}
    """

    def __init__(self, database: Database, models: Models, metric: str) -> None:
        self._database, self._models, self._metric = database, models, metric
        self._lock = threading.Lock()
        self._state: State | None = None
        self._version: int | None = None

    def current(self) -> State:
        """The index as of the file's last commit.

        Raises
        ------
        ValueError
            If the collection has no vectors.
        """
        with self._lock:
            version = self._database.data_version()
            if self._state is None or version != self._version:
                self._state = self._refreshed()
                self._version = version
            return self._state

    def _refreshed(self) -> State:
        with self._database.reading() as connection:
            dim = self._models.dim
            if dim is None:
                raise ValueError(f"{self._database.path} is empty: sync a folder or add items before searching")
            revision = revision_of(connection)
            fingerprint = self._models.fingerprint("hasher")
            state = self._state
            if state is None or state.fingerprint != fingerprint or state.index.dim != dim:
                hasher = self._models.hasher()
                index: Any = VectorIndex(dim, self._metric) if hasher is None else SimilarityIndex(hasher, self._metric)
                state = State(index, fingerprint, -1)
            if revision == state.revision:
                return state
            n_bits = None if state.hasher is None else state.hasher.n_bits
            blocks = changed_vectors(connection, dim, state.revision, n_bits)
            if len(state.index) == 0:  # nobody searches it yet: block by block, so that memory holds the vectors once
                for block in blocks:
                    _add(state.index, *block)
                return State(state.index, fingerprint, revision)
            changes = list(blocks)
            present = ids_in(connection, "vectors")
        _change(state.index, changes, present)
        return State(state.index, fingerprint, revision)


def _add(index: SimilarityIndex | VectorIndex, ids: IdArray, vectors: Vectors, codes: Codes | None) -> None:
    if isinstance(index, SimilarityIndex):
        index.add(vectors, ids, codes=codes)
    else:
        index.add(vectors, ids)


def _change(
    index: SimilarityIndex | VectorIndex, blocks: list[tuple[IdArray, Vectors, Codes | None]], present: IdArray
) -> None:
    """Take out what is gone and put in what has changed: one step each, searches see no half of it."""
    gone = np.setdiff1d(index.ids, present, assume_unique=True)
    if len(gone):
        index.remove(gone)
    if not blocks:
        return
    ids, vectors = np.concatenate([block[0] for block in blocks]), np.concatenate([block[1] for block in blocks])
    if isinstance(index, SimilarityIndex):
        codes = [block[2].data for block in blocks if block[2] is not None]
        whole = Codes(np.concatenate(codes), index.n_bits) if len(codes) == len(blocks) else None
        index.upsert(vectors, ids, codes=whole)
    else:
        index.upsert(vectors, ids)


def without_own(distances: npt.NDArray[Any], ids: IdArray, own: IdArray) -> tuple[npt.NDArray[Any], IdArray]:
    """Without each query's own item, or without the last if it is not among them (more twins than places): one less."""
    is_own = ids == own[:, None]
    is_own[~is_own.any(axis=1), -1] = True
    kept = ~is_own
    shape = (len(ids), ids.shape[1] - 1)
    return distances[kept].reshape(shape), ids[kept].reshape(shape)
