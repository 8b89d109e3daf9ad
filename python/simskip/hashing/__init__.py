"""Hashers: vectors -> codes, and the health of codes."""

from .cross_modal import CrossModalHash
from .deep import DeepHash
from .hasher import Hasher, hasher_from_bytes, load_hasher
from .health import CodeHealth, code_health, computation_ratio, coverage
from .linear import PCAHash, RandomHash
from .paired import PairedHash
from .pseudo_labels import pseudo_labels

__all__ = [
    "CodeHealth",
    "CrossModalHash",
    "DeepHash",
    "Hasher",
    "PCAHash",
    "PairedHash",
    "RandomHash",
    "code_health",
    "computation_ratio",
    "coverage",
    "hasher_from_bytes",
    "load_hasher",
    "pseudo_labels",
]
