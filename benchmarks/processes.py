"""A benchmark in a process of its own: libraries choose their instruction set once, and memory is given back."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from .competitors import FAISS_LEVELS

__all__ = ["call", "environment_of"]


def environment_of(isa: str) -> dict[str, str]:
    """Variables that force simskip to ``isa`` and faiss to what belongs to it."""
    level = FAISS_LEVELS.get(isa, "")
    forced = {"FAISS_SIMD_LEVEL": level, "FAISS_OPT_LEVEL": level.lower()} if level else {}
    return {"SIMSKIP_ISA": isa, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **forced}


def call(module: str, environment: dict[str, str], **arguments: Any) -> list[dict[str, Any]]:
    """``benchmarks.MODULE.measure(**arguments)`` in a new process; arguments and rows travel as JSON."""
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.processes", module],
        input=json.dumps(arguments),
        env={**os.environ, **environment},
        cwd=Path(__file__).parent.parent,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    rows: list[dict[str, Any]] = json.loads(result.stdout)
    return rows


if __name__ == "__main__":
    print(json.dumps(importlib.import_module(f"benchmarks.{sys.argv[1]}").measure(**json.load(sys.stdin))))
