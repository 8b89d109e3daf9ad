"""The bar over things that are counted: images, texts, files."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from .extras import require

__all__ = ["progress_bar"]


@contextlib.contextmanager
def progress_bar(
    total: int | None, unit: str, description: str, shown: bool, *, extra: str, done: int = 0
) -> Iterator[Callable[[int], Any]]:
    """A bar on stderr that is told how many more are done.

    Parameters
    ----------
    total : int or None
        None: not known.
    unit, description : str
        What is counted, and what stands before the bar.
    shown : bool
        False: nothing is printed, tqdm not needed.
    extra : str
        The extra of simskip that brings tqdm, for the error message.
    done : int
        How many were done before.

    Examples
    --------
    >>> with progress_bar(3, "image", "embedding", False, extra="images") as advance:
    ...     advance(1)
    """
    if not shown:
        yield lambda count: None
        return
    tqdm = require("tqdm", extra, "The progress bar").tqdm
    with tqdm(total=total, initial=done, unit=unit, desc=description, mininterval=0.5) as bar:
        yield bar.update
