"""The command line: words, streams, exit statuses. The work behind each command is tested with its module."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

import simskip
import simskip.demo
import simskip.doctor
from simskip.cli import app

runner = CliRunner()


@pytest.fixture
def demo(monkeypatch):
    """Replaces the demo's work; returns what it is called with and lets a test choose what it does."""
    column = SimpleNamespace(
        key="recall@25",
        title="Recall@25",
        text=lambda row: "0.931",
        interval_text=lambda row: "[0.92, 0.94]",
    )
    report = SimpleNamespace(
        k=25,
        columns=[column, SimpleNamespace(key="n_codes", title="Codes")],
        rows=[SimpleNamespace(name="exact"), SimpleNamespace(name="learned [x]")],
        decision=SimpleNamespace(row="learned [x]"),
        warnings=["be careful [here]"],
        verdict="64-bit codes: Recall@25 0.93 [0.92, 0.94]",
    )
    answer = SimpleNamespace(query=0, label="Ankle boot", neighbours=[(12, "Ankle boot", 0.0625)])
    calls = SimpleNamespace(error=None, calls=[])

    def run_demo(folder, **options):
        calls.calls.append((folder, options))
        if calls.error is not None:
            raise calls.error
        if options["say"] is not None:
            options["say"]("a step [1]")
        return SimpleNamespace(
            report=report, answer=answer, folder=Path(folder), vectors_reused=True, seconds={"vectors": 31.2}
        )

    monkeypatch.setattr(simskip.demo, "run_demo", run_demo)
    return calls


def test_version():
    result = runner.invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout == f"simskip {simskip.__version__}\n"


def test_help_lists_the_commands():
    result = runner.invoke(app, ["--help"])
    assert result.exit_code == 0
    for command in ("demo", "doctor"):
        assert command in result.stdout


def test_demo_prints_table_verdict_and_answer(demo, tmp_path):
    result = runner.invoke(app, ["demo", "--output", str(tmp_path), "--full"])
    assert result.exit_code == 0, result.output
    assert demo.calls[0][0] == tmp_path
    assert demo.calls[0][1]["full"] is True
    for words in (
        "Recall@25",
        "learned [x]",
        "0.931 [0.92, 0.94]",
        "be careful [here]",
        "64-bit codes: Recall@25 0.93 [0.92, 0.94]",
        "Ankle boot   #12",
        "report.html",
    ):
        assert words in result.stdout
    assert "Codes" not in result.stdout
    assert "a step [1]" in result.stderr
    assert "31 s (vectors from the cache): vectors 31 s" in result.stderr


def test_quiet_demo_says_results_only(demo):
    result = runner.invoke(app, ["demo", "--quiet"])
    assert result.exit_code == 0
    assert result.stderr == ""
    assert "Recall@25" in result.stdout
    assert demo.calls[0][0] == Path("simskip-demo")
    assert demo.calls[0][1]["progress"] is False


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("k must be [so]"), 2),
        (simskip.FormatError("a.bin is damaged"), 2),
        (OSError("disk full"), 1),
        (ImportError('pip install "simskip[images]"'), 1),
    ],
)
def test_errors_are_one_line_and_a_status(demo, error, status):
    demo.error = error
    result = runner.invoke(app, ["demo", "--quiet"])
    assert result.exit_code == status
    assert result.stderr == f"error: {error}\n"
    assert result.stdout == ""


def test_traceback_on_request(demo):
    demo.error = ValueError("k must be so")
    result = runner.invoke(app, ["--traceback", "demo", "--quiet"])
    assert result.exception is demo.error


def test_bugs_are_not_hidden(demo):
    demo.error = RuntimeError("bug")
    assert runner.invoke(app, ["demo", "--quiet"]).exception is demo.error


def test_interruption(demo):
    demo.error = KeyboardInterrupt()
    result = runner.invoke(app, ["demo", "--quiet"])
    assert result.exit_code == 130
    assert result.stderr == "interrupted\n"


def test_wrong_usage():
    assert runner.invoke(app, ["demo", "--no-such-option"]).exit_code == 2
    assert runner.invoke(app, ["no-such-command"]).exit_code == 2
    result = runner.invoke(app, ["demo", "--threads", "0"])
    assert result.exit_code == 2
    assert "must be an integer >= 1, got 0" in result.stderr


def test_doctor(monkeypatch):
    diagnosis = simskip.doctor.Diagnosis(
        {"threads": "2", "OpenMP runtimes": "/a" * 100},
        (
            simskip.doctor.Extra("cli", (("typer", "1"),), ()),
            simskip.doctor.Extra("images", (), ("onnx>=1",)),
        ),
    )
    monkeypatch.setattr(simskip.doctor, "diagnose", lambda: diagnosis)
    result = runner.invoke(app, ["doctor"])
    assert result.exit_code == 0
    assert "complete" in result.stdout
    assert 'pip install "simskip[images]" adds onnx>=1' in result.stdout
    assert result.stdout.replace("\n", "").replace(" ", "").count("/a") == 100
    diagnosis.problems.append("something")
    result = runner.invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert result.stderr == "problem: something\n"


def test_the_program_starts_without_heavy_imports():
    program = (
        "import sys\n"
        "from simskip.cli import app\n"
        "print(sorted({'torch', 'onnxruntime', 'PIL', 'matplotlib', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("module", ["typer", "rich"])
def test_missing_packages_are_named(module):
    program = f"import sys; sys.modules[{module!r}] = None; from simskip.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert 'pip install "simskip[cli]"' in done.stderr
