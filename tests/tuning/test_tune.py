"""Studies from beginning to end: what they find, resume, prune, survive, refuse."""

import json
import math
import os
import signal
import subprocess
import sys

import numpy as np
import optuna
import pytest

import simskip
from simskip.tuning import Study
from simskip.tuning.task import Ground
from simskip.tuning.trial import _Watcher

from .conftest import QUICK, SMALL, SPACE


@pytest.fixture(scope="module")
def stored(data, tmp_path_factory):
    """A file with two trials of study "one"."""
    path = tmp_path_factory.mktemp("stored") / "a.db"
    simskip.tune(data[0], space=SPACE, storage=path, name="one", trials=2, **SMALL)
    return path


def values_of(study):
    return [(r.state, r.values, {k: v for k, v in r.figures.items() if k != "seconds"}) for r in study.trials]


def test_the_best_is_the_best(study, data):
    figures = [record.figures["recall"] for record in study.trials]
    assert study.counts() == {"completed": 10}
    assert study.best_value == max(figures)
    assert study.best_trial.number == int(np.argmax(figures))
    hasher = simskip.DeepHash(**study.best_params, threads=1)
    hasher.fit(data[0][Ground(data[0], None, study.settings).training], progress=False)
    assert hasher.fingerprint == study.best_hasher().fingerprint
    assert study.refit().fingerprint != hasher.fingerprint
    assert study.trials[0].epochs == 2
    assert study.trials[0].seconds > 0


def test_the_same_call_gives_the_same_trials(study, data):
    again = simskip.tune(data[0], space=SPACE, trials=4, sampler="random", pruner=None, **SMALL)
    assert values_of(again) == values_of(study)[:4]
    other = simskip.tune(data[0], space=SPACE, trials=2, sampler="random", pruner=None, random_state=1, **SMALL)
    assert values_of(other) != values_of(study)[:2]


def test_rows_for_reporting_are_never_touched(study, data):
    X = data[0].copy()
    rows = Ground(X, None, study.settings).reporting
    X[rows.queries] = 1e3
    X[rows.database] *= -7
    again = simskip.tune(X, space=SPACE, trials=3, sampler="random", pruner=None, **SMALL)
    assert values_of(again) == values_of(study)[:3]


def test_report(study, data):
    report = study.report()
    row = report["recall"]
    ground = Ground(data[0], None, study.settings)
    assert row.chosen == study.best_value
    assert row.reported == float(ground.figures(study.best_hasher(), "reporting")["recall"])
    default = simskip.DeepHash(n_bits=16, **QUICK, threads=1, watch="recall").fit(
        data[0][ground.training], progress=False
    )
    assert row.default == float(ground.figures(default, "reporting")["recall"])
    assert row.optimism == pytest.approx(row.chosen - row.reported)
    assert row.optimism_low < row.optimism < row.optimism_high
    assert row.low < row.reported < row.high
    assert row.gain_low <= row.gain <= row.gain_high
    assert report.n_queries == 30
    assert f"Recall@5 {row.reported:.3f}" in report.verdict
    assert "over the default" in report.verdict or "default parameters are better" in report.verdict
    assert report.verdict in report._repr_html_()
    assert report.verdict in repr(report)
    assert report.to_frame().loc["recall", "reported"] == row.reported
    with pytest.raises(ValueError, match="metric must be one of"):
        report["seconds"]


def test_shown_and_saved(study, tmp_path):
    assert "10 completed; best Recall@5" in repr(study)
    assert "<table>" in study._repr_html_()
    frame = study.to_frame()
    assert len(frame) == 10
    assert {"state", "width", "depth", "learning_rate", "recall", "recall-asymmetric", "bytes", "error"} <= {*frame}
    importances = study.importances("ped-anova", n_bootstrap=20)
    assert {row.name for row in importances.rows} == {"width", "depth", "learning_rate"}
    assert importances.n_trials == 10
    assert study.importances("ped-anova", metric="recall-asymmetric", n_bootstrap=20).metric == "Recall@5, asymmetric"
    assert study.plot("history").axes
    assert study.plot(method="ped-anova", n_bootstrap=20).axes
    report = study.report()
    page = study.save(tmp_path / "a.html", importances, report).read_text()
    for words in (report.verdict, importances.statement, "<svg", "learning_rate"):
        assert words in page
    content = json.loads(study.save(tmp_path / "a.json", importances, report).read_text())
    assert [trial["number"] for trial in content["trials"]] == list(range(10))
    assert content["report"]["verdict"] == report.verdict
    lines = study.save(tmp_path / "a.csv").read_text().splitlines()
    assert len(lines) == 11
    with pytest.raises(ValueError, match=r"must end in \.html"):
        study.save(tmp_path / "a.txt")
    with pytest.raises(ValueError, match="kind 'pareto' needs a study with several metrics"):
        study.plot("pareto")
    with pytest.raises(ValueError, match="number must be that of a completed trial, got 99"):
        study.best_hasher(99)


def test_labels_choose_supervised_objectives(data):
    X, y = data
    space = {"objective": ["csq", "dtsh"], "width": 16, "epochs": 2, "alpha": (1.0, 5.0)}
    study = simskip.tune(X, y, space=space, trials=4, sampler="random", **SMALL)
    assert study.metrics == ("map",)
    assert {record.values["objective"] for record in study.trials} == {"csq", "dtsh"}
    for record in study.trials:
        assert 0.2 < record.figures["map"] <= 1
        assert ("alpha" in record.values) == (record.values["objective"] == "dtsh")
    assert study.best_params["objective"] in ("csq", "dtsh")
    several = simskip.tune(X, np.eye(5)[y], space={"objective": "csq", "epochs": 2}, trials=1, **SMALL)
    assert several.counts() == {"completed": 1}
    assert several.best_value > 0.2


def test_supervised_trainings_can_be_tuned_for_recall(data):
    X, y = data
    space = {"objective": ["csq", "neighbors"], "width": 16, "epochs": 2, "steps_per_epoch": 4, "n_init": 2}
    study = simskip.tune(X, y, space=space, trials=4, sampler="random", metric="recall", **SMALL)
    assert study.counts() == {"completed": 4}
    assert study.best_params["watch"] == "recall"
    for trial in study.optuna.trials:
        assert sorted(trial.intermediate_values) == [1, 2]


def test_pareto_front(data):
    space = {**QUICK, "width": 8, "n_bits": [8, 16, 64], "learning_rate": (1e-4, 1e-1, "log")}
    study = simskip.tune(data[0], space=space, trials=8, metric=("recall", "bytes"), **SMALL)
    front = study.pareto()
    figures = [(record.figures["recall"], -record.figures["bytes"]) for record in study.trials]
    for record in front:
        own = (record.figures["recall"], -record.figures["bytes"])
        assert not any(f != own and f[0] >= own[0] and f[1] >= own[1] for f in figures)
    assert {record.number for record in front} == {trial.number for trial in study.optuna.best_trials}
    assert {record.figures["bytes"] for record in study.trials} <= {1.0, 2.0, 8.0}
    assert "on the Pareto front of recall, bytes" in repr(study)
    assert study.plot().axes[0].get_xlabel().startswith("bytes/code (left is better)")
    with pytest.raises(ValueError, match=r"choose one of pareto\(\)"):
        study.best_params  # noqa: B018
    assert study.report(front[0].number).number == front[0].number


def test_pruning(data):
    """Rates of learning that spoil the start fall behind after two epochs; nobody waits for their fifth."""
    space = {**QUICK, "width": 16, "epochs": 5, "learning_rate": [1e-4, 3e-4, 1e-3, 1.0, 2.0, 3.0]}
    pruned = simskip.tune(data[0], space=space, trials=16, sampler="random", **SMALL)
    stopped = [record for record in pruned.trials if record.state == "pruned"]
    assert stopped
    assert all(2 <= record.epochs < 5 for record in stopped)
    assert all(record.values["learning_rate"] >= 1.0 for record in stopped)
    assert all(not record.figures for record in stopped)
    whole = simskip.tune(data[0], space=space, trials=8, sampler="random", pruner=None, **SMALL)
    assert whole.counts() == {"completed": 8}
    halved = simskip.tune(data[0], space=space, trials=12, sampler="random", pruner="halving", **SMALL)
    assert halved.counts()["pruned"] >= 3


def test_a_trial_that_fails_is_recorded(data, monkeypatch):
    figures = Ground.figures

    def sometimes(ground, hasher, *rest):
        if hasher.hidden == (8,):
            raise MemoryError("too little of it")
        return figures(ground, hasher, *rest)

    monkeypatch.setattr(Ground, "figures", sometimes)
    study = simskip.tune(data[0], space={**QUICK, "width": [8, 16]}, trials=6, sampler="random", **SMALL)
    assert study.counts().keys() == {"completed", "failed"}
    for record in study.trials:
        assert (record.error == "MemoryError: too little of it") == (record.values["width"] == 8)
    with pytest.raises(ValueError, match="none of 2 trials has completed; the first one's error: MemoryError: too li"):
        simskip.tune(data[0], space={**QUICK, "width": 8}, trials=2, **SMALL)


def test_ctrl_c_keeps_what_is_finished(data, monkeypatch, tmp_path):
    figures, calls = Ground.figures, []

    def interrupted(ground, *rest):
        calls.append(1)
        if len(calls) in (1, 4):
            raise KeyboardInterrupt
        return figures(ground, *rest)

    monkeypatch.setattr(Ground, "figures", interrupted)
    call = {"space": SPACE, "trials": 4, "sampler": "random", "pruner": None, "storage": tmp_path / "a.db", **SMALL}
    with pytest.raises(KeyboardInterrupt):
        simskip.tune(data[0], **call)
    study = simskip.tune(data[0], **call)
    assert study.interrupted
    assert study.counts() == {"completed": 2, "interrupted": 2}
    study = simskip.tune(data[0], **call)
    assert not study.interrupted
    assert study.counts() == {"completed": 4, "interrupted": 2}


def test_ctrl_c_while_training(data, monkeypatch):
    """DeepHash ends quietly and keeps its best weights: to a study that is an interruption, not a result."""
    watch = _Watcher.__call__

    def interrupting(watcher, record):
        if watcher._trial.number == 1 and record["epoch"] == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return watch(watcher, record)

    monkeypatch.setattr(_Watcher, "__call__", interrupting)
    space = {**QUICK, "width": 8, "epochs": 5, "steps_per_epoch": 500, "patience": 0}
    study = simskip.tune(data[0], space=space, trials=3, **SMALL)
    assert study.interrupted
    assert study.counts() == {"completed": 1, "interrupted": 1}


def test_killed_and_resumed(study, data, tmp_path):
    """kill -9 in the fourth trial: the three before are kept, and the rest is what it would have been."""
    np.save(tmp_path / "X.npy", data[0])
    call = {"space": SPACE, "sampler": "random", "pruner": None, **SMALL}
    script = f"""
import numpy as np, simskip, sys
from simskip.tuning.task import Ground
figures, calls = Ground.figures, []
def watched(*arguments):
    calls.append(1)
    if len(calls) == 4:
        print("fourth", flush=True)
        sys.stdin.read()
    return figures(*arguments)
Ground.figures = watched
simskip.tune(np.load("X.npy"), trials=10, storage="study.db", **{call!r})
"""
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout.readline() == "fourth\n", process.stderr.read()
            running = Study.load(tmp_path / "study.db")
            assert running.counts() == {"completed": 3, "running": 1}
        finally:
            os.kill(process.pid, signal.SIGKILL)
    before = values_of(Study.load(tmp_path / "study.db"))
    resumed = simskip.tune(data[0], trials=6, storage=tmp_path / "study.db", **call)
    after = values_of(resumed)
    assert after[:3] == before[:3]
    assert resumed.counts() == {"completed": 6, "interrupted": 1}
    assert after[3][0] == "interrupted"
    assert after[:3] + after[4:] == values_of(study)[:6]
    same = simskip.tune(data[0], trials=6, storage=tmp_path / "study.db", **call)
    assert values_of(same) == after


def test_processes_share_a_study(data, tmp_path):
    call = {"space": SPACE, "sampler": "random", "pruner": None, **SMALL}
    study = simskip.tune(data[0], trials=5, jobs=2, **call)
    assert study.counts() == {"completed": 5}
    assert study.storage is None
    assert len({json.dumps(record.values) for record in study.trials}) == 5
    assert len({trial.user_attrs["process"][1] for trial in study.optuna.trials} | {os.getpid()}) == 3
    alone = simskip.tune(data[0], trials=5, **call)
    figures = [sorted(record.figures["recall"] for record in some.trials) for some in (study, alone)]
    assert figures[0] == figures[1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"space": {**SPACE, "width": [8, 32]}}, r"other space \(width: {'choices': \[8, 16\]"),
        ({"k": 4}, r"other settings \(k: 5 there, 4 now\)"),
        ({"random_state": 1}, r"other settings \(random_state: 0 there, 1 now\)"),
        ({"metric": "recall-asymmetric"}, "other settings"),
        ({"X": 2.0}, r"other vectors or labels \(of shape \[600, 16\]"),
        ({"y": 1}, "other vectors or labels"),
    ],
)
def test_another_study_of_that_name_is_refused(data, stored, change, words):
    call = {"space": SPACE, "storage": stored, "name": "one", "trials": 3, **SMALL}
    change = dict(change)
    X = data[0] * change.pop("X", 1.0)
    y = data[1] if change.pop("y", 0) else None
    with pytest.raises(ValueError, match=words):
        simskip.tune(X, y, **{"metric": "recall", **call, **change})


def test_load(data, stored, tmp_path):
    path = stored
    made = simskip.tune(data[0], space=SPACE, trials=2, **SMALL)
    loaded = Study.load(path, "one")
    assert values_of(loaded) == values_of(made)
    assert loaded.best_params == made.best_params
    with pytest.raises(ValueError, match="loaded without its vectors"):
        loaded.report()
    whole = Study.load(path, "one", data[0], threads=1)
    assert whole.best_hasher().fingerprint == made.best_hasher().fingerprint
    with pytest.raises(ValueError, match="X and y must be those of study 'one'"):
        Study.load(path, "one", data[0] * 2)
    with pytest.raises(ValueError, match=r"name must be that of a study in .* \('one'\), got 'two'"):
        Study.load(path, "two")
    with pytest.raises(FileNotFoundError):
        Study.load(tmp_path / "b.db")


def test_another_programs_study_is_left_alone(data, tmp_path):
    url = f"sqlite:///{tmp_path / 'a.db'}"
    optuna.create_study(study_name="simskip", storage=url).add_trial(optuna.trial.create_trial(value=1.0))
    with pytest.raises(ValueError, match="a study that simskip did not make"):
        simskip.tune(data[0], space=SPACE, storage=url, trials=1, **{**SMALL, "k": 3}, metric="seconds")
    with pytest.raises(ValueError, match="not made by this version"):
        Study.load(url)


def test_no_trial_begins_after_the_timeout(data):
    study = simskip.tune(data[0], space=SPACE, trials=1000, timeout=0.2, **SMALL)
    assert 1 <= len(study.trials) < 1000


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"X": np.ones((3, 4))}, "X must hold more rows: 3 leave"),
        ({"X": np.full((600, 4), np.nan)}, "X must be finite"),
        ({"y": [1, 2]}, "y must hold one label for each of the 600 rows"),
        ({"space": {"widht": 3}}, "got 'widht'"),
        ({"space": {"objective": "csq"}}, "y must hold labels"),
        ({"trials": 0}, "trials must be an integer >= 1"),
        ({"k": 0}, "k must be"),
        ({"k": 300}, "X must hold more rows: 600 leave 30 queries and 90 rows to search in for choosing"),
        ({"metric": "recall-reranked", "rerank": 20}, "a search reads 100 of them"),
        ({"metric": "precision"}, "metric must be one of"),
        ({"metric": ()}, "metric must be the name of a figure"),
        ({"metric": ("recall", "recall")}, "metric must name each figure once"),
        ({"metric": "map"}, "metric 'map' needs labels"),
        ({"rerank": 0}, "rerank must be"),
        ({"distance": "hamming"}, "distance must be one of"),
        ({"database": "all"}, "database must be one of"),
        ({"choosing": 0.0}, "choosing and reporting must be shares"),
        ({"choosing": 0.6, "reporting": 0.4}, "choosing and reporting must be shares"),
        ({"max_queries": 0}, "max_queries must be"),
        ({"sampler": "grid"}, "sampler must be one of"),
        ({"pruner": "best"}, "pruner must be one of"),
        ({"jobs": 0}, "jobs must be"),
        ({"timeout": 0}, "timeout must be a number of seconds > 0"),
        ({"timeout": math.nan}, "timeout must be a number of seconds > 0"),
        ({"name": ""}, "name must be a string"),
        ({"random_state": -1}, "random_state must be"),
        ({"threads": 0}, "threads must be"),
        ({"n_bits": 0}, "n_bits must be"),
    ],
)
def test_bad_input(data, change, words):
    arguments = {"X": data[0], "space": SPACE, "trials": 1, **SMALL, **change}
    with pytest.raises(ValueError, match=words.replace("(", r"\(")):
        simskip.tune(**arguments)


def test_storage_that_is_none(data, tmp_path):
    (tmp_path / "text").write_text("not a database")
    with pytest.raises(simskip.FormatError, match="is not an SQLite file"):
        simskip.tune(data[0], space=SPACE, storage=tmp_path / "text", **SMALL)
    with pytest.raises(FileNotFoundError, match="the folder"):
        simskip.tune(data[0], space=SPACE, storage=tmp_path / "no" / "a.db", **SMALL)


def test_missing_optuna_names_the_extra():
    program = (
        "import sys; sys.modules['optuna'] = None\n"
        "import simskip, numpy as np\n"
        "try:\n    simskip.tune(np.ones((600, 4)))\n"
        "except ImportError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert 'pip install "simskip[tune]"' in done.stdout


def test_importing_simskip_imports_no_optuna():
    program = (
        "import sys, simskip; print({'optuna', 'torch', 'sqlalchemy', 'sqlite3', 'subprocess'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
