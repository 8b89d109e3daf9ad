"""Checks of what users pass in: each names the argument, what was given and what is expected."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "MAX_BITS",
    "MAX_ID",
    "MAX_THREADS",
    "array_of",
    "bit_count",
    "choice",
    "float_rows",
    "fraction",
    "labels",
    "matrix",
    "positive_int",
    "thread_count",
    "unique_ids",
]

MAX_BITS = 4096
MAX_ID = 2**63 - 2  # one less than what fits into int64: the next free id must fit too
MAX_THREADS = 1024

FloatMatrix = npt.NDArray[np.float32]


def _shape(array: np.ndarray) -> str:
    return "(" + ", ".join(map(str, array.shape)) + ("," if array.ndim == 1 else "") + ")"


def array_of(value: Any, name: str) -> npt.NDArray[Any]:
    """Return ``value`` as an array; rows of different lengths give a ``ValueError`` that names the argument."""
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be an array: {error}") from None


def matrix(value: Any, name: str, *, dim: int | None = None, min_rows: int = 1) -> FloatMatrix:
    """Return ``value`` as a finite C-contiguous float32 matrix (n, d), copying only if it must.

    Raises ``ValueError`` for a wrong shape, a non-numeric dtype, fewer than ``min_rows`` rows, NaN or infinity.
    """
    array = array_of(value, name)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} must be a matrix of numbers, got dtype {array.dtype}")
    if array.ndim != 2:
        hint = f"; for one vector pass {name}[None, :]" if array.ndim == 1 else ""
        raise ValueError(f"{name} must have shape (n, d), got {_shape(array)}{hint}")
    if array.shape[1] < 1:
        raise ValueError(f"{name} must have at least one column, got shape {_shape(array)}")
    if dim is not None and array.shape[1] != dim:
        raise ValueError(f"{name} must have {dim} columns, got shape {_shape(array)}")
    if array.shape[0] < min_rows:
        raise ValueError(f"{name} must have at least {min_rows} row{'s'[: min_rows > 1]}, got shape {_shape(array)}")
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(array, dtype=np.float32)
    _require_finite(array, name)
    return array


def float_rows(value: Any, name: str, *, min_rows: int = 1) -> npt.NDArray[Any]:
    """As ``matrix``, but C-contiguous float16 and float32 matrices, memory-mapped ones too, come back as they are.

    They are read once, in blocks of 16 MiB.
    """
    array = array_of(value, name)
    as_is = array.ndim == 2 and array.dtype in (np.float16, np.float32) and array.flags.c_contiguous
    if not as_is or len(array) < min_rows or array.shape[1] < 1:
        return matrix(array, name, min_rows=min_rows)
    step = max(1, (1 << 22) // array.shape[1])
    for start in range(0, len(array), step):
        _require_finite(array[start : start + step], name, first_row=start)
    return array


def _require_finite(array: npt.NDArray[Any], name: str, first_row: int = 0) -> None:
    # A sum is non-finite if any term is; only then look for the place (a full boolean mask is slow).
    with np.errstate(invalid="ignore"):  # inf - inf
        total = array.sum(dtype=np.float64)
    if np.isfinite(total):
        return
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        row, column = bad[0]
        raise ValueError(
            f"{name} must be finite float32 numbers, got {array[row, column]} at row {first_row + row}, column {column}"
            f" ({len(bad)} such value{'s'[: len(bad) > 1]})"
        )


def positive_int(value: Any, name: str, *, maximum: int | None = None, minimum: int = 1) -> int:
    """Return ``value`` as an int in [minimum, maximum]."""
    expected = f"an integer >= {minimum}" if maximum is None else f"an integer from {minimum} to {maximum}"
    try:
        number = operator.index(value)
    except TypeError:
        raise ValueError(f"{name} must be {expected}, got {value!r}") from None
    if isinstance(value, (bool, np.bool_)) or number < minimum or (maximum is not None and number > maximum):
        raise ValueError(f"{name} must be {expected}, got {value!r}")
    return number


def bit_count(value: Any, name: str = "n_bits") -> int:
    """Return ``value`` as a bit count from 1 to 4096."""
    return positive_int(value, name, maximum=MAX_BITS)


def thread_count(value: Any, name: str = "threads") -> int:
    """Return ``value`` as a number of threads from 1 to 1024; 0 (the native layer's default) for ``None``."""
    return 0 if value is None else positive_int(value, name, maximum=MAX_THREADS)


def fraction(value: Any, name: str, *, low: float = 0.0, high: float = 1.0, open_high: bool = False) -> float:
    """Return ``value`` as a float in [low, high] (or [low, high) with ``open_high``)."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not (low <= number <= high) or (open_high and number == high):
        raise ValueError(f"{name} must lie in [{low:g}, {high:g}{')' if open_high else ']'}, got {value!r}")
    return number


def choice(value: Any, name: str, options: tuple[Any, ...]) -> Any:
    """Return ``value`` if it is one of ``options``."""
    if not any(value is option or (type(value) is type(option) and value == option) for option in options):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, options))}, got {value!r}")
    return value


def labels(value: Any, name: str, n: int) -> npt.NDArray[Any]:
    """Return ``value`` as a one-dimensional array of ``n`` class labels (integers or strings)."""
    array = array_of(value, name)
    if array.ndim != 1 or len(array) != n:
        raise ValueError(f"{name} must hold one label for each of the {n} rows, got shape {_shape(array)}")
    if array.dtype.kind not in "iubUSO":
        raise ValueError(f"{name} must be integers or strings, got dtype {array.dtype}")
    return array


def unique_ids(value: Any, name: str, n: int | None = None) -> npt.NDArray[np.int64]:
    """Return ``value`` as a contiguous int64 array of distinct, non-negative ids, ``n`` of them if given."""
    array = array_of(value, name)
    if array.ndim == 0:
        array = array[None]
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(f"{name} must be a one-dimensional array of integers, got {array.dtype} {_shape(array)}")
    if n is not None and len(array) != n:
        raise ValueError(f"{name} must hold one id for each of the {n} rows, got {len(array)}")
    if array.size and array.max() > MAX_ID:
        raise ValueError(f"{name} must be at most 2**63 - 2, got {array.max()}")
    array = np.ascontiguousarray(array, dtype=np.int64)
    if array.size and array.min() < 0:
        raise ValueError(f"{name} must be non-negative, got {array.min()}")
    if len(array) < 2:  # the sort below takes longer than adding or removing one
        return array
    values, counts = np.unique(array, return_counts=True)
    if len(values) != len(array):
        raise ValueError(f"{name} must be distinct, got {values[counts > 1][0]} more than once")
    return array
