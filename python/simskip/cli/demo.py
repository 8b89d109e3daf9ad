"""``simskip demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from .program import Quiet, app, err, out, report_table, say

__all__ = ["demo"]


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for report, hasher and index.")] = Path(
        "simskip-demo"
    ),
    full: Annotated[bool, typer.Option("--full", help="All 70,000 photographs instead of 31,000.")] = False,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, max=1024, help="Threads (default: all processors).")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Run the main job on real photographs: vectors, codes, search, and a report of what the codes cost."""
    from .. import set_threads
    from ..demo import run_demo

    if threads is not None:
        set_threads(threads)
    result = run_demo(
        output,
        full=full,
        threads=threads,
        progress=not quiet,
        say=say(quiet),
    )
    report = result.report
    out.print(report_table(report))
    for warning in report.warnings:
        out.print(f"[yellow]warning:[/] {escape(warning)}")
    out.print(f"\n[bold]{escape(report.verdict)}[/]\n")
    answer = result.answer
    out.print(f"Query: {escape(answer.label)}. Its nearest, from the files just loaded:")
    for id, label, distance in answer.neighbours:
        out.print(f"  {label:<12} #{id:<6} distance {distance:.3f}")
    if not quiet:
        steps = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in result.seconds.items())
        reused = " (vectors from the cache)" if result.vectors_reused else ""
        err.print(f"\n{sum(result.seconds.values()):.0f} s{reused}: {steps}")
    out.print(f"\nReport: {result.folder / 'report.html'}", soft_wrap=True)
