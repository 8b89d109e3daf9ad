"""Does ``SimilarityIndex.search(recall=...)`` keep its word on new queries, and what does it read?

    python -m benchmarks.recall_target            Fashion-MNIST pixels and synthetic clusters, 64-bit PCA codes
    python -m benchmarks.recall_target --seeds 5  the same, calibrated on five draws of held-out items

For each target: the way of scoring that was chosen, how many of 100 random samples of 200 new queries reached the
target, mean recall, vectors read per query, and processor time beside exact search in the same run. "Fixed": the fewest
vectors at one depth for all queries with which 95 of the same 100 samples reach the target, chosen in hindsight on
these very queries; no calibration could know it.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

import simskip

from .results import save
from .timing import Work, time_alternating

K = 25
TARGETS = (0.9, 0.95, 0.99)
SAMPLES, SAMPLE = 100, 200
# Lists in which the fixed depth is looked for.
DEEPEST = 8192

Floats = npt.NDArray[np.float32]


def fashion_mnist() -> tuple[Floats, Floats]:
    """60,000 photographs of clothes as 784 grey values, 10,000 new ones as queries."""
    train, test = (simskip.datasets.fashion_mnist(split) for split in ("train", "test"))
    return train.images.reshape(len(train), -1).astype(np.float32), test.images.reshape(len(test), -1).astype(
        np.float32
    )


def clusters() -> tuple[Floats, Floats]:
    """100,000 points in 64 dimensions around 300 centres, some groups tight and some wide; 5,000 queries."""
    rng = np.random.default_rng(0)
    centres, widths = rng.normal(size=(300, 64)), rng.uniform(0.3, 1.2, 300)
    group = rng.integers(0, 300, 105_000)
    points = (centres[group] + widths[group, None] * rng.normal(size=(len(group), 64))).astype(np.float32)
    return points[:100_000], points[100_000:]


def shares_found(ids: npt.NDArray[np.int64], truth: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Recall of each query."""
    return np.array([np.isin(a, b).sum() for a, b in zip(ids, truth, strict=True)]) / truth.shape[1]


def samples_reaching(target: float, recall: npt.NDArray[np.float64]) -> int:
    """Of 100 random samples of 200 queries, those whose mean recall reaches the target."""
    rng = np.random.default_rng(1)
    draws = [rng.choice(len(recall), SAMPLE, replace=False) for _ in range(SAMPLES)]
    return int(sum(recall[draw].mean() >= target for draw in draws))


def fixed_depths(
    index: simskip.SimilarityIndex, queries: Floats, truth: npt.NDArray[np.int64], scoring: str
) -> dict[float, int]:
    """Per target the least depth for all queries with which 95 samples reach it; the size of the index if none does."""
    reached = np.zeros((len(queries), DEEPEST + 1), np.float32)
    for i in range(0, len(queries), 500):
        listed = index.search(queries[i : i + 500], DEEPEST, scoring=scoring)[1]
        for row, ids, true in zip(reached[i : i + 500], listed, truth[i : i + 500], strict=True):
            row[1:] = np.cumsum(np.isin(ids, true)) / K
    depths = {}
    for target in TARGETS:
        low, high = K, DEEPEST + 1  # recall grows with the depth
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if samples_reaching(target, reached[:, middle]) >= 95 else (middle + 1, high)
        depths[target] = low if low <= DEEPEST else len(index)
    return depths


def measure(name: str, database: Floats, queries: Floats, seeds: int, repeats: int) -> list[dict[str, Any]]:
    """One row per seed and target."""
    index = simskip.SimilarityIndex(simskip.PCAHash(64).fit(database), "l2")
    index.add(database)
    exact = simskip.VectorIndex(database.shape[1], "l2")
    exact.add(database)
    truth = exact.search(queries, K)[1]
    fixed = {scoring: fixed_depths(index, queries, truth, scoring) for scoring in ("codes", "asymmetric")}
    some = queries[:500]
    work = {"exact": Work(lambda: exact.search(some, K), len(some))}
    for target in TARGETS:
        work[str(target)] = Work(lambda target=target: index.search(some, K, recall=target), len(some))
    times = time_alternating(work, repeats)
    rows = []
    for seed in range(seeds):
        index.calibrate(K, random_state=seed)
        for target in TARGETS:
            found, reads = {}, {}
            for scoring in (None, "codes", "asymmetric"):
                before = index.stats()["vectors_read"]
                found[scoring] = index.search(queries, K, recall=target, scoring=scoring)[1]
                reads[scoring] = (index.stats()["vectors_read"] - before) / len(queries)
            chosen = "asymmetric" if reads[None] == reads["asymmetric"] else "codes"
            for scoring in ("codes", "asymmetric"):
                recall = shares_found(found[scoring], truth)
                rows.append(
                    {
                        "data": name,
                        "seed": seed,
                        "target": target,
                        "scoring": scoring,
                        "chosen": scoring == chosen,
                        "samples": samples_reaching(target, recall),
                        "recall": float(recall.mean()),
                        "reads": reads[scoring],
                        "fixed": fixed[scoring][target],
                        "microseconds": min(times[str(target)].cpu) * 1e6 if scoring == chosen else None,
                        "exact_microseconds": min(times["exact"].cpu) * 1e6,
                    }
                )
    return rows


def table_of(rows: list[dict[str, Any]]) -> Table:
    """For people."""
    table = Table(
        title=f"Recall@{K} targets: samples of {SAMPLE} new queries that reached them, vectors read per query"
    )
    for column in ("data", "seed", "target", "scoring", "samples", "recall", "reads", "fixed", "saved", "faster"):
        table.add_column(column, justify="left" if column in ("data", "scoring") else "right")
    for row in rows:
        faster = f"{row['exact_microseconds'] / row['microseconds']:.1f}x" if row["microseconds"] else ""
        table.add_row(
            row["data"],
            str(row["seed"]),
            f"{row['target']:g}",
            row["scoring"] + " *" * row["chosen"],
            f"{row['samples']} of {SAMPLES}",
            f"{row['recall']:.4f}",
            f"{row['reads']:,.0f}",
            f"{row['fixed']:,}",
            f"{1 - row['reads'] / row['fixed']:.0%}",
            faster,
        )
    table.caption = (
        "* chosen when scoring is not given; fixed: best fixed depth in hindsight; faster: than exact search"
    )
    return table


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1, help="draws of held-out items to calibrate on")
    parser.add_argument("--repeats", type=int, default=3, help="rounds of timing")
    arguments = parser.parse_args()
    simskip.set_threads(1)
    rows = measure("Fashion-MNIST", *fashion_mnist(), arguments.seeds, arguments.repeats)
    rows += measure("clusters", *clusters(), arguments.seeds, arguments.repeats)
    console = Console(width=120)
    console.print(table_of(rows))
    console.print(f"saved to {save('recall_target', {'rows': rows})}")


if __name__ == "__main__":
    main()
