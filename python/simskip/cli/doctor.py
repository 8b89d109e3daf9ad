"""``simskip doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from .program import FAILED, app, err, out

__all__ = ["doctor"]


@app.command()
def doctor(
    database: Annotated[Path | None, typer.Option("--database", "-d", help="Look at this collection instead.")] = None,
) -> None:
    """Show processor, threads, OpenMP runtimes, PyTorch and extras; exit status 1 if something is wrong."""
    if database is not None:
        from ..collection import Collection

        with Collection.open(database, create=False, read_only=True) as collection:
            for name, value in collection.info().items():
                shown = f"{value:,}" if isinstance(value, int) else "none" if value is None else str(value)
                out.print(f"{name.replace('_', ' '):<16} {escape(shown)}", soft_wrap=True)
        return
    from ..doctor import diagnose

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
