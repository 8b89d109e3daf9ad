"""What each objective is trained with where the user leaves a parameter open, and the check of what is given."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..validation import choice, fraction, positive_int
from .custom_objective import NAME as CUSTOM
from .network import ACTIVATIONS, OUTPUTS
from .preparation import METRICS
from .training_health import ON_COLLAPSE

__all__ = ["RECIPES", "Recipe", "continued", "learns_from_labels", "not_negative", "origin", "resolved", "widths"]

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
    graph: bool = False  # learns from the neighbour graph
    multi_label: bool = True  # of supervised ones: rows may have several classes
    distilled: bool = False  # learns from class probabilities instead of classes


_WITH_LABELS = Recipe(True, (512,), 0.3, True, True, 30, 0, 128, 3e-3, "onecycle", 1e-2, 0.0, 0)
_WITHOUT_LABELS = Recipe(False, (1024,), 0.1, False, True, 12, 100, 512, 1e-3, "cosine", 0.0, 0.3, 5)

# Those with labels share the settings that suited csq and dtsh: with them all lie within .03 of mean average precision
# on rows split off the training rows of Fashion-MNIST (EfficientNet-Lite0 vectors, 64 bits, 5,000 labels).
RECIPES = {
    "neighbors": Recipe(False, (1024,), 0.1, False, True, 20, 100, 924, 2e-3, "cosine", 0.0, 0.3, 8, graph=True),
    "bihalf": _WITHOUT_LABELS,
    "autoencoder": _WITHOUT_LABELS,
    "csq": _WITH_LABELS,
    "orthohash": _WITH_LABELS,
    "hashnet": _WITH_LABELS,
    "dpsh": _WITH_LABELS,
    "dtsh": _WITH_LABELS,
    "greedyhash": _WITH_LABELS,
    "classifier": _WITH_LABELS,
    "deepranking": _WITH_LABELS,
    "distilled": dataclasses.replace(_WITH_LABELS, distilled=True),
}


def continued(recipe: Recipe) -> Recipe:
    """For more training of a finished network, whose batch-norm is folded away."""
    return dataclasses.replace(
        recipe,
        epochs=-(-recipe.epochs // 3),
        learning_rate=recipe.learning_rate / 10,
        schedule="cosine",
        batch_norm=False,
        input_noise=0.0,
    )


def origin(kind: str) -> dict[str, Any]:
    """Parameters of the networks that simskip's origin trained; their hidden widths are not on record for images."""
    choice(kind, "kind", ("image", "text"))
    image = kind == "image"
    return {
        "n_bits": 8 if image else 4,
        "objective": "dtsh",
        "hidden": (512, 512, 256, 256, 128, 128, 64, 32) if image else (128, 64, 32),
        "activation": "leaky_relu",
        "dropout": 0.5 if image else 0.4,
        "batch_norm": False,
        "residual": False,
        "batch_size": 32,
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "schedule": "constant",
        "weight_decay": 0.0,
    }


def learns_from_labels(objective: Any) -> bool:
    """Whether it is the name of an objective that is trained with labels."""
    return isinstance(objective, str) and objective in RECIPES and RECIPES[objective].supervised


def _recipe_of(objective: Any, labelled: bool) -> Recipe:
    if callable(objective) or objective == CUSTOM:
        like = RECIPES["csq"] if labelled else RECIPES["neighbors"]
        return dataclasses.replace(like, graph=False, multi_label=True)
    recipe: Recipe = RECIPES[choice(objective, "objective", tuple(RECIPES))]
    return recipe


def resolved(hasher: Any, labelled: bool = False) -> Recipe:
    """A DeepHash's parameters, checked; where they are None, what suits the objective.

    ``labelled``: whether an objective of the user's own has labels. Raises ``ValueError`` naming the parameter.
    """
    recipe = _recipe_of(hasher.objective, labelled)
    choice(hasher.activation, "activation", ACTIVATIONS)
    choice(hasher.output, "output", OUTPUTS)
    choice(hasher.optimizer, "optimizer", OPTIMIZERS)
    choice(hasher.metric, "metric", METRICS)
    fraction(hasher.validation_fraction, "validation_fraction", open_high=True)
    positive_int(hasher.random_state, "random_state", minimum=0, maximum=2**64 - 1)
    if hasher.threads is not None:
        positive_int(hasher.threads, "threads")
    positive_int(hasher.n_init, "n_init")
    choice(hasher.on_collapse, "on_collapse", ON_COLLAPSE)
    choice(hasher.watch, "watch", (None, "recall", "map"))
    if hasher.watch == "map" and not (recipe.supervised or labelled):
        raise ValueError(f"watch='map' needs labels y, which objective {hasher.objective!r} was not given")
    if choice(hasher.snap, "snap", (False, True)) and not recipe.supervised:
        raise ValueError(f"snap needs an objective that learns from labels, got {hasher.objective!r}")
    before = 0
    for width in widths(hasher.prefixes, "prefixes"):
        if not before < width < hasher.n_bits:
            raise ValueError(f"prefixes must ascend and lie below n_bits={hasher.n_bits}, got {hasher.prefixes!r}")
        before = width
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


def widths(value: Any, name: str = "hidden") -> tuple[int, ...]:
    if isinstance(value, (str, bytes)) or not isinstance(value, (Sequence, np.ndarray)):
        raise ValueError(f"{name} must be a sequence of widths such as (512, 256), got {value!r}")
    return tuple(positive_int(width, f"a width in {name}") for width in value)


def not_negative(value: Any, name: str, *, zero: bool) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and (number > 0 or (zero and number == 0))):
        raise ValueError(f"{name} must be a number {'>= 0' if zero else '> 0'}, got {value!r}")
    return number
