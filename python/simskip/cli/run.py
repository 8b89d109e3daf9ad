"""``simskip run``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from .program import WRONG_INPUT, AsJson, Quiet, app, out, say, show_unreadable, table

__all__ = ["run"]


@app.command()
def run(
    application: Annotated[Path, typer.Argument(help="What to do: a .yaml file.")],
    check: Annotated[bool, typer.Option("--check", help="Only look for mistakes in the file.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would run, and why.")] = False,
    force: Annotated[
        list[str] | None,
        typer.Option("--force", help="Run this stage in any case (sync, train, ..., exports, all); repeatable."),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Do everything that an application's file asks for: only the stages whose inputs have changed."""
    from ..extras import require

    for module in ("pydantic", "yaml"):
        require(module, "cli", "simskip run")
    from .. import pipeline

    if not application.exists():
        raise ValueError(f"there is no file {str(application)!r}")
    if check:
        _check(application, as_json)
        return
    configuration = pipeline.read_configuration(application)
    tell = None if dry_run else say(quiet)
    ended = pipeline.run(configuration, dry_run=dry_run, force=force or (), progress=not quiet, say=tell)
    if as_json:
        typer.echo(json.dumps(ended.as_dict(), indent=2))
    else:
        heads, lines = ended.table()
        out.print(table(heads, lines, left=4))
        _show_evaluation(ended, configuration)
    if not dry_run:
        entries = ended["sync"].details.get("unreadable", [])
        show_unreadable([(entry["key"], entry["reason"]) for entry in entries])


def _check(application: Path, as_json: bool) -> None:
    from ..pipeline import ConfigurationError, read_configuration

    try:
        read_configuration(application)
    except ConfigurationError as error:
        if not as_json:
            raise
        places = [(problem.place, problem.message) for problem in error.problems]
        problems = [
            {"line": place.line if place else None, "column": place.column if place else None, "message": message}
            for place, message in places
        ]
        typer.echo(json.dumps({"application": str(application), "problems": problems}, indent=2))
        raise typer.Exit(WRONG_INPUT) from None
    if as_json:
        typer.echo(json.dumps({"application": str(application), "problems": []}, indent=2))
    else:
        out.print(escape(f"{application}: no mistakes"), soft_wrap=True)


def _show_evaluation(ended: Any, configuration: Any) -> None:
    """The metrics that the file asks for, of every row, and warnings."""
    found = next((outcome for outcome in ended.outcomes if outcome.stage == "evaluate"), None)
    if found is None or not found.details:
        return
    k = configuration.evaluation.k
    columns = {
        "recall": (f"Recall@{k}", f"recall@{k}", ".3f"),
        "map": ("mAP", "map", ".3f"),
        "precision": (f"Precision@{k}", f"precision@{k}", ".3f"),
        "memory": ("Bytes/item", "bytes_per_item", ",.0f"),
        "time": ("Speed-up", "speedup", ".2f"),
    }
    rows = found.details["rows"]
    shown = [columns[name] for name in configuration.evaluation.metrics]
    shown = [column for column in shown if any(row.get(column[1]) is not None for row in rows)]
    heads = ["", *(title for title, _, _ in shown)]
    lines = [
        [row["name"], *("–" if row.get(key) is None else format(row[key], form) for _, key, form in shown)]
        for row in rows
    ]
    out.print()
    out.print(table(heads, lines))
    for warning in found.details["warnings"]:
        out.print(f"[yellow]warning:[/] {escape(warning)}")
    out.print(f"\n[bold]{escape(found.details['verdict'])}[/]")
