"""Where studies are kept: memory, or an SQLite file that several processes may use at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..errors import FormatError
from ..extras import require

__all__ = ["opened", "storage_url"]

# Seconds that a process waits for another's write to the file to end.
_PATIENCE = 60
_SQLITE = b"SQLite format 3\x00"


def storage_url(storage: str | os.PathLike[str]) -> str:
    """An SQLAlchemy URL of a file's path (a URL stays what it is).

    Raises ``FormatError`` for a file that is something else, ``FileNotFoundError`` if its folder is missing.
    """
    text = os.fspath(storage)
    if "://" in text:
        return text
    path = Path(text).absolute()
    if not path.parent.is_dir():
        raise FileNotFoundError(f"storage: the folder {path.parent} does not exist")
    if path.exists():
        with open(path, "rb") as file:
            start = file.read(len(_SQLITE))
        if start and start != _SQLITE:
            raise FormatError(f"storage {path} is not an SQLite file")
    return f"sqlite:///{path}"


def opened(url: str) -> Any:
    """An Optuna storage."""
    import sqlite3

    optuna = require("optuna", "tune", "Tuning")
    arguments = {"connect_args": {"timeout": _PATIENCE}} if url.startswith("sqlite") else None
    try:
        return optuna.storages.RDBStorage(url, engine_kwargs=arguments)
    except Exception as error:
        cause = getattr(error, "orig", None)  # SQLAlchemy's errors carry the driver's
        if isinstance(cause, sqlite3.DatabaseError) and not isinstance(cause, sqlite3.OperationalError):
            raise FormatError(f"storage {url} is damaged: {cause}") from error
        if isinstance(cause, sqlite3.OperationalError):
            raise OSError(f"storage {url} cannot be used: {cause}") from error
        raise
