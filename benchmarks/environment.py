"""What figures depend on: processor, memory, kernels, versions, commit. No names of machines, people or folders."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import simskip

__all__ = ["available_memory", "environment"]

FLAGS = ("popcnt", "avx2", "avx512f", "avx512bw", "avx512_vpopcntdq", "asimd", "sve")


def environment() -> dict[str, Any]:
    """The stamp of a results file."""
    processor = _cpuinfo()
    return {
        "processor": processor.get("model name", platform.machine()),
        "flags": [flag for flag in FLAGS if flag in processor.get("flags", processor.get("Features", "")).split()],
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(_meminfo("MemTotal") / 2**30, 1),
        "isa": simskip.cpu.isa,
        "isas": list(simskip.cpu.available),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {package: _version(package) for package in ("simskip", "numpy", "faiss-cpu", "usearch")},
        "commit": _commit(),
        "load": os.getloadavg()[0],
        "time": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }


def available_memory() -> int:
    """Bytes that a program could still take."""
    return _meminfo("MemAvailable")


def _cpuinfo() -> dict[str, str]:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().split("\n\n")[0].splitlines() if path.exists() else []
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _meminfo(field: str) -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(field)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    """The commit's short name, with a + if files differ from it."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        name = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return name.stdout.strip() + ("+" if changed.stdout.strip() else "")
