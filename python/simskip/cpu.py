"""What the processor offers and how much of it native calls use."""

from __future__ import annotations

from . import _core
from .validation import thread_count

__all__ = ["available", "force", "isa", "set_threads", "threads"]  # noqa: F822  (the first and third: see below)


def __getattr__(name: str) -> object:
    if name == "isa":
        return _core.active_isa()
    if name == "available":
        return tuple(_core.available_isas())
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def force(name: str) -> None:
    """Use another of ``available`` (tests and benchmarks; the environment variable is ``SIMSKIP_ISA``)."""
    _core.force_isa(name)


def threads() -> int:
    """Threads that native calls use when they are not told."""
    return int(_core.default_threads())


def set_threads(n: int | None) -> None:
    """Set it for the whole process; ``None`` restores the initial value (``OMP_NUM_THREADS``, CPU affinity)."""
    _core.set_default_threads(thread_count(n, "n"))
