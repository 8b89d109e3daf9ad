"""Exact Hamming Top-25: one row per competitor, shape of the work and number of threads, for one instruction set.

Runs in a process of its own for each instruction set (see processes.py), because libraries choose theirs once.

Shapes of the work: "batch" (all queries in one call) and "single" (a call for each query, as a service gets them).
"""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import numpy as np

import simskip

from .cases import Case, K
from .competitors import Faiss, Simskip, methods, numpy_search, usearch_exact
from .timing import Work, time_alternating

__all__ = ["measure"]

N_SINGLE = 20  # queries that a run of "single" asks, one by one


def measure(
    case: dict[str, Any], database: str, queries: str, peers: bool, repeats: int, seconds: float
) -> list[dict[str, Any]]:
    """Rows of one case on this process's instruction set.

    Parameters
    ----------
    case : dict
        Fields of ``Case``.
    database, queries : str
        ``.npy`` files of packed rows.
    peers : bool
        usearch and NumPy too. faiss, to which the others are compared, always runs.
    repeats, seconds
        See ``time_alternating``.
    """
    the_case = Case(**case)
    data, asked = np.load(database, mmap_mode="r"), np.load(queries)
    n = the_case.n
    cores = len(simskip_cores())
    faiss = Faiss(the_case, data)
    indexes = {method: Simskip(the_case, data, method) for method in methods()}
    # Slow ones answer fewer queries at a time; faiss still enough of them to keep its blocks of codes in the cache.
    few = asked[: int(np.clip(20_000_000 // n, 16, 200))]
    fewer = asked[: int(np.clip(4_000_000 // n, 2, 16))]
    single = asked[:N_SINGLE]
    check(the_case, faiss, indexes, few)

    work: dict[tuple[str, str, int], Work] = {}
    for threads, (method, index) in itertools.product((1, 2), indexes.items()):
        if threads <= cores:
            who = f"simskip {method}"
            work[who, "batch", threads] = Work(partial(index.search, asked, threads), len(asked))
            work[who, "single", threads] = Work(partial(index.search_each, single, threads), len(single))
    for heap, who in ((True, "faiss heap"), (False, "faiss counter")):
        for threads in range(1, min(2, cores) + 1):
            work[who, "batch", threads] = Work(partial(faiss.search, few, threads, heap), len(few))
        work[who, "single", 1] = Work(partial(faiss.search_each, single, heap), len(single))
    if peers:
        work["numpy", "batch", 1] = Work(partial(numpy_search, data, fewer), len(fewer))
        if n <= 1_000_000:  # slower than the rest by two orders: hours at more
            work["usearch exact", "batch", 1] = Work(partial(usearch_exact(data), fewer), len(fewer))

    times = time_alternating({"|".join(map(str, key)): each for key, each in work.items()}, repeats, seconds)
    rows = [
        {
            **case,
            "k": K,
            "isa": simskip.cpu.isa,
            "faiss_level": Faiss.level(),
            "who": who,
            "shape": shape,
            "threads": threads,
            "queries_per_call": work[who, shape, threads].units if shape == "batch" else 1,
            "recall": 1.0,
            **times[f"{who}|{shape}|{threads}"].row(),
            "stats": indexes[who.removeprefix("simskip ")].index.stats() if who.startswith("simskip") else None,
        }
        for who, shape, threads in work
    ]
    return [{**row, "times_faster_than_faiss": speed_up(row, rows)} for row in rows]


def simskip_cores() -> set[int]:
    """Processors that this process may use."""
    import os

    return os.sched_getaffinity(0)


def check(case: Case, faiss: Faiss, indexes: dict[str, Simskip], queries: np.ndarray) -> None:
    """All must find the same distances: nobody is fast by being wrong."""
    expected = faiss.search(queries, 1, heap=True)
    for method, index in indexes.items():
        for threads in (1, 2):
            if not np.array_equal(index.search(queries, threads), expected):
                raise AssertionError(f"simskip {method} and faiss disagree on {case}")


def speed_up(row: dict[str, Any], rows: list[dict[str, Any]]) -> float:
    """How many times faster than faiss's better way at the same shape of work.

    One thread is compared by processor time, less disturbed than the wall's; more threads by the wall's. One query is
    compared with faiss's one thread, which is all that it uses for it.
    """
    shape, threads = row["shape"], 1 if row["shape"] == "single" else row["threads"]
    theirs = [r for r in rows if r["who"].startswith("faiss") and r["shape"] == shape and r["threads"] == threads]
    clock = "cpu_us" if row["threads"] == 1 else "wall_us"
    return min(r[clock] for r in theirs) / row[clock]
