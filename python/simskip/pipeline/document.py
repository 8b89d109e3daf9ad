"""A YAML file that remembers where everything stood: values, and the line and column of each."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from ..extras import require

__all__ = ["ConfigurationError", "Document", "Place", "Problem", "read_document"]

# An application's file has some dozens of lines: more is a mistake (a database, a photograph).
_MAX_BYTES = 1 << 20

Location = tuple[Any, ...]

# YAML 1.2's core schema. YAML 1.1, PyYAML's own, reads `no` as false and 1e-3 as a string.
_SCALARS = (
    ("null", re.compile(r"~|null|Null|NULL|"), [*"~nN", ""]),
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE"), [*"tTfF"]),
    ("int", re.compile(r"[-+]?[0-9]+"), [*"-+0123456789"]),
    (
        "float",
        re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"),
        [*"-+.0123456789"],
    ),
)
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, order=True)
class Place:
    """Where something stands: line and column from 1, and how many characters of that line it fills."""

    line: int
    column: int
    length: int = 1


@dataclass(frozen=True)
class Problem:
    """What is wrong, and where (None: the file as a whole)."""

    message: str
    place: Place | None = None


class ConfigurationError(ValueError):
    """A configuration that cannot be used: every problem with its line.

    Attributes
    ----------
    path : Path
    problems : list of Problem
        In the order of their lines.
    """

    def __init__(self, path: str | os.PathLike[str], problems: Iterable[Problem], text: str = "") -> None:
        self.path = Path(path)
        self.problems = sorted(problems, key=lambda problem: problem.place or Place(0, 0))
        lines = text.splitlines()
        count = len(self.problems)
        head = f"{self.path}: {count} problem{'s'[: count != 1]}"
        super().__init__("\n".join([head, *(line for p in self.problems for line in _shown(p, lines))]))


def _shown(problem: Problem, lines: Sequence[str]) -> list[str]:
    """The message, then the line it speaks of with a mark under the offending text."""
    place = problem.place
    if place is None:
        return [f"  {problem.message}"]
    shown = [f"  line {place.line}, column {place.column}: {problem.message}"]
    if 1 <= place.line <= len(lines) and len(lines[place.line - 1]) <= 300:
        line = lines[place.line - 1]
        # Tabs stay tabs in front of the mark, or it would stand elsewhere.
        blank = "".join("\t" if c == "\t" else " " for c in line[: place.column - 1])
        number = str(place.line)
        shown.append(f"    {number} | {line}")
        shown.append(f"    {' ' * len(number)} | {blank}{'^' * max(1, place.length)}")
    return shown


@dataclass
class Document:
    """A parsed file.

    Attributes
    ----------
    path : Path
    text : str
    value : dict
        Mappings, lists, str, int, float, bool, None.
    problems : list of Problem
        What did not hinder parsing: a key that appears twice.
    """

    path: Path
    text: str = ""
    value: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    _keys: dict[Location, Place] = field(default_factory=dict)
    _values: dict[Location, Place] = field(default_factory=dict)
    _scalars: set[Location] = field(default_factory=set)

    def place(self, location: Location, *, key: bool = False) -> Place | None:
        """Where a value (or its key) stands; where it stands in none, the nearest thing around it."""
        while location:
            for places in (self._keys, self._values) if key else (self._values, self._keys):
                if location in places:
                    return places[location]
            location = location[:-1]
            key = location not in self._scalars  # a section is named by its key, `hasher: csq` is wrong in its value
        return None

    def error(self, problems: Iterable[Problem]) -> ConfigurationError:
        """The exception that shows these problems in this file."""
        return ConfigurationError(self.path, problems, self.text)


def read_document(path: str | os.PathLike[str]) -> Document:
    """Read a YAML file whose top is a mapping.

    Only plain YAML is taken: mappings with text as keys, lists, text, numbers, true, false, null, as YAML 1.2 has
    them. No anchors, no tags, one document.

    Parameters
    ----------
    path : path

    Returns
    -------
    Document

    Raises
    ------
    ConfigurationError
        For a file that is no such YAML; the message has line and column.
    OSError
        If it cannot be read.
    ImportError
        If PyYAML is missing.

    Examples
    --------
    >>> from pathlib import Path
    >>> _ = Path("application.yaml").write_text("hasher:\\n  bits: 32\\n")
    >>> document = read_document("application.yaml")
    >>> document.value, document.place(("hasher", "bits"))
    ({'hasher': {'bits': 32}}, Place(line=2, column=9, length=2))
    """
    yaml = require("yaml", "cli", "A configuration file")
    file = Path(path)
    if file.is_dir():
        raise ConfigurationError(file, [Problem("must be a YAML file, got a folder")])
    content = file.read_bytes()
    if len(content) > _MAX_BYTES:
        raise ConfigurationError(file, [Problem(f"must be a YAML file of at most 1 MiB, got {len(content):,} bytes")])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigurationError(file, [Problem("must be UTF-8 text", Place(line, 1))]) from None
    document = Document(file, text)
    try:
        _refuse_anchors(yaml, document)
        root = yaml.compose(text, Loader=_loader(yaml))
    except yaml.MarkedYAMLError as error:
        raise document.error([_syntax(error, text)]) from None
    except yaml.YAMLError as error:  # characters that YAML does not allow
        position = getattr(error, "position", 0)
        line = text.count("\n", 0, position) + 1
        column = position - (text.rfind("\n", 0, position) + 1) + 1
        message = f"this character is not allowed in YAML: {getattr(error, 'reason', error)}"
        raise document.error([Problem(message, Place(line, column))]) from None
    except RecursionError:
        raise document.error([Problem("is nested too deeply")]) from None
    if root is None:
        raise document.error([Problem("is empty")])
    if not isinstance(root, yaml.MappingNode):
        raise document.error([Problem("must be a mapping (name: value) at its top", _place(root))])
    document.value = _Reader(yaml, document).read(root, ())
    return document


def _loader(yaml: Any) -> Any:
    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}

    for name, pattern, starts in _SCALARS:
        Loader.add_implicit_resolver(_TAG + name, re.compile(f"(?:{pattern.pattern})$"), starts)
    return Loader


def _refuse_anchors(yaml: Any, document: Document) -> None:
    """Names for parts of the file could make it endless or exponentially large; nothing here needs them."""
    problems = [
        Problem("anchors and aliases (& and *) are not supported: write the value out, or put text into quotes", mark)
        for event in yaml.parse(document.text, Loader=yaml.SafeLoader)
        if getattr(event, "anchor", None) is not None
        for mark in [_place(event)]
    ]
    if problems:
        raise document.error(problems)


def _place(node: Any) -> Place:
    start, end = node.start_mark, node.end_mark
    length = end.column - start.column if end.line == start.line else 1
    return Place(start.line + 1, start.column + 1, max(1, length))


def _syntax(error: Any, text: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    place = None if mark is None else Place(mark.line + 1, mark.column + 1)
    if mark is not None and mark.index < len(text) and text[mark.index] == "\t":
        return Problem("a tab: YAML is indented with spaces", place)
    message = str(error.problem or error.context)
    if "mapping values are not allowed here" in message:
        message = "a second ':' in one value: put text that holds ': ' into quotes, or begin a new line"
    elif "could not find expected ':'" in message:
        message = "a name without ':'"
    elif "found undefined tag handle" in message or "found character" in message:
        message += ": put such text into quotes"
    return Problem(f"not valid YAML: {message}" if "YAML" not in message else message, place)


class _Reader:
    """Turns nodes into values and notes their places."""

    def __init__(self, yaml: Any, document: Document) -> None:
        self._yaml = yaml
        self._document = document

    def read(self, node: Any, location: Location) -> Any:
        document = self._document
        if isinstance(node, self._yaml.MappingNode):
            return self._mapping(node, location)
        if isinstance(node, self._yaml.SequenceNode):
            items = []
            for i, item in enumerate(node.value):
                document._values[(*location, i)] = _place(item)
                items.append(self.read(item, (*location, i)))
            return items
        document._scalars.add(location)
        return self._scalar(node)

    def _mapping(self, node: Any, location: Location) -> dict[str, Any]:
        document = self._document
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            place = _place(key_node)
            if not isinstance(key_node, self._yaml.ScalarNode):
                document.problems.append(Problem("a name must be text", place))
                continue
            key = str(key_node.value)
            here = (*location, key)
            if key in found:
                first = document._keys[here].line
                document.problems.append(Problem(f"'{key}' appears twice (first in line {first})", place))
                continue
            document._keys[here] = place
            if value_node.start_mark.index != value_node.end_mark.index:  # else nothing was written
                document._values[here] = _place(value_node)
            found[key] = self.read(value_node, here)
        return found

    def _scalar(self, node: Any) -> Any:
        kind, text = node.tag.removeprefix(_TAG), node.value
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() == "true"
        if kind == "int":
            return int(text) if len(text) < 100 else float(text)
        if kind == "float":
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        if kind != "str":
            message = f"the tag {node.tag!r} is not supported: put text that begins with ! into quotes"
            self._document.problems.append(Problem(message, _place(node)))
        return text
