"""Collections: items, vectors, codes and models in one SQLite file."""

from .collection import Collection
from .hierarchy import HierarchicalSearch, VectorClassifier
from .hits import Hit, Hits
from .neighbor_table import NeighborTable
from .sync import SyncReport

__all__ = ["Collection", "HierarchicalSearch", "Hit", "Hits", "NeighborTable", "SyncReport", "VectorClassifier"]
