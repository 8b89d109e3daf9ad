"""simskip: learn short binary codes from embeddings, search them exactly, know what they cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import cpu, datasets, embedding
from .codes import Codes, pack, unpack
from .cpu import set_threads
from .errors import CollapseWarning, CollectionError, FormatError
from .evaluation import Report, evaluate, metrics
from .hashing import CrossModalHash, DeepHash, Hasher, PCAHash, RandomHash, load_hasher, pseudo_labels
from .index import HammingIndex, SimilarityIndex, VectorIndex
from .tuning import tune

if TYPE_CHECKING:
    from .collection import Collection

__all__ = [
    "Codes",
    "CollapseWarning",
    "Collection",
    "CollectionError",
    "CrossModalHash",
    "DeepHash",
    "FormatError",
    "HammingIndex",
    "Hasher",
    "PCAHash",
    "RandomHash",
    "Report",
    "SimilarityIndex",
    "VectorIndex",
    "__version__",
    "cpu",
    "datasets",
    "embedding",
    "evaluate",
    "load_hasher",
    "metrics",
    "pack",
    "pseudo_labels",
    "set_threads",
    "tune",
    "unpack",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":  # asked for rarely, and reading metadata is slow
        from importlib.metadata import version

        return version("simskip")
    if name == "Collection":  # Python can be built without SQLite
        from .collection import Collection

        return Collection
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
