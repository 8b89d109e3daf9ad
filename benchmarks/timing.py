"""Fair timing of competitors in one process: alternating runs, wall and CPU time, minimum and median."""

from __future__ import annotations

import gc
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import simskip

__all__ = ["Timing", "environment", "save", "time_alternating"]


@dataclass(frozen=True)
class Timing:
    """Seconds per unit of work over several runs."""

    wall: list[float]
    cpu: list[float]

    @property
    def best(self) -> float:
        """The fastest run's wall time: the least disturbed one."""
        return min(self.wall)

    @property
    def median(self) -> float:
        """The usual wall time."""
        return statistics.median(self.wall)

    @property
    def best_cpu(self) -> float:
        """The least processor time of a run."""
        return min(self.cpu)


def time_alternating(
    work: dict[str, Callable[[], Any]], units: dict[str, int], repeats: int = 5, seconds: float = 0.2
) -> dict[str, Timing]:
    """Run the competitors in turn, ``repeats`` times each, after a warm-up.

    Parameters
    ----------
    work : dict of callables
        What to time, by name.
    units : dict of int
        Units of work (queries) that one call does; times are per unit.
    repeats : int
        Rounds.
    seconds : float
        A run repeats its call until this long has passed.
    """
    walls: dict[str, list[float]] = {name: [] for name in work}
    cpus: dict[str, list[float]] = {name: [] for name in work}
    gc.collect()
    for run in work.values():
        run()
    for _ in range(repeats):
        for name, run in work.items():
            calls = 0
            wall, cpu = time.perf_counter(), time.process_time()
            while True:
                run()
                calls += 1
                if time.perf_counter() - wall >= seconds:
                    break
            walls[name].append((time.perf_counter() - wall) / calls / units[name])
            cpus[name].append((time.process_time() - cpu) / calls / units[name])
    return {name: Timing(walls[name], cpus[name]) for name in work}


def environment() -> dict[str, Any]:
    """What the figures depend on: processor, kernels, versions."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    versions = {}
    for package in ("simskip", "numpy", "faiss-cpu", "usearch", "torch"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "isas": list(simskip.cpu.available),
        "python": platform.python_version(),
        "versions": versions,
        "time": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }


def save(name: str, rows: list[dict[str, Any]]) -> Path:
    """Write rows and the environment to ``benchmarks/results/NAME.json``."""
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"environment": environment(), "rows": rows}, indent=1) + "\n")
    return path
