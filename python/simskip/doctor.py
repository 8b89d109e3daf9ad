"""What this installation offers and what is wrong with it: the facts behind ``simskip doctor``."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from . import cpu

__all__ = ["Diagnosis", "Extra", "diagnose", "openmp_runtimes"]

_MAPS = Path("/proc/self/maps")
_OPENMP = re.compile(r"(/\S*/lib(?:gomp|iomp5|omp)[^/\s]*\.so[^/\s]*)")
_REQUIREMENT = re.compile(
    r"(?P<package>[A-Za-z0-9._-]+)\s*(?:\[[^]]*\])?\s*(?P<specifier>[^;]*?)\s*;"
    r".*extra\s*==\s*['\"](?P<extra>[^'\"]+)['\"]"
)


@dataclass(frozen=True)
class Extra:
    """An extra of simskip: what is installed (name, version) and what is missing (as pip wants it)."""

    name: str
    installed: tuple[tuple[str, str], ...]
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Diagnosis:
    """Facts, and problems: sentences that say what to do; none if all is well.

    Attributes
    ----------
    facts : dict of str to str
        In the order to be shown.
    extras : tuple of Extra
    problems : list of str
    """

    facts: dict[str, str]
    extras: tuple[Extra, ...]
    problems: list[str] = field(default_factory=list)


def diagnose() -> Diagnosis:
    """Look at the processor, the threads, the trainer, OpenMP, SQLite, ONNX Runtime and the extras.

    PyTorch and the trainer are imported if they are there, to see which OpenMP runtimes they bring.

    Examples
    --------
    >>> from simskip.doctor import diagnose
    >>> "instruction set" in diagnose().facts
    True
    """
    problems: list[str] = []
    available: Any = cpu.available
    facts = {
        "simskip": _version("simskip") or "not installed as a package",
        "python": f"{platform.python_version()} ({sys.executable})",
        "system": f"{platform.system()} {platform.machine()}",
        "numpy": _version("numpy") or "missing",
        "instruction set": f"{cpu.isa} (of {', '.join(available)})",
        "threads": f"{cpu.threads()} (processors that may be used: {_processors()})",
        "torch": _torch(),
        "trainer": _trainer(problems),
        "SQLite": _sqlite(problems),
        "ONNX Runtime": _onnx_runtime(),
    }
    runtimes = openmp_runtimes()
    facts["OpenMP runtimes"] = ", ".join(runtimes) if runtimes else "none loaded"
    if len(runtimes) > 1:
        problems.append(
            "two OpenMP runtimes in one process can slow each other down or hang: "
            + ", ".join(runtimes)
            + "; install torch from the package index that simskip was built with"
        )
    return Diagnosis(facts, _extras(metadata_requirements()), problems)


def openmp_runtimes(maps: str | None = None) -> list[str]:
    """Paths of the OpenMP runtimes that this process has loaded.

    Parameters
    ----------
    maps : str, optional
        The text of ``/proc/PID/maps``; default this process's (empty where there is none).
    """
    if maps is None:
        maps = _MAPS.read_text() if _MAPS.exists() else ""
    return sorted(set(_OPENMP.findall(maps)))


def metadata_requirements() -> list[str]:
    """Requirements of the installed simskip, extras included."""
    try:
        return metadata.requires("simskip") or []
    except metadata.PackageNotFoundError:
        return []


def _extras(requirements: Iterable[str]) -> tuple[Extra, ...]:
    installed: dict[str, list[tuple[str, str]]] = {}
    missing: dict[str, list[str]] = {}
    for requirement in requirements:
        match = _REQUIREMENT.match(requirement)
        if match is None:
            continue
        package, specifier, extra = match.groups()
        installed.setdefault(extra, [])
        missing.setdefault(extra, [])
        if package == "simskip":  # an extra made of other extras
            continue
        version = _version(package)
        pinned = specifier[2:].strip() if specifier.startswith("==") else None
        # A local version ("2.13.0+cpu") satisfies the pin of its public part.
        if version is None or (pinned is not None and version.partition("+")[0] != pinned):
            missing[extra].append(package + specifier)
        else:
            installed[extra].append((package, version))
    return tuple(Extra(name, tuple(installed[name]), tuple(missing[name])) for name in sorted(installed))


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processors() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def _torch() -> str:
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        return "not installed" if importlib.util.find_spec("torch") is None else f"does not load: {error}"
    version: str = torch.__version__
    cuda = torch.version.cuda
    return f"{version} (CUDA {cuda})" if cuda else f"{version} (CPU)"


def _sqlite(problems: list[str]) -> str:
    """The library behind collections."""
    import sqlite3

    version = sqlite3.sqlite_version
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("SELECT json_extract('[1]', '$[0]')").fetchone()
    except sqlite3.OperationalError:
        problems.append(
            f"SQLite {version} has no JSON functions: collections need them; use a Python with a newer SQLite"
        )
        return f"{version} (without JSON)"
    finally:
        connection.close()
    return f"{version} (with JSON)"


def _onnx_runtime() -> str:
    """What runs images' networks, and where it can."""
    if importlib.util.find_spec("onnxruntime") is None:
        return "not installed"
    try:
        runtime = importlib.import_module("onnxruntime")
    except ImportError as error:
        return f"does not load: {error}"
    return f"{runtime.__version__} ({', '.join(runtime.get_available_providers())})"


def _trainer(problems: list[str]) -> str:
    from .hashing import native_trainer

    if importlib.util.find_spec("simskip._learn") is None:
        return "not built (SIMSKIP_LEARN=OFF): everything but training works"
    try:
        native_trainer.load()
    except ImportError as error:
        if importlib.util.find_spec("torch") is not None:
            problems.append(str(error))
        return f"built, does not load: {error}"
    return "loads"
