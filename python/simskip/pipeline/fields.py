"""Types of values in an application's file: paths that are there, paths to write, when to train again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ValidationInfo

from .explanations import did_you_mean

__all__ = ["FileOrFolder", "Folder", "Retrain", "output", "path_of"]


def path_of(value: Any, info: ValidationInfo) -> Path:
    """A path; a relative one begins at the folder of the file."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{info.field_name} must be a path, got {'nothing' if value is None else repr(value)}")
    try:
        return Path((info.context or {})["folder"], Path(value).expanduser())
    except RuntimeError:  # the home folder of nobody
        raise ValueError(f"{info.field_name} must be a path, got {value!r}: there is no such user") from None


def _folder(value: Any, info: ValidationInfo) -> Path:
    path = path_of(value, info)
    if not path.is_dir():
        what = "is no folder" if path.exists() else "does not exist"
        raise ValueError(f"{info.field_name} must be a folder, got {value!r}, which {what} (looked at {path})")
    return path


def _file_or_folder(value: Any, info: ValidationInfo) -> Path:
    path = path_of(value, info)
    if not path.exists():
        raise ValueError(f"{info.field_name}: {value!r} does not exist (looked at {path})")
    return path


def output(*suffixes: str) -> Any:
    """A file to write, with one of these suffixes."""

    def check(value: Any, info: ValidationInfo) -> Path:
        path = path_of(value, info)
        if suffixes and path.suffix.lower() not in suffixes:
            raise ValueError(f"{info.field_name} must end in {', '.join(suffixes)}, got {value!r}")
        if path.is_dir():
            raise ValueError(f"{info.field_name} must be a file, got {value!r}, which is a folder")
        return path

    return BeforeValidator(check)


def _retrain(value: Any) -> Any:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= 1:
        return float(value)
    if value in ("when-data-changed", "never"):
        return value
    raise ValueError(
        "retrain must be 'when-data-changed', 'never', or a share of changed items above 0 and up to 1, got "
        f"{value!r}{did_you_mean(value, ('when-data-changed', 'never')) if isinstance(value, str) else ''}"
    )


Retrain = Annotated[float | Literal["when-data-changed", "never"], BeforeValidator(_retrain)]
Folder = Annotated[Path, BeforeValidator(_folder)]
FileOrFolder = Annotated[Path, BeforeValidator(_file_or_folder)]
