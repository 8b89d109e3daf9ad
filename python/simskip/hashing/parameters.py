"""The manners of estimators: parameters of ``__init__`` that can be listed, set, and seen in the repr."""

from __future__ import annotations

import inspect
from typing import Any, TypeVar

from ..validation import choice

__all__ = ["Parameters"]

_Self = TypeVar("_Self", bound="Parameters")


class Parameters:
    """What ``__init__`` stores under its own names; learnt attributes end in ``_``."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters of ``__init__`` and their values, as scikit-learn asks for them."""
        return {name: getattr(self, name) for name in self._parameter_names()}

    def set_params(self: _Self, **params: Any) -> _Self:
        """Set parameters of ``__init__``; the hasher must be fitted again afterwards."""
        names = self._parameter_names()
        for name in params:
            choice(name, "the parameter", tuple(names))
        for name, value in params.items():
            setattr(self, name, value)
        if params:
            for name in [name for name in vars(self) if name.endswith("_") and not name.startswith("_")]:
                delattr(self, name)
        return self

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        shown = [
            repr(value) if name == "n_bits" else f"{name}={value!r}"
            for name, value in self.get_params().items()
            if name == "n_bits" or not _same(value, defaults[name].default)
        ]
        return f"{type(self).__name__}({', '.join(shown)}){self._state_shown()}"

    def _state_shown(self) -> str:
        """What stands behind the parameters in the repr."""
        raise NotImplementedError

    @classmethod
    def _parameter_names(cls) -> list[str]:
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]


def _same(value: Any, default: Any) -> bool:
    return value is default or (type(value) is type(default) and bool(value == default))
