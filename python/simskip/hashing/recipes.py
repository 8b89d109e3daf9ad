"""What each objective is trained with where the user leaves a parameter open, and the check of what is given."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..validation import choice, fraction, positive_int
from .network import ACTIVATIONS, OUTPUTS
from .preparation import METRICS

__all__ = ["RECIPES", "Recipe", "not_negative", "resolved", "widths"]

OPTIMIZERS = ("adamw", "adam", "sgd")
SCHEDULES = ("cosine", "constant", "onecycle")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Training parameters with nothing left open; DeepHash explains each."""

    supervised: bool
    hidden: tuple[int, ...]
    dropout: float
    batch_norm: bool
    residual: bool
    epochs: int
    steps_per_epoch: int  # 0: a pass over the rows
    batch_size: int
    learning_rate: float
    schedule: str
    weight_decay: float
    input_noise: float
    patience: int


RECIPES = {
    "neighbors": Recipe(False, (1024,), 0.1, False, True, 12, 100, 924, 2e-3, "cosine", 0.0, 0.3, 5),
    "csq": Recipe(True, (512,), 0.3, True, True, 30, 0, 128, 3e-3, "onecycle", 1e-2, 0.0, 0),
    "dtsh": Recipe(True, (512,), 0.3, True, True, 30, 0, 128, 3e-3, "onecycle", 1e-2, 0.0, 0),
}


def resolved(hasher: Any) -> Recipe:
    """A DeepHash's parameters, checked; where they are None, what suits the objective.

    Raises ``ValueError`` naming the parameter.
    """
    recipe = RECIPES[choice(hasher.objective, "objective", tuple(RECIPES))]
    choice(hasher.activation, "activation", ACTIVATIONS)
    choice(hasher.output, "output", OUTPUTS)
    choice(hasher.optimizer, "optimizer", OPTIMIZERS)
    choice(hasher.metric, "metric", METRICS)
    fraction(hasher.validation_fraction, "validation_fraction", open_high=True)
    positive_int(hasher.random_state, "random_state", minimum=0, maximum=2**64 - 1)
    if hasher.threads is not None:
        positive_int(hasher.threads, "threads")
    own: dict[str, Any] = {}
    if hasher.hidden is not None:
        own["hidden"] = widths(hasher.hidden)
    if hasher.dropout is not None:
        own["dropout"] = fraction(hasher.dropout, "dropout", open_high=True)
    for name in ("batch_norm", "residual"):
        if getattr(hasher, name) is not None:
            own[name] = choice(getattr(hasher, name), name, (False, True))
    for name, minimum in (("epochs", 1), ("steps_per_epoch", 0), ("batch_size", 2), ("patience", 0)):
        if getattr(hasher, name) is not None:
            own[name] = positive_int(getattr(hasher, name), name, minimum=minimum)
    if hasher.schedule is not None:
        own["schedule"] = choice(hasher.schedule, "schedule", SCHEDULES)
    for name, zero in (("learning_rate", False), ("weight_decay", True), ("input_noise", True)):
        if getattr(hasher, name) is not None:
            own[name] = not_negative(getattr(hasher, name), name, zero=zero)
    return dataclasses.replace(recipe, **own)


def widths(value: Any) -> tuple[int, ...]:
    if isinstance(value, (str, bytes)) or not isinstance(value, (Sequence, np.ndarray)):
        raise ValueError(f"hidden must be a sequence of widths such as (512, 256), got {value!r}")
    return tuple(positive_int(width, "a width in hidden") for width in value)


def not_negative(value: Any, name: str, *, zero: bool) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and (number > 0 or (zero and number == 0))):
        raise ValueError(f"{name} must be a number {'>= 0' if zero else '> 0'}, got {value!r}")
    return number
