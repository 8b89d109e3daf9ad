"""Indexes: exact search of codes, of vectors, and of codes with the vectors deciding."""

from .hamming import HammingIndex
from .similarity import SimilarityIndex
from .vector import VectorIndex

__all__ = ["HammingIndex", "SimilarityIndex", "VectorIndex"]
