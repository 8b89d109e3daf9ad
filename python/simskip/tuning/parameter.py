"""One parameter of a search space: a range, choices, or a fixed value, and when it applies."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

__all__ = ["Parameter", "parsed"]

_KEYS = ({"low", "high"}, {"choices"}, {"value"})
_OPTIONAL = {"log", "step", "when"}


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A parameter; made by ``parsed``.

    Attributes
    ----------
    name : str
    kind : {"int", "float", "choice", "fixed"}
    low, high : int or float
        Ends of a range, both included.
    log : bool
        Whether the range is searched on a logarithmic scale.
    step : int or float or None
        Distance of a range's values; None: any (integers: 1).
    choices : tuple
        Distinct, at least two.
    value : object
        What a fixed parameter is.
    when : dict of str to tuple
        Part of a trial only where each of these parameters has one of these values.
    """

    name: str
    kind: str
    low: Any = None
    high: Any = None
    log: bool = False
    step: Any = None
    choices: tuple[Any, ...] = ()
    value: Any = None
    when: Mapping[str, tuple[Any, ...]] = dataclasses.field(default_factory=dict)

    @property
    def fixed(self) -> bool:
        """Whether it has one value only."""
        return self.kind == "fixed"

    def extremes(self) -> list[Any]:
        """The values that a check must look at: both ends of a range, all choices."""
        if self.kind == "fixed":
            return [self.value]
        return list(self.choices) if self.kind == "choice" else [self.low, self.high]

    def under(self, when: Mapping[str, tuple[Any, ...]]) -> Parameter:
        """The same with other conditions."""
        return dataclasses.replace(self, when=dict(when))

    def suggest(self, trial: Any) -> Any:
        """Its value in an Optuna trial."""
        if self.kind == "fixed":
            return self.value
        if self.kind == "choice":
            return self.decoded(trial.suggest_categorical(self.name, self.stored_choices()))
        if self.kind == "int":
            return trial.suggest_int(self.name, self.low, self.high, step=self.step or 1, log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, step=self.step, log=self.log)

    def stored_choices(self) -> list[Any]:
        """Its choices as Optuna stores them."""
        return [_stored(choice) for choice in self.choices]

    def decoded(self, stored: Any) -> Any:
        """A value from what Optuna stored."""
        if self.kind != "choice":
            return stored
        # Stored are None, booleans, numbers and strings; a list is stored as its JSON.
        return next(c for c in self.choices if type(_stored(c)) is type(stored) and _stored(c) == stored)

    def as_dict(self) -> dict[str, Any]:
        """A description that ``parsed`` takes."""
        if self.kind == "fixed":
            described: dict[str, Any] = {"value": self.value}
        elif self.kind == "choice":
            described = {"choices": list(self.choices)}
        else:
            described = {"low": self.low, "high": self.high}
            if self.log:
                described["log"] = True
            if self.step is not None:
                described["step"] = self.step
        if self.when:
            described["when"] = {name: list(values) for name, values in self.when.items()}
        return described

    def __str__(self) -> str:
        if self.kind == "fixed":
            return repr(self.value)
        if self.kind == "choice":
            return "one of " + ", ".join(map(repr, self.choices))
        scale = ", logarithmic" if self.log else ""
        return f"{self.low} to {self.high}{scale}" + (f" in steps of {self.step}" if self.step is not None else "")


def parsed(name: str, description: Any) -> Parameter:
    """A parameter from its description (see ``Space``).

    Raises
    ------
    ValueError
        If it is none; the message names the parameter.
    """
    if type(description).__module__.startswith("optuna."):
        return _of_distribution(name, description)
    if isinstance(description, Mapping):
        return _of_mapping(name, description)
    if isinstance(description, tuple):
        if len(description) == 3 and description[2] == "log":
            return _range(name, description[0], description[1], log=True)
        if len(description) == 2:
            return _range(name, *description)
        raise ValueError(
            f'space[{name!r}]: a tuple must be (low, high) or (low, high, "log"), got {description!r};'
            " choices stand in a list"
        )
    if isinstance(description, list):
        return _choices(name, description)
    return _fixed(name, description)


def _fixed(name: str, value: Any) -> Parameter:
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    try:
        json.dumps(value)
    except TypeError:  # it is stored with the study, and told to other processes
        raise ValueError(
            f"space[{name!r}]: a fixed value must be None, a boolean, a number, a string or a list, got {value!r}"
        ) from None
    return Parameter(name, "fixed", value=value)


def _of_mapping(name: str, description: Mapping[str, Any]) -> Parameter:
    keys = set(description) - _OPTIONAL
    if keys not in _KEYS or ("low" not in keys and {"log", "step"} & set(description)):
        raise ValueError(
            f"space[{name!r}]: a mapping must have low and high (and log, step), or choices, or value; and when; got"
            f" {', '.join(map(str, description)) or 'an empty one'}"
        )
    if keys == {"value"}:
        parameter = _fixed(name, description["value"])
    elif keys == {"choices"}:
        parameter = _choices(name, description["choices"])
    else:
        parameter = _range(
            name,
            description["low"],
            description["high"],
            log=description.get("log", False),
            step=description.get("step"),
        )
    when = description.get("when", {})
    if not isinstance(when, Mapping):
        raise ValueError(f"space[{name!r}]: when must map parameters to values, got {when!r}")
    return parameter.under({k: tuple(v) if isinstance(v, (list, tuple)) else (v,) for k, v in when.items()})


def _of_distribution(name: str, distribution: Any) -> Parameter:
    if hasattr(distribution, "choices"):
        return _choices(name, list(distribution.choices))
    if hasattr(distribution, "low"):
        step = distribution.step
        step = None if step == 1 and isinstance(distribution.low, int) else step
        return _range(name, distribution.low, distribution.high, log=distribution.log, step=step)
    raise ValueError(f"space[{name!r}]: expected a float, int or categorical distribution, got {distribution!r}")


def _range(name: str, low: Any, high: Any, *, log: Any = False, step: Any = None) -> Parameter:
    where = f"space[{name!r}]"
    low, high = _number(low, f"{where}: low"), _number(high, f"{where}: high")
    if not isinstance(log, bool):
        raise ValueError(f"{where}: log must be true or false, got {log!r}")
    if low > high:
        raise ValueError(f"{where}: low must not be above high, got {low} and {high}")
    if log and low <= 0:
        raise ValueError(f"{where}: a logarithmic range must start above 0, got {low}")
    whole = isinstance(low, int) and isinstance(high, int)
    if step is not None:
        step = _number(step, f"{where}: step")
        if step <= 0 or log or (whole and not isinstance(step, int)):
            raise ValueError(f"{where}: step must be a number > 0 (of integers: an integer) and not beside log")
        # As Optuna does: the last value that the steps reach.
        high = low + step * math.floor((high - low) / step + 1e-9)
    if low == high:
        return Parameter(name, "fixed", value=low)
    if not whole:
        low, high = float(low), float(high)
    return Parameter(name, "int" if whole else "float", low=low, high=high, log=log, step=step)


def _number(value: Any, what: str) -> Any:
    if isinstance(value, str):  # YAML reads 1e-3 (without a point) as a string
        with contextlib.suppress(ValueError):
            value = float(value)
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{what} must be a finite number, got {value!r}")
    return value


def _choices(name: str, choices: Any) -> Parameter:
    if not isinstance(choices, (list, tuple)) or not choices:
        raise ValueError(f"space[{name!r}]: choices must be a list of at least one value, got {choices!r}")
    stored: list[Any] = []
    for choice in choices:
        try:
            entry = _stored(choice)
        except TypeError:
            raise ValueError(
                f"space[{name!r}]: a choice must be None, a boolean, a number, a string or a list, got {choice!r}"
            ) from None
        if entry in stored:  # True == 1 too: Optuna could not tell them apart
            raise ValueError(f"space[{name!r}]: choices must differ, got {choice!r} twice")
        stored.append(entry)
    if len(choices) == 1:
        return Parameter(name, "fixed", value=choices[0])
    return Parameter(name, "choice", choices=tuple(choices))


def _stored(choice: Any) -> Any:
    """What Optuna keeps of a choice."""
    if choice is None or isinstance(choice, (bool, int, float, str)):
        return choice
    if isinstance(choice, (list, tuple)):
        return json.dumps(list(choice))
    raise TypeError
