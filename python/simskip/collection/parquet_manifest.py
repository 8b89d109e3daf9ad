"""What a Parquet file of ours says of the collection that it came from, in its key-value metadata."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import sqlite3
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ..errors import FormatError
from .models import Models

__all__ = ["Manifest"]

_KEY, _CHECKSUM_KEY = b"simskip", b"simskip.sha256"
_FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """Everything about a collection that is not a row of it.

    Attributes
    ----------
    export : str
        The same in all parts of one export, and in no other.
    part, parts : int
    items : int
        In all parts.
    metric : str
    last_id : int
        The largest id that was ever given out.
    models : list of dict
        Rows of the table ``models``: role, name, fingerprint, parameters, content (base64; in the first part only).
    columns : list of str
        Of the file.
    sources, unreadable : list of list
        Rows of these tables; in the first part only.
    """

    items: int
    metric: str
    last_id: int
    models: list[dict[str, Any]]
    columns: list[str] = field(default_factory=list)
    sources: list[list[Any]] = field(default_factory=list)
    unreadable: list[list[Any]] = field(default_factory=list)
    parts: int = 1
    part: int = 0
    export: str = field(default_factory=lambda: secrets.token_hex(16))

    @classmethod
    def of_collection(cls, connection: sqlite3.Connection) -> Manifest:
        """That of a collection as the connection sees it."""

        def rows(query: str) -> list[list[Any]]:
            return [list(row) for row in connection.execute(query)]

        models = [
            {
                "role": role,
                "name": name,
                "fingerprint": fingerprint,
                "parameters": json.loads(parameters),
                "content": None if content is None else base64.b64encode(content).decode(),
            }
            for role, name, fingerprint, parameters, content in rows(
                "SELECT role, name, fingerprint, parameters, content FROM models ORDER BY role"
            )
        ]
        return cls(
            items=rows("SELECT count(*) FROM items")[0][0],
            metric=rows("SELECT value FROM meta WHERE name = 'metric'")[0][0],
            last_id=next((row[0] for row in rows("SELECT seq FROM sqlite_sequence WHERE name = 'items'")), 0),
            models=models,
            sources=rows("SELECT id, kind, location, prefix FROM sources ORDER BY id"),
            unreadable=rows("SELECT source, path, reason, size, mtime_ns FROM unreadable ORDER BY source, path"),
        )

    def of_part(self, part: int, parts: int) -> Manifest:
        """That of one part: the models themselves and what is not about rows are in the first only."""
        if part == 0:
            return replace(self, parts=parts)
        models = [{**model, "content": None} for model in self.models]
        return replace(self, part=part, parts=parts, models=models, sources=[], unreadable=[])

    def restore(self, connection: sqlite3.Connection) -> None:
        """Write models, sources and counters into an empty collection, inside a transaction."""
        for model in self.models:
            content = None if model["content"] is None else base64.b64decode(model["content"])
            Models.write(connection, model["role"], model["name"], model["fingerprint"], model["parameters"], content)
        connection.executemany("INSERT INTO sources (id, kind, location, prefix) VALUES (?, ?, ?, ?)", self.sources)
        connection.executemany("INSERT INTO unreadable VALUES (?, ?, ?, ?, ?)", self.unreadable)

    def model(self, role: str) -> dict[str, Any] | None:
        """One of ``models``."""
        return next((model for model in self.models if model["role"] == role), None)

    def to_metadata(self) -> dict[bytes, bytes]:
        """As key-value metadata: JSON and its checksum."""
        content = json.dumps({"format": _FORMAT, **asdict(self)}, ensure_ascii=False).encode()
        return {_KEY: content, _CHECKSUM_KEY: hashlib.sha256(content).hexdigest().encode()}

    @classmethod
    def from_metadata(cls, metadata: dict[bytes, bytes] | None, path: str) -> Manifest | None:
        """The manifest in a file's metadata; ``None`` if there is none.

        Raises
        ------
        FormatError
            If it is damaged or of a newer simskip.
        """
        content, checksum = ((metadata or {}).get(key) for key in (_KEY, _CHECKSUM_KEY))
        if content is None and checksum is None:
            return None
        if content is None or hashlib.sha256(content).hexdigest().encode() != checksum:
            raise FormatError(f"{path} is damaged: the checksum of its metadata is wrong")
        try:
            values = json.loads(content)
            version = values.pop("format")
            if version > _FORMAT:
                raise FormatError(f"{path} has format {version}; this simskip knows up to {_FORMAT}: upgrade simskip")
            return cls(**values)
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, FormatError):
                raise
            raise FormatError(f"{path}: not a valid description of a collection: {error}") from error
