"""simskip: learn short binary codes from embeddings, search them exactly, know what they cost."""

from __future__ import annotations

from . import cpu
from .codes import Codes, pack, unpack
from .cpu import set_threads
from .errors import CollapseWarning, FormatError
from .hashing import Hasher, PCAHash, RandomHash, load_hasher
from .index import HammingIndex, SimilarityIndex, VectorIndex

__all__ = [
    "Codes",
    "CollapseWarning",
    "FormatError",
    "HammingIndex",
    "Hasher",
    "PCAHash",
    "RandomHash",
    "SimilarityIndex",
    "VectorIndex",
    "__version__",
    "cpu",
    "load_hasher",
    "pack",
    "set_threads",
    "unpack",
]


def __getattr__(name: str) -> str:
    if name == "__version__":  # asked for rarely, and reading metadata is slow
        from importlib.metadata import version

        return version("simskip")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
