"""What the README says can be done can be done: its Python runs, its links lead somewhere, its commands exist."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from simskip.cli import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")

FENCED = re.compile(r"^```([\w-]*)[^\n]*\n(.*?)^```\s*$", re.M | re.S)
BLOCKS = FENCED.findall(README)
PROSE = FENCED.sub("", README)
PYTHON = [code for language, code in BLOCKS if language in ("python", "py")]


def commands():
    """Each shell command that the README shows, as a list of words: (program, argument, ...)."""
    lines = re.findall(r"`([^`\n]+)`", PROSE)
    for language, text in BLOCKS:
        if language in ("sh", "bash", "shell", "console"):
            lines += text.splitlines()
    found = []
    for line in lines:
        for command in re.split(r"&&|\|\||;|\|", line):
            try:
                words = shlex.split(command.strip().removeprefix("$ "), comments=True)
            except ValueError:  # a code span that is no command
                continue
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                del words[0]
            if words:
                found.append([Path(words[0]).name, *words[1:]])
    return found


def arguments_of(program):
    return [words[1:] for words in commands() if words[0] == program and len(words) > 1]


def test_there_is_an_example():
    assert PYTHON, "README.md has no ```python block"


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_examples_run(number, tmp_path):
    script = tmp_path / "example.py"
    script.write_text(PYTHON[number], encoding="utf-8")
    result = subprocess.run(
        [sys.executable, script.name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "MPLBACKEND": "agg"},
        timeout=300,
    )
    assert result.returncode == 0, result.stderr


def test_links_and_pictures_lead_somewhere():
    targets = re.findall(r"\]\(\s*<?([^)\s>]+)", PROSE) + re.findall(r"""(?:src|href)=["']([^"']+)""", PROSE)
    headings = re.findall(r"^#+\s+(.*?)\s*$", PROSE, re.M)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for target in targets:
        if re.match(r"[a-z][a-z0-9+.-]*:", target):  # has a scheme: leads out of the repository
            continue
        path, _, anchor = target.partition("#")
        if path:
            assert not Path(path).is_absolute(), target
            assert (ROOT / path).exists(), f"README.md refers to {path}, which does not exist"
        else:
            assert anchor in anchors, f"README.md refers to #{anchor}; its headings are {sorted(anchors)}"


def test_make_targets_exist():
    targets = re.findall(r"^([a-z][\w-]*):(?!=)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    wanted = {word for words in arguments_of("make") for word in words if not word.startswith("-") and "=" not in word}
    assert {"demo", "test"} <= wanted, "README.md must name the two commands, make demo and make test"
    assert wanted <= set(targets)


def test_subcommands_exist():
    known = {command.name or command.callback.__name__ for command in app.registered_commands}
    wanted = {words[0] for words in arguments_of("simskip") if not words[0].startswith("-")}
    assert wanted <= known


def test_no_figure_is_left_out():
    assert not re.findall(r"@@\w+@@|\bTODO\b|\bTBD\b", README)
