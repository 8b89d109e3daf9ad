"""Trials in several processes that share an SQLite file: the parent hands out trials, workers run them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from .space import Space
from .task import Ground
from .trial import Plan

__all__ = ["run_parallel"]

# Workers that may die (killed for memory, say) before the rest is given up.
_MAX_DEATHS = 3
_STOP_SECONDS = 10.0


def run_parallel(
    name: str,
    storage: str,
    ground: Ground,
    space: Space,
    plan: Plan,
    jobs: int,
    next_index: Callable[[], int | None],
    on_end: Callable[[], None],
) -> None:
    """Run trials until ``next_index`` gives None.

    Processes and not threads: each has its own BLAS and OpenMP threads, measures its own processor time, and what
    kills one (memory) leaves the others. They are started as programs, not forked, which a process that has used
    OpenMP does not survive.

    Parameters
    ----------
    name, storage : str
        Of the study; an SQLite URL.
    jobs : int
        Processes.
    next_index : callable
        Index of the next trial or None; called from several threads.
    on_end : callable
        Called when a trial has ended, whatever became of it; called from several threads.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C, when all workers have ended. Their trials are marked as interrupted.
    RuntimeError
        If workers keep dying.
    """
    with tempfile.TemporaryDirectory(prefix="simskip-tune-") as temporary:
        folder = Path(temporary)
        ground.save(folder)
        described = {
            "name": name,
            "storage": storage,
            "space": space.as_dict(),
            "settings": ground.settings.as_dict(),
            "plan": {"sampler": plan.sampler, "pruner": plan.pruner, "threads": plan.threads},
        }
        (folder / "worker.json").write_text(json.dumps(described))
        crew = _Crew(folder, plan.threads or 1, next_index, on_end)
        threads = [threading.Thread(target=crew.drive, args=(i,), daemon=True) for i in range(jobs)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():  # a join without a limit would not hear Ctrl-C
                    thread.join(0.1)
        except BaseException:
            crew.stop()
            for thread in threads:
                thread.join(_STOP_SECONDS)
            raise
        if crew.error is not None:
            raise crew.error
        if crew.deaths > _MAX_DEATHS:
            raise RuntimeError(f"{crew.deaths} worker processes died, the last one so: {crew.last_words}")


class _Crew:
    """Workers and the threads that talk to them."""

    def __init__(
        self, folder: Path, threads: int, next_index: Callable[[], int | None], on_end: Callable[[], None]
    ) -> None:
        self.deaths, self.last_words = 0, ""
        self.error: Exception | None = None
        self._folder, self._threads = folder, threads
        self._next_index, self._on_end = next_index, on_end
        self._lock = threading.Lock()
        self._stopping = False
        self._processes: list[subprocess.Popen[str]] = []

    def drive(self, number: int) -> None:
        """Keep one worker busy; start another if it dies."""
        log = self._folder / f"worker-{number}.log"  # a pipe that nobody empties would stop the worker
        worker: subprocess.Popen[str] | None = None
        try:
            while not self._stopping and self.deaths <= _MAX_DEATHS and (index := self._next_index()) is not None:
                worker = worker or self._started(log)
                if not _asked(worker, index):
                    worker.communicate()
                    self._mourn(worker, log)
                    worker = None
                self._on_end()
        except Exception as error:
            with self._lock:
                self.error = error
        if worker is not None:
            worker.communicate()  # closes its input, at which it ends

    def _mourn(self, worker: subprocess.Popen[str], log: Path) -> None:
        with self._lock:
            if not self._stopping:
                words = log.read_text(errors="replace").strip().splitlines()
                self.deaths += 1
                self.last_words = words[-1] if words else f"exit status {worker.returncode}"

    def stop(self) -> None:
        """Ctrl-C for all of them; who does not listen is killed."""
        with self._lock:
            self._stopping = True
            processes = list(self._processes)
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        for process in processes:
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()

    def _started(self, log: Path) -> subprocess.Popen[str]:
        count = str(self._threads)
        environment = {**os.environ, "OMP_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count, "MKL_NUM_THREADS": count}
        package = str(Path(__file__).resolve().parents[2])  # also where simskip is not installed but on the path
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
        with self._lock, open(log, "w") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "simskip.tuning.worker", str(self._folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment,
                start_new_session=True,  # a terminal's Ctrl-C reaches the parent, which passes it on once
            )
            self._processes.append(process)
        return process


def _asked(worker: subprocess.Popen[str], index: int) -> str:
    """The worker's answer; empty if it has died."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    try:
        worker.stdin.write(f"{index}\n")
        worker.stdin.flush()
        return worker.stdout.readline()
    except (BrokenPipeError, ValueError):
        return ""
