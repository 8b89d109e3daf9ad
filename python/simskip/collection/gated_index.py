"""Search in likely classes, over a collection's items."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .database import Database
from .hierarchy.hierarchical_search import HierarchicalSearch
from .hierarchy.vector_classifier import VectorClassifier
from .items import labels_by_id, read_vectors
from .models import Models

if TYPE_CHECKING:
    from .hierarchy.gate_report import GateRecall
    from .searcher import How

__all__ = ["GatedIndex"]

Ids = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]


class GatedIndex:
    """A ``HierarchicalSearch`` of all items, made when first asked for and again when vectors or labels have changed.

    Takes as much memory as the vectors, beside those of the collection's index.

    Parameters
    ----------
    database : Database
    models : Models
    metric : {"cosine", "l2", "dot"}
    """

    def __init__(self, database: Database, models: Models, metric: str) -> None:
        self._database, self._models, self._metric = database, models, metric
        self._lock = threading.Lock()
        self._made: tuple[Any, HierarchicalSearch] | None = None

    def search(
        self, revision: int, queries: Vectors, k: int, allowed: Ids | None, how: How
    ) -> tuple[npt.NDArray[Any], Ids]:
        """Distances and ids, (q, k) each; ``revision``: of the vectors that are searched."""
        search = self.current(revision)
        assert how.gate is not None
        return search.search(
            queries,
            k,
            gate=how.gate,
            probability=how.probability,
            budget=how.budget,
            where=allowed,
            threads=how.threads,
        )

    def current(self, revision: int) -> HierarchicalSearch:
        """The search as of a revision of the vectors.

        Raises
        ------
        ValueError
            Without a classifier, or if items have labels that it does not know.
        """
        labels = self._database.value("SELECT value FROM meta WHERE name = 'label_revision'")
        with self._lock:
            state = (revision, labels, self._models.fingerprint("classifier"))
            if self._made is None or self._made[0] != state:
                self._made = state, self._search_of(without=np.empty(0, np.int64))
            return self._made[1]

    def recall(self, held_out: Ids, k: int, how: How) -> GateRecall:
        """The gate's recall, asked by items that are left out of the search for it."""
        search = self._search_of(without=held_out)
        with self._database.reading() as connection:
            queries = read_vectors(connection, search.dim, held_out)[1]
        return search.gate_recall(
            queries, k, gate=how.gate or "soft", probability=how.probability, budget=how.budget, threads=how.threads
        )

    def _search_of(self, without: Ids) -> HierarchicalSearch:
        classifier = self._classifier()
        with self._database.reading() as connection:
            ids, vectors = read_vectors(connection, classifier.dim_)
            labels = labels_by_id(connection)
        kept = ~np.isin(ids, without)
        ids, vectors = ids[kept], vectors[kept]
        named = [labels.get(id) for id in ids.tolist()]
        unknown = sorted(set(filter(None, named)) - set(classifier.classes_.tolist()))
        if unknown:
            raise ValueError(
                f"gate: the classifier of {self._database.path} does not know the label {unknown[0]!r}: "
                "train_classifier again"
            )
        return HierarchicalSearch(ids, vectors, named, metric=self._metric, classifier=classifier)

    def _classifier(self) -> VectorClassifier:
        content = self._models.content("classifier")
        if content is None:
            raise ValueError(f"gate needs a classifier: call train_classifier on {self._database.path} first")
        return VectorClassifier.from_bytes(content, f"the classifier in {self._database.path}")
