"""The command line: arguments in, a module's work, words out. Each command does its work elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from typer.core import TyperGroup

__all__ = ["app"]

# Exit statuses: 0 done, 1 it could not be done, 2 wrong usage or input, 130 interrupted (128 + SIGINT).
FAILED, WRONG_INPUT, INTERRUPTED = 1, 2, 130

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


class _Commands(TyperGroup):
    """Turns the errors that people can do something about into one line and an exit status."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            err.print("interrupted")
            raise typer.Exit(INTERRUPTED) from None
        except (ValueError, ImportError, OSError) as error:
            if ctx.params.get("traceback"):
                raise
            err.print(f"[bold red]error:[/] {escape(str(error) or type(error).__name__)}", soft_wrap=True)
            raise typer.Exit(WRONG_INPUT if isinstance(error, ValueError) else FAILED) from None


app = typer.Typer(
    cls=_Commands,
    help="Learn short binary codes from embeddings, search them exactly, and know what they cost in recall.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print results only: no steps, no progress bars.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        import simskip

        typer.echo(f"simskip {simskip.__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show where an error came from.")] = False,
) -> None:
    """Options in front of the command."""


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
    from . import set_threads
    from .demo import run_demo

    if threads is not None:
        set_threads(threads)
    result = run_demo(
        output,
        full=full,
        threads=threads,
        progress=not quiet,
        say=None if quiet else lambda line: err.print(f"[cyan]>[/] {escape(line)}"),
    )
    report = result.report
    out.print(_report_table(report))
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


def _report_table(report: Any) -> Table:
    """The columns that matter most, so many as fit into 80 characters; the page has all."""
    wanted = (f"recall@{report.k}", "map", "memory_ratio", "speedup")
    shown = [column for column in report.columns if column.key in wanted]
    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for column in shown:
        table.add_column(column.title, justify="right", no_wrap=True)
    best = report.decision.row
    for row in report.rows:
        cells = [column.text(row) for column in shown]
        cells[0] = f"{cells[0]} {shown[0].interval_text(row)}".strip()  # of the recall
        table.add_row(escape(row.name), *map(escape, cells), style="bold green" if row.name == best else None)
    return table


@app.command()
def doctor() -> None:
    """Show processor, threads, OpenMP runtimes, PyTorch and extras; exit status 1 if something is wrong."""
    from .doctor import diagnose

    diagnosis = diagnose()
    for name, value in diagnosis.facts.items():
        out.print(f"{name:<16} {escape(value)}", soft_wrap=True)
    if diagnosis.extras:
        out.print("\nextras")
    for extra in diagnosis.extras:
        state = (
            f'pip install "simskip\\[{extra.name}]" adds {", ".join(extra.missing)}' if extra.missing else "complete"
        )
        out.print(f"  {extra.name:<12} {state}", soft_wrap=True)
    for problem in diagnosis.problems:
        err.print(f"[bold red]problem:[/] {escape(problem)}", soft_wrap=True)
    if diagnosis.problems:
        raise typer.Exit(FAILED)
