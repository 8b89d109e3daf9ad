"""Labels as users give them, and as the trainer takes them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import validation
from .recipes import Recipe

__all__ = ["NO_CLASS", "ClassLabels", "checked_labels"]

NO_CLASS = -1


def checked_labels(y: npt.ArrayLike, n: int) -> npt.NDArray[Any]:
    """``y`` as (n,) labels or as an (n, n_classes) float32 matrix of weights in [0, 1]."""
    array = validation.array_of(y, "y")
    if array.ndim != 2:
        return validation.labels(array, "y", n)
    weights = validation.matrix(array, "y")
    if len(weights) != n:
        raise ValueError(f"y must hold the classes of each of the {n} rows, got {len(weights)} rows")
    if weights.min() < 0 or weights.max() > 1:
        raise ValueError(f"y must hold weights of classes in [0, 1], got {weights.min():g} to {weights.max():g}")
    return weights


@dataclasses.dataclass(frozen=True)
class ClassLabels:
    """What an objective learns from.

    Attributes
    ----------
    numbers : (n,) int32 array or None
        Classes from 0; -1: none.
    targets : (n, count) float32 array or None
        Several classes per row, in place of ``numbers``.
    count : int
        Classes.
    values : list of int or str, or None
        What the user calls class 0, 1, ...
    """

    numbers: npt.NDArray[np.int32] | None = None
    targets: npt.NDArray[np.float32] | None = None
    count: int = 0
    values: list[Any] | None = None

    @classmethod
    def of(
        cls,
        y: npt.NDArray[Any] | None,
        recipe: Recipe,
        objective: str | Callable[..., Any],
        known: Sequence[Any] | None = None,
    ) -> ClassLabels:
        """Check labels against the objective; ``known``: the only classes there may be."""
        name = objective if isinstance(objective, str) else getattr(objective, "__name__", "custom")
        if y is None:
            if recipe.supervised:
                raise ValueError(
                    f"y must hold a class for each row: objective {name!r} learns from labels, got None "
                    "(simskip.pseudo_labels makes some)"
                )
            return cls()
        if y.ndim == 2:
            if recipe.supervised and not recipe.multi_label:
                raise ValueError(
                    f"y must hold one class per row: objective {name!r} is not defined for several, got shape {y.shape}"
                )
            if recipe.supervised and y.shape[1] < 2:
                raise ValueError(f"y must have a column for each of at least two classes, got shape {y.shape}")
            return cls(targets=y, count=y.shape[1])
        return cls._single(y, known, needed=recipe.supervised)

    @classmethod
    def _single(cls, y: npt.NDArray[Any], known: Sequence[Any] | None, needed: bool) -> ClassLabels:
        try:
            values, places = np.unique(y, return_inverse=True)
        except TypeError:
            raise ValueError("y must be all integers or all strings, got a mixture") from None
        numbers: npt.NDArray[np.int32] = places.reshape(-1).astype(np.int32)
        unlabelled = values.dtype.kind == "i" and values[0] == NO_CLASS
        if unlabelled:
            values, numbers = values[1:], numbers - np.int32(1)
        if known is not None:
            strangers = sorted(set(values.tolist()) - set(known), key=str)
            if strangers:
                raise ValueError(f"y must hold classes of the first training only, got also {strangers[0]!r}")
            place = {value: i for i, value in enumerate(known)}
            own = np.array([*(place[value] for value in values.tolist()), NO_CLASS], np.int32)
            numbers = own[numbers]  # -1 is the last
            return cls(numbers=numbers, count=len(known), values=list(known))
        if needed and len(values) < 2:
            got = f"only {values.tolist()[0]!r}" if len(values) else "none"
            hint = " (-1 stands for rows without a class)" if unlabelled else ""
            raise ValueError(f"y must hold at least two classes, got {got}{hint}")
        return cls(numbers=numbers, count=len(values), values=values.tolist())
