"""How much each parameter decides, with intervals: an order among parameters is claimed only where it is resolved."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..extras import require
from ..validation import choice, fraction, positive_int
from .parameter import Parameter
from .table import html_table, text_table
from .trial import quiet

__all__ = ["METHODS", "Importance", "Importances", "importances_of"]

METHODS = ("fanova", "ped-anova")
MIN_TRIALS = 5

# Trees of one forest: bootstrap samples average over forests too, so each may be small.
_TREES = 24
# Enough for the quantile of what chance reaches.
_MOST_SHUFFLES = 100
# PED-ANOVA looks at what the best trials have in common: a tenth of them, but at least this many.
_BEST_SHARE, _BEST_TRIALS, _MOST_BEST = 0.1, 5, 0.5

Values = Mapping[str, Any]
FloatMatrix = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Importance:
    """One parameter's share of what the parameters decide.

    Attributes
    ----------
    name : str
    rank : int
        1 for the largest mean.
    importance : float
        From all completed trials; all parameters' add up to 1.
    mean, low, high : float
        Over bootstrap samples of the trials: mean, and the ends of the central interval.
    chance : float
        What a parameter without any effect would reach: of the importances when results are shuffled among the
        trials, the quantile at the interval's level.
    above_next : float
        Share of the bootstrap samples in which it is more important than the parameter of the next rank (half of it
        where they are equal); NaN for the last.
    """

    name: str
    rank: int
    importance: float
    mean: float
    low: float
    high: float
    chance: float
    above_next: float


@dataclasses.dataclass(frozen=True)
class Importances:
    """What ``Study.importances`` found.

    Attributes
    ----------
    rows : tuple of Importance
        By rank.
    method : {"fanova", "ped-anova"}
    metric : str
    n_trials : int
        Completed trials that it comes from.
    n_bootstrap : int
    level : float
        Of the intervals, and the share of samples in which an order must hold to count as resolved.
    """

    rows: tuple[Importance, ...]
    method: str
    metric: str
    n_trials: int
    n_bootstrap: int
    level: float

    def __getitem__(self, name: str) -> Importance:
        for row in self.rows:
            if row.name == name:
                return row
        raise ValueError(f"name must be one of {', '.join(row.name for row in self.rows)}, got {name!r}")

    @property
    def unresolved(self) -> list[tuple[str, str]]:
        """Neighbours in the ranking whose order could as well be the other way round."""
        pairs = zip(self.rows, self.rows[1:], strict=False)
        return [(row.name, following.name) for row, following in pairs if row.above_next < self.level]

    @property
    def beyond_chance(self) -> list[str]:
        """Parameters that are more important than one without effect would look."""
        return [row.name for row in self.rows if row.importance > row.chance]

    @property
    def statement(self) -> str:
        """In words: what matters most, what is beyond chance, and where the order is not resolved."""
        first = self.rows[0]
        sentences = [f"{first.name} ranks first ({first.mean:.2f} [{first.low:.2f}, {first.high:.2f}])"]
        if len(self.rows) == 1:
            sentences = [f"{first.name} is the only parameter that was tuned"]
        else:
            named = self.beyond_chance
            sentences.append(f"beyond chance: {', '.join(named)}" if named else "no parameter is beyond chance")
            pairs = [f"{one} and {other}" for one, other in self.unresolved]
            sentences += [f"order not resolved between {pair}" for pair in pairs]
            if not pairs:
                sentences.append("the whole order is resolved")
        return f"{'; '.join(sentences)} ({self.n_trials} trials, {self.method}, {self.metric})."

    def to_frame(self) -> Any:
        """pandas.DataFrame with a line per parameter, indexed by name."""
        pandas = require("pandas", "tune", "Importances.to_frame")
        return pandas.DataFrame([dataclasses.asdict(row) for row in self.rows]).set_index("name")

    def plot(self) -> Any:
        """Bars with intervals: matplotlib.figure.Figure."""
        from .plots import importances_figure

        return importances_figure(self)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        rows = [
            {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in dataclasses.asdict(row).items()}
            for row in self.rows
        ]
        return {**dataclasses.asdict(self), "rows": rows, "statement": self.statement}

    def lines(self) -> list[list[str]]:
        """Cells of the table, below ``HEADS``."""
        return [
            [
                row.name,
                f"{row.mean:.3f}",
                f"[{row.low:.3f}, {row.high:.3f}]",
                f"{row.chance:.3f}",
                "" if math.isnan(row.above_next) else f"{row.above_next:.1%}",
            ]
            for row in self.rows
        ]

    def __repr__(self) -> str:
        return f"Importances: {self.statement}\n{text_table(HEADS, self.lines())}"

    def _repr_html_(self) -> str:
        return html_table(self.statement, HEADS, self.lines())


HEADS = ["", "mean", "interval", "chance", "above next"]


def importances_of(
    suggested: Sequence[Values],
    results: npt.ArrayLike,
    parameters: Mapping[str, Parameter],
    *,
    method: str = "fanova",
    metric: str = "recall",
    minimise: bool = False,
    n_bootstrap: int = 200,
    level: float = 0.95,
    random_state: int = 0,
) -> Importances:
    """Importances from completed trials, each with a bootstrap interval over the trials.

    Parameters
    ----------
    suggested : sequence of mappings
        One per trial: what Optuna stored for each tuned parameter that was part of it.
    results : (n,) array of float
        The trials' figures.
    parameters : mapping of str to Parameter
        The space; fixed parameters decide nothing and are left out.
    method : {"fanova", "ped-anova"}
        ``"fanova"``: the share of the results' variance that a parameter explains alone, by a random forest. A
        parameter that a trial does not have counts as the middle of its range (its first choice) there, and
        logarithmic ranges are averaged over their logarithms, as they are searched. ``"ped-anova"``: how far the
        parameter's distribution among the best trials (a tenth, at least five) is from that among all; parameters
        that are part of some trials only are handled by the method itself.
    metric : str
        What the results are called.
    minimise : bool
        Whether small results are good.
    n_bootstrap : int
        Samples of n trials with replacement.
    level : float
        Of the intervals, in (0, 1).
    random_state : int
        The same seed and trials give the same answer.

    Returns
    -------
    Importances

    Raises
    ------
    ValueError
        For fewer than five trials, results that are all the same or not finite, nothing tuned, a wrong argument.

    References
    ----------
    F. Hutter, H. Hoos, K. Leyton-Brown, "An efficient approach for assessing hyperparameter importance", ICML 2014
    (fanova). S. Watanabe, A. Bansal, F. Hutter, "PED-ANOVA: Efficiently quantifying hyperparameter importance in
    arbitrary subspaces", IJCAI 2023. B. Efron, "Bootstrap methods: another look at the jackknife", 1979.

    Notes
    -----
    Pruned and failed trials have no result and take no part: with pruning or a sampler that seeks good values, the
    importances are those near good values. For importances over the whole space, tune with ``sampler="random",
    pruner=None``.
    """
    choice(method, "method", METHODS)
    n_bootstrap = positive_int(n_bootstrap, "n_bootstrap", minimum=20)
    if not 0 < fraction(level, "level") < 1:
        raise ValueError(f"level must lie inside (0, 1), got {level!r}")
    values = np.asarray(results, np.float64)
    tuned = {name: parameter for name, parameter in parameters.items() if not parameter.fixed}
    if not tuned:
        raise ValueError("importances need a parameter that varies: the space holds fixed values only")
    if len(suggested) < MIN_TRIALS:
        raise ValueError(f"importances need at least {MIN_TRIALS} completed trials, got {len(suggested)}")
    if not np.isfinite(values).all() or (values == values[0]).all():
        raise ValueError(f"importances need finite results that differ, got {np.unique(values)[:5]} for {metric}")
    trials = [_fanova_trial(t, tuned) if method == "fanova" else dict(t) for t in suggested]
    rng = np.random.default_rng(positive_int(random_state, "random_state", minimum=0))
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about small samples: that is what the intervals are for
        measure = _Measure(trials, tuned, method, minimise)
        everything = np.arange(len(values))
        estimate = measure(everything, values, rng)
        n, names = len(values), measure.names
        samples = np.empty((n_bootstrap, len(names)))
        shuffled = np.empty((min(n_bootstrap, _MOST_SHUFFLES), len(names)))
        for i in range(n_bootstrap):
            drawn = rng.integers(0, n, n)
            while (values[drawn] == values[drawn[0]]).all():  # of such a sample nothing could be said
                drawn = rng.integers(0, n, n)
            samples[i] = measure(drawn, values[drawn], rng)
        for i in range(len(shuffled)):
            shuffled[i] = measure(everything, rng.permutation(values), rng)
    rows = _ranked(names, estimate, samples, np.quantile(shuffled, level, axis=0), level)
    return Importances(rows, method, metric, n, n_bootstrap, level)


def _ranked(
    names: Sequence[str], estimate: npt.NDArray[Any], samples: FloatMatrix, chance: npt.NDArray[Any], level: float
) -> tuple[Importance, ...]:
    means = samples.mean(axis=0)
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2], axis=0)
    order = sorted(range(len(names)), key=lambda i: (-means[i], names[i]))
    rows = []
    for rank, i in enumerate(order, start=1):
        above = math.nan
        if rank < len(order):
            gap = samples[:, i] - samples[:, order[rank]]
            above = float(((gap > 0) + 0.5 * (gap == 0)).mean())
        rows.append(
            Importance(
                names[i],
                rank,
                float(estimate[i]),
                float(means[i]),
                float(low[i]),
                float(high[i]),
                float(chance[i]),
                above,
            )
        )
    return tuple(rows)


class _Measure:
    """Shares of importance from some of the trials: Optuna's evaluators, on a study in memory."""

    def __init__(self, trials: Sequence[Values], tuned: Mapping[str, Parameter], method: str, minimise: bool) -> None:
        self.names = [name for name in sorted(tuned) if any(name in trial for trial in trials)]
        self._trials, self._method = trials, method
        self._direction: Any = "minimize" if minimise else "maximize"
        distributions = {name: _distribution(tuned[name], method) for name in self.names}
        self._distributions = [{name: distributions[name] for name in trial} for trial in trials]

    def __call__(
        self, rows: npt.NDArray[np.int64], values: npt.NDArray[np.float64], rng: np.random.Generator
    ) -> npt.NDArray[np.float64]:
        import optuna

        study = optuna.create_study(direction=self._direction)
        study.add_trials(
            optuna.trial.create_trial(
                params=self._trials[row], distributions=self._distributions[row], value=float(value)
            )
            for row, value in zip(rows, values, strict=True)
        )
        if self._method == "fanova":
            require("sklearn", "tune", "fANOVA")
            evaluator: Any = optuna.importance.FanovaImportanceEvaluator(
                n_trees=_TREES, seed=int(rng.integers(0, 2**31))
            )
            present = self.names
        else:
            share = min(_MOST_BEST, max(_BEST_SHARE, _BEST_TRIALS / len(rows)))
            evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=share)
            drawn = {name for row in rows for name in self._trials[row]}
            present = [name for name in self.names if name in drawn]  # the rest is in no trial of this sample
        raw: Callable[..., dict[str, float]] = evaluator.evaluate
        found = raw(study, params=present)
        shares = np.array([found.get(name, 0.0) for name in self.names])
        total = shares.sum()
        return shares / total if total > 0 else np.full(len(shares), 1 / len(shares))


def _fanova_trial(trial: Values, tuned: Mapping[str, Parameter]) -> dict[str, Any]:
    """All parameters, absent ones in the middle, logarithmic ones as logarithms."""
    complete = {}
    for name, parameter in tuned.items():
        value = trial.get(name, _middle(parameter))
        complete[name] = math.log(value) if parameter.log else value
    return complete


def _middle(parameter: Parameter) -> Any:
    if parameter.kind == "choice":
        return parameter.stored_choices()[0]
    low, high = parameter.low, parameter.high
    middle = math.sqrt(low * high) if parameter.log else (low + high) / 2
    if parameter.step is not None:
        middle = low + parameter.step * round((middle - low) / parameter.step)
    return round(middle) if parameter.kind == "int" else middle


def _distribution(parameter: Parameter, method: str) -> Any:
    import optuna

    kinds = optuna.distributions
    if parameter.kind == "choice":
        return kinds.CategoricalDistribution(parameter.stored_choices())
    if parameter.log and method == "fanova":
        return kinds.FloatDistribution(math.log(parameter.low), math.log(parameter.high))
    if parameter.kind == "int":
        return kinds.IntDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step or 1)
    return kinds.FloatDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)
