"""Hashers by the names that configurations and the command line use, and the check of their parameters."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from ..hashing import DeepHash, PCAHash, RandomHash
from ..hashing.recipes import RECIPES, resolved
from .explanations import did_you_mean

__all__ = ["check_hasher", "checked_classifier", "checked_hasher", "hasher_names"]

_LINEAR: dict[str, Any] = {"pca": PCAHash, "itq": PCAHash, "random": RandomHash}
# Given by the section or the option of their own.
_ELSEWHERE = {"n_bits": "bits", "objective": "name"}


def hasher_names() -> list[str]:
    """Objectives of ``DeepHash``, then the linear hashers."""
    return [*RECIPES, *_LINEAR]


def check_hasher(name: str, n_bits: int, parameters: Mapping[str, Any]) -> list[tuple[tuple[str, ...], str]]:
    """Mistakes in a hasher's parameters, as (where in them, what); none if they can be trained with.

    Parameters
    ----------
    name : str
        One of ``hasher_names()``.
    n_bits : int
    parameters : mapping of str to object
        For the hasher's ``__init__``.

    Examples
    --------
    >>> check_hasher("neighbors", 64, {"epoch": 3})
    [(('epoch',), "'epoch' is no parameter of neighbors; did you mean 'epochs'?")]
    >>> check_hasher("neighbors", 64, {"dropout": 2})
    [(('dropout',), 'dropout must lie in [0, 1), got 2')]
    """
    kind = _LINEAR.get(name, DeepHash)
    fixed = ("rotation",) if name == "itq" else ()
    known = [key for key in inspect.signature(kind.__init__).parameters if key not in ("self", *_ELSEWHERE, *fixed)]
    mistakes: list[tuple[tuple[str, ...], str]] = []
    for key in parameters:
        if key in _ELSEWHERE:
            mistakes.append(((key,), f"'{key}' is set by '{_ELSEWHERE[key]}'"))
        elif key not in known:
            mistakes.append(((key,), f"'{key}' is no parameter of {name}{did_you_mean(key, known)}"))
    if mistakes or kind is not DeepHash:
        return mistakes
    try:
        resolved(DeepHash(n_bits, name, **parameters))
    except (TypeError, ValueError) as error:
        about = next((key for key in parameters if str(error).startswith((f"{key} ", f"{key}="))), None)
        mistakes.append(((about,) if about else (), str(error)))
    return mistakes


def checked_hasher(name: str, n_bits: int, given: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Parameters of a hasher as the command line gives them.

    Raises
    ------
    ValueError
        For an unknown hasher, a parameter given twice, or parameters that it cannot have.
    """
    if name not in hasher_names():
        raise ValueError(f"there is no hasher {name!r}{did_you_mean(name, hasher_names())}")
    parameters = _once(given)
    mistakes = check_hasher(name, n_bits, parameters)
    if mistakes:
        raise ValueError("; ".join(message for _, message in mistakes))
    return parameters


def checked_classifier(given: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Parameters of a classifier as the command line gives them.

    Raises
    ------
    ValueError
        For a parameter given twice or one that it has not.
    """
    from ..collection.hierarchy.vector_classifier import VectorClassifier

    parameters = _once(given)
    known = [key for key in inspect.signature(VectorClassifier.__init__).parameters if key != "self"]
    for key in parameters:
        if key not in known:
            raise ValueError(f"'{key}' is no parameter of a classifier{did_you_mean(key, known)}")
    return parameters


def _once(given: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in given]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"--set: {name!r} is given twice")
    return dict(given)
