"""``python -m benchmarks``: what ``make bench`` runs.

    python -m benchmarks                  100 k and 1 M codes: a few minutes
    python -m benchmarks --large          10 M codes too: some ten minutes
    python -m benchmarks --approximate    beside faiss IVF and HNSW and usearch HNSW too (building them takes minutes)
    python -m benchmarks --full           all of that, and 100 M codes if memory suffices

Measure on a quiet machine. Results: benchmarks/results/ (JSON with the environment, pictures).
"""

from __future__ import annotations

import argparse

from rich.console import Console

import simskip

from .run import plan_of, run


def main() -> None:
    """Read the options, run."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--large", action="store_true", help="10 M codes too")
    parser.add_argument("--approximate", action="store_true", help="approximate indexes too")
    parser.add_argument("--full", action="store_true", help="everything, 100 M codes too")
    parser.add_argument("--repeats", type=int, default=5, help="rounds, of which the best and the median count")
    parser.add_argument(
        "--isa", action="append", choices=simskip.cpu.available, help="only this instruction set; may be repeated"
    )
    options = parser.parse_args()
    plan = plan_of(options.large, options.full, options.approximate, options.repeats, tuple(options.isa or ()))
    console = Console(width=None if Console().is_terminal else 140)
    console.print(f"saved {run(plan, console).name} in benchmarks/results")


if __name__ == "__main__":
    main()
