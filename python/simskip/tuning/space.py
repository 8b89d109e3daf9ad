"""What is searched: parameters of a hasher, each with a range, choices, or a fixed value."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..hashing.deep import DeepHash
from ..hashing.recipes import RECIPES, resolved
from ..validation import bit_count
from .parameter import Parameter, parsed

__all__ = ["Space", "default_space", "read_space"]

_OF_THE_STUDY = {
    "metric": "tune(distance=...) sets the exact metric, for all trials alike",
    "random_state": "tune(random_state=...) sets it, for all trials alike",
    "threads": "tune(threads=...) sets it, for all trials alike",
    "objective_options": 'name the option itself, for example "tau"',
}
_ALIASES = {"temperature": "tau"}
_SHAPE = ("width", "depth")
_SEQUENCES = ("hidden", "prefixes")


class Space:
    """A checked search space.

    Parameters
    ----------
    given : mapping of str to description
        Names are parameters of ``DeepHash``; ``width`` and ``depth``, which make ``hidden``: so many layers of one
        width; and options of objectives, such as ``tau`` (also called ``temperature``) or ``alpha``. A description is

        * a tuple ``(low, high)`` or ``(low, high, "log")``: a range, of integers if both ends are;
        * a list: choices;
        * a mapping with ``low`` and ``high`` (and ``log``, ``step``) or with ``choices``, as YAML and JSON can say it;
          with ``when``, a mapping from other parameters to a value or a list of values, it is part of a trial only
          where those have one of these values;
        * an Optuna distribution;
        * anything else: a fixed value.

        Of its own accord an objective's option is part of a trial only if the trial's objective has it, and ``width``
        only if there is a layer.
    n_bits : int
        Used if ``given`` does not speak of bits.

    Raises
    ------
    ValueError
        For an unknown name, a range or choice that the parameter cannot take, or conditions that go round in a circle.

    Examples
    --------
    >>> from simskip.tuning.space import Space
    >>> Space({"width": [128, 256], "depth": (0, 2), "dropout": (0.0, 0.4), "activation": "gelu"}).tuned
    ['depth', 'dropout', 'width']
    """

    def __init__(self, given: Mapping[str, Any], n_bits: int = 64) -> None:
        if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
            raise ValueError(f"space must be a mapping of names to ranges, choices or values, got {given!r}")
        described = {"objective": "neighbors", "n_bits": n_bits}
        for name, description in given.items():
            if name in _OF_THE_STUDY:
                raise ValueError(f"space must not hold {name!r}: {_OF_THE_STUDY[name]}")
            actual = _ALIASES.get(name, name)
            if actual in given and actual != name:
                raise ValueError(f"space must name {actual!r} once, got {name!r} too, which is the same")
            if name in _SEQUENCES and isinstance(description, tuple):
                description = {"value": list(description)}  # not a range
            described[actual] = description
        parameters = {name: parsed(name, description) for name, description in described.items()}
        self._options = _objective_options()
        self._check_names(parameters)
        for parameter in parameters.values():
            for value in parameter.extremes():
                self._check_value(parameter.name, value, parameters["objective"])
        self._parameters = _in_order(parameters, {name: self._implied(name, parameters) for name in parameters})

    # What it holds.

    @property
    def tuned(self) -> list[str]:
        """Names of what varies, sorted."""
        return sorted(name for name, p in self._parameters.items() if not p.fixed)

    @property
    def parameters(self) -> dict[str, Parameter]:
        """All parameters, conditions before what they decide on."""
        return dict(self._parameters)

    @property
    def supervised(self) -> bool:
        """Whether any objective in it needs labels."""
        return any(RECIPES[name].supervised for name in self._parameters["objective"].extremes())

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; ``Space`` takes it back."""
        return {name: self._parameters[name].as_dict() for name in sorted(self._parameters)}

    def __repr__(self) -> str:
        lines = [f"  {name:<14} {self._parameters[name]}" for name in self.tuned]
        fixed = ", ".join(f"{n}={p.value!r}" for n, p in self._parameters.items() if p.fixed)
        return "\n".join([f"Space: {fixed}", *lines])

    # What a trial does with it.

    def suggest(self, trial: Any) -> dict[str, Any]:
        """The values of one Optuna trial: everything that is part of it, fixed values too."""
        values: dict[str, Any] = {}
        for name, parameter in self._parameters.items():
            if self._active(name, values):
                values[name] = parameter.suggest(trial)
        return values

    def decoded(self, suggested: Mapping[str, Any]) -> dict[str, Any]:
        """The same from what Optuna stored."""
        values: dict[str, Any] = {}
        for name, parameter in self._parameters.items():
            if self._active(name, values):
                values[name] = parameter.value if parameter.fixed else parameter.decoded(suggested[name])
        return values

    def without(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What remains of a trial's values if everything tuned is left to DeepHash, but for bits and objective."""
        return {
            name: value
            for name, value in values.items()
            if self._parameters[name].fixed or name in ("objective", "n_bits")
        }

    def hasher_parameters(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Keyword arguments of ``DeepHash`` from a trial's values."""
        options = {name: value for name, value in values.items() if name in self._options}
        own = {name: value for name, value in values.items() if name not in options and name not in _SHAPE}
        if "width" in values or "depth" in values:
            depth = values.get("depth", 1)
            own["hidden"] = (values["width"],) * depth if depth else ()
        if own.get("hidden") is not None:
            own["hidden"] = tuple(own["hidden"])
        if options:
            own["objective_options"] = options
        return own

    def _active(self, name: str, values: Mapping[str, Any]) -> bool:
        return all(
            other in values and any(values[other] == wanted for wanted in allowed)
            for other, allowed in self._parameters[name].when.items()
        )

    # Checks.

    def _check_names(self, parameters: Mapping[str, Parameter]) -> None:
        own = set(inspect.signature(DeepHash.__init__).parameters) - {"self"}
        known = sorted((own | set(self._options) | set(_SHAPE) | set(_ALIASES)) - set(_OF_THE_STUDY))
        for name, parameter in parameters.items():
            if name not in known:
                raise ValueError(f"space must hold only names out of {', '.join(known)}; got {name!r}")
            for other in parameter.when:
                if other not in parameters or other == name:
                    raise ValueError(f"space[{name!r}]: when must name another parameter of the space, got {other!r}")
        if "hidden" in parameters and any(name in parameters for name in _SHAPE):
            raise ValueError("space must hold hidden, or width and depth, got both")
        if "depth" in parameters and "width" not in parameters:
            raise ValueError("space must hold width beside depth: a layer needs one")

    def _check_value(self, name: str, value: Any, objective: Parameter) -> None:
        """Let the hasher itself say what it takes."""
        if name in self._options:
            allowed = [o for o in objective.extremes() if o in self._options[name]]
            if not allowed:
                raise ValueError(f"space[{name!r}]: none of the objectives {objective.extremes()} has this option")
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
                raise ValueError(f"space[{name!r}]: expected numbers >= 0, got {value!r}")
            return
        if name == "depth":
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 64:
                raise ValueError(f"space['depth']: expected integers from 0 to 64, got {value!r}")
            return
        arguments = {"hidden": [value]} if name == "width" else {name: value}
        try:
            bit_count(arguments.get("n_bits", 1))
            resolved(DeepHash(**arguments), labelled=True)
        except ValueError as error:
            raise ValueError(f"space[{name!r}]: {error}") from None

    def _implied(self, name: str, parameters: Mapping[str, Parameter]) -> dict[str, tuple[Any, ...]]:
        """Conditions that follow from what the parameter is."""
        if name in self._options:
            return {"objective": tuple(self._options[name])}
        if name == "width" and "depth" in parameters:
            return {"depth": tuple(range(1, 65))}
        return {}


def _objective_options() -> dict[str, list[str]]:
    """option -> the objectives that have it; empty where simskip was built without the trainer."""
    from ..hashing import native_trainer

    options: dict[str, list[str]] = {}
    for info in native_trainer.load().objectives():
        for option in info.options:
            options.setdefault(option, []).append(info.name)
    return options


def _in_order(
    parameters: Mapping[str, Parameter], implied: Mapping[str, Mapping[str, tuple[Any, ...]]]
) -> dict[str, Parameter]:
    """With their implied conditions, each after those that its conditions name."""
    waiting: dict[str, Parameter] = {}
    for name, parameter in sorted(parameters.items()):
        when = {**implied[name], **parameter.when}
        for other, allowed in implied[name].items():
            when[other] = tuple(value for value in when[other] if value in allowed)
        waiting[name] = parameter.under(when)
    ordered: dict[str, Parameter] = {}
    while waiting:
        ready = [name for name, parameter in waiting.items() if all(other in ordered for other in parameter.when)]
        if not ready:
            raise ValueError(f"space: the conditions of {', '.join(waiting)} wait for each other")
        for name in ready:
            ordered[name] = waiting.pop(name)
    return ordered


def default_space(
    labels: bool, *, multi_label: bool = False, many_bits: bool = False, distance: str = "cosine"
) -> dict[str, Any]:
    """What is searched if nobody says what.

    Parameters
    ----------
    labels : bool
        Whether there are labels: then the supervised objectives compete.
    multi_label : bool
        Whether rows may have several classes: then only objectives that can learn from them.
    many_bits : bool
        Vary the number of bits too, which makes sense where bytes are weighed against quality.
    distance : {"cosine", "l2", "dot"}
        The exact metric; ``tau`` is in its units, and left to the data unless they are cosines.

    Returns
    -------
    dict
        As ``Space`` takes it.
    """
    space: dict[str, Any] = {
        "width": [256, 512, 1024],
        "depth": (0, 2),
        "activation": ["relu", "gelu"],
        "dropout": (0.0, 0.5),
        "learning_rate": (3e-4, 1e-2, "log"),
        "batch_norm": [False, True],
        "residual": [True, False],
    }
    if many_bits:
        space["n_bits"] = [32, 64, 128, 256]
    if labels:
        space["objective"] = [
            name for name, r in RECIPES.items() if r.supervised and (r.multi_label or not multi_label)
        ]
        space["batch_size"] = [64, 128, 256]
    else:
        space["batch_size"] = [231, 462, 924]
        space["input_noise"] = (0.0, 0.6)
        if distance == "cosine":
            space["tau"] = (0.01, 0.1, "log")
    return space


def read_space(text: str, suffix: str) -> dict[str, Any]:
    """A space from the text of a ``.json`` or ``.yaml`` file; ``ValueError`` if it is none."""
    try:
        if suffix == ".json":
            space = json.loads(text)
        else:
            from ..extras import require

            yaml = require("yaml", "tune", "A space in YAML")
            try:
                space = yaml.safe_load(text)
            except yaml.YAMLError as error:
                raise ValueError(str(error)) from None
    except ValueError as error:
        raise ValueError(f"space must be valid {suffix[1:].upper()}: {error}") from None
    if not isinstance(space, Mapping) or isinstance(space, Sequence):
        raise ValueError(f"space must be a mapping of names to ranges, choices or values, got {space!r}")
    return dict(space)
