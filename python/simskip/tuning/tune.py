"""``simskip.tune``: search a hasher's parameters, and know what was found."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import cpu
from ..errors import FormatError
from ..extras import require
from ..hashing.neighbor_graph import remembered
from ..validation import choice, positive_int, thread_count
from .progress import TrialBar
from .record import FINISHED, record_of
from .space import Space, default_space
from .storage import opened, storage_url
from .study import ATTRIBUTE, FORMAT_VERSION, Study
from .task import Ground, Settings, metric_names
from .trial import PRUNERS, SAMPLERS, Plan, fail_lost_trials, quiet, run_trial

__all__ = ["tune"]


def tune(
    X: npt.ArrayLike,
    y: npt.ArrayLike | None = None,
    *,
    space: Mapping[str, Any] | None = None,
    trials: int = 50,
    n_bits: int = 64,
    k: int = 25,
    metric: str | tuple[str, ...] | None = None,
    rerank: int = 10,
    distance: str = "cosine",
    database: str = "unseen",
    choosing: float = 0.2,
    reporting: float = 0.2,
    max_queries: int = 1000,
    sampler: str = "tpe",
    pruner: str | None = "median",
    storage: str | os.PathLike[str] | None = None,
    name: str = "simskip",
    jobs: int = 1,
    timeout: float | None = None,
    random_state: int = 0,
    threads: int | None = None,
    progress: bool = True,
) -> Study:
    """Search the parameters of ``DeepHash`` that give the best codes for these vectors.

    The rows are split once into three parts: for training, for choosing between trials, and for reporting, which no
    trial ever sees. Exact neighbours are computed once for all trials.

    Parameters
    ----------
    X : (n, d) array
        Finite numbers; used as float32.
    y : (n,) array of int or str, or (n, n_classes) array, optional
        Labels as ``DeepHash.fit`` takes them: then supervised objectives compete, for the mean average precision.
    space : mapping, optional
        What is searched, see ``simskip.tuning.Space``: names to ``(low, high)``, ``(low, high, "log")``, a list of
        choices, or a fixed value. Default: a space that suits the data, ``simskip.tuning.default_space``.
    trials : int
        How many trials the study shall have in all that completed, were pruned, or failed; a study that is resumed
        runs those that are missing.
    n_bits : int
        Bits of a code, unless the space says so.
    k : int
        Neighbours per query.
    metric : str or tuple of str, optional
        What is sought: ``"recall"`` (of the k nearest, by codes alone), ``"recall-reranked"`` (after exact reranking
        of the ``rerank * k`` nearest codes), ``"recall-asymmetric"`` (the query's real outputs against the codes),
        ``"map"`` (labels; ties count with their expected value), ``"seconds"`` (processor time of the training) or
        ``"bytes"`` (per code). Several: the Pareto front of them. Default: ``"map"`` with labels, else ``"recall"``.
    rerank : int
        See ``metric``.
    distance : {"cosine", "l2", "dot"}
        The exact metric.
    database : {"unseen", "training"}
        What queries are searched in: rows that were not trained on, or the training rows. Memorised labels make
        figures on training rows too good for rows to come.
    choosing, reporting : float
        Shares of the rows.
    max_queries : int
        Queries of each of the two parts; with ``database="unseen"`` at most a quarter of its rows.
    sampler : {"tpe", "random"}
        How the next values are chosen: near what was good (tree-structured Parzen estimator, after ten random trials),
        or at random, which importances need most.
    pruner : {"median", "halving", None}
        Stop trainings whose held-out figure is behind that of the others: below the median (from the sixth trial and
        the second epoch on), or by successive halving. Only for a single quality, and only among objectives that watch
        the same figure while they train.
    storage : path or URL, optional
        An SQLite file, made if it is missing: each trial is in it as soon as it ends. Default: memory.
    name : str
        Of the study in the storage. If it is there, it goes on; data, space and settings must be the same.
    jobs : int
        Processes that run trials at once.
    timeout : float, optional
        Seconds after which no trial begins; those that run are finished.
    random_state : int
        Seed of everything. With ``jobs=1``, no timeout and no figure that is a time, the same call gives the same
        trials, even if it was interrupted and resumed.
    threads : int, optional
        Threads of all jobs together; default ``simskip.set_threads``'s.
    progress : bool
        Show a bar.

    Returns
    -------
    Study

    Raises
    ------
    ValueError
        For an argument or a space that does not fit, a stored study of other data or settings, or if all trials
        failed (the message has the first one's error).
    ImportError
        If the extra ``tune`` is missing.
    KeyboardInterrupt
        After Ctrl-C before any trial has completed. Later, the study is returned as it is, with ``interrupted``.

    Notes
    -----
    A trial that fails is recorded with its error and the next one begins. Trials whose process was killed are
    recognised when the study is resumed, and do not count.

    Examples
    --------
    >>> import numpy as np, simskip
    >>> X = np.random.default_rng(0).standard_normal((600, 16)).astype(np.float32)
    >>> space = {"width": [8, 16], "learning_rate": (1e-4, 1e-2, "log"), "epochs": 2, "steps_per_epoch": 5}
    >>> study = simskip.tune(X, space=space, trials=3, n_bits=16, k=5, progress=False)
    >>> study.counts()
    {'completed': 3}
    >>> sorted(study.best_params)
    ['epochs', 'hidden', 'learning_rate', 'metric', 'n_bits', 'objective', 'random_state', 'steps_per_epoch', 'watch']
    """
    settings = Settings(
        metric_names(metric, y is not None),
        k,
        rerank,
        distance,
        database,
        choosing,
        reporting,
        max_queries,
        random_state,
    )
    trials = positive_int(trials, "trials")
    jobs = positive_int(jobs, "jobs", maximum=256)
    choice(sampler, "sampler", SAMPLERS)
    choice(pruner, "pruner", (*PRUNERS, None))
    total_threads = thread_count(threads) or cpu.threads()
    if timeout is not None and not timeout > 0:
        raise ValueError(f"timeout must be a number of seconds > 0, got {timeout!r}")
    if not isinstance(name, str) or not name:
        raise ValueError(f"name must be a string that is not empty, got {name!r}")
    if space is None:
        space = default_space(
            y is not None,
            multi_label=y is not None and np.ndim(y) == 2,
            many_bits="bytes" in settings.metrics,
            distance=distance,
        )
    searched = Space(space, n_bits)
    if searched.supervised and y is None:
        raise ValueError("y must hold labels: the space has objectives that learn from them")
    for package, purpose in (("optuna", "Tuning"), ("torch", "Tuning")):
        require(package, "tune", purpose)
    url = None if storage is None else storage_url(storage)
    ground = Ground(X, y, settings)
    plan = Plan(sampler, pruner, max(1, total_threads // jobs))
    with quiet():
        if url is None and jobs > 1:
            return _in_passing(name, ground, searched, plan, trials, jobs, timeout, progress)
        study = _opened(name, url, ground, searched)
        interrupted = _run(study, url, ground, searched, plan, trials, jobs, timeout, progress)
    return _result(study, searched, ground, url, plan, interrupted)


def _opened(name: str, url: str | None, ground: Ground, space: Space) -> Any:
    """The study of that name, made if it is missing; ``ValueError`` if it is of other data or settings."""
    import optuna

    study = optuna.create_study(
        study_name=name,
        storage=None if url is None else opened(url),
        directions=ground.settings.directions(),
        load_if_exists=True,
    )
    wanted = _described(ground, space)
    stored = study.user_attrs.get(ATTRIBUTE)
    if stored is None:
        if study.get_trials(deepcopy=False):
            raise ValueError(f"name must not be that of a study that simskip did not make, got {name!r}")
        study.set_user_attr(ATTRIBUTE, wanted)
        return study
    if stored.get("format") != wanted["format"]:
        raise FormatError(f"study {name!r} has format {stored.get('format')!r}, this version reads {wanted['format']}")
    differences = _differences(stored, wanted)
    if differences:
        raise ValueError(
            f"study {name!r} is there with other {'; other '.join(differences)}: give another name or the same"
        )
    fail_lost_trials(study)
    return study


def _described(ground: Ground, space: Space) -> dict[str, Any]:
    """What is stored with a study: it goes on only with the same."""
    return {
        "format": FORMAT_VERSION,
        "data": ground.fingerprint,
        "shape": list(ground.X.shape),
        "labels": ground.y is not None,
        "space": space.as_dict(),
        "settings": ground.settings.as_dict(),
    }


def _differences(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    found = []
    if stored["data"] != wanted["data"]:
        found.append(f"vectors or labels (of shape {stored['shape']}, not these of {wanted['shape']})")
    for part in ("space", "settings"):
        old, new = stored[part], wanted[part]
        names = sorted(n for n in {*old, *new} if old.get(n) != new.get(n))
        changes = [f"{n}: {old.get(n, 'nothing')} there, {new.get(n, 'nothing')} now" for n in names]
        if changes:
            found.append(f"{part} ({', '.join(changes)})")
    return found


def _run(
    study: Any,
    url: str | None,
    ground: Ground,
    space: Space,
    plan: Plan,
    trials: int,
    jobs: int,
    timeout: float | None,
    progress: bool,
) -> bool:
    """Run what is missing; True after Ctrl-C."""
    done = _finished(study, space)
    queue = _Queue(done, trials, timeout)
    with TrialBar(trials, done, study, ground.settings, progress) as bar:
        try:
            if jobs > 1:
                from .parallel import run_parallel

                assert url is not None

                def on_end() -> None:
                    fail_lost_trials(study)
                    queue.ended(_finished(study, space))
                    bar.update()

                run_parallel(study.study_name, url, ground, space, plan, jobs, queue.next_index, on_end)
            else:
                with remembered():
                    while (index := queue.next_index()) is not None:
                        run_trial(study, ground, space, plan, index)
                        queue.ended(_finished(study, space))
                        bar.update()
        except KeyboardInterrupt:
            fail_lost_trials(study)
            return True
    return False


class _Queue:
    """Hands out indices of trials until there are enough, or time is up."""

    def __init__(self, done: int, wanted: int, timeout: float | None) -> None:
        self._lock = threading.Lock()
        self._done, self._wanted = done, wanted
        self._running, self._given = 0, done
        self._end = None if timeout is None else time.monotonic() + timeout

    def next_index(self) -> int | None:
        with self._lock:
            late = self._end is not None and time.monotonic() >= self._end
            if late or self._done + self._running >= self._wanted:
                return None
            # Of trials that run at once no two may draw alike; alone, the index is the number of finished trials.
            index = max(self._given, self._done) if self._running else self._done
            self._given = index + 1
            self._running += 1
            return index

    def ended(self, done: int) -> None:
        with self._lock:
            self._running -= 1
            self._done = done


def _in_passing(
    name: str,
    ground: Ground,
    space: Space,
    plan: Plan,
    trials: int,
    jobs: int,
    timeout: float | None,
    progress: bool,
) -> Study:
    """Several processes need a file: a temporary one, from which the study is copied into memory."""
    import optuna

    with tempfile.TemporaryDirectory(prefix="simskip-tune-") as folder:
        url = storage_url(Path(folder) / "study.db")
        shared = _opened(name, url, ground, space)
        interrupted = _run(shared, url, ground, space, plan, trials, jobs, timeout, progress)
        study = optuna.create_study(study_name=name, directions=ground.settings.directions())
        study.set_user_attr(ATTRIBUTE, shared.user_attrs[ATTRIBUTE])
        study.add_trials(trial for trial in shared.get_trials(deepcopy=False) if trial.state.is_finished())
    return _result(study, space, ground, None, plan, interrupted)


def _result(study: Any, space: Space, ground: Ground, url: str | None, plan: Plan, interrupted: bool) -> Study:
    result = Study(
        study, space, ground.settings, ground=ground, storage=url, threads=plan.threads, interrupted=interrupted
    )
    if not result.counts().get("completed"):
        if interrupted:
            raise KeyboardInterrupt("tuning was interrupted before its first trial had ended")
        errors = [record.error for record in result.trials if record.error is not None]
        if errors:
            raise ValueError(f"none of {len(result.trials)} trials has completed; the first one's error: {errors[0]}")
    return result


def _finished(study: Any, space: Space) -> int:
    """Trials that count: completed, pruned, or failed by an error of their own."""
    return sum(record_of(trial, space).state in FINISHED for trial in study.get_trials(deepcopy=False))
