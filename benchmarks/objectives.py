"""Every objective of ``DeepHash`` beside random hyperplanes, PCA and ITQ, on the same frozen features.

    python -m benchmarks.objectives                                  everything: hours of one core
    python -m benchmarks.objectives --quick                          fewer rows and seeds
    python -m benchmarks.objectives --objectives csq,dtsh            these (and baselines) beside those of earlier runs
    python -m benchmarks.objectives --saved --write-readme           tables of the last runs again, into README.md

Two comparisons, each with the defaults of the library, one thread, a limit on processor time and several seeds:

* with labels: 5,000 rows (their draw depends on the seed) train every method, those that can with labels. Items are
  then ranked for new queries, twice: a database of unseen items, and the training rows themselves, where a network that
  has learned its labels by heart looks better than it is.
* neighbours: methods without labels are trained on the vectors of the database; queries are new.

``benchmarks/features.py`` says which rows are for choosing settings and which for reporting. This only reports: nothing
is chosen by its figures. ``benchmarks/paired.py`` says which differences are real. Results: benchmarks/results/
objectives.json, .md and .svg; new trainings join those of earlier runs there (--objectives, --seeds).
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from threadpoolctl import threadpool_limits

import simskip

from . import objective_tables, plots, results
from .environment import environment
from .features import DATA, Features
from .objective_targets import judge
from .paired import compare
from .zoo import BASELINES, Split, Values, control_rows, fitted, measured, methods, shown

__all__ = ["Plan", "main", "run"]

Row = dict[str, Any]
README = Path(__file__).parent.parent / "README.md"
TASKS = ("labels", "neighbors")
COMPARED = ("map", "recall")  # what the letters are of


@dataclass(frozen=True)
class Plan:
    """What is trained."""

    data: tuple[str, ...]
    objectives: tuple[str, ...] | None  # None: all
    seeds: int
    quick: bool
    budget: float
    controls: bool = True
    tasks: tuple[str, ...] = TASKS
    bits: tuple[int, ...] | None = None
    name: str = "objectives"

    def chosen(self, labels: bool) -> list[str]:
        """Baselines and the objectives that were asked for."""
        offered = methods(labels)
        return [name for name in offered if name in BASELINES or self.objectives is None or name in self.objectives]


def run(plan: Plan, console: Console) -> dict[str, Any]:
    """Train, measure, print; saves after each seed. Trainings of earlier runs stay unless they are repeated."""
    with threadpool_limits(1):
        for name in plan.data:
            data = DATA[name](plan.quick)
            console.print(str(data))
            for task, trainings in zip(TASKS, (with_labels, neighbors), strict=True):
                found = trainings(plan, data, console) if task in plan.tasks else ()
                for _, same_seed in itertools.groupby(found, lambda row: (row["n_bits"], row["seed"])):
                    section = joined(about(plan, data, task), list(same_seed), saved(plan.name)["sections"])
                    keep("sections", [section], ("data", "task"), plan.name)
            if plan.controls:
                controls = control_rows(data, (data.label_bits or data.neighbor_bits)[0], plan.budget)
                keep("controls", controls, ("data",), plan.name)
    return saved(plan.name)


def about(plan: Plan, data: Features, task: str) -> Row:
    """What the trainings of a comparison have in common: they can be compared with others of which this is true too."""
    return {
        "data": data.name,
        "task": task,
        "title": data.title,
        "n_labelled": data.n_labelled,
        "n_items": len(data.database),
        "n_queries": len(data.queries),
        "budget": plan.budget,
        "processor": _stamp()["processor"],
    }


@functools.cache
def _stamp() -> Row:
    """As it was when the run began."""
    return environment()


def joined(head: Row, found: list[Row], sections: list[Row]) -> Row:
    """A comparison of new trainings and of those of an earlier run under the same conditions."""
    earlier = [old["trainings"] for old in sections if all(old[key] == value for key, value in head.items())]
    trainings = {(row["n_bits"], row["method"], row["seed"]): row for part in (*earlier, found) for row in part}
    rows, pairs = summary(list(trainings.values()), head["data"], head["task"])
    return {**head, "rows": rows, "pairs": pairs, "trainings": list(trainings.values())}


def with_labels(plan: Plan, data: Features, console: Console) -> Iterator[Row]:
    """A row for each code length, seed and method: figures on unseen items, mAP on the training items."""
    wanted = [bits for bits in data.label_bits if plan.bits is None or bits in plan.bits]
    unseen = Split.of(data.database, data.database_labels, data.queries, data.query_labels) if wanted else None
    for bits in wanted:
        for seed in range(plan.seeds):
            X, y = data.labelled(seed)
            seen = Split.of(X, y, data.queries, data.query_labels)
            for method in plan.chosen(labels=True):
                hasher, training = fitted(method, bits, seed, X, y, plan.budget)
                row, values = measured(hasher, unseen)
                again, _ = measured(hasher, seen)
                row |= training | {f"seen_{name}": again[name] for name in ("map", "map_best", "map_worst", "recall")}
                console.print(told(method, bits, seed, row, "map"))
                yield training_of(method, bits, seed, row, values)


def neighbors(plan: Plan, data: Features, console: Console) -> Iterator[Row]:
    """A row for each code length, seed and method without labels, trained on the database."""
    wanted = [bits for bits in data.neighbor_bits if plan.bits is None or bits in plan.bits]
    # Without labels: those of the database say nothing about methods that were not asked for them.
    none = np.zeros(0, np.int64)
    split = Split.of(data.database, none, data.queries, none) if wanted else None
    for bits in wanted:
        for seed in range(plan.seeds):
            for method in plan.chosen(labels=False):
                hasher, training = fitted(method, bits, seed, data.database, None, plan.budget)
                row, values = measured(hasher, split)
                row |= training
                console.print(told(method, bits, seed, row, "recall"))
                yield training_of(method, bits, seed, row, values)


def training_of(method: str, bits: int, seed: int, row: Row, values: Values) -> Row:
    """What is kept of a training: its figures, and for each query those that are compared."""
    kept = {name: np.round(each, 6).tolist() for name, each in values.items() if name in COMPARED}
    return {"method": method, "n_bits": bits, "seed": seed, "commit": _stamp()["commit"], **row, "values": kept}


def told(method: str, bits: int, seed: int, row: Row, figure: str) -> str:
    """A line for the terminal."""
    return f"  {method:<12} {bits:>4} bits, seed {seed}: {figure} {row[figure]:.3f}, {row['cpu_s']:6.1f} s"


def summary(trainings: list[Row], data: str, task: str) -> tuple[list[Row], list[Row]]:
    """Rows (means over the seeds that all methods were trained with, and letters) and all compared pairs."""
    rows, pairs = [], []
    for bits in sorted({row["n_bits"] for row in trainings}):
        by_method: dict[str, dict[int, Row]] = {}
        for row in trainings:
            if row["n_bits"] == bits:
                by_method.setdefault(row["method"], {})[row["seed"]] = row
        seeds = sorted(set.intersection(*(set(each) for each in by_method.values())))
        found = {name: [each[seed] for seed in seeds] for name, each in by_method.items()}
        letters: dict[str, dict[str, str]] = {}
        for figure in COMPARED:
            if all(figure in row["values"] for each in found.values() for row in each):
                comparison = compare({name: _table(each, figure) for name, each in found.items()})
                letters[figure] = comparison.letters
                about = {"data": data, "task": task, "n_bits": bits, "figure": figure}
                pairs += [{**about, **asdict(pair)} for pair in comparison.pairs]
        best = max((mean(found[name], "recall") for name in BASELINES if name in found), default=float("nan"))
        for name, each in found.items():
            row = {
                "data": data,
                "task": task,
                "n_bits": bits,
                "method": name,
                "shown": shown(name),
                "seeds": len(seeds),
            }
            for figure, value in each[0].items():
                if isinstance(value, (int, float)) and not isinstance(value, bool) and figure not in row | {"seed": 0}:
                    row[figure] = mean(each, figure)
                    row[f"{figure}_sd"] = deviation(each, figure)
            row["cut"] = any(one["cut"] for one in each)
            row["over_baselines"] = row["recall"] / best
            rows.append(row | {f"{figure}_letters": letters[figure][name] for figure in letters})
    return rows, pairs


def _table(rows: list[Row], figure: str) -> npt.NDArray[np.float64]:
    return np.array([row["values"][figure] for row in rows], np.float64)


def mean(rows: list[Row], figure: str) -> float:
    """Over seeds."""
    return float(np.mean([row[figure] for row in rows]))


def deviation(rows: list[Row], figure: str) -> float | None:
    """Standard deviation between seeds; None for one seed."""
    return float(np.std([row[figure] for row in rows], ddof=1)) if len(rows) > 1 else None


def keep(part: str, new: list[Row], keys: tuple[str, ...], name: str) -> None:
    """Let new entries take the place of old ones with the same keys; write results, tables and the picture."""
    result = saved(name)  # as it is now: another run may have added to it
    places = {tuple(entry[key] for key in keys) for entry in new}
    result[part] = [old for old in result[part] if tuple(old[key] for key in keys) not in places] + new
    result["targets"] = judge([row for section in result["sections"] for row in section["rows"]])
    path = results.save(name, {part: result[part] for part in ("sections", "controls", "targets")})
    path.with_suffix(".md").write_text(objective_tables.document(result) + "\n", encoding="utf-8")
    plots.plot_objectives(result["sections"], path.with_suffix(".svg"))


def saved(name: str) -> dict[str, Any]:
    """What earlier runs left; empty if there is nothing."""
    path = results.FOLDER / f"{name}.json"
    if not path.exists():
        return {"sections": [], "controls": [], "targets": []}
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return result


def main() -> None:
    """Read the options, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rows, 1,000 queries, 3 seeds")
    parser.add_argument("--objectives", type=names, help="only these, separated by commas (baselines are always there)")
    parser.add_argument("--data", type=names, default=tuple(DATA), help=f"of {', '.join(DATA)}")
    parser.add_argument("--tasks", type=names, default=TASKS, help=f"of {', '.join(TASKS)}")
    parser.add_argument("--bits", type=lambda text: tuple(map(int, names(text))), help="only these code lengths")
    parser.add_argument("--seeds", type=int, help="trainings of each method")
    parser.add_argument("--budget", type=float, default=300.0, help="seconds of processor time for a fit")
    parser.add_argument("--name", default="objectives", help="of the files in benchmarks/results")
    parser.add_argument("--saved", action="store_true", help="train nothing: tables of the last run")
    parser.add_argument("--write-readme", action="store_true", help="put the tables into README.md")
    options = parser.parse_args()
    known = {"data": tuple(DATA), "objectives": tuple(methods(labels=True)), "tasks": TASKS}
    for option, allowed in known.items():
        if unknown := [name for name in getattr(options, option) or () if name not in allowed]:
            parser.error(f"--{option}: {', '.join(unknown)} unknown; there are {', '.join(allowed)}")
    console = Console(width=None if Console().is_terminal else 200)
    if options.saved:
        result = saved(options.name)
        if not result["sections"]:
            parser.error(f"--saved: there is no {options.name}.json in benchmarks/results")
    else:
        seeds = options.seeds or (3 if options.quick else 5)
        wanted = (options.data, options.objectives, seeds, options.quick, options.budget)
        simskip.set_threads(1)
        result = run(Plan(*wanted, True, options.tasks, options.bits, options.name), console)
    print(objective_tables.document(result))
    if options.write_readme:
        block = objective_tables.short(result)
        README.write_text(objective_tables.replaced(README.read_text(encoding="utf-8"), block), encoding="utf-8")
        console.print("wrote the tables into README.md")


def names(text: str) -> tuple[str, ...]:
    """The names in a list separated by commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


if __name__ == "__main__":
    main()
