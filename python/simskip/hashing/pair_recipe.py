"""A CrossModalHash's parameters, checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..validation import bit_count, choice, fraction, positive_int
from .network import ACTIVATIONS, OUTPUTS
from .preparation import METRICS
from .recipes import OPTIMIZERS, SCHEDULES, Recipe, not_negative, widths

if TYPE_CHECKING:
    from .cross_modal import CrossModalHash

__all__ = ["pair_recipe", "side_metrics"]


def pair_recipe(model: CrossModalHash) -> Recipe:
    """What its networks are trained with. ``ValueError`` naming the parameter that does not fit."""
    bit_count(model.n_bits)
    choice(model.activation, "activation", ACTIVATIONS)
    choice(model.output, "output", OUTPUTS)
    choice(model.optimizer, "optimizer", OPTIMIZERS)
    positive_int(model.random_state, "random_state", minimum=0, maximum=2**64 - 1)
    if model.threads is not None:
        positive_int(model.threads, "threads")
    fraction(model.validation_fraction, "validation_fraction", open_high=True)
    side_metrics(model)
    return Recipe(
        supervised=False,
        hidden=widths(model.hidden),
        dropout=fraction(model.dropout, "dropout", open_high=True),
        batch_norm=choice(model.batch_norm, "batch_norm", (False, True)),
        residual=choice(model.residual, "residual", (False, True)),
        epochs=positive_int(model.epochs, "epochs"),
        steps_per_epoch=0 if model.steps_per_epoch is None else positive_int(model.steps_per_epoch, "steps_per_epoch"),
        batch_size=positive_int(model.batch_size, "batch_size", minimum=2),
        learning_rate=not_negative(model.learning_rate, "learning_rate", zero=False),
        schedule=choice(model.schedule, "schedule", SCHEDULES),
        weight_decay=not_negative(model.weight_decay, "weight_decay", zero=True),
        input_noise=not_negative(model.input_noise, "input_noise", zero=True),
        patience=positive_int(model.patience, "patience", minimum=0),
    )


def side_metrics(model: CrossModalHash) -> tuple[str, str]:
    """Of the first and of the second side."""
    both = (model.metric, model.metric) if isinstance(model.metric, str) else tuple(model.metric)
    if len(both) != 2:
        raise ValueError(f"metric must be one of {', '.join(METRICS)} or a pair of them, got {model.metric!r}")
    return choice(both[0], "metric", METRICS), choice(both[1], "metric", METRICS)
