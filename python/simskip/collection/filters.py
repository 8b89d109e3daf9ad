"""``where=``: the SQL condition that says which items may be found, evaluated by SQLite and unable to do harm."""

from __future__ import annotations

import difflib
import re
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .database import Database

__all__ = ["COLUMNS", "Filters", "quoted"]

COLUMNS = ("id", "key", "label", "attributes")
Parameters = Sequence[Any] | Mapping[str, Any]

# Strings, quoted names, comments, and the characters that matter for where a condition ends. An unfinished quote or
# comment runs to the end.
_TOKENS = re.compile(
    r"""'(?:[^']|'')*(?P<open>'|$)|"(?P<name>(?:[^"]|"")*)"?|`[^`]*`?|\[[^\]]*\]?|(?P<comment>--|/\*)|(?P<mark>[();])"""
)
# The only things that a condition may do: select, read these columns, call functions that compute and touch nothing.
_ACTIONS = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION}
_READABLE = {("items", column) for column in COLUMNS} | {("items", "ROWID"), ("items", "")}
_JSON_TABLES = ("json_each", "json_tree")
_FORBIDDEN = {"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer", "randomblob", "zeroblob"}
_STEPS_BETWEEN_CTRL_C = 100_000  # of SQLite's machine: about a millisecond
_REMEMBERED = 16


class Filters:
    """Evaluates conditions on a connection of its own, which reads only, and remembers the last answers.

    Parameters
    ----------
    database : Database
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection = database.connect_reader()
        self._lock = threading.Lock()
        self._answers: dict[Any, npt.NDArray[np.int64]] = {}
        self._version: int | None = None
        self._connection.set_progress_handler(lambda: 0, _STEPS_BETWEEN_CTRL_C)

    def ids(self, where: str, parameters: Parameters = ()) -> npt.NDArray[np.int64]:
        """Ids of the items that satisfy a condition, ascending.

        Parameters
        ----------
        where : str
            An SQL expression over ``id``, ``key``, ``label``, ``attributes`` (JSON) and the names of attributes.
        parameters : sequence or mapping
            Values for ``?`` or ``:name``.

        Raises
        ------
        ValueError
            For anything that is not one condition: wrong syntax, an unknown name, several statements, comments,
            a missing parameter.
        """
        if not isinstance(where, str) or not where.strip():
            raise ValueError(f"where must be an SQL condition such as \"label = 'mountain'\", got {where!r}")
        if isinstance(parameters, (str, bytes)) or not isinstance(parameters, (Sequence, Mapping)):
            raise ValueError(f"parameters must be a sequence or a mapping of values, got {parameters!r}")
        with self._lock, self._database.explained():
            version = self._connection.execute("PRAGMA data_version").fetchone()[0]
            if version != self._version:
                self._answers.clear()
                self._version = version
            question = (where, repr(parameters))
            if question not in self._answers:
                if len(self._answers) >= _REMEMBERED:
                    self._answers.pop(next(iter(self._answers)))
                self._answers[question] = self._evaluated(where, parameters)
            return self._answers[question]

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()

    def _evaluated(self, where: str, parameters: Parameters) -> npt.NDArray[np.int64]:
        names = [row[0] for row in self._connection.execute("SELECT name FROM attribute_names ORDER BY name")]
        known = [*COLUMNS, *names]
        _check_shape(where, known)
        # Column names ignore case in SQL; two attributes that differ in case only cannot both have one.
        shown: dict[str, str] = {}
        for name in names:
            shown.setdefault(name.lower(), name)
        columns = [f"json_extract(attributes, {_path(name)}) AS {quoted(name)}" for name in shown.values()]
        selection = f"SELECT {', '.join([*COLUMNS, *columns])} FROM items"
        query = f"SELECT id FROM ({selection}) WHERE (\n{where}\n) ORDER BY id"
        for table in _JSON_TABLES:  # declared by SQLite at their first use, in a way that looks like a change of tables
            self._connection.execute(f"SELECT 1 FROM {table}('[]')").fetchall()
        try:
            self._connection.set_authorizer(_authorize)
            try:
                cursor = self._connection.execute(query, parameters)
            finally:
                self._connection.set_authorizer(_allow)
            found = np.fromiter((row[0] for row in cursor), np.int64)
        except sqlite3.OperationalError as error:
            if str(error) == "interrupted":  # nobody but Ctrl-C stops the progress handler
                raise KeyboardInterrupt from None
            raise ValueError(f"where: {_said(str(error), known)} in {where!r}") from None
        except sqlite3.DatabaseError as error:
            if "not authorized" in str(error) or "prohibited" in str(error):
                raise ValueError(
                    f"where must be a condition on the items' {', '.join(COLUMNS)} and attributes; it may read nothing "
                    f"else and change nothing, got {where!r}"
                ) from None
            raise ValueError(f"where: {error} in {where!r}") from None
        except (sqlite3.Warning, OverflowError) as error:
            raise ValueError(f"where: {error} in {where!r}") from None
        found.flags.writeable = False
        return found


def quoted(name: str) -> str:
    """A name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def _path(name: str) -> str:
    """The JSON path of an attribute as an SQL string."""
    return "'$." + ('"' + name + '"').replace("'", "''") + "'"


def _check_shape(where: str, known: list[str]) -> None:
    """One expression and nothing behind it: brackets that close, no statement end, no comment, no unknown quoted name.

    SQLite takes a quoted name that it does not know for a string, so a misspelt one would match nothing, silently.
    """
    depth = 0
    for token in _TOKENS.finditer(where):
        if token["comment"] or token["mark"] == ";":
            raise ValueError(f"where must be one condition without {token[0]!r}, got {where!r}")
        if token["open"] == "":
            raise ValueError(f"where has a string that does not end, in {where!r}")
        if token["name"] is not None and token["name"].replace('""', '"').lower() not in map(str.lower, known):
            raise ValueError(
                f"where: no such column: {token['name']}{_meant(token['name'], known)} in {where!r}; "
                "strings stand in 'single quotes'"
            )
        depth += {"(": 1, ")": -1}.get(token["mark"] or "", 0)
        if depth < 0:
            break
    if depth:
        raise ValueError(f"where has brackets that do not match, in {where!r}")


def _authorize(action: int, first: str | None, second: str | None, database: str | None, view: str | None) -> int:
    if action not in _ACTIONS:
        return sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_READ and (first, second) not in _READABLE and first not in _JSON_TABLES:
        return sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_FUNCTION and second in _FORBIDDEN:
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK


def _allow(*_: Any) -> int:
    return sqlite3.SQLITE_OK


def _said(error: str, known: list[str]) -> str:
    prefix = "no such column: "
    if not error.startswith(prefix):
        return error
    name = error[len(prefix) :]
    return f"{error}{_meant(name, known)}"


def _meant(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f" (did you mean {near[0]}?)" if near else f" (there are {', '.join(known)})"
