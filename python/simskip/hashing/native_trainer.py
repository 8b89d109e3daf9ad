"""The door to ``simskip._learn``, the native trainer: opened when somebody trains, never before."""

from __future__ import annotations

import importlib
import importlib.util
from importlib import metadata
from pathlib import Path
from types import ModuleType

__all__ = ["load"]

_MODULE = "simskip._learn"
# Written by the build beside the module. Loading a module beside another release of LibTorch than it was compiled
# with may crash instead of fail, so the versions are compared before.
_VERSION_FILE = "_learn_torch_version.txt"
_INSTALL = 'pip install "simskip[train]"'

_loaded: ModuleType | None = None


def load() -> ModuleType:
    """Return ``simskip._learn``.

    Raises
    ------
    ImportError
        If simskip was built without the trainer, torch is missing, or torch is of another release than the one the
        trainer was compiled with. The message says what to install.
    """
    global _loaded
    if _loaded is not None:
        return _loaded
    spec = importlib.util.find_spec(_MODULE)
    if spec is None or spec.origin is None:
        raise ImportError(
            "this build of simskip has no trainer (it was built with SIMSKIP_LEARN=OFF); hashers that are trained "
            f"already encode without it. To train: {_INSTALL}, built without that setting"
        )
    built = Path(spec.origin).with_name(_VERSION_FILE).read_text().strip()
    try:
        installed = metadata.version("torch")
    except metadata.PackageNotFoundError:
        raise ImportError(f"training needs torch {built}, which is not installed: {_INSTALL}") from None
    # "2.13.0+cpu" and "2.13.0" are one release.
    if _release(installed) != _release(built):
        raise ImportError(
            f"the trainer was compiled with torch {built}, but torch {installed} is installed, and LibTorch keeps no "
            f"binary compatibility between releases: {_INSTALL} (or rebuild simskip beside torch {installed})"
        )
    try:
        _loaded = importlib.import_module(_MODULE)
    except ImportError as error:
        raise ImportError(f"the trainer could not be loaded ({error}): {_INSTALL}") from error
    return _loaded


def _release(version: str) -> str:
    return version.partition("+")[0]
