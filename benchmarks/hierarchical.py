"""Soft and hard gates of hierarchical search at equal scanned rows, with a classifier that is right in about 70 %.

    python -m benchmarks.hierarchical            CIFAR-10 and Fashion-MNIST through EfficientNet-Lite0, some minutes
    python -m benchmarks.hierarchical --quick    smaller databases, one draw of labels

The classifier is weak because it has seen few labels: as many rows of the pool as bring it to 70 % on other rows of the
pool (``LADDER``), nothing is made up. Items are grouped by their true classes. Rows of the table:

* hard, m: the m most probable classes as a whole;
* soft, whole classes: classes of falling probability until enough is covered. Classes are of equal size here, so with
  one class per query there is nothing to redistribute, and soft is hard;
* soft, cells: what ``HierarchicalSearch`` does by itself: classes cut into cells, ranked by class probability,
  closeness and size;
* soft, cells without the classifier: the same of a classifier that gives all classes the same probability: an inverted
  file. What it lacks is what the classifier adds.

"At equal rows" means: the probability of a soft gate is the largest with which choosing rows (of the pool) are compared
with at most 98 % as many rows on average as by the hard gate, so that chance does not give soft more with other rows.
Recall@25 (the share of the true 25 nearest that lie in what was scanned), rows and times are those of other queries.
Differences to the hard gate are paired by query (means over draws of labels), with 95 % bootstrap intervals. Speed-up:
processor time of exact search over all items, in batches, over the gate's. With "random labels", items and training
rows have permuted labels.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

import simskip
from simskip.collection.hierarchy.gate_report import GateRecall
from simskip.collection.hierarchy.hierarchical_search import HierarchicalSearch
from simskip.collection.hierarchy.vector_classifier import VectorClassifier
from simskip.evaluation.metrics import bootstrap_interval

from .features import DATA, Features
from .results import save
from .timing import Work, time_alternating

__all__ = ["measure"]

K = 25
TOPS = (1, 2, 3)
WANTED = 0.7
_FAR = 0.05  # above the accuracy that is wanted, more labels are not tried
LADDER = (40, 50, 60, 70, 80, 90, 100, 120, 140, 170, 200, 300)
MARGIN = 0.98
TIMED_QUERIES = 500

Row = dict[str, Any]
Floats = npt.NDArray[np.float32]


class Uninformed:
    """Gives all classes the same probability."""

    def __init__(self, classes: npt.ArrayLike) -> None:
        self.classes_ = np.asarray(classes)

    def predict_proba(self, X: Floats) -> npt.NDArray[np.float64]:
        """(n, classes)."""
        return np.full((len(X), len(self.classes_)), 1 / len(self.classes_))


def weak_classifier(X: Floats, y: npt.NDArray[np.int64], judged: int, seed: int, wanted: float) -> VectorClassifier:
    """Trained on as many rows as bring it nearest to the accuracy on the last ``judged`` rows, which it never sees."""
    order = np.random.default_rng(seed).permutation(len(X) - judged)
    best, least = None, np.inf
    for n in LADDER:
        rows = order[:n]
        if len(np.unique(y[rows])) < len(np.unique(y)):
            continue
        classifier = VectorClassifier(random_state=seed, threads=1).fit(X[rows], y[rows], progress=False)
        off = classifier.score(X[-judged:], y[-judged:]) - wanted
        if abs(off) < least:
            best, least = classifier, abs(off)
        if off > _FAR:
            break
    assert best is not None
    return best


def probability_at(search: HierarchicalSearch, queries: Floats, rows: float) -> float:
    """The largest probability with which these queries are compared with so many rows on average, or fewer."""
    low, high = 0.0, 1.0
    for _ in range(24):
        middle = (low + high) / 2
        scanned = search.gate(queries, 1, probability=middle).rows.mean()
        low, high = (middle, high) if scanned <= rows else (low, middle)
    return low


def arms(data: Features, seed: int, random_labels: bool, tops: tuple[int, ...]) -> tuple[list[Row], dict[str, Any]]:
    """One draw of labels: rows with per-query recalls, and what is to be timed."""
    rng = np.random.default_rng(seed)
    labels, pool_labels = data.database_labels, data.pool_labels
    if random_labels:
        labels, pool_labels = rng.permutation(labels), rng.permutation(pool_labels)
    judged = len(data.pool) // 2
    choosing, queries = data.pool[-judged:][:1000], data.queries[len(data.queries) // 2 :]
    classifier = weak_classifier(data.pool, pool_labels, judged, seed, 0.0 if random_labels else WANTED)
    query_labels = data.query_labels[len(data.queries) // 2 :]
    ids = np.arange(len(data.database))

    def built(by: Any, rows_per_cell: int | str | None) -> HierarchicalSearch:
        return HierarchicalSearch(
            ids, data.database, labels, classifier=by, rows_per_cell=rows_per_cell, random_state=seed, threads=1
        )

    whole, cells = built(classifier, None), built(classifier, "auto")
    soft = {
        "soft, whole classes": whole,
        "soft, cells": cells,
        "soft, cells without the classifier": built(Uninformed(classifier.classes_), "auto"),
    }
    rows: list[Row] = []
    searches: dict[str, Any] = {}

    def add(name: str, top: int, recall: GateRecall) -> None:
        rows.append(
            {
                "name": name,
                "classes": top,
                "seed": seed,
                "accuracy": classifier.score(queries, query_labels),
                "labelled": len(classifier.trained_),
                "probability": recall.probability,
                "rows": float(recall.report.rows.mean()),
                "share": recall.report.share,
                "values": recall.values,
            }
        )

    for top in tops:
        limit = whole.gate(choosing, K, gate="hard", top=top).rows.mean()
        add("hard", top, whole.gate_recall(queries, K, gate="hard", top=top, threads=1))
        searches[f"hard {top}"] = partial(whole.search, k=K, gate="hard", top=top, threads=1)
        for name, search in soft.items():
            probability = probability_at(search, choosing, MARGIN * limit)
            add(name, top, search.gate_recall(queries, K, probability=probability, threads=1))
            searches[f"{name} {top}"] = partial(search.search, k=K, probability=probability, threads=1)
    return rows, searches


def measure(
    data: Features, seeds: int, random_labels: bool = False, tops: tuple[int, ...] = TOPS, repeats: int = 5
) -> list[Row]:
    """One row per gate: means over draws of labels, the difference to the hard gate, processor time."""
    found: list[Row] = []
    searches: dict[str, Any] = {}
    for seed in range(seeds):
        rows, searches = arms(data, seed, random_labels, tops)
        found += rows
    exact = simskip.VectorIndex(data.database.shape[1])
    exact.add(data.database)
    timed = data.queries[-TIMED_QUERIES:]
    work = {name: Work(partial(search, timed), len(timed)) for name, search in searches.items()}
    work["exact"] = Work(partial(exact.search, timed, K, threads=1), len(timed))
    times = time_alternating(work, repeats, 0.0)
    means = {key: [r for r in found if (r["name"], r["classes"]) == key] for key in _keys(found)}
    table = []
    for (name, top), rows in means.items():
        values = np.mean([row["values"] for row in rows], axis=0)
        hard = np.mean([row["values"] for row in means["hard", top]], axis=0)
        low, high = bootstrap_interval(values)
        row = {
            "data": data.name,
            "labels": "random" if random_labels else "true",
            "name": name,
            "classes": top,
            "accuracy": float(np.mean([row["accuracy"] for row in rows])),
            "labelled": [row["labelled"] for row in rows],
            "seeds": seeds,
            "queries": len(values),
            "items": len(data.database),
            "probability": None if name == "hard" else [row["probability"] for row in rows],
            "rows": float(np.mean([row["rows"] for row in rows])),
            "share": float(np.mean([row["share"] for row in rows])),
            "recall": float(values.mean()),
            "recall_low": low,
            "recall_high": high,
            "times_faster": times["exact"].row()["cpu_us"] / times[f"{name} {top}"].row()["cpu_us"],
        }
        if name != "hard":
            low, high = bootstrap_interval(values - hard)
            row |= {"over_hard": float((values - hard).mean()), "over_hard_low": low, "over_hard_high": high}
        table.append(row)
    return table


def _keys(rows: list[Row]) -> list[tuple[str, int]]:
    return list(dict.fromkeys((row["name"], row["classes"]) for row in rows))


def table_of(rows: list[Row]) -> Table:
    """For people."""
    first = rows[0]
    table = Table(
        title=f"{first['data']}, {first['labels']} labels: {first['items']:,} items, {first['queries']:,} queries,"
        f" classifier right in {first['accuracy']:.1%} ({min(first['labelled'])} to {max(first['labelled'])} labels)"
    )
    for column in ("classes", "gate", "rows", "Recall@25", "over hard", "speed-up"):
        table.add_column(column, justify="left" if column == "gate" else "right")
    for row in rows:
        over = ""
        if "over_hard" in row:
            over = f"{row['over_hard']:+.3f} [{row['over_hard_low']:+.3f}, {row['over_hard_high']:+.3f}]"
        table.add_row(
            str(row["classes"]),
            row["name"],
            f"{row['share']:.2%}",
            f"{row['recall']:.3f} [{row['recall_low']:.3f}, {row['recall_high']:.3f}]",
            over,
            f"{row['times_faster']:.1f}x",
        )
    return table


def verdicts(rows: list[Row]) -> list[str]:
    """Whether soft beats hard at equal rows, gate by gate."""
    lines = []
    for row in rows:
        if row["name"].startswith("soft") and row["labels"] == "true":
            certain = row["over_hard_low"] > 0
            said = (
                "finds more than" if certain else "is no different from" if row["over_hard_high"] >= 0 else "loses to"
            )
            lines.append(f"{row['data']}: {row['name']} {said} hard with {row['classes']} at equal rows")
    return lines


def main(arguments: list[str] | None = None) -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller databases, one draw of labels")
    parser.add_argument("--seeds", type=int, default=3, help="draws of labelled rows")
    parser.add_argument("--data", nargs="+", choices=("photos", "clothes"), default=("photos", "clothes"))
    options = parser.parse_args(arguments)
    seeds, repeats = (1, 1) if options.quick else (options.seeds, 5)
    console = Console(width=150)
    rows: list[Row] = []
    for name in options.data:
        data = DATA[name](options.quick)
        for random_labels in (False, True):
            part = measure(data, seeds, random_labels, TOPS[:1] if random_labels else TOPS, repeats)
            console.print(table_of(part))
            rows += part
    for line in verdicts(rows):
        console.print(line, markup=False, highlight=False)
    console.print(f"saved to {save('hierarchical', {'rows': rows})}")


if __name__ == "__main__":
    main()
