"""Training one method on frozen features, and everything that is measured of its codes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

import simskip
from simskip.evaluation.ties import Harmonic, average_precision
from simskip.hashing.recipes import RECIPES

from .features import Features, Floats, Labels

__all__ = ["BASELINES", "RERANK", "K", "Split", "Values", "control_rows", "fitted", "measured", "methods", "shown"]

Row = dict[str, Any]
Values = dict[str, npt.NDArray[np.float64]]

K = 25
RERANK = 10
BASELINES = ("random", "pca", "itq")
TIES = {"map": "expected", "map_best": "best", "map_worst": "worst"}
# Queries that have near items in common miss or hit together, so few shuffles say little.
_CONTROL_QUERIES, _SHUFFLES = 500, 30


def methods(labels: bool) -> list[str]:
    """Baselines and every objective that DeepHash offers; without labels only those that need none."""
    return [*BASELINES, *(name for name, recipe in RECIPES.items() if labels or not recipe.supervised)]


def shown(method: str) -> str:
    """A method's name with a mark if it is trained with labels."""
    return f"{method} (labels)" if method in RECIPES and RECIPES[method].supervised else method


@dataclass(frozen=True)
class Split:
    """A database to search and queries, with the truth.

    Attributes
    ----------
    database, queries : (n, d), (q, d) float32 arrays
    labels, query_labels : (n,), (q,) int64 arrays, empty without labels
    nearest : (q, K) int64 array
        The exact nearest by cosine.
    """

    database: Floats
    labels: Labels
    queries: Floats
    query_labels: Labels
    nearest: npt.NDArray[np.int64]

    @classmethod
    def of(cls, database: Floats, labels: Labels, queries: Floats, query_labels: Labels) -> Split:
        """With the exact search done."""
        exact = simskip.VectorIndex(database.shape[1], "cosine")
        exact.add(database)
        return cls(database, labels, queries, query_labels, exact.search(queries, K)[1])


def fitted(method: str, n_bits: int, seed: int, X: Floats, y: Labels | None, budget: float) -> tuple[Any, Row]:
    """A hasher trained on ``X`` (and ``y``, if it wants labels) by one thread, and what that took.

    Training ends after the first epoch past ``budget`` seconds of processor time, with the best weights so far; the row
    says so in ``cut``.
    """
    if method == "random":
        hasher: Any = simskip.RandomHash(n_bits, random_state=seed)
    elif method in BASELINES:
        hasher = simskip.PCAHash(n_bits, rotation="itq" if method == "itq" else "random", random_state=seed)
    else:
        hasher = simskip.DeepHash(n_bits, method, random_state=seed, threads=1)
    cut = False

    def over_budget(record: dict[str, Any]) -> bool:
        nonlocal cut
        cut = time.process_time() - start > budget
        return cut

    supervised = method in RECIPES and RECIPES[method].supervised
    callbacks = () if method in BASELINES else (over_budget,)
    start = time.process_time()
    hasher.fit(X, y if supervised else None, progress=False, callbacks=callbacks)
    seconds = time.process_time() - start
    planned = None if method in BASELINES else RECIPES[method].epochs
    epochs = len(getattr(hasher, "history_", ()))
    return hasher, {"cpu_s": seconds, "epochs": epochs, "cut": cut and epochs != planned}


def measured(hasher: Any, split: Split) -> tuple[Row, Values]:
    """Means (and code health, with labels) as a row, and the same figures for each query."""
    index = simskip.SimilarityIndex(hasher)
    index.add(split.database)
    ways: dict[str, dict[str, Any]] = {
        "recall": {},
        "recall_asymmetric": {"scoring": "asymmetric"},
        "recall_rerank": {"rerank": RERANK},
    }
    values: Values = {}
    for name, options in ways.items():
        found = index.search(split.queries, k=K, **options)[1]
        values[name] = simskip.metrics.recall_at_k(found, split.nearest).values
    codes = index.codes
    health = simskip.metrics.code_health(codes, split.labels if len(split.labels) else None).as_dict()
    if len(split.labels):
        query_codes = hasher.encode(split.queries)
        for name, ties in TIES.items():
            values[name] = simskip.metrics.mean_average_precision(
                split.query_labels, split.labels, query_codes=query_codes, codes=codes, ties=ties
            ).values
    return {**{name: float(np.nanmean(each)) for name, each in values.items()}, **health}, values


def control_rows(data: Features, n_bits: int, budget: float) -> list[Row]:
    """Figures of methods that cannot know anything, beside what chance gives.

    Random labels: all labels are shuffled, a supervised hasher learns those of its training rows, and the others are
    asked for. Shuffled neighbours: the items change their places after the exact search. Anything above chance would
    be a leak from training rows to queries or from the truth to the answer.
    """
    rng = np.random.default_rng(0)
    rows = []
    supervised = [name for name, recipe in RECIPES.items() if recipe.supervised]
    if data.label_bits and supervised:
        pool, items, queries = (rng.permutation(x) for x in (data.pool_labels, data.database_labels, data.query_labels))
        chosen = np.sort(rng.permutation(len(pool))[: data.n_labelled])
        X, y = data.pool[chosen], pool[chosen]
        hasher, _ = fitted(supervised[0], n_bits, 0, X, y, budget)
        for protocol, (database, labels) in {"unseen": (data.database, items), "seen": (X, y)}.items():
            found = simskip.metrics.mean_average_precision(
                queries, labels, query_codes=hasher.encode(data.queries), codes=hasher.encode(database)
            )
            control = f"random labels, {supervised[0]}, {protocol} items: mAP"
            rows.append(
                {"data": data.name, "control": control, "found": float(found), "chance": chance_map(queries, labels)}
            )
    split = Split.of(data.database, data.database_labels, data.queries[:_CONTROL_QUERIES], data.query_labels)
    hasher, _ = fitted("itq", n_bits, 0, data.database, None, budget)
    index = simskip.SimilarityIndex(hasher)
    index.add(data.database)
    answer = index.search(split.queries, k=K)[1]
    moved = (rng.permutation(len(data.database))[split.nearest] for _ in range(_SHUFFLES))
    found = np.mean([simskip.metrics.recall_at_k(answer, truth) for truth in moved])
    control = f"shuffled neighbours, itq: Recall@{K}"
    chance = K / len(data.database)
    return [*rows, {"data": data.name, "control": control, "found": float(found), "chance": chance}]


def chance_map(query_labels: Labels, labels: Labels) -> float:
    """Expected mAP of a ranking by chance: that of a database whose items all have one code."""
    n = len(labels)
    harmonic = Harmonic(n)
    zero = np.zeros(1, np.int64)
    by_class = {
        c: average_precision(np.array([n]), np.array([np.count_nonzero(labels == c)]), zero, harmonic)
        for c in np.unique(query_labels)
    }
    return float(np.nanmean([by_class[c] for c in query_labels]))
