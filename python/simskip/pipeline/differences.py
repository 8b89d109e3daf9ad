"""What has changed between two sets of inputs, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["differences"]

_SHOWN = 3
# Inputs that are numbers of states or hashes: that they changed says something, their values do not.
_OPAQUE = {
    "collection": "the collection was changed meanwhile",
    "items": "items changed",
    "labels": "labels changed",
    "hasher": "the hasher changed",
    "embedder": "the embedder changed",
}


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Why something depending on these inputs must be done again; None if it need not.

    Examples
    --------
    >>> differences({"evaluation": {"k": 25}}, {"evaluation": {"k": 10}})
    'evaluation.k: 25 -> 10'
    >>> differences({"items": 3}, {"items": 4})
    'items changed'
    >>> differences({"items": 3}, {"items": 3}) is None
    True
    """
    found: list[str] = []
    _collect(before, now, "", found)
    if not found:
        return None
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(found[:_SHOWN]) + more


def _collect(before: Any, now: Any, path: str, found: list[str]) -> None:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in dict.fromkeys([*before, *now]):
            _collect(before.get(name), now.get(name), f"{path}.{name}" if path else str(name), found)
    elif before != now:
        found.append(_said(path, before, now))


def _said(path: str, before: Any, now: Any) -> str:
    if path in _OPAQUE:
        return _OPAQUE[path]
    shown = f"{path}: {_short(before)} -> {_short(now)}"
    return f"{path} changed" if len(shown) > 80 or isinstance(now, (list, dict)) else shown


def _short(value: Any) -> str:
    return "nothing" if value is None else str(value)
