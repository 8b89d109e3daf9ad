"""The command line: words, streams, exit statuses. The work behind each command is tested with its module."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

import simskip
import simskip.demo
import simskip.doctor
from simskip.cli import app
from simskip.tuning.command import read_labels
from simskip.tuning.task import Ground

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
    for command in ("demo", "tune", "doctor"):
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
    assert "--threads" in result.stderr


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
        "print(sorted({'torch', 'onnxruntime', 'PIL', 'matplotlib', 'pandas', 'optuna'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("module", ["typer", "rich"])
def test_missing_packages_are_named(module):
    program = f"import sys; sys.modules[{module!r}] = None; from simskip.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert 'pip install "simskip[cli]"' in done.stderr


# tune


@pytest.fixture(scope="module")
def tune_files(tmp_path_factory):
    """Vectors, labels and a small space."""
    folder = tmp_path_factory.mktemp("tune")
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 400)
    np.save(folder / "X.npy", (rng.normal(size=(4, 12))[labels] + rng.normal(size=(400, 12))).astype(np.float32))
    (folder / "y.csv").write_text("class\n" + "\n".join(f"c{i}" for i in labels) + "\n")
    space = "{epochs: 2, steps_per_epoch: 4, width: [8, 16], learning_rate: {low: 1e-4, high: 0.1, log: true}}"
    (folder / "space.yaml").write_text(space)
    return folder


def tuned(folder, *options):
    common = ["--space", str(folder / "space.yaml"), "--bits", "16", "-k", "3", "--rerank", "4", "--threads", "1"]
    return runner.invoke(app, ["tune", str(folder / "X.npy"), *common, *options])


def test_tune_prints_the_best_what_mattered_and_a_verdict(tune_files, tmp_path):
    options = ["--trials", "6", "--pruner", "none", "--importances", "ped-anova", "--storage", str(tmp_path / "a.db")]
    page, hasher = tmp_path / "a.html", tmp_path / "a.safetensors"
    result = tuned(tune_files, *options, "--out", str(page), "--hasher", str(hasher))
    assert result.exit_code == 0, result.output
    words = " ".join(result.stdout.split())
    for expected in (
        "6 completed; best Recall@3",
        "What mattered",
        "ranks first",
        "no trial has seen",
        "over defaults",
    ):
        assert expected in words
    assert page.name in result.stderr.replace("\n", "")
    assert simskip.load_hasher(hasher).n_bits == 16
    assert "What mattered" in page.read_text()
    again = tuned(tune_files, *options, "--quiet", "--json")
    assert again.exit_code == 0, again.output
    assert again.stderr == ""
    content = json.loads(again.stdout)
    assert content["counts"] == {"completed": 6}
    assert content["importances"]["method"] == "ped-anova"
    assert content["report"]["verdict"] in words


def test_tune_for_a_front(tune_files):
    result = tuned(tune_files, "--trials", "3", "--metric", "recall", "--metric", "seconds", "--quiet")
    assert result.exit_code == 0, result.output
    assert "on the Pareto front of recall, seconds" in result.stdout
    assert "note: importances need at least 5 completed trials, got 3" in result.stderr
    assert "note: several metrics: choose a trial of the Pareto front" in result.stderr


def test_tune_with_labels(tune_files, tmp_path):
    space = tmp_path / "space.json"
    space.write_text('{"objective": ["csq", "dtsh"], "epochs": 1, "width": 8}')
    files = [str(tune_files / "X.npy"), "--labels", str(tune_files / "y.csv"), "--space", str(space)]
    options = ["--trials", "2", "--bits", "8", "-k", "3", "--rerank", "4", "--importances", "none", "--json", "-q"]
    result = runner.invoke(app, ["tune", *files, *options])
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert content["metrics"] == ["map"]
    assert content["importances"] is None


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["--metric", "speed"], 2, "metric must be one of"),
        (["--metric", "map"], 2, "needs labels"),
        (["--importances", "shap"], 2, "--importances must be one of"),
        (["--out", "a.txt"], 2, "--out must end in"),
        (["--out", "no-such-folder/a.html"], 1, "does not exist"),
        (["--metric", "recall", "--metric", "bytes", "--hasher", "a"], 2, "--hasher needs one metric"),
        (["--labels", "no-such-file.npy"], 1, "no-such-file.npy"),
        (["--labels", "{folder}/space.yaml"], 2, "is not a .npy file"),
        (["--space", "{folder}/X.npy"], 2, "--space must end in"),
        (["--pruner", "best"], 2, "pruner must be one of"),
        (["--trials", "0"], 2, "--trials"),
    ],
)
def test_wrong_use_of_tune(tune_files, options, status, words):
    result = tuned(tune_files, *(option.replace("{folder}", str(tune_files)) for option in options))
    assert result.exit_code == status, result.output
    assert words in result.stderr.replace("\n", " ")
    assert result.stdout == ""


def test_tune_interrupted(tune_files, monkeypatch):
    figures, calls = Ground.figures, []

    def interrupted(ground, *rest):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return figures(ground, *rest)

    monkeypatch.setattr(Ground, "figures", interrupted)
    result = tuned(tune_files, "--quiet")
    assert result.exit_code == 130
    assert "1 completed, 1 interrupted; best Recall@3" in result.stdout
    assert result.stderr.endswith("interrupted\n")


def test_labels_in_a_csv_file(tmp_path):
    path = tmp_path / "y.csv"
    path.write_text("1\n2\n\n3\n")
    assert read_labels(path, 3).tolist() == [1, 2, 3]
    path.write_text("class\na\nb\n")
    assert read_labels(path, 2).tolist() == ["a", "b"]
    for text, words in (("1,2\n", "one column"), ("1\n2\n3\n4\n", "a label for each of the 2 vectors, got 4")):
        path.write_text(text)
        with pytest.raises(ValueError, match=words):
            read_labels(path, 2)
