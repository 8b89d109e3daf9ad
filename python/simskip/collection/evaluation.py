"""What a collection's codes cost: the items that its hasher has never seen ask, the others answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..evaluation import Report, evaluate
from ..hashing import Hasher, PCAHash, RandomHash
from ..validation import choice, positive_int
from .pictures import Pictures

if TYPE_CHECKING:
    from . import Collection

__all__ = ["evaluate_collection"]

_MIN_QUERIES = 1


def evaluate_collection(
    collection: Collection,
    k: int = 25,
    *,
    queries: int = 1000,
    rerank: int | None = 10,
    scoring: str = "codes",
    baselines: bool = True,
    min_recall: float = 0.95,
    pictures: bool = True,
    threads: int | None = None,
    random_state: int = 0,
) -> Report:
    """Judge a collection's hasher on its own items, by ``simskip.evaluate``.

    Queries are items that were set aside when the hasher was trained (``collection.held_out``), the database is all
    the others: what a new item would get. With labels for every item, label metrics are reported too.

    Parameters
    ----------
    collection : Collection
        With a trained hasher.
    k : int
        Neighbours.
    queries : int
        At most so many of the items set aside, drawn at random.
    rerank : int or None
        Depth of the second stage, in k; ``None`` judges the codes alone.
    scoring : {"codes", "asymmetric"}
        How codes are compared, as in ``Collection.search``.
    baselines : bool
        Also judge random hyperplanes and PCA of as many bits, fitted to the database, to see what learning brought.
    min_recall : float
        What the verdict asks for.
    pictures : bool
        Show queries and hits in the report, where items are image files that are still there.
    threads : int, optional
    random_state : int
        Draws the queries; seed of the baselines and intervals.

    Returns
    -------
    Report
        ``report.save("report.html")``.

    Raises
    ------
    ValueError
        Without a hasher, without items that it has not seen, or for ``k`` beyond the database.
    """
    positive_int(k, "k")
    positive_int(queries, "queries")
    choice(scoring, "scoring", ("codes", "asymmetric"))
    if rerank is not None:
        positive_int(rerank, "rerank")
    positive_int(random_state, "random_state", minimum=0)
    hasher = collection.hasher
    if hasher is None:
        raise ValueError(f"{collection.path} has no hasher to evaluate: train one first")
    unseen = collection.held_out
    if len(unseen) < _MIN_QUERIES:
        raise ValueError(
            f"{collection.path} has no items that its hasher has not seen, so nothing can be said of new ones: train "
            "again with hold_out (a tenth of the items at most is set aside)"
        )
    ids, vectors = collection.vectors()
    asked = np.isin(ids, unseen, assume_unique=True)
    rows = np.flatnonzero(asked)
    if len(rows) > queries:
        rows = np.sort(np.random.default_rng(random_state).choice(rows, queries, replace=False))
    database, query_ids = ids[~asked], ids[rows]
    X = np.ascontiguousarray(vectors[~asked])
    labels, query_labels = _labels(collection, database), _labels(collection, query_ids)
    labelled = labels is not None and query_labels is not None
    album = Pictures(collection, np.concatenate([database, query_ids])) if pictures else None
    shown = album is not None and album.any
    report = evaluate(
        _searchers(hasher, X, rerank, scoring, baselines, random_state),
        database=X,
        queries=vectors[rows],
        k=k,
        labels=labels if labelled else None,
        query_labels=query_labels if labelled else None,
        metric=collection.metric,
        pictures=(lambda row: album.of(int(database[row]))) if album is not None and shown else None,
        query_pictures=(lambda row: album.of(int(query_ids[row]))) if album is not None and shown else None,
        min_recall=min_recall,
        threads=threads,
        random_state=random_state,
    )
    if not labelled and collection.labels:
        report.warnings.append("no label metrics: not every item has a label")
    report.provenance["collection"] = {
        "path": str(collection.path),
        "embedder": collection.embedder_name,
        "embedder_fingerprint": collection.embedder_fingerprint,
        "hasher_fingerprint": hasher.fingerprint,
        "held_out": len(unseen),
    }
    return report


def _searchers(
    hasher: Hasher, X: npt.NDArray[np.float32], rerank: int | None, scoring: str, baselines: bool, seed: int
) -> dict[str, Any]:
    """The hasher's rows: codes alone, then what was asked for; then baselines that are not the hasher itself."""
    hashers: dict[str, Hasher] = {"codes": hasher}
    if baselines:
        for name, kind in (("pca", PCAHash), ("random", RandomHash)):
            if not isinstance(hasher, kind):
                hashers[name] = kind(hasher.n_bits, random_state=seed).fit(X)
    searchers: dict[str, Any] = {}
    for name, each in hashers.items():
        searchers[name] = each
        if scoring == "asymmetric":
            searchers[f"{name}, asymmetric"] = (each, {"scoring": scoring})
        if rerank is not None:
            asymmetric = ", asymmetric" if scoring == "asymmetric" else ""
            searchers[f"{name}{asymmetric} + rerank"] = (each, {"scoring": scoring, "rerank": rerank})
    return searchers


def _labels(collection: Collection, ids: npt.NDArray[np.int64]) -> npt.NDArray[Any] | None:
    """A label for each, or None if one has none."""
    labels = list(collection.labels_of(ids))
    return None if any(label is None for label in labels) else np.array(labels, dtype=str)
