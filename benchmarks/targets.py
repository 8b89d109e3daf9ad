"""What simskip promises to reach, and whether the measured rows do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["TARGETS", "Target", "judge", "two_thread_gain"]

ISAS = ("avx512vpopcntdq", "avx512bw", "avx2")


@dataclass(frozen=True)
class Target:
    """Times faster than faiss's better way, per thread, for each of ``ISAS``."""

    name: str
    kind: str
    n: int
    n_bits: int
    method: str
    shape: str
    threads: int
    times_faster: tuple[float, float, float]


TARGETS = (
    Target("scan, 1 M x 64, batch", "clustered", 10**6, 64, "scan", "batch", 1, (14, 8, 4)),
    Target("scan, 10 M x 64, batch", "clustered", 10**7, 64, "scan", "batch", 1, (18, 9, 4)),
    Target("scan, 1 M x 256, batch", "clustered", 10**6, 256, "scan", "batch", 1, (5, 3, 2)),
    Target("scan, 1 M x 64, one query", "clustered", 10**6, 64, "scan", "single", 1, (8, 5, 3)),
    Target("scan, 1 M x 64, one query, 2 threads", "clustered", 10**6, 64, "scan", "single", 2, (13, 8, 5)),
    Target("auto, 10 M x 64 clustered, batch", "clustered", 10**7, 64, "auto", "batch", 1, (400, 300, 200)),
    Target("auto, 10 M x 64 random, batch", "random", 10**7, 64, "auto", "batch", 1, (20, 12, 8)),
)


def judge(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each target and instruction set that was measured."""
    found = []
    for target in TARGETS:
        for isa, wanted in zip(ISAS, target.times_faster, strict=True):
            for row in rows:
                if row["isa"] == isa and matches(row, target):
                    reached = row["times_faster_than_faiss"]
                    found.append({"work": target.name, "isa": isa, "wanted": wanted, "reached": reached})
    return found


def matches(row: dict[str, Any], target: Target) -> bool:
    """Whether a row of search.py is the work of a target."""
    fields = ("kind", "n", "n_bits", "shape", "threads")
    return row["who"] == f"simskip {target.method}" and all(row[f] == getattr(target, f) for f in fields)


def two_thread_gain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """How many times faster simskip answers a batch with two threads (wall time), where both were measured."""
    keys = ("kind", "n", "n_bits", "isa", "who")
    one = {tuple(r[k] for k in keys): r for r in rows if r["threads"] == 1 and r["shape"] == "batch"}
    return [
        {**{k: r[k] for k in keys}, "gain": one[tuple(r[k] for k in keys)]["wall_us"] / r["wall_us"]}
        for r in rows
        if r["threads"] == 2 and r["shape"] == "batch" and r["who"].startswith("simskip")
    ]
