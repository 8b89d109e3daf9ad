"""Which differences between methods are real: paired comparisons over queries and seeds, corrected for their number.

Every method answers the same queries after training with the same seeds, so two methods differ by a table of
differences, a row for each seed and a column for each query. Both are samples: other queries would be asked, and
another training would end elsewhere. The mean of the table is tested against 0 in the crossed model

    difference = mean + seed effect + query effect + rest

with the variance (MS_seed + MS_query - MS_rest) / cells and Satterthwaite's degrees of freedom (Searle, Casella and
McCulloch, "Variance components", 1992). Testing over queries alone would take the luck of one training for a
property of its objective.

Few seeds can agree by luck, so the part of a pair is taken to be at least that of two usual methods of its table (the
median: one that depends on its seed more than others must not hide what those show). p-values are corrected over all
pairs by Holm's method (1979). Two seeds say rather little of their part: use three or more.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Comparison", "Pair", "compare", "holm", "letters", "mean_test"]

Table = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pair:
    """Method ``a`` minus method ``b``: mean difference, its 95 % interval (of this pair alone), and p after Holm."""

    a: str
    b: str
    difference: float
    low: float
    high: float
    p: float

    def resolved(self, level: float) -> bool:
        """Whether the data say which of the two is better."""
        return self.p < level


@dataclass(frozen=True)
class Comparison:
    """All pairs, and for each method its letters: methods that share a letter are not told apart."""

    pairs: list[Pair]
    letters: dict[str, str]


def compare(values: Mapping[str, Table], level: float = 0.05) -> Comparison:
    """Compare all pairs of methods.

    Parameters
    ----------
    values : mapping of name to (seeds, queries) array
        A figure for each query, larger is better, the same seeds and queries in all. Queries with NaN are left out.
    level : float
        A pair is resolved if its corrected p is less.

    Raises
    ------
    ValueError
        If the tables differ in shape, or fewer than two queries are left.
    """
    shapes = {name: np.shape(table) for name, table in values.items()}
    if len({*shapes.values()}) > 1 or any(len(shape) != 2 for shape in shapes.values()):
        raise ValueError(f"values must be tables of one shape (seeds, queries), got {shapes}")
    names = sorted(values, key=lambda name: -float(np.nanmean(values[name])))
    if len(names) < 2:
        return Comparison([], dict.fromkeys(names, "a"))
    stacked = np.stack([np.asarray(values[name], np.float64) for name in names])
    stacked = stacked[:, :, ~np.isnan(stacked).any(axis=(0, 1))]
    if stacked.shape[2] < 2:
        raise ValueError("values must have a figure for at least two queries")
    places = list(itertools.combinations(range(len(names)), 2))
    usual = 2 * _usual_of_seed(stacked)
    tests = [mean_test(stacked[a] - stacked[b], usual) for a, b in places]
    corrected = holm([p for *_, p in tests])
    pairs = [
        Pair(names[a], names[b], mean, low, high, p)
        for (a, b), (mean, low, high, _), p in zip(places, tests, corrected, strict=True)
    ]
    return Comparison(pairs, letters(names, [(pair.a, pair.b) for pair in pairs if pair.resolved(level)]))


def mean_test(table: Table, least_of_seed: float = 0.0) -> tuple[float, float, float, float]:
    """Mean of a (seeds, queries) table of differences, its 95 % interval, and p of "the mean is 0".

    ``least_of_seed``: what the seeds' mean square is taken to be at least. With one seed only the queries are a sample:
    nothing is known of what another training would give.
    """
    from scipy import stats

    seeds, queries = table.shape
    mean = float(table.mean())
    of_seed, of_query, of_rest = _mean_squares(table)
    if seeds == 1:
        mean_square, freedom = of_query, float(queries - 1)
    else:
        of_seed = max(of_seed, least_of_seed)
        # The estimate can fall below one of its parts by chance; the larger is the careful one.
        mean_square = max(of_seed + of_query - of_rest, of_seed, of_query)
        parts = ((of_seed, seeds - 1), (of_query, queries - 1), (of_rest, (seeds - 1) * (queries - 1)))
        spread = sum(part**2 / count for part, count in parts)
        freedom = mean_square**2 / spread if spread > 0 else math.inf
    error = math.sqrt(mean_square / table.size)
    # Methods that answer all queries alike (or differ by a constant): nothing is left to chance.
    if error <= 1e-12 * max(1.0, abs(mean)):
        return mean, mean, mean, 1.0 if abs(mean) < 1e-12 else 0.0
    half = float(stats.t.ppf(0.975, freedom)) * error
    return mean, mean - half, mean + half, float(2 * stats.t.sf(abs(mean) / error, freedom))


def _usual_of_seed(stacked: npt.NDArray[np.float64]) -> float:
    """The seeds' mean square of the median method, without what a seed does to all.

    ``stacked``: (methods, seeds, queries).
    """
    _, seeds, queries = stacked.shape
    if seeds == 1:
        return 0.0
    means = stacked.mean(axis=2)
    means = means - np.median(means - means.mean(axis=1, keepdims=True), axis=0)
    return float(np.median(queries * means.var(axis=1, ddof=1)))


def _mean_squares(table: Table) -> tuple[float, float, float]:
    """Of seeds, of queries, and of the rest; 0 for seeds and rest if there is one seed."""
    seeds, queries = table.shape
    by_seed, by_query = table.mean(axis=1) - table.mean(), table.mean(axis=0) - table.mean()
    of_query = seeds * float(np.square(by_query).sum()) / (queries - 1)
    if seeds == 1:
        return 0.0, of_query, 0.0
    rest = table - table.mean() - by_seed[:, None] - by_query
    of_seed = queries * float(np.square(by_seed).sum()) / (seeds - 1)
    return of_seed, of_query, float(np.square(rest).sum()) / ((seeds - 1) * (queries - 1))


def holm(p: list[float]) -> list[float]:
    """Corrected p-values: the chance of any false "real" among all is at most the level they are held against."""
    corrected, least = [0.0] * len(p), 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        least = max(least, min(1.0, (len(p) - rank) * p[place]))
        corrected[place] = least
    return corrected


def letters(names: list[str], resolved: list[tuple[str, str]]) -> dict[str, str]:
    """A letter display: two names share a letter if and only if their pair is not resolved.

    ``names`` in the order of letters, best first. Piepho, "An algorithm for a letter-based representation of
    all-pairwise comparisons" (2004): sets are split at each resolved pair, and a set inside another is dropped.
    """
    groups = [set(names)]
    for a, b in resolved:
        split = [group - {out} for group in groups for out in (a, b) if {a, b} <= group]
        split += [group for group in groups if not {a, b} <= group]
        groups = []
        for group in sorted(split, key=len, reverse=True):
            if not any(group <= other for other in groups):
                groups.append(group)
    groups.sort(key=lambda group: sorted(names.index(name) for name in group))
    signs = [chr(ord("a") + i) if i < 26 else f"({i + 1})" for i in range(len(groups))]
    return {name: "".join(sign for sign, group in zip(signs, groups, strict=True) if name in group) for name in names}
