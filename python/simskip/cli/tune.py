"""``simskip tune``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from .program import INTERRUPTED, Quiet, app, err, out, table

__all__ = ["tune"]


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
    from ..tuning import command

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
        out.print(table(heads, lines))
        if ended.importances is not None:
            out.print("\nWhat mattered")
            out.print(table(*ended.importances.table()))
            out.print(escape(ended.importances.statement))
        if ended.report is not None:
            out.print("\nOn rows that no trial has seen")
            heads, lines = ended.report.table()
            narrow = [heads.index(head) for head in ("", "chosen", "unseen rows", "gain over defaults")]
            out.print(table([heads[i] for i in narrow], [[line[i] for i in narrow] for line in lines]))
            out.print(f"[bold]{escape(ended.report.verdict)}[/]")
    for note in ended.notes:
        err.print(f"[yellow]note:[/] {escape(note)}", soft_wrap=True)
    if not quiet:
        for path in ended.written:
            err.print(f"[cyan]>[/] {escape(str(path))}", soft_wrap=True)
    if ended.study.interrupted:
        err.print("interrupted")
        raise typer.Exit(INTERRUPTED)
