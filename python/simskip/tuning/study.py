"""A tuning study: its trials, its best, what mattered, and what it is worth on rows that no trial has seen."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from ..extras import require
from ..files import atomic_write
from ..hashing.deep import DeepHash
from ..validation import choice
from .importances import Importances, importances_of
from .record import STATES, TrialRecord, non_dominated, record_of
from .report import TuningReport, compared, metric_title
from .space import Space
from .storage import opened, storage_url
from .table import html_table, text_table
from .task import METRICS, MINIMISED, QUALITIES, Ground, Settings
from .trial import fitted, quiet

__all__ = ["ATTRIBUTE", "FORMAT_VERSION", "Study"]

ATTRIBUTE = "simskip"
FORMAT_VERSION = 1


class Study:
    """What ``simskip.tune`` found. It reads its trials anew each time, so it follows a study that still runs.

    Attributes
    ----------
    name : str
    storage : str or None
        URL of the database; None: in memory.
    space : Space
    settings : Settings
    interrupted : bool
        Whether Ctrl-C ended it.
    optuna : optuna.Study
        The study below, for everything that Optuna can do with it.
    """

    def __init__(
        self,
        study: Any,
        space: Space,
        settings: Settings,
        *,
        ground: Ground | None = None,
        storage: str | None = None,
        threads: int | None = None,
        interrupted: bool = False,
    ) -> None:
        self.optuna = study
        self.name = str(study.study_name)
        self.space, self.settings, self.storage = space, settings, storage
        self.interrupted = interrupted
        self._ground, self._threads = ground, threads
        self._hashers: dict[str, DeepHash] = {}

    @classmethod
    def load(
        cls,
        storage: str | os.PathLike[str],
        name: str = "simskip",
        X: npt.ArrayLike | None = None,
        y: npt.ArrayLike | None = None,
        *,
        threads: int | None = None,
    ) -> Study:
        """Open a study that was stored.

        Parameters
        ----------
        storage : path or URL
        name : str
        X, y : arrays, optional
            The same as in ``tune``: only ``report``, ``best_hasher`` and ``refit`` need them.
        threads : int, optional
            For these.

        Raises
        ------
        ValueError
            If there is no study of that name, or it is of other vectors or labels.
        """
        optuna = require("optuna", "tune", "Tuning")
        url = storage_url(storage)
        if "://" not in os.fspath(storage) and not Path(storage).exists():
            raise FileNotFoundError(f"storage {os.fspath(storage)} does not exist")
        with quiet():
            try:
                study = optuna.load_study(study_name=name, storage=opened(url))
            except KeyError:
                known = ", ".join(map(repr, optuna.get_all_study_names(url))) or "none"
                raise ValueError(
                    f"name must be that of a study in {os.fspath(storage)} ({known}), got {name!r}"
                ) from None
        stored = study.user_attrs.get(ATTRIBUTE)
        if stored is None or stored.get("format") != FORMAT_VERSION:
            raise ValueError(f"study {name!r} was not made by this version of simskip.tune")
        settings, space = Settings.from_dict(stored["settings"]), Space(stored["space"])
        ground = None
        if X is not None:
            ground = Ground(X, y, settings)
            if ground.fingerprint != stored["data"]:
                raise ValueError(f"X and y must be those of study {name!r} ({stored['shape']}), got others")
        return cls(study, space, settings, ground=ground, storage=url, threads=threads)

    # Trials.

    @property
    def metrics(self) -> tuple[str, ...]:
        """What was tuned for."""
        return self.settings.metrics

    def title(self, metric: str) -> str:
        """A metric's name for people."""
        return metric_title(metric, self.settings.k, self.settings.rerank)

    @property
    def trials(self) -> list[TrialRecord]:
        """All trials, by number."""
        return [record_of(trial, self.space) for trial in self.optuna.get_trials(deepcopy=False)]

    def counts(self) -> dict[str, int]:
        """Trials by state."""
        states = [record.state for record in self.trials]
        return {state: states.count(state) for state in STATES if state in states}

    def to_frame(self) -> Any:
        """pandas.DataFrame: a line per trial with its state, parameters, figures, and error."""
        pandas = require("pandas", "tune", "Study.to_frame")
        names = sorted(self.space.parameters)
        lines = []
        for record in self.trials:
            figures = {name: record.figures.get(name, math.nan) for name in METRICS if name != "seconds"}
            line = {"number": record.number, "state": record.state}
            line |= {name: record.values.get(name) for name in names}
            lines.append({**line, **figures, "seconds": record.seconds, "epochs": record.epochs, "error": record.error})
        return pandas.DataFrame(lines).set_index("number")

    def pareto(self) -> list[TrialRecord]:
        """Completed trials that no other beats in every metric, best in the first metric first."""
        done = self._completed()
        figures = [[record.figures[name] for name in self.metrics] for record in done]
        on_front = non_dominated(figures, [name in MINIMISED for name in self.metrics])
        front = [record for record, kept in zip(done, on_front, strict=True) if kept]
        first = self.metrics[0]
        return sorted(front, key=lambda r: (r.figures[first] * (1 if first in MINIMISED else -1), r.number))

    @property
    def best_trial(self) -> TrialRecord:
        """The completed trial with the best figure; with several metrics ``ValueError``: choose from ``pareto()``."""
        if len(self.metrics) > 1:
            raise ValueError(
                f"no trial is the best in {' and '.join(self.metrics)} at once: choose one of pareto() by its number"
            )
        return self.pareto()[0]

    @property
    def best_value(self) -> float:
        """The best trial's figure on the rows for choosing; ``report`` says what it is worth."""
        return self.best_trial.figures[self.metrics[0]]

    @property
    def best_params(self) -> dict[str, Any]:
        """The best trial's parameters, for ``DeepHash(**study.best_params)``."""
        return self.parameters(self.best_trial.number)

    def parameters(self, number: int) -> dict[str, Any]:
        """A completed trial's parameters, for ``DeepHash(**...)``."""
        return {**self.settings.fixed, **self.space.hasher_parameters(self._record(number).values)}

    def _completed(self) -> list[TrialRecord]:
        done = [record for record in self.trials if record.state == "completed"]
        if not done:
            raise ValueError(f"no trial has completed yet ({_counted(self.counts()) or 'there is none'})")
        return done

    def _record(self, number: int | None) -> TrialRecord:
        if number is None:
            return self.best_trial
        for record in self._completed():
            if record.number == number:
                return record
        raise ValueError(f"number must be that of a completed trial, got {number!r}")

    # What it means.

    def importances(
        self,
        method: str = "fanova",
        *,
        metric: str | None = None,
        n_bootstrap: int = 100,
        level: float = 0.95,
        random_state: int = 0,
    ) -> Importances:
        """How much each parameter decides, with bootstrap intervals over the trials.

        Parameters
        ----------
        method : {"fanova", "ped-anova"}
            See ``simskip.tuning.importances.importances_of``.
        metric : str, optional
            Any figure of the trials; default the study's first metric.
        n_bootstrap : int
            Samples of the completed trials.
        level : float
            Of the intervals; an order must hold in this share of the samples to count as resolved.
        random_state : int

        Returns
        -------
        Importances

        Raises
        ------
        ValueError
            For fewer than five completed trials, results that are all the same, nothing tuned.
        ImportError
            If scikit-learn is missing (``"fanova"``).
        """
        name = self.metrics[0] if metric is None else choice(metric, "metric", METRICS)
        chosen, figures = [], []
        for trial in self.optuna.get_trials(deepcopy=False):
            record = record_of(trial, self.space)
            if name in record.figures:
                chosen.append(trial.params)
                figures.append(record.figures[name])
        return importances_of(
            chosen,
            figures,
            self.space.parameters,
            method=method,
            metric=self.title(name),
            minimise=name in MINIMISED,
            n_bootstrap=n_bootstrap,
            level=level,
            random_state=random_state,
        )

    def best_hasher(self, number: int | None = None) -> DeepHash:
        """The best trial's hasher (or that of trial ``number``), trained again on the training rows.

        The seed is that of the trial, so with the same number of threads it is the same hasher.

        Raises
        ------
        ValueError
            If the study was loaded without its vectors, or no such trial has completed.
        """
        return self._fitted(self.parameters(self._record(number).number))

    def refit(self, number: int | None = None) -> DeepHash:
        """A hasher with the best trial's parameters (or those of trial ``number``), trained on all rows.

        For use, not for figures: what it is worth on new rows, ``report`` has said.
        """
        parameters = self.parameters(self._record(number).number)
        ground = self._with_data()
        return fitted(ground, parameters, self._threads, rows=slice(None))

    def report(self, number: int | None = None) -> TuningReport:
        """Judge the best trial (or trial ``number``) on the rows that no trial has seen.

        Its hasher and one with default parameters (same bits, objective and fixed parameters) are trained on the
        training rows and compared on the rows for reporting. Looking at it for many trials and keeping the best would
        make these rows part of the choice: once, for the trial you have chosen.

        Returns
        -------
        TuningReport
        """
        ground, record = self._with_data(), self._record(number)
        parameters = self.parameters(record.number)
        hasher = self._fitted(parameters)
        plainest = self.space.hasher_parameters(self.space.without(record.values))
        default = self._fitted({**self.settings.fixed, **plainest})
        chosen = ground.figures(hasher, "choosing", self._threads)
        reported = ground.figures(hasher, "reporting", self._threads)
        plain = ground.figures(default, "reporting", self._threads)
        own = [name for name in self.metrics if name in reported]
        names = own + [name for name in QUALITIES if name in reported and name not in own]
        rows = tuple(
            compared(
                n,
                self.title(n),
                record.figures.get(n, float(chosen[n])),
                chosen[n],
                reported[n],
                plain[n],
                self.settings.random_state,
            )
            for n in names
        )
        return TuningReport(
            record.number, rows, parameters, len(ground.reporting.queries), len(ground.reporting.database)
        )

    def _fitted(self, parameters: Mapping[str, Any]) -> DeepHash:
        ground = self._with_data()
        key = json.dumps(parameters, sort_keys=True, default=list)
        if key not in self._hashers:
            self._hashers[key] = fitted(ground, parameters, self._threads)
        return self._hashers[key]

    def _with_data(self) -> Ground:
        if self._ground is None:
            raise ValueError("the study was loaded without its vectors: Study.load(storage, name, X, y)")
        return self._ground

    # Shown.

    def plot(self, kind: str | None = None, **options: Any) -> Any:
        """Draw with matplotlib; pyplot and its backend are left alone.

        Parameters
        ----------
        kind : {"importances", "history", "pareto"}, optional
            Default ``"importances"``; ``"pareto"`` with several metrics.
        **options
            For ``importances``.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from . import plots

        if kind is None:
            kind = "pareto" if len(self.metrics) > 1 else "importances"
        if choice(kind, "kind", plots.KINDS) == "importances":
            return plots.importances_figure(self.importances(**options))
        if options:
            raise ValueError(f"kind {kind!r} takes no options, got {', '.join(options)}")
        return plots.history_figure(self) if kind == "history" else plots.pareto_figure(self)

    def save(
        self,
        path: str | os.PathLike[str],
        importances: Importances | None = None,
        report: TuningReport | None = None,
    ) -> Path:
        """Write the study; the suffix says how: ``.html`` (one page with drawings), ``.json``, ``.csv`` (trials).

        ``importances`` and ``report`` come into the first two if they are given.
        """
        from .page import as_csv, as_html, as_json

        target = Path(path)
        writers: dict[str, Callable[[], str]] = {
            ".html": lambda: as_html(self, importances, report),
            ".json": lambda: as_json(self, importances, report),
            ".csv": lambda: as_csv(self),
        }
        if target.suffix.lower() not in writers:
            raise ValueError(f"path must end in .html, .json or .csv, got {str(path)!r}")
        text = writers[target.suffix.lower()]()
        with atomic_write(target) as file:
            file.write(text.encode())
        return target

    def summary(self) -> str:
        """One line: how many trials, and the best."""
        counts = _counted(self.counts()) or "no trials"
        if not self.counts().get("completed"):
            return f"{self.name!r}: {counts}"
        if len(self.metrics) > 1:
            return f"{self.name!r}: {counts}; {len(self.pareto())} on the Pareto front of {', '.join(self.metrics)}"
        best = self.best_trial
        return (
            f"{self.name!r}: {counts}; best {self.title(self.metrics[0])} {self.best_value:.4g} (trial {best.number})"
        )

    def lines(self, most: int = 5) -> tuple[list[str], list[list[str]]]:
        """Heads and cells of the table of the best trials."""
        tuned = self.space.tuned
        if not self.counts().get("completed"):
            return [], []
        shown = self.pareto() if len(self.metrics) > 1 else self._by_figure()
        heads = ["trial", *(self.title(name) for name in self.metrics), *tuned]
        cells = [
            [str(r.number), *(f"{r.figures[m]:.4g}" for m in self.metrics), *(_text(r.values.get(n)) for n in tuned)]
            for r in shown[:most]
        ]
        return heads, cells

    def _by_figure(self) -> list[TrialRecord]:
        name = self.metrics[0]
        sign = 1 if name in MINIMISED else -1
        return sorted(self._completed(), key=lambda record: (sign * record.figures[name], record.number))

    def __repr__(self) -> str:
        heads, cells = self.lines()
        return f"Study {self.summary()}" + (f"\n{text_table(heads, cells)}" if cells else "")

    def _repr_html_(self) -> str:
        return html_table(self.summary(), *self.lines(10))


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in counts.items())


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
