"""Tuning: search a hasher's parameters, with intervals on what mattered and an honest figure at the end."""

from .importances import Importance, Importances, importances_of
from .record import TrialRecord
from .report import Comparison, TuningReport
from .space import Space, default_space, read_space
from .study import Study
from .tune import tune

__all__ = [
    "Comparison",
    "Importance",
    "Importances",
    "Space",
    "Study",
    "TrialRecord",
    "TuningReport",
    "default_space",
    "importances_of",
    "read_space",
    "tune",
]
