"""``simskip doctor``."""

from __future__ import annotations

import typer
from rich.markup import escape

from .program import FAILED, app, err, out

__all__ = ["doctor"]


@app.command()
def doctor() -> None:
    """Show processor, threads, OpenMP runtimes, PyTorch and extras; exit status 1 if something is wrong."""
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
