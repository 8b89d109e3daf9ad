"""One run: which cases on which instruction sets, and everything measured, printed and saved."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

import simskip

from . import plots, results, tables, targets
from .cases import Case, make_codes
from .competitors import methods
from .environment import available_memory, environment
from .limits import Limits
from .processes import call, environment_of

__all__ = ["Plan", "plan_of", "run"]

Row = dict[str, Any]

MILLION = 10**6
# Cases that are measured on every instruction set: those of targets.py.
EVERY_ISA = {(t.kind, t.n, t.n_bits) for t in targets.TARGETS}


@dataclass(frozen=True)
class Plan:
    """What is measured."""

    cases: list[Case]
    approximate: list[Case] = field(default_factory=list)
    build: list[Case] = field(default_factory=list)
    isas: tuple[str, ...] = ()
    repeats: int = 5
    seconds: float = 0.2
    name: str = "search"


def plan_of(large: bool, full: bool, approximate: bool, repeats: int, isas: tuple[str, ...]) -> Plan:
    """The cases behind the options of the command line."""
    cases = [Case("clustered", 100_000, 64), Case("clustered", MILLION, 64), Case("random", MILLION, 64)]
    cases += [Case("clustered", MILLION, 128), Case("clustered", MILLION, 256)]
    build = [Case("clustered", MILLION, 64)]
    if large or full:
        cases += [Case("clustered", 10 * MILLION, 64), Case("random", 10 * MILLION, 64)]
        cases += [Case("clustered", 10 * MILLION, 256)]
        build += [Case("clustered", 10 * MILLION, 64)]
    if full:
        cases += [Case("clustered", 100 * MILLION, 64)]
        build += [Case("clustered", 100 * MILLION, 64)]
    compared = [Case("clustered", MILLION, 64), Case("clustered", 100_000, 256)] if approximate or full else []
    return Plan(cases, compared, build, isas, repeats)


def memory_needed(case: Case) -> int:
    """Bytes, by a generous estimate: the mapped file, faiss's copy, and an index for each method, each with ids and
    tables of at most four 8-byte entries for each code."""
    return case.nbytes * 2 + len(methods()) * (case.nbytes + 32 * case.n)


def run(plan: Plan, console: Console) -> Path:
    """Measure, print, save; returns the file of the results."""
    stamp = environment()
    console.print(f"{stamp['processor']}, {stamp['cores']} cores, {', '.join(stamp['isas'])}; load {stamp['load']:.2f}")
    try:
        limits = Limits()
    except OSError as error:
        console.print(f"No roofs: {error}.")
        limits = None
    isas = plan.isas or tuple(isa for isa in simskip.cpu.available if isa in targets.ISAS or isa == simskip.cpu.isa)
    search_rows: list[Row] = []
    for case in plan.cases:
        with stored(case, console) as files:
            for isa in isas if (case.kind, case.n, case.n_bits) in EVERY_ISA or plan.isas else isas[:1]:
                if not files:
                    break
                rows = call(
                    "search",
                    environment_of(isa),
                    case=asdict(case),
                    **files,
                    peers=isa == isas[0],
                    repeats=plan.repeats,
                    seconds=plan.seconds,
                )
                rows = [{**row, "case": str(case), **roof(row, limits)} for row in rows]
                search_rows += rows
                for table in tables.search_tables(rows):
                    console.print(table)
    approximate_rows = several("approximate", plan.approximate, console, repeats=plan.repeats, seconds=plan.seconds)
    for case_name, rows in approximate_rows.items():
        console.print(tables.approximate_table(case_name, rows))
    build_rows = several("build", plan.build, console, repeats=2)
    for case_name, rows in build_rows.items():
        console.print(tables.build_table(case_name, rows))

    judged, gains = targets.judge(search_rows), targets.two_thread_gain(search_rows)
    report = limits.report() if limits else {}
    for table, found in (
        (tables.limits_table, report),
        (tables.gain_table, gains),
        (tables.targets_table, judged),
    ):
        if found:
            console.print(table(found))
    path = results.save(
        plan.name,
        {
            "limits_g_per_s": report,
            "search": search_rows,
            "approximate": approximate_rows,
            "build": build_rows,
            "targets": judged,
            "two_threads": gains,
        },
    )
    if plots.plot_sizes(search_rows, isas[0], path.with_name(f"{plan.name}-sizes.svg")):
        console.print(f"drew {plan.name}-sizes.svg")
    for number, (case_name, rows) in enumerate(approximate_rows.items()):
        if plots.plot_recall(rows, case_name, path.with_name(f"{plan.name}-recall-{number}.svg")):
            console.print(f"drew {plan.name}-recall-{number}.svg")
    return path


@contextmanager
def stored(case: Case, console: Console) -> Iterator[dict[str, str]]:
    """The codes of a case in files that child processes map; empty (with a message) if memory does not suffice."""
    needed, free = memory_needed(case), available_memory()
    if needed > free:
        console.print(f"Left out {case}: needs about {needed / 2**30:.0f} GiB, {free / 2**30:.0f} are free.")
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="simskip-benchmark-") as folder:
        files = {"database": f"{folder}/database.npy", "queries": f"{folder}/queries.npy"}
        for path, codes in zip(files.values(), make_codes(case), strict=True):
            np.save(path, codes)
        yield files


def several(module: str, cases: list[Case], console: Console, **arguments: Any) -> dict[str, list[Row]]:
    """Rows of a benchmark for each case that memory suffices for, by the case's name."""
    rows = {}
    for case in cases:
        with stored(case, console) as files:
            if files:
                rows[str(case)] = call(module, environment_of(simskip.cpu.isa), case=asdict(case), **files, **arguments)
    return rows


def roof(row: Row, limits: Limits | None) -> Row:
    """What binds a scan of simskip here and what share of that it reaches; a search of tables has no such roof."""
    bound = None
    scans = row["who"] == "simskip scan" or (row["who"] == "simskip auto" and looks_at_all(row))
    if limits is not None and scans:
        bound = limits.roof(row["isa"], row["n"], row["n_bits"], row["queries_per_call"], row["threads"])
    if bound is None:
        return {"roof": None, "of_roof": None}
    measured = row["cpu_us"] if row["threads"] == 1 else row["wall_us"]
    return {"roof": bound[0], "of_roof": bound[1] / measured}


def looks_at_all(row: Row) -> bool:
    """Whether the index says that its queries looked at every code."""
    return (row["stats"] or {}).get("codes_seen_per_query") == row["n"]
