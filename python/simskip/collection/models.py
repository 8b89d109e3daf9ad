"""The models that a collection's file holds: who made its vectors, its codes and its classes."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Mapping
from typing import Any

from ..hashing import Hasher, hasher_from_bytes
from .database import Database

__all__ = ["Models"]


class Models:
    """Embedder (its name and identity), hasher and classifier (whole), one of each role.

    Parameters
    ----------
    database : Database
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._loaded: tuple[str, Hasher] | None = None

    def row(self, role: str) -> tuple[str, str, dict[str, Any]] | None:
        """Name, fingerprint and parameters."""
        rows = self._database.rows("SELECT name, fingerprint, parameters FROM models WHERE role = ?", (role,))
        return (rows[0][0], rows[0][1], json.loads(rows[0][2])) if rows else None

    def fingerprint(self, role: str) -> str | None:
        """The identity of a model, or ``None``."""
        value: str | None = self._database.value("SELECT fingerprint FROM models WHERE role = ?", (role,))
        return value

    def content(self, role: str) -> bytes | None:
        """The model itself."""
        value: bytes | None = self._database.value("SELECT content FROM models WHERE role = ?", (role,))
        return value

    @property
    def dim(self) -> int | None:
        """Numbers per vector; ``None`` before the first vector."""
        row = self.row("embedder")
        return None if row is None else int(row[2]["dim"])

    def hasher(self) -> Hasher | None:
        """The trained hasher, read once; ``None`` before training."""
        with self._lock:
            fingerprint = self.fingerprint("hasher")
            if fingerprint is None:
                return None
            if self._loaded is None or self._loaded[0] != fingerprint:
                content = self.content("hasher")
                assert content is not None
                self._loaded = fingerprint, hasher_from_bytes(content, f"the hasher in {self._database.path}")
            return self._loaded[1]

    @staticmethod
    def write(
        connection: sqlite3.Connection,
        role: str,
        name: str,
        fingerprint: str,
        parameters: Mapping[str, Any],
        content: bytes | None = None,
    ) -> None:
        """Add or replace a model, inside a transaction."""
        connection.execute(
            "INSERT OR REPLACE INTO models VALUES (?, ?, ?, ?, ?)",
            (role, name, fingerprint, json.dumps(dict(parameters)), content),
        )
