"""What the pipeline remembers of its stages: in the collection itself, so that one file holds all."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Done", "Facts", "State", "changed_label_share", "changed_share", "label_marks"]

_PREFIX = "pipeline:"


@dataclass(frozen=True)
class Done:
    """A stage that has run.

    Attributes
    ----------
    inputs : dict
        What it depended on; the stage is due when this is no longer so.
    summary : str
        What came out, in a few words.
    details : dict
        Figures, ready for JSON.
    seconds : float
    finished : str
        Date and time, UTC.
    """

    inputs: dict[str, Any]
    summary: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    finished: str = ""


class State:
    """Stages that have run, in a collection's ``meta`` table.

    Parameters
    ----------
    collection : Collection
    """

    def __init__(self, collection: Any) -> None:
        self._database = collection._database

    def done(self, stage: str) -> Done | None:
        """The last run of a stage that came to its end; None if there is none that can be read."""
        value = self._database.value("SELECT value FROM meta WHERE name = ?", (_PREFIX + stage,))
        try:
            return None if value is None else Done(**json.loads(value))
        except (TypeError, ValueError):  # of a newer simskip: the stage runs again
            return None

    def save(
        self, stage: str, inputs: Mapping[str, Any], summary: str, details: Mapping[str, Any], seconds: float
    ) -> None:
        """Remember that a stage has run."""
        finished = datetime.now(timezone.utc).isoformat(timespec="seconds")
        value = json.dumps(
            {
                "inputs": json.loads(json.dumps(dict(inputs))),
                "summary": summary,
                "details": dict(details),
                "seconds": round(seconds, 3),
                "finished": finished,
            }
        )
        self._write(_PREFIX + stage, value)

    def save_index(self, settings: Mapping[str, Any]) -> None:
        """Remember how the collection is searched, for ``simskip search``."""
        value = json.dumps(dict(settings), sort_keys=True)
        if self._database.value("SELECT value FROM meta WHERE name = ?", (f"{_PREFIX}index",)) != value:
            self._write(f"{_PREFIX}index", value)

    def index(self) -> dict[str, Any]:
        """What ``save_index`` was given; empty if it was not."""
        value = self._database.value("SELECT value FROM meta WHERE name = ?", (f"{_PREFIX}index",))
        return {} if value is None else dict(json.loads(value))

    def save_labels(self, name: str, ids: npt.NDArray[np.int64], marks: npt.NDArray[np.uint32]) -> None:
        """Remember the labels that something was trained with."""
        order = np.argsort(ids)
        content = ids[order].astype("<i8").tobytes() + marks[order].astype("<u4").tobytes()
        self._write(f"{_PREFIX}{name} labels", zlib.compress(content, 3))

    def labels(self, name: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint32]]:
        """Ids, ascending, and marks that ``save_labels`` was given; empty if it was not."""
        value = self._database.value("SELECT value FROM meta WHERE name = ?", (f"{_PREFIX}{name} labels",))
        content = b"" if value is None else zlib.decompress(value)
        n = len(content) // 12
        return np.frombuffer(content, "<i8", n), np.frombuffer(content, "<u4", n, 8 * n)

    def _write(self, name: str, value: Any) -> None:
        with self._database.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))


class Facts:
    """What a collection holds at one moment; read when first asked for.

    Parameters
    ----------
    collection : Collection
    """

    def __init__(self, collection: Any) -> None:
        self._database = collection._database

    @cached_property
    def items(self) -> int:
        """Items with a vector."""
        return int(self._database.value("SELECT count(*) FROM vectors"))

    @cached_property
    def revision(self) -> int:
        """Grows with every change of vectors or of which items there are."""
        return int(self._database.value("SELECT value FROM meta WHERE name = 'revision'"))

    @cached_property
    def without_code(self) -> int:
        """Items that a hasher must encode."""
        return int(
            self._database.value("SELECT count(*) FROM vectors LEFT JOIN codes USING (id) WHERE codes.id IS NULL")
        )

    @cached_property
    def labels(self) -> str:
        """A hash of which item has which label."""
        with self._database.reading() as connection:
            return _labels_digest(connection)

    @cached_property
    def embedder(self) -> str | None:
        """The embedder's fingerprint."""
        return self._fingerprint("embedder")

    @cached_property
    def hasher(self) -> str | None:
        """The hasher's."""
        return self._fingerprint("hasher")

    @cached_property
    def classifier(self) -> str | None:
        """The classifier's."""
        return self._fingerprint("classifier")

    def _fingerprint(self, role: str) -> str | None:
        value: str | None = self._database.value("SELECT fingerprint FROM models WHERE role = ?", (role,))
        return value


def _labels_digest(connection: Any) -> str:
    digest = 0
    for row in connection.execute("SELECT id, label FROM items WHERE label IS NOT NULL ORDER BY id"):
        digest = zlib.crc32(repr(row).encode(), digest)
    return f"{digest:08x}"


def label_marks(collection: Any) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint32]]:
    """Ids, ascending, of all items with a vector, and a number for each one's label."""
    rows = collection._database.rows("SELECT id, label FROM items WHERE id IN (SELECT id FROM vectors) ORDER BY id")
    ids = np.array([row[0] for row in rows], np.int64)
    return ids, np.array([zlib.crc32(repr(row[1]).encode()) for row in rows], np.uint32)


def changed_share(collection: Any, revision: int, items: int) -> float:
    """How much has changed since a revision at which there were ``items``.

    The share of today's items that are new or changed, or that of the former ones that are gone or changed, whichever
    is larger.
    """
    database = collection._database
    now = database.value("SELECT count(*) FROM vectors")
    same = database.value("SELECT count(*) FROM vectors WHERE revision <= ?", (revision,))
    return float(max((now - same) / max(now, 1), (items - same) / max(items, 1)))


def changed_label_share(state: State, name: str, collection: Any) -> float:
    """The share of the labels that something was trained with that are others now."""
    old_ids, old_marks = state.labels(name)
    ids, marks = label_marks(collection)
    _, old_rows, rows = np.intersect1d(old_ids, ids, assume_unique=True, return_indices=True)
    return float(np.count_nonzero(old_marks[old_rows] != marks[rows]) / max(len(old_ids), 1))
