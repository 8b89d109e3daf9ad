"""What pydantic found, in words and places that belong to the file."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .document import Document, Problem

__all__ = ["Misplaced", "did_you_mean", "known_names", "problems_of"]


class Misplaced(ValueError):
    """Several mistakes inside one section: (location within the section, message) each."""

    def __init__(self, mistakes: Sequence[tuple[tuple[Any, ...], str]]) -> None:
        self.mistakes = list(mistakes)
        super().__init__("; ".join(message for _, message in self.mistakes))


def did_you_mean(word: Any, known: Iterable[str]) -> str:
    """``"; did you mean 'hasher'?"`` if something known resembles the word, else what is known."""
    names = list(known)
    lower = {name.lower(): name for name in names}
    close = difflib.get_close_matches(str(word).lower(), lower, n=1, cutoff=0.6)
    if close:
        return f"; did you mean '{lower[close[0]]}'?"
    return f"; known here: {', '.join(names)}"


def known_names(model: Any, location: Sequence[Any]) -> list[str]:
    """The fields of the model that a location lies in."""
    for part in location:
        field = model.model_fields.get(part) if isinstance(part, str) else None
        inner = None if field is None else _model_in(field.annotation)
        if inner is None:
            break
        model = inner
    return list(model.model_fields)


def _model_in(annotation: Any) -> Any:
    if hasattr(annotation, "model_fields"):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_in(argument)
        if found is not None:
            return found
    return None


def problems_of(error: Any, model: Any, document: Document) -> list[Problem]:
    """A problem for each error of a ``pydantic.ValidationError``.

    Parameters
    ----------
    error : pydantic.ValidationError
    model : type
        What the document was read as.
    document : Document
    """
    problems = []
    for found in error.errors(include_url=False):
        location = tuple(found["loc"])
        mistake = found.get("ctx", {}).get("error")
        if isinstance(mistake, Misplaced):
            for inner, message in mistake.mistakes:
                problems.append(Problem(message, document.place((*location, *inner), key=not inner)))
            continue
        missing, unknown = found["type"] == "missing", found["type"] == "extra_forbidden"
        place = document.place(location[:-1] if missing else location, key=missing or unknown)
        problems.append(Problem(_message(found, model), place))
    return problems


def _message(found: Mapping[str, Any], model: Any) -> str:
    location, given = tuple(found["loc"]), found["input"]
    name = next((part for part in reversed(location) if isinstance(part, str)), "the file")
    context: Mapping[str, Any] = found.get("ctx", {})
    kind = found["type"]
    if kind == "extra_forbidden":
        return f"'{location[-1]}' is not known here{did_you_mean(location[-1], known_names(model, location[:-1]))}"
    if kind == "missing":
        inside = f"'{location[-2]}'" if len(location) > 1 else "the file"
        return f"{inside} needs '{location[-1]}'"
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return f"{name} must be one of {context['expected']}, got {given!r}"
    expected = {
        "int_type": "an integer",
        "int_from_float": "an integer",
        "float_type": "a number",
        "finite_number": "a finite number",
        "bool_type": "true or false",
        "string_type": "text",
        "list_type": "a list",
        "dict_type": "a mapping (name: value)",
        "model_type": "a mapping (name: value)",
        "greater_than": f"greater than {context.get('gt')}",
        "greater_than_equal": f"at least {context.get('ge')}",
        "less_than": f"less than {context.get('lt')}",
        "less_than_equal": f"at most {context.get('le')}",
        "string_too_short": "some text",
        "too_short": "a list with something in it",
    }.get(kind)
    if expected is None:
        return f"{name}: {found['msg']}"
    return f"{name} must be {expected}, got {'nothing' if given is None else repr(given)}"
