"""Run a notebook from top to bottom in a fresh kernel and write it with its outputs.

Usage: execute_notebook.py NOTEBOOK [--output FILE] [--folder FOLDER] [--timeout SECONDS]

Without --output the notebook itself is rewritten. The kernel works in FOLDER (default: a temporary one), so that
nothing is left behind and no path of this machine gets into the file. Exit status 1 if a cell fails.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError


def execute(notebook: nbformat.NotebookNode, folder: str, timeout: int) -> None:
    """Fill in outputs and execution counts; ``timeout`` is per cell, in seconds."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    with tempfile.TemporaryDirectory() as profile:
        os.environ["IPYTHONDIR"] = profile  # neither a person's start-up files nor their history
        NotebookClient(
            notebook,
            timeout=timeout,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
        ).execute()


def tidy(notebook: nbformat.NotebookNode) -> None:
    """Remove what differs from run to run without telling readers anything."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = _joined(cell.outputs)


def _joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Each stream in one piece, as a terminal would show it: of a progress bar the last state."""
    streams: dict[str, nbformat.NotebookNode] = {}
    others = []
    for output in outputs:
        if output.output_type != "stream":
            others.append(output)
        elif output.name in streams:
            streams[output.name].text += output.text
        else:
            streams[output.name] = output
    for stream in streams.values():
        stream.text = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in stream.text.split("\n"))
    return [*streams.values(), *others]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--folder")
    parser.add_argument("--timeout", type=int, default=300)
    wanted = parser.parse_args()
    notebook = nbformat.read(wanted.notebook, as_version=4)
    status = 0
    with tempfile.TemporaryDirectory() as temporary:
        try:
            execute(notebook, wanted.folder or temporary, wanted.timeout)
        except CellExecutionError as error:
            print(error, file=sys.stderr)
            status = 1
    if status == 0 or wanted.output:
        tidy(notebook)
        nbformat.write(notebook, wanted.output or wanted.notebook)
    return status


if __name__ == "__main__":
    sys.exit(main())
