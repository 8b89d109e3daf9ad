"""How much each parameter decides, with intervals: an order among parameters is claimed only where it is resolved."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Mapping, Sequence
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
_TREES = 8
# Runs with shuffled copies: enough for the quantile of what chance reaches.
_MOST_COPIES = 40
# PED-ANOVA looks at what the best trials have in common: a tenth of them, but at least this many (with fewer, what
# they have in common is chance), and never more than half.
_BEST_SHARE, _BEST_TRIALS, _MOST_BEST = 0.1, 10, 0.5

Values = Mapping[str, Any]
FloatVector = npt.NDArray[np.float64]


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
    chance : float
        The importance that a parameter without any effect may reach: in runs that have a shuffled copy of each
        parameter beside it, the largest importance among the copies; of that the quantile at ``level``.
    level : float
        Of the intervals, and the share of samples in which an order must hold to count as resolved.
    """

    rows: tuple[Importance, ...]
    method: str
    metric: str
    n_trials: int
    n_bootstrap: int
    chance: float
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
        """Parameters that are more important than one without effect may look."""
        return [row.name for row in self.rows if row.importance > self.chance]

    @property
    def statement(self) -> str:
        """In words: what matters most, what is beyond chance, and where the order is not resolved."""
        first = self.rows[0]
        sentences = [f"{first.name} ranks first ({first.mean:.2f} [{first.low:.2f}, {first.high:.2f}])"]
        if len(self.rows) == 1:
            sentences = [f"{first.name} is the only parameter that was tuned"]
        else:
            named = self.beyond_chance
            beyond = f"beyond chance ({self.chance:.2f})"
            sentences.append(f"{beyond}: {', '.join(named)}" if named else f"no parameter is {beyond}")
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

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Heads and cells, as people read them."""
        return HEADS, [
            [
                row.name,
                f"{row.mean:.3f}",
                f"[{row.low:.3f}, {row.high:.3f}]",
                "" if math.isnan(row.above_next) else f"{row.above_next:.1%}",
            ]
            for row in self.rows
        ]

    def __repr__(self) -> str:
        return f"Importances: {self.statement}\n{text_table(*self.table())}"

    def _repr_html_(self) -> str:
        return html_table(self.statement, *self.table())


HEADS = ["", "mean", "interval", "above next"]


def importances_of(
    suggested: Sequence[Values],
    results: npt.ArrayLike,
    parameters: Mapping[str, Parameter],
    *,
    method: str = "fanova",
    metric: str = "recall",
    minimise: bool = False,
    n_bootstrap: int = 100,
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
        parameter's distribution among the best trials (a tenth, at least ten; at most half) is from that among all;
        parameters that are part of some trials only are handled by the method itself.
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
    arbitrary subspaces", IJCAI 2023. M. Kursa, W. Rudnicki, "Feature selection with the Boruta package", 2010 (shuffled
    copies). B. Efron, "Bootstrap methods: another look at the jackknife", 1979.

    Notes
    -----
    Pruned and failed trials have no result and take no part: with pruning or a sampler that seeks good values, the
    importances are those near good values. For importances over the whole space, tune with ``sampler="random",
    pruner=None``.

    Examples
    --------
    >>> import numpy as np
    >>> from simskip.tuning import importances_of
    >>> from simskip.tuning.parameter import parsed
    >>> space = {"width": parsed("width", [128, 256]), "rate": parsed("rate", (1e-4, 1e-2, "log"))}
    >>> rng = np.random.default_rng(0)
    >>> trials = [{"width": int(rng.choice([128, 256])), "rate": 10 ** rng.uniform(-4, -2)} for _ in range(30)]
    >>> recalls = [0.4 + 0.01 * np.log10(trial["rate"]) for trial in trials]
    >>> found = importances_of(trials, recalls, space, method="ped-anova")
    >>> found.rows[0].name, found.beyond_chance, found.unresolved
    ('rate', ['rate'], [])
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
    names = [name for name in sorted(tuned) if any(name in trial for trial in trials)]
    rng = np.random.default_rng(positive_int(random_state, "random_state", minimum=0))
    measure = _Measure(tuned, method, minimise)
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about small samples: that is what the intervals are for
        estimate = _normalised(measure(trials, values, names, rng), len(names))
        samples = np.empty((n_bootstrap, len(names)))
        for i in range(n_bootstrap):
            drawn = rng.integers(0, len(values), len(values))
            while (values[drawn] == values[drawn[0]]).all():  # of such a sample nothing could be said
                drawn = rng.integers(0, len(values), len(values))
            found = measure([trials[row] for row in drawn], values[drawn], names, rng)
            samples[i] = _normalised(found, len(names))
        largest = []
        for _ in range(min(n_bootstrap, _MOST_COPIES)):
            copied = _with_copies(trials, names, rng)
            found = measure(copied, values, [*names, *map(_copy, names)], rng)
            largest.append(_normalised(found, len(names))[len(names) :].max())
    rows = _ranked(names, estimate, samples, level)
    return Importances(
        rows, method, metric, len(values), n_bootstrap, min(1.0, float(np.quantile(largest, level))), level
    )


def _ranked(names: Sequence[str], estimate: FloatVector, samples: FloatVector, level: float) -> tuple[Importance, ...]:
    means = samples.mean(axis=0)
    lows, highs = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2], axis=0)
    order = sorted(range(len(names)), key=lambda i: (-means[i], names[i]))
    rows = []
    for rank, i in enumerate(order, start=1):
        above = math.nan
        if rank < len(order):
            gap = samples[:, i] - samples[:, order[rank]]
            above = float(((gap > 0) + 0.5 * (gap == 0)).mean())
        estimated, mean, low, high = (float(figure[i]) for figure in (estimate, means, lows, highs))
        rows.append(Importance(names[i], rank, estimated, mean, low, high, above))
    return tuple(rows)


def _normalised(raw: FloatVector, count: int) -> FloatVector:
    """Divided by the sum of the first ``count``, the parameters; copies stand behind them."""
    total = raw[:count].sum()
    return raw / total if total > 0 else np.full(len(raw), 1 / count)


class _Measure:
    """Importances from some trials: Optuna's evaluators, on a study in memory."""

    def __init__(self, tuned: Mapping[str, Parameter], method: str, minimise: bool) -> None:
        self._method = method
        self._direction: Any = "minimize" if minimise else "maximize"
        self._distributions = {name: _distribution(parameter, method) for name, parameter in tuned.items()}
        self._distributions |= {_copy(name): distribution for name, distribution in self._distributions.items()}
        if method == "fanova":
            require("sklearn", "tune", "fANOVA")

    def __call__(
        self, trials: Sequence[Values], values: FloatVector, names: Sequence[str], rng: np.random.Generator
    ) -> FloatVector:
        """One figure per name, 0 for one that is in none of these trials."""
        import optuna

        study = optuna.create_study(direction=self._direction)
        study.add_trials(
            optuna.trial.create_trial(
                params=dict(trial), distributions={n: self._distributions[n] for n in trial}, value=float(value)
            )
            for trial, value in zip(trials, values, strict=True)
        )
        if self._method == "fanova":
            seed = int(rng.integers(0, 2**31))
            evaluator: Any = optuna.importance.FanovaImportanceEvaluator(n_trees=_TREES, seed=seed)
        else:
            share = min(_MOST_BEST, max(_BEST_SHARE, _BEST_TRIALS / len(trials)))
            evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=share)
        found = evaluator.evaluate(study, params=[name for name in names if any(name in trial for trial in trials)])
        return np.array([found.get(name, 0.0) for name in names])


def _copy(name: str) -> str:
    return f"{name} (shuffled)"


def _with_copies(trials: Sequence[Values], names: Sequence[str], rng: np.random.Generator) -> list[dict[str, Any]]:
    """The trials with a copy of each parameter, its values shuffled among the trials that have it."""
    copied = [dict(trial) for trial in trials]
    for name in names:
        having = [trial for trial in copied if name in trial]
        shuffled = [having[i][name] for i in rng.permutation(len(having))]
        for trial, value in zip(having, shuffled, strict=True):
            trial[_copy(name)] = value
    return copied


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
