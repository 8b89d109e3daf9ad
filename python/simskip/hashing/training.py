"""One training by the native trainer: settings, figures of every epoch, restarts, checkpoints."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import cpu
from ..errors import CollapseWarning
from ..validation import choice
from .checkpoint import CheckpointFile
from .native_trainer import load as load_trainer
from .network import DenseNetwork
from .progress import EpochBar
from .recipes import Recipe, not_negative
from .training_data import TrainingData
from .training_health import CollapseWatch, epoch_health, shown_health

__all__ = ["Network", "Trained", "default_options", "settings_for", "train"]

FloatMatrix = npt.NDArray[np.float32]

# Batches of `neighbors`: of 924 rows 48 are anchors, each with 12 of its neighbours, and 300 are drawn uniformly.
_ANCHOR_SHARE = 48 / 924
_NEIGHBORS_PER_ANCHOR = 12
_SEED_STEP = 1_000_003  # between the seeds of restarts
_CALLER = 6  # frames between what _once calls and the user's call of fit


@dataclasses.dataclass(frozen=True)
class Network:
    """The parts of a network that no recipe decides."""

    n_bits: int
    activation: str
    output: str
    prefixes: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Trained:
    """What a training leaves.

    Attributes
    ----------
    networks : tuple of DenseNetwork
        One per tower, of the best epoch.
    centres : (n_classes, n_bits) float32 array or None
        The codes of +-1 that classes were drawn to, where the objective has such.
    history : list of dict
    best_epoch : int
    metric : float or None
        The held-out figure of the best epoch.
    """

    networks: tuple[DenseNetwork, ...]
    centres: FloatMatrix | None
    history: list[dict[str, Any]]
    best_epoch: int
    metric: float | None


def settings_for(
    objective: str,
    network: Network,
    recipe: Recipe,
    options: Mapping[str, float] | None,
    *,
    optimizer: str,
    seed: int,
    threads: int | None,
) -> Any:
    """``_learn.Settings``; options of the loss are checked against those that the objective has."""
    trainer = load_trainer()
    built = trainer.NetworkSettings()
    built.n_bits = network.n_bits
    built.hidden = list(recipe.hidden)
    built.activation = network.activation
    built.dropout = recipe.dropout
    built.input_dropout = recipe.dropout if recipe.supervised else 0.0
    built.batch_norm = recipe.batch_norm
    built.output = network.output
    settings = trainer.Settings()
    settings.network = built
    settings.objective = objective
    settings.objective_options = _options(objective, options)
    settings.epochs = recipe.epochs
    settings.steps_per_epoch = recipe.steps_per_epoch
    settings.batch_size = recipe.batch_size
    settings.anchors = max(1, round(recipe.batch_size * _ANCHOR_SHARE))
    settings.neighbors_per_anchor = _NEIGHBORS_PER_ANCHOR
    settings.prefixes = list(network.prefixes)
    settings.optimizer = optimizer
    settings.schedule = recipe.schedule
    settings.learning_rate = recipe.learning_rate
    settings.weight_decay = recipe.weight_decay
    settings.patience = recipe.patience
    settings.seed = seed
    settings.threads = threads or cpu.threads()
    return settings


def train(
    settings: Any,
    data: TrainingData,
    *,
    labels: npt.NDArray[Any] | None,
    watch: CollapseWatch,
    description: str,
    progress: bool,
    callbacks: Iterable[Callable[..., Any]],
    restarts: int = 1,
    epochs_before: int = 0,
    checkpoint: CheckpointFile | None = None,
    custom_loss: Callable[..., Any] | None = None,
) -> Trained:
    """Train; of several restarts the one with the best held-out figure (the first, where there is none) is kept.

    ``epochs_before`` were trained in an earlier call: records count on from there.

    Warns
    -----
    CollapseWarning
        As soon as ``watch`` says so.

    Raises
    ------
    KeyboardInterrupt
        If interrupted before the first epoch ended; later, what is best so far is returned.
    """
    hooks = tuple(callbacks)
    best: Trained | None = None
    first_seed = settings.seed
    with EpochBar(settings.epochs * restarts, description, progress) as bar:
        for restart in range(restarts):
            settings.seed = (first_seed + restart * _SEED_STEP) % 2**64
            watch.begin()
            about = {"restart": restart} if restarts > 1 else {}
            trained = _once(settings, data, labels, watch, bar, hooks, about, epochs_before, checkpoint, custom_loss)
            if trained is None:
                break
            if best is None or (
                trained.metric is not None and best.metric is not None and trained.metric > best.metric
            ):
                best = trained
            if trained.history[-1].get("interrupted"):
                break
    settings.seed = first_seed
    if best is None:
        raise KeyboardInterrupt("training was interrupted before its first epoch ended")
    return best


def _once(
    settings: Any,
    data: TrainingData,
    labels: npt.NDArray[Any] | None,
    watch: CollapseWatch,
    bar: EpochBar,
    hooks: tuple[Callable[..., Any], ...],
    about: dict[str, Any],
    epochs_before: int,
    checkpoint: CheckpointFile | None,
    custom_loss: Callable[..., Any] | None,
) -> Trained | None:
    """None if no epoch ended."""
    trainer = load_trainer()
    resume, history = (checkpoint and checkpoint.load()) or (None, [])
    judge = data.judge
    planned = settings.epochs
    if resume is not None:
        bar.update({}, epochs=resume["epoch"])
        # The watch sees what it saw before the interruption: a collapse that ended the training then has ended it.
        for record in history:
            if _watched(watch, record, _CALLER) == "stop":
                settings.epochs = resume["epoch"]

    def on_epoch(record: dict[str, Any], outputs: FloatMatrix) -> tuple[float | None, bool]:
        figures: dict[str, Any] = {"loss": record["loss"]}
        record.update(about, epoch=epochs_before + record["epoch"])
        metric = None
        if judge is not None:
            metric = figures[judge.name] = record[judge.name] = judge(outputs)
        looked_at = data.looked_at
        last = outputs[len(outputs) - len(looked_at) :]
        record.update(epoch_health(last, None if labels is None else labels[looked_at]))
        history.append(record)
        bar.update({**figures, **shown_health(record)})
        verdict = _watched(watch, record, _CALLER + 1)
        stop = [hook(dict(record)) is True for hook in hooks]
        return metric, any(stop) or verdict == "stop"

    def on_checkpoint(state: dict[str, Any]) -> None:
        assert checkpoint is not None
        checkpoint.save(state, history)

    result = trainer.train(
        settings,
        [data.tower],
        data.rows,
        on_epoch,
        resume=resume,
        on_checkpoint=None if checkpoint is None else on_checkpoint,
        custom_loss=custom_loss,
        **data.arrays,
    )
    settings.epochs = planned
    if result["best_epoch"] == 0:
        return None
    if result["interrupted"]:
        history[-1]["interrupted"] = True
    output, activation = settings.network.output, settings.network.activation
    networks = tuple(
        DenseNetwork(tuple(layers), residual, activation, output) for layers, residual in result["networks"]
    )
    best_epoch = int(result["best_epoch"])
    return Trained(
        networks,
        np.stack(result["centres"]) if result["centres"] else None,
        history,
        best_epoch,
        None if judge is None else history[best_epoch - 1][judge.name],
    )


def _watched(watch: CollapseWatch, record: dict[str, Any], caller: int) -> str | None:
    """What the watch says of an epoch; it is told as a warning, ``caller`` frames up."""
    verdict = watch.update(record)
    if verdict is not None:
        warnings.warn(watch.message, CollapseWarning, stacklevel=caller)
    return verdict


def default_options(objective: str) -> dict[str, float]:
    """The constants of a loss; none for an objective of the user's own."""
    return next((dict(info.options) for info in load_trainer().objectives() if info.name == objective), {})


def _options(objective: str, given: Mapping[str, float] | None) -> dict[str, float]:
    known = tuple(sorted(default_options(objective)))
    options: dict[str, float] = {}
    for name, value in (given or {}).items():
        choice(name, f"an option of {objective}", known)
        options[name] = not_negative(value, f"objective_options[{name!r}]", zero=True)
    return options
