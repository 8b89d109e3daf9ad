"""What learned codes are meant to reach, and whether the measured rows do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["TARGETS", "Target", "judge"]

Row = dict[str, Any]
# Objectives that `distilled` is held against.
RIVALS = ("classifier", "csq", "hashnet")


@dataclass(frozen=True)
class Target:
    """A figure of one method in one comparison. ``of`` takes its row and the rows of all methods there, by name."""

    name: str
    data: str
    task: str
    n_bits: int
    method: str
    of: Callable[[Row, dict[str, Row]], float | None]
    wanted: float
    hoped_for: float


def over_baselines(row: Row, _: dict[str, Row]) -> float:
    return float(row["over_baselines"])


def asymmetric(row: Row, _: dict[str, Row]) -> float:
    return float(row["recall_asymmetric"])


def over_rivals(row: Row, rows: dict[str, Row]) -> float | None:
    """None unless all rivals were trained too."""
    if any(name not in rows for name in RIVALS):
        return None
    return float(row["map"] / max(rows[name]["map"] for name in RIVALS))


BEST = "neighbors: Recall@25 over the best of random, PCA and ITQ"
NEIGHBORS = ("neighbors", over_baselines)
TARGETS = (
    Target(f"photos, 64 bits, {BEST}", "photos", "neighbors", 64, *NEIGHBORS, 1.20, 1.35),
    Target(f"photos, 128 bits, {BEST}", "photos", "neighbors", 128, *NEIGHBORS, 1.16, 1.3),
    Target(f"GloVe, 128 bits, {BEST}", "glove", "neighbors", 128, *NEIGHBORS, 1.11, 1.25),
    Target(
        "photos, 64 bits, neighbors: asymmetric Recall@25",
        "photos",
        "neighbors",
        64,
        "neighbors",
        asymmetric,
        0.36,
        0.42,
    ),
    Target(
        "photos, 64 bits, distilled: mAP among unseen items over the best of classifier, CSQ and HashNet",
        *("photos", "labels", 64, "distilled", over_rivals, 1.03, 1.08),
    ),
)


def judge(rows: list[Row]) -> list[Row]:
    """A row for each target whose methods were measured."""
    found = []
    for target in TARGETS:
        members = {
            row["method"]: row
            for row in rows
            if (row["data"], row["task"], row["n_bits"]) == (target.data, target.task, target.n_bits)
        }
        reached = target.of(members[target.method], members) if target.method in members else None
        if reached is not None:
            found.append(
                {
                    "target": target.name,
                    "wanted": target.wanted,
                    "hoped_for": target.hoped_for,
                    "reached": reached,
                    "met": reached >= target.wanted,
                }
            )
    return found
