"""Several arrays in one cached file."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..cache import cached_bytes

__all__ = ["cached_arrays"]


def cached_arrays(
    stem: str,
    key: str,
    make: Callable[[], dict[str, npt.NDArray[Any]]],
    directory: str | os.PathLike[str] | None = None,
) -> Path:
    """The path of an ``.npz`` file with the arrays that ``make`` returns; made once.

    Parameters
    ----------
    stem, key, directory
        See ``simskip.cache.cached_bytes``.
    make : callable
        Returns the arrays by name.
    """

    def content() -> list[bytes | memoryview]:
        file = io.BytesIO()
        np.savez(file, **make())  # type: ignore[arg-type]
        return [file.getbuffer()]

    return cached_bytes(stem, key, "npz", content, directory)
