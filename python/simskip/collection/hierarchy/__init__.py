"""Hierarchical search: first which classes and cells of theirs, then which items."""

from .gate_report import GateRecall, GateReport
from .hierarchical_search import HierarchicalSearch
from .vector_classifier import VectorClassifier

__all__ = ["GateRecall", "GateReport", "HierarchicalSearch", "VectorClassifier"]
