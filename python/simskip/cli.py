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
def tune(
    vectors: Annotated[Path, typer.Argument(help="Matrix of numbers, .npy.")],
    labels: Annotated[
        Path | None, typer.Option("--labels", help="A class per vector: .npy, or .csv with one column.")
    ] = None,
    space: Annotated[
        Path | None, typer.Option("--space", help="What is searched, .yaml or .json (default: what suits the data).")
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", help="recall, recall-reranked, recall-asymmetric, map, seconds, bytes; repeatable."),
    ] = None,
    trials: Annotated[int, typer.Option("--trials", min=1, help="Trials in all, earlier ones included.")] = 50,
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=0, help="Seconds after which no trial begins.")
    ] = None,
    bits: Annotated[int, typer.Option("--bits", min=1, max=4096, help="Bits of a code.")] = 64,
    k: Annotated[int, typer.Option("-k", min=1, help="Neighbours per query.")] = 25,
    rerank: Annotated[int, typer.Option("--rerank", min=1, help="Depth of recall-reranked, in k.")] = 10,
    distance: Annotated[str, typer.Option("--distance", help="cosine, l2 or dot.")] = "cosine",
    database: Annotated[str, typer.Option("--database", help="Queries search in: unseen or training rows.")] = "unseen",
    sampler: Annotated[str, typer.Option("--sampler", help="tpe, or random (best for importances).")] = "tpe",
    pruner: Annotated[str, typer.Option("--pruner", help="median, halving or none.")] = "median",
    storage: Annotated[Path | None, typer.Option("--storage", help="SQLite file; run again with it to go on.")] = None,
    name: Annotated[str, typer.Option("--name", help="Of the study in the file.")] = "simskip",
    jobs: Annotated[int, typer.Option("--jobs", min=1, max=256, help="Trials at once.")] = 1,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, max=1024, help="Threads of all jobs (default: all processors).")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of everything random.")] = 0,
    importances: Annotated[
        str, typer.Option("--importances", help="What mattered: fanova, ped-anova or none.")
    ] = "fanova",
    output: Annotated[Path | None, typer.Option("--out", "-o", help="Report: .html, .json or .csv.")] = None,
    hasher: Annotated[
        Path | None, typer.Option("--hasher", help="Train the best on all vectors and save it: .safetensors.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Quiet = False,
) -> None:
    """Search a hasher's parameters; say what is best, what mattered, and what it is worth on unseen rows."""
    from .tuning import command

    ended = command.run(
        vectors,
        labels=labels,
        space=space,
        importances=importances,
        output=output,
        hasher=hasher,
        metric=tuple(metric) if metric else None,
        trials=trials,
        timeout=timeout,
        n_bits=bits,
        k=k,
        rerank=rerank,
        distance=distance,
        database=database,
        sampler=sampler,
        pruner=None if pruner == "none" else pruner,
        storage=storage,
        name=name,
        jobs=jobs,
        threads=threads,
        random_state=seed,
        progress=not quiet,
    )
    if as_json:
        typer.echo(ended.json())
    else:
        heads, lines = ended.study.lines()
        out.print(escape(ended.study.summary()))
        out.print(_table(heads, lines))
        if ended.importances is not None:
            out.print("\nWhat mattered")
            out.print(_table(*ended.importances.table()))
            out.print(escape(ended.importances.statement))
        if ended.report is not None:
            out.print("\nOn rows that no trial has seen")
            heads, lines = ended.report.table()
            narrow = [heads.index(head) for head in ("", "chosen", "unseen rows", "gain over defaults")]
            out.print(_table([heads[i] for i in narrow], [[line[i] for i in narrow] for line in lines]))
            out.print(f"[bold]{escape(ended.report.verdict)}[/]")
    for note in ended.notes:
        err.print(f"[yellow]note:[/] {escape(note)}", soft_wrap=True)
    if not quiet:
        for path in ended.written:
            err.print(f"[cyan]>[/] {escape(str(path))}", soft_wrap=True)
    if ended.study.interrupted:
        err.print("interrupted")
        raise typer.Exit(INTERRUPTED)


def _table(heads: Any, lines: Any) -> Table:
    table = Table(box=None, pad_edge=False)
    for i, head in enumerate(heads):
        table.add_column(escape(head), justify="left" if i == 0 else "right")
    for line in lines:
        table.add_row(*map(escape, line))
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
