"""Fair timing of competitors in one process: alternating runs, wall and CPU time, minimum and median."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Timing", "Work", "time_alternating"]


@dataclass(frozen=True)
class Work:
    """What one competitor does: ``run()`` answers ``units`` queries."""

    run: Callable[[], Any]
    units: int


@dataclass(frozen=True)
class Timing:
    """Seconds per unit of work over several runs."""

    wall: list[float]
    cpu: list[float]

    def row(self) -> dict[str, float]:
        """Microseconds per unit: minimum (the least disturbed run) and median (the usual one)."""
        return {
            "wall_us": min(self.wall) * 1e6,
            "wall_us_median": statistics.median(self.wall) * 1e6,
            "cpu_us": min(self.cpu) * 1e6,
            "cpu_us_median": statistics.median(self.cpu) * 1e6,
        }


def time_alternating(work: dict[str, Work], repeats: int = 5, seconds: float = 0.2) -> dict[str, Timing]:
    """Run the competitors in turn, ``repeats`` times each, after a warm-up.

    Parameters
    ----------
    work : dict of Work
        What to time, by name.
    repeats : int
        Rounds. Every competitor runs in every round, so that a disturbance meets all of them.
    seconds : float
        A run repeats its call until this long has passed.
    """
    walls: dict[str, list[float]] = {name: [] for name in work}
    cpus: dict[str, list[float]] = {name: [] for name in work}
    for each in work.values():
        each.run()
    gc.collect()
    gc.disable()
    try:
        for _ in range(repeats):
            for name, each in work.items():
                calls = 0
                wall, cpu = time.perf_counter(), time.process_time()
                while True:
                    each.run()
                    calls += 1
                    if time.perf_counter() - wall >= seconds:
                        break
                walls[name].append((time.perf_counter() - wall) / calls / each.units)
                cpus[name].append((time.process_time() - cpu) / calls / each.units)
    finally:
        gc.enable()
    return {name: Timing(walls[name], cpus[name]) for name in work}
