"""A progress bar per epoch: tqdm in a terminal or notebook, nothing where tqdm is missing."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from typing import Any

__all__ = ["EpochBar"]


class EpochBar:
    """Shows epochs as they end; a context manager.

    Parameters
    ----------
    total : int
        Epochs planned.
    description : str
        What stands before the bar.
    shown : bool
        False: nothing is printed.
    unit : str
        What is counted, if not epochs.
    """

    def __init__(self, total: int, description: str, shown: bool, unit: str = "epoch") -> None:
        self._bar: Any = None
        if shown and importlib.util.find_spec("tqdm") is not None:
            self._bar = _tqdm()(total=total, desc=description, unit=unit, dynamic_ncols=True)

    def update(self, figures: Mapping[str, float | str], epochs: int = 1) -> None:
        """So many epochs more; ``figures`` stand behind the bar."""
        if self._bar is not None:
            shown = {name: v if isinstance(v, str) else f"{v:.4g}" for name, v in figures.items()}
            self._bar.set_postfix(shown, refresh=False)
            self._bar.update(epochs)

    def __enter__(self) -> EpochBar:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()


def _tqdm() -> Any:
    """The notebook's bar where it can be drawn. ``tqdm.auto`` warns when ipywidgets is missing, so it is not used."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if type(shell).__name__ == "ZMQInteractiveShell" and importlib.util.find_spec("ipywidgets") is not None:
        from tqdm.notebook import tqdm

        return tqdm
    from tqdm import tqdm

    return tqdm
