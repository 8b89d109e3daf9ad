"""Hashers: vectors -> codes, and the health of codes."""

from .hasher import Hasher, hasher_from_bytes, load_hasher
from .health import CodeHealth, code_health, computation_ratio, coverage

__all__ = [
    "CodeHealth",
    "Hasher",
    "code_health",
    "computation_ratio",
    "coverage",
    "hasher_from_bytes",
    "load_hasher",
]
