"""The whole job from one file, ``application.yaml``: collection, hasher, report, exports; only what changed is done."""

from __future__ import annotations

from typing import Any

__all__ = ["Configuration", "ConfigurationError", "Outcome", "Run", "read_configuration", "run"]


def __getattr__(name: str) -> Any:
    # Lazily: the models need pydantic, which the rest of simskip does without.
    if name in ("Configuration", "read_configuration"):
        from . import configuration

        return getattr(configuration, name)
    if name == "ConfigurationError":
        from .document import ConfigurationError

        return ConfigurationError
    if name in ("Outcome", "Run", "run"):
        from . import runner

        return getattr(runner, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
