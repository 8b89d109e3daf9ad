"""Worker processes: what happens when they die, and on Ctrl-C."""

import os
import signal
import subprocess
import sys

import pytest

import simskip
import simskip.tuning.parallel as parallel
from simskip.tuning import Study

from .conftest import SMALL, SPACE


@pytest.mark.slow
def test_a_worker_that_is_killed_is_replaced(data, monkeypatch):
    asked, calls = parallel._asked, []

    def deadly(worker, index):
        calls.append(index)
        if len(calls) == 2:
            worker.kill()
        return asked(worker, index)

    monkeypatch.setattr(parallel, "_asked", deadly)
    study = simskip.tune(data[0], space=SPACE, trials=4, jobs=2, pruner=None, **SMALL)
    assert study.counts()["completed"] == 4
    assert len(calls) == 5


@pytest.mark.slow
def test_workers_that_keep_dying_end_the_study(data, monkeypatch):
    def deadly(worker, index):
        worker.kill()
        return ""

    monkeypatch.setattr(parallel, "_asked", deadly)
    with pytest.raises(RuntimeError, match="worker processes died, the last one so: exit status -9"):
        simskip.tune(data[0], space=SPACE, trials=4, jobs=2, **SMALL)


@pytest.mark.slow
def test_ctrl_c_ends_all_workers(data, tmp_path):
    """The long trainings of both workers stop, and are run again when the study is resumed."""
    script = f"""
import numpy as np, simskip, sys, threading
X = np.random.default_rng(0).normal(size=(600, 16)).astype(np.float32)
space = {{"width": [8, 16], "epochs": 4, "steps_per_epoch": 1000000, "batch_size": 64, "patience": 0}}
try:
    simskip.tune(X, space=space, trials=4, jobs=2, storage="a.db", **{SMALL!r})
except KeyboardInterrupt:
    print("interrupted")
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            pids = _pids_of_two_running_trials(tmp_path / "a.db")
            process.send_signal(signal.SIGINT)
            out, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert out == "interrupted\n", errors
    assert Study.load(tmp_path / "a.db").counts() == {"interrupted": 2}
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def _pids_of_two_running_trials(path):
    import threading

    for _ in range(600):
        threading.Event().wait(0.1)
        try:
            study = Study.load(path)
        except (ValueError, OSError, RuntimeError):
            continue  # not written yet
        signed = [trial.user_attrs["process"][1] for trial in study.optuna.trials if "process" in trial.user_attrs]
        if len(signed) == 2:
            threading.Event().wait(1.0)  # into the training
            return signed
    raise AssertionError("the workers have not begun")
