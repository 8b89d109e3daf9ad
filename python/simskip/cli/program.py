"""The program: its options, its streams, its exit statuses, and how it shows tables."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from typer.core import TyperGroup

__all__ = [
    "FAILED",
    "INTERRUPTED",
    "WRONG_INPUT",
    "AsJson",
    "Database",
    "Quiet",
    "app",
    "err",
    "out",
    "report_table",
    "say",
    "show_unreadable",
    "table",
]

# Exit statuses: 0 done, 1 it could not be done, 2 wrong usage or input, 130 interrupted (128 + SIGINT).
FAILED, WRONG_INPUT, INTERRUPTED = 1, 2, 130

# Without emoji: ":b:" in a file name is no picture.
out = Console(highlight=False, emoji=False)
err = Console(stderr=True, highlight=False, emoji=False)


_SHOW = warnings.showwarning


def _warned(message: Any, *where: Any, **more: Any) -> None:
    err.print(f"[yellow]warning:[/] {escape(str(message))}", soft_wrap=True)


class _Commands(TyperGroup):
    """Turns the errors that people can do something about into one line and an exit status."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with warnings.catch_warnings():
                if warnings.showwarning is _SHOW:  # nobody else, such as a test, collects them
                    warnings.showwarning = _warned
                return super().invoke(ctx)
        except KeyboardInterrupt:
            err.print("interrupted")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:  # the reader of our output has seen enough: click ends quietly
            raise
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

Database = Annotated[Path, typer.Option("--database", "-d", help="The collection: an SQLite file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
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


def report_table(report: Any) -> Table:
    """The columns that matter most, so many as fit into 80 characters; the page has all."""
    wanted = (f"recall@{report.k}", "map", "memory_ratio", "speedup")
    shown = [column for column in report.columns if column.key in wanted]
    shown_table = Table(box=None, pad_edge=False)
    shown_table.add_column("", no_wrap=True)
    for column in shown:
        shown_table.add_column(column.title, justify="right", no_wrap=True)
    best = report.decision.row
    for row in report.rows:
        cells = [column.text(row) for column in shown]
        cells[0] = f"{cells[0]} {shown[0].interval_text(row)}".strip()  # of the recall
        shown_table.add_row(escape(row.name), *map(escape, cells), style="bold green" if row.name == best else None)
    return shown_table


def say(quiet: bool) -> Callable[[str], None] | None:
    """What shows steps on stderr; None where nobody wants to see them."""
    return None if quiet else lambda line: err.print(f"[cyan]>[/] {escape(line)}", soft_wrap=True)


_LISTED = 10


def show_unreadable(entries: Sequence[tuple[str, str]]) -> None:
    """The first things that could not be read, on stderr."""
    for key, reason in entries[:_LISTED]:
        err.print(f"[yellow]unreadable:[/] {escape(key)}: {escape(reason)}", soft_wrap=True)
    if len(entries) > _LISTED:
        err.print(f"[yellow]unreadable:[/] and {len(entries) - _LISTED:,} more")


def table(heads: Any, lines: Any, left: int = 1) -> Table:
    """Columns of text: the first ``left`` of them begin at the left, the others end at the right."""
    shown = Table(box=None, pad_edge=False)
    for i, head in enumerate(heads):
        shown.add_column(escape(head), justify="left" if i < left else "right", overflow="fold")
    for line in lines:
        shown.add_row(*map(escape, line))
    return shown
