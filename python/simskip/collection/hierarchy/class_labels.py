"""Labels of items, some of which have none, as class numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...validation import labels as checked_labels

__all__ = ["NO_CLASS", "class_array", "class_numbers"]

NO_CLASS = -1


def class_numbers(
    labels: Any, name: str, n: int, known: Sequence[Any] | None = None
) -> tuple[npt.NDArray[np.int32], list[Any]]:
    """Class numbers of labels.

    Parameters
    ----------
    labels : sequence of ``n`` int, or of str
        ``None`` or -1: no class.
    name : str
        The argument's, for errors.
    n : int
    known : sequence of int or str, optional
        The only classes there may be.

    Returns
    -------
    numbers : (n,) int32 array
        -1 for no class.
    classes : list of int or str
        ``known``, or the distinct labels in ascending order.

    Raises
    ------
    ValueError
        For another count, a mixture of integers and strings, or a class that is not known.

    Examples
    --------
    >>> numbers, classes = class_numbers(["sea", None, "city", "sea"], "labels", 4)
    >>> numbers.tolist(), classes
    ([1, -1, 0, 1], ['city', 'sea'])
    """
    if isinstance(labels, (list, tuple)):
        # NumPy would make strings of a mixture, and floats of nothing.
        array = np.empty(len(labels), object)
        array[:] = labels
    else:
        array = labels
    array = checked_labels(array, name, n)
    if array.dtype.kind == "b":
        array = array.astype(np.int64)
    unlabelled = np.zeros(n, bool)
    if array.dtype.kind == "O":
        unlabelled = np.array([one is None for one in array.tolist()], bool)
        present = array[~unlabelled]
        kinds = {str if isinstance(one, str) else type(one) for one in present.tolist()}
        whole = all(issubclass(kind, (int, np.integer)) for kind in kinds)
        if not (whole or kinds == {str}):
            raise ValueError(f"{name} must be all integers or all strings (None: no class), got a mixture")
        present = present.astype(str if kinds == {str} else np.int64)
    else:
        present = array
    if present.dtype.kind in "iu":
        signed = present.astype(np.int64)
        unlabelled[~unlabelled] = signed == NO_CLASS
        present = signed[signed != NO_CLASS]
    values, places = np.unique(present, return_inverse=True)
    classes = values.tolist()
    own = np.arange(len(classes), dtype=np.int32)
    if known is not None:
        place = {value: i for i, value in enumerate(known)}
        strangers = [value for value in classes if value not in place]
        if strangers:
            raise ValueError(f"{name} must be among {_shown(known)}, got {strangers[0]!r}")
        own = np.array([place[value] for value in classes], np.int32)
        classes = list(known)
    numbers = np.full(n, NO_CLASS, np.int32)
    numbers[~unlabelled] = own[places.reshape(-1)]
    return numbers, classes


def class_array(classes: Sequence[Any]) -> npt.NDArray[Any]:
    """Classes as an array of int64 or str."""
    return np.array(classes, np.int64 if classes and isinstance(classes[0], int) else None)


def _shown(classes: Sequence[Any]) -> str:
    shown = ", ".join(map(repr, classes[:20]))
    return shown + (f" ... ({len(classes)} classes)" if len(classes) > 20 else "")
