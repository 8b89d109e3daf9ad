"""The command line: arguments in, a room's work, words out. Each command does its work elsewhere."""

from __future__ import annotations

# In the order of `simskip --help`: importing a command registers it.
from . import demo, run, collection, search, tune, doctor  # isort: skip
from .program import app

__all__ = ["app", "collection", "demo", "doctor", "run", "search", "tune"]
