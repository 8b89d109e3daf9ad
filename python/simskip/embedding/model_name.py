"""Names that say everything: ``"onnx:/models/a.onnx?size=256&framing=centre"``.

What stands behind the question mark are options, so that a stored name makes the same embedder again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, quote

__all__ = ["joined", "split"]

# The last question mark, if only KEY=VALUE pairs follow: file names may hold others.
_OPTIONS = re.compile(r"\?([a-z_]+=[^?&/=]*(?:&[a-z_]+=[^?&/=]*)*)\Z")


def joined(name: str, options: Mapping[str, Any]) -> str:
    """The name with those of the options that are not None.

    Examples
    --------
    >>> joined("onnx:a.onnx", {"size": (256, 192), "output": "pool", "mean": None})
    'onnx:a.onnx?size=256,192&output=pool'
    """
    pairs = [f"{key}={quote(_written(value), safe=',.-')}" for key, value in options.items() if value is not None]
    return f"{name}?{'&'.join(pairs)}" if pairs else name


def split(name: str) -> tuple[str, dict[str, Any]]:
    """The name before the question mark and the options behind it: numbers, lists of numbers, true, or text.

    Examples
    --------
    >>> split("onnx:a.onnx?size=256,192&output=pool")
    ('onnx:a.onnx', {'size': [256, 192], 'output': 'pool'})
    """
    found = _OPTIONS.search(name)
    if found is None:
        return name, {}
    return name[: found.start()], {key: _read(value) for key, value in parse_qsl(found[1], keep_blank_values=True)}


def _written(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(map(_written, value))
    return value if isinstance(value, str) else json.dumps(value)


def _read(text: str) -> Any:
    for attempt in (text, f"[{text}]" if "," in text else text):
        try:
            return json.loads(attempt)
        except ValueError:
            continue
    return text
