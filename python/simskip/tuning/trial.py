"""One trial: suggest values, train, measure, tell the study. The same in this process and in a worker."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import os
import platform
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CollapseWarning
from ..hashing.deep import DeepHash
from ..hashing.recipes import resolved
from .space import Space
from .task import MINIMISED, Ground, Settings

__all__ = ["PRUNERS", "SAMPLERS", "Plan", "fail_lost_trials", "fitted", "is_lost", "quiet", "run_trial"]

SAMPLERS = ("tpe", "random")
PRUNERS = ("median", "halving")

_STARTUP_TRIALS = 10
# A trial is compared with others once it has had this many epochs: the first ones say little about the last.
_WARMUP_EPOCHS = 2
_TRIALS_BEFORE_PRUNING = 5
# Between asking for a trial and signing it pass milliseconds.
_UNSIGNED_SECONDS = 30.0


@dataclasses.dataclass(frozen=True)
class Plan:
    """How trials are chosen and run; ``tune`` explains each."""

    sampler: str
    pruner: str | None
    threads: int | None

    def prepare(self, study: Any, seed: int, index: int) -> None:
        """Give the study the sampler of its ``index``-th trial, and the pruner.

        A fresh sampler with a seed of its own for each trial: what a study does next depends on what it has finished,
        and not on whether it was interrupted before.
        """
        import optuna

        drawn = int(np.random.SeedSequence([seed, index]).generate_state(1)[0])
        if self.sampler == "random":
            study.sampler = optuna.samplers.RandomSampler(seed=drawn)
        else:
            study.sampler = optuna.samplers.TPESampler(seed=drawn, n_startup_trials=_STARTUP_TRIALS)
        if self.pruner == "median":
            study.pruner = optuna.pruners.MedianPruner(_TRIALS_BEFORE_PRUNING, _WARMUP_EPOCHS)
        elif self.pruner == "halving":
            study.pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=_WARMUP_EPOCHS)
        else:
            study.pruner = optuna.pruners.NopPruner()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without Optuna's line per trial, and without its remarks about what it may change one day."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


def fitted(
    ground: Ground, parameters: Mapping[str, Any], threads: int | None, rows: Any = None, callbacks: Any = ()
) -> DeepHash:
    """A hasher trained on the training rows (or ``rows``, indices or a slice).

    That its codes have collapsed is no warning here: it is recorded with the trial.
    """
    hasher = DeepHash(**{**ground.settings.fixed, **parameters, "threads": threads})
    chosen = ground.training if rows is None else rows
    labels = None if ground.y is None else ground.y[chosen]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CollapseWarning)
        hasher.fit(ground.X[chosen], labels, progress=False, callbacks=callbacks)
    if hasher.history_[-1].get("interrupted"):
        raise KeyboardInterrupt
    return hasher


def run_trial(study: Any, ground: Ground, space: Space, plan: Plan, index: int) -> int:
    """Run the next trial and return its number.

    An error in it is recorded with it (state FAIL, attribute ``error``) and goes no further; Ctrl-C marks the trial
    as interrupted, and does.
    """
    import optuna

    settings = ground.settings
    plan.prepare(study, settings.random_state, index)
    trial = study.ask()
    try:
        trial.set_user_attr("process", _signature())
        parameters = space.hasher_parameters(space.suggest(trial))
        epochs = resolved(DeepHash(**parameters), labelled=ground.y is not None).epochs
        watcher = _Watcher(trial, settings, plan, epochs)
        start = time.process_time()
        hasher = fitted(ground, parameters, plan.threads, callbacks=(watcher,))
        seconds = time.process_time() - start
        trial.set_user_attr("epochs", len(hasher.history_))
        trial.set_user_attr("seconds", seconds)
        trial.set_user_attr("collapsed", hasher.health_.collapsed)
        if watcher.pruned:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return int(trial.number)
        figures: dict[str, float] = {"seconds": seconds, "bytes": float((hasher.n_bits + 7) // 8)}
        figures |= {name: float(score) for name, score in ground.figures(hasher, "choosing", plan.threads).items()}
        trial.set_user_attr("figures", figures)
        study.tell(trial, [_finite(figures, name) for name in settings.metrics])
    except KeyboardInterrupt:
        _failed(study, trial, interrupted=True)
        raise
    except Exception as error:
        _failed(study, trial, error=f"{type(error).__name__}: {error}")
    return int(trial.number)


def _finite(figures: Mapping[str, float], name: str) -> float:
    if not np.isfinite(figures.get(name, np.nan)):
        raise ValueError(f"{name} is undefined: no query of the choosing rows has a relevant row to find")
    return figures[name]


def _failed(study: Any, trial: Any, **why: Any) -> None:
    import optuna

    for name, value in why.items():
        trial.set_user_attr(name, value)
    study.tell(trial, state=optuna.trial.TrialState.FAIL)


class _Watcher:
    """Passes each epoch's held-out figure on, and stops a training that is not worth its time.

    Only one quality can be pruned by, and only figures of its kind are passed on: a recall during the training says
    nothing about the mean average precision of another trial. After the last epoch there is nothing left to save, and
    of several trainings (``n_init``) the first one decides.
    """

    def __init__(self, trial: Any, settings: Settings, plan: Plan, epochs: int) -> None:
        self.pruned = False
        self._epochs, self._seen = epochs, 0
        self._trial = trial
        self._name = None
        if plan.pruner is not None and len(settings.metrics) == 1 and settings.metrics[0] not in MINIMISED:
            self._name = "map" if settings.metrics[0] == "map" else "recall@25"

    def __call__(self, record: Mapping[str, Any]) -> bool:
        epoch = int(record["epoch"])
        if self._name is None or epoch <= self._seen or not np.isfinite(record.get(self._name, np.nan)):
            return self.pruned
        self._seen = epoch
        self._trial.report(float(record[self._name]), epoch)
        # A bool of Python's: the trainer stops at True itself, and Optuna's may be NumPy's.
        self.pruned = self.pruned or (epoch < self._epochs and bool(self._trial.should_prune()))
        return self.pruned


# Trials whose process is gone.


def _signature() -> list[Any]:
    """Which process runs a trial: machine, process id, and when that process began (ids come round again)."""
    return [platform.node(), os.getpid(), _began(os.getpid())]


def _began(pid: int) -> str | None:
    """Start time of a process in clock ticks since boot; None if there is no such process (or no /proc)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name in parentheses may hold anything
    return None if fields[0] in "ZX" else fields[19]


def is_lost(trial: Any) -> bool:
    """Whether a running trial's process has ended without telling its result. Other machines' trials are not."""
    signature = trial.user_attrs.get("process")
    if signature is None:
        started = trial.datetime_start
        return started is None or (datetime.datetime.now() - started).total_seconds() > _UNSIGNED_SECONDS
    host, pid, began = signature
    if host != platform.node():
        return False
    if began is None:  # no /proc: only whether the id is in use can be known
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False
    return _began(pid) != began


def fail_lost_trials(study: Any) -> int:
    """Mark trials as failed whose process was killed; returns how many."""
    import optuna

    states = optuna.trial.TrialState
    lost = [trial for trial in study.get_trials(deepcopy=False, states=(states.RUNNING,)) if is_lost(trial)]
    for trial in lost:
        study.tell(trial.number, state=states.FAIL, skip_if_finished=True)
    return len(lost)
