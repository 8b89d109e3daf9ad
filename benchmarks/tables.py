"""The rows as tables for a terminal."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from rich.table import Table

__all__ = ["approximate_table", "build_table", "gain_table", "limits_table", "search_tables", "targets_table"]

Row = dict[str, Any]


def _table(title: str, columns: Iterable[str], rows: Iterable[tuple[str, ...]]) -> Table:
    table = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right", no_wrap=i == 0)
    for row in rows:
        table.add_row(*row)
    return table


def _us(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def search_tables(rows: list[Row]) -> list[Table]:
    """One table for each case and instruction set."""
    tables = []
    for (case, isa), group in itertools.groupby(rows, lambda r: (r["case"], r["isa"])):
        members = list(group)
        level = members[0]["faiss_level"]
        tables.append(
            _table(
                f"{case}, K={members[0]['k']}, {isa} (faiss: {level})",
                (
                    "exact search", "CPU us", "median", "wall us", "median", "x faiss", "looked at", "roof", "of roof"
                ),
                (
                    (
                        f"{r['who']}, {r['shape']}" + (f", {r['threads']} threads" if r["threads"] > 1 else ""),
                        _us(r["cpu_us"]),
                        _us(r["cpu_us_median"]),
                        _us(r["wall_us"]),
                        _us(r["wall_us_median"]),
                        f"{r['times_faster_than_faiss']:.2f}",
                        _looked_at(r),
                        r["roof"] or "",
                        f"{r['of_roof']:.0%}" if r["of_roof"] else "",
                    )
                    for r in members
                ),
            )
        )  # fmt: skip
    return tables


def _looked_at(row: Row) -> str:
    """Share of the codes that a query looked at, as far as the index says."""
    looked = (row["stats"] or {}).get("codes_seen_per_query")
    return "" if looked is None else f"{looked / row['n']:.1%}"


def approximate_table(case: str, rows: list[Row]) -> Table:
    """simskip's exact search beside tuned approximate indexes."""
    return _table(
        f"{case}: exact beside approximate at recall >= 0.95, batch, one thread",
        ("index", "parameter", "recall", "CPU us", "median", "x simskip's best", "build CPU s", "extra MB"),
        (
            (
                r["who"],
                r["parameter"],
                f"{r['recall']:.3f}",
                _us(r["cpu_us"]),
                _us(r["cpu_us_median"]),
                f"{r['times_slower']:.1f}",
                f"{r['build_cpu_s']:,.1f}",
                f"{r['megabytes']:,.0f}",
            )
            for r in rows
            if r["tuned"]
        ),
    )


def build_table(case: str, rows: list[Row]) -> Table:
    """What an index costs before it answers."""
    return _table(
        f"{case}: building",
        ("index", "threads", "add, s", "CPU s", "build, s", "CPU s", "first search, ms", "bytes per code"),
        (
            (
                r["who"],
                str(r["threads"]),
                f"{r['add_s']:.3f}",
                f"{r['add_cpu_s']:.3f}",
                f"{r['build_s']:.3f}",
                f"{r['build_cpu_s']:.3f}",
                f"{r['search_s'] * 1e3:.3f}",
                f"{r['bytes_per_code']:.1f}",
            )
            for r in rows
        ),
    )


def limits_table(report: dict[str, float]) -> Table:
    """The roofs that the shares belong to."""
    return _table(
        "limits of this machine: G codes compared by a thread, GB read, per second",
        ("what", "G/s"),
        ((k, f"{v:.1f}") for k, v in report.items()),
    )


def gain_table(rows: list[Row]) -> Table:
    """Two threads beside one."""
    return _table(
        "two threads: wall time, times faster than one (wanted: 1.8)",
        ("batch", "codes", "isa", "times"),
        ((r["who"], f"{r['n']:,} x {r['n_bits']} {r['kind']}", r["isa"], f"{r['gain']:.2f}") for r in rows),
    )


def targets_table(rows: list[Row]) -> Table:
    """Wanted and reached."""
    return _table(
        "times faster than faiss: wanted and reached",
        ("work", "isa", "wanted", "reached", ""),
        (
            (
                r["work"],
                r["isa"],
                f"{r['wanted']:g}",
                f"{r['reached']:.1f}",
                "yes" if r["reached"] >= r["wanted"] else "no",
            )
            for r in rows
        ),
    )
