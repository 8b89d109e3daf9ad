"""What a sync looks at: a folder of files, a file of lines, a list of texts, an embedder's vocabulary."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..datasets.folders import IMAGE_SUFFIXES, files_below

__all__ = ["NOT_TRUSTED", "FileEntry", "FolderSource", "TextSource", "kind_of", "lines_of", "source_of"]

_TEXT_SUFFIXES = frozenset((".txt", ".md", ".rst"))
# A file changed this shortly before it was looked at may change again within the resolution of its time.
_FRESH_NS = 2_000_000_000
NOT_TRUSTED = -1


@dataclass(frozen=True)
class FileEntry:
    """A file as the folder lists it; ``label`` is the first folder on the way to it."""

    key: str
    path: Path
    size: int
    mtime_ns: int
    label: str | None


@dataclass
class FolderSource:
    """Files below a folder, named by their path from there.

    Attributes
    ----------
    kind : {"images", "text"}
    location : str
        The folder, absolute.
    prefix : str
        Stands in front of every key.
    unlisted : list of (key, reason)
        Folders that could not be listed and files that are none, after ``entries``; what is below such a folder is not
        known to be gone.
    """

    kind: str
    location: str
    prefix: str = ""
    unlisted: list[tuple[str, str]] = field(default_factory=list)

    def entries(self) -> list[FileEntry]:
        """The files, sorted by path.

        Raises
        ------
        ValueError
            If there is no such folder or no file in it.
        """
        root = Path(self.location)
        suffixes = IMAGE_SUFFIXES if self.kind == "images" else _TEXT_SUFFIXES
        self.unlisted = []
        now = time.time_ns()
        found = []
        for path in files_below(root, suffixes, self._not_listed):
            parts = path.relative_to(root).parts
            key = self.prefix + "/".join(parts)
            try:
                status = path.stat()
                if not stat.S_ISREG(status.st_mode):
                    raise OSError("it is a pipe, a socket or a device")
                key.encode()
            except OSError as error:  # also: gone since it was listed, or a link to nothing
                self.unlisted.append((shown(key), error.strerror or str(error)))
                continue
            except UnicodeEncodeError:
                self.unlisted.append((shown(key), "its name is not text in UTF-8"))
                continue
            mtime = status.st_mtime_ns if status.st_mtime_ns < now - _FRESH_NS else NOT_TRUSTED
            found.append(FileEntry(key, path, status.st_size, mtime, self.label_of(key)))
        if not found and not self.unlisted:
            suffix = ", ".join(sorted(suffixes))
            what = "images" if self.kind == "images" else "text files"
            raise ValueError(f"source has no {what}: nothing in {self.location} ends in {suffix}")
        return found

    def label_of(self, key: str) -> str | None:
        """The first folder on the way to a file."""
        folder, slash, _ = key[len(self.prefix) :].partition("/")
        return folder if slash else None

    def _not_listed(self, error: OSError) -> None:
        folder = Path(error.filename).relative_to(self.location).as_posix()
        key = self.prefix + ("" if folder == "." else folder + "/")
        self.unlisted.append((shown(key), error.strerror or str(error)))

    def is_unlisted(self, key: str) -> bool:
        """Whether nobody knows if a key is still there."""
        return any(
            key == name or ((name.endswith("/") or not name) and key.startswith(name)) for name, _ in self.unlisted
        )


@dataclass(frozen=True)
class TextSource:
    """Texts that are their own keys."""

    kind: str
    location: str
    texts: Sequence[str]
    prefix: str = ""


def source_of(source: Any, embedder: Any, prefix: str) -> FolderSource | TextSource:
    """What ``sync`` was given, checked.

    Raises
    ------
    ValueError
        If it is no folder, file of lines, sequence of texts; or does not suit the embedder.
    """
    kind = kind_of(embedder)
    if source is None:
        vocabulary = getattr(embedder, "vocabulary", None)
        if vocabulary is None:
            raise ValueError(f"source must be given: the embedder {embedder.name} has no vocabulary of its own")
        return TextSource("vocabulary", embedder.name, _distinct(vocabulary))
    if isinstance(source, (str, os.PathLike)):
        path = Path(source).expanduser().absolute()
        if path.is_dir():
            return FolderSource(kind, str(path), prefix)
        if not path.exists():
            raise ValueError(f"source must be a folder or a file, there is nothing at {os.fspath(source)!r}")
        if kind != "text":
            raise ValueError(
                f"source must be a folder of images for {embedder.name}, got the file {os.fspath(source)!r}"
            )
        return TextSource("lines", str(path), _distinct(lines_of(path)))
    if not isinstance(source, Sequence) and not hasattr(source, "tolist"):
        raise ValueError(f"source must be a folder, a file or a sequence of texts, got {type(source).__name__}")
    if kind != "text":
        raise ValueError(f"source must be a folder of images for {embedder.name}, got {type(source).__name__}")
    texts = [str(text) for text in source]
    return TextSource("list", "", _distinct(texts))


def shown(key: str) -> str:
    """A key with what UTF-8 cannot hold (a file name may be any bytes) replaced."""
    return key.encode(errors="replace").decode()


def kind_of(embedder: Any) -> str:
    """What it embeds: ``"images"`` (also if it does not say) or ``"text"``."""
    return getattr(embedder, "kind", "images")


def lines_of(path: Path) -> Iterator[str]:
    """A file's lines without the empty ones; ``ValueError`` if it is not text."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            for line in file:
                if text := line.strip():
                    yield text
    except UnicodeDecodeError as error:
        raise ValueError(f"source must be text in UTF-8 with an item per line: {path}: {error}") from None


def _distinct(texts: Any) -> list[str]:
    found = list(dict.fromkeys(str(text) for text in texts if str(text).strip() and "\0" not in str(text)))
    if not found:
        raise ValueError("source has no texts")
    return found
