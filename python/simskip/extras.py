"""Optional dependencies: imported when first needed, with the install command when missing."""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = ["require"]


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Import ``module`` or say which extra brings it.

    Parameters
    ----------
    module : str
        Import name, for example ``"onnxruntime"``.
    extra : str
        The extra of simskip that installs it, for example ``"images"``.
    purpose : str
        What the user wanted, as the subject of "needs": ``"Embedding images"``.

    Raises
    ------
    ImportError
        If the module (or something it imports) is missing.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f'{purpose} needs {module}, which could not be imported ({error}): pip install "simskip[{extra}]"'
        ) from error
