"""What an index costs before it answers: seconds to add codes and to build, the first query, bytes per code."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import simskip

from .cases import Case
from .competitors import Faiss, Simskip, methods

__all__ = ["measure"]


def measure(case: dict[str, Any], database: str, queries: str, repeats: int) -> list[dict[str, Any]]:
    """A row for each method and number of threads.

    "add" puts all codes into an empty index, "build" makes the tables that it searches by, "search" is the first query;
    each is the least of ``repeats`` tries.
    """
    the_case = Case(**case)
    data, asked = np.load(database, mmap_mode="r"), np.load(queries)[:1]
    data.sum()  # the file is in memory before anybody is timed
    rows: list[dict[str, Any]] = []
    for threads in range(1, min(2, len(os.sched_getaffinity(0))) + 1):
        simskip.set_threads(threads)
        for method in methods():
            seconds, index = timed(
                lambda m=method: Simskip(the_case, data, m, built=False),
                Simskip.build,
                lambda i: i.search(asked, 1),
                repeats,
            )
            found = index.index
            rows.append(
                {
                    **case,
                    "who": f"simskip {method}",
                    "threads": threads,
                    **seconds,
                    "bytes_per_code": found.nbytes / the_case.n,
                    "stats": found.stats(),
                }
            )
            del found, index
    seconds, _ = timed(lambda: Faiss(the_case, data), lambda i: None, lambda i: i.search(asked, 1, True), repeats)
    rows.append(
        {
            **case,
            "who": "faiss flat",
            "threads": 1,
            **seconds,
            "bytes_per_code": the_case.n_bits / 8,
            "stats": None,
        }
    )
    return rows


def timed(
    make: Callable[[], Any], build: Callable[[Any], Any], search: Callable[[Any], Any], repeats: int
) -> tuple[dict[str, float], Any]:
    """The least seconds of each step, and what was made last."""
    tries: dict[str, list[float]] = {}

    def take(name: str, step: Callable[[], Any]) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        result = step()
        tries.setdefault(f"{name}_s", []).append(time.perf_counter() - wall)
        tries.setdefault(f"{name}_cpu_s", []).append(time.process_time() - cpu)
        return result

    made = None
    for _ in range(repeats):
        made = None  # frees the one before
        made = take("add", make)
        take("build", partial(build, made))
        take("search", partial(search, made))
    return {name: min(values) for name, values in tries.items()}, made
