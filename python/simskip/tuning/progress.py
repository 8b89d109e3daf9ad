"""A progress bar over trials."""

from __future__ import annotations

import importlib.util
import threading
from typing import Any

from ..hashing.progress import _tqdm
from .task import MINIMISED, Settings

__all__ = ["TrialBar"]


class TrialBar:
    """Counts trials and shows the best figure; a context manager. May be updated from several threads."""

    def __init__(self, total: int, done: int, study: Any, settings: Settings, shown: bool) -> None:
        self._study, self._settings = study, settings
        self._lock = threading.Lock()
        self._bar: Any = None
        if shown and importlib.util.find_spec("tqdm") is not None:
            self._bar = _tqdm()(
                total=max(total, done), initial=done, desc="simskip.tune", unit="trial", dynamic_ncols=True
            )

    def update(self) -> None:
        """One trial more."""
        if self._bar is None:
            return
        with self._lock:
            figures = {}
            trials = [t for t in self._study.get_trials(deepcopy=False) if t.state.name == "COMPLETE"]
            for i, name in enumerate(self._settings.metrics):
                if trials:
                    values = [trial.values[i] for trial in trials]
                    figures[name] = f"{min(values) if name in MINIMISED else max(values):.4g}"
            self._bar.set_postfix(figures, refresh=False)
            self._bar.update(1)

    def __enter__(self) -> TrialBar:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()
