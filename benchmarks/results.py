"""Where results go: ``benchmarks/results/NAME.json``, rows with the environment they were measured in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .environment import environment

__all__ = ["FOLDER", "save"]

FOLDER = Path(__file__).parent / "results"


def save(name: str, parts: dict[str, Any]) -> Path:
    """Write the parts and the environment; makes the folder."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps({"environment": environment(), **parts}, indent=1) + "\n")
    return path
