"""Whose vectors a collection holds, and which sources they come from."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import embedding
from .database import Database
from .items import ids_of
from .models import Models
from .sources import FolderSource, TextSource, kind_of

__all__ = ["GIVEN", "EmbedderOfCollection", "register_source"]

# The name where vectors were given by a program instead of made by an embedder.
GIVEN = "vectors"


class EmbedderOfCollection:
    """The one model whose vectors the collection holds; vectors of another are refused.

    Parameters
    ----------
    database : Database
    models : Models
    """

    def __init__(self, database: Database, models: Models) -> None:
        self._database, self._models = database, models
        self._lock = threading.Lock()
        self._loaded: Any = None

    def chosen(self, embedder: Any) -> Any:
        """An embedder by name, by itself, or (``None``) the one there is; checked to be the collection's."""
        if embedder is None:
            return self.get()
        model = embedding.load(embedder) if isinstance(embedder, str) else embedder
        for member in ("name", "dim", "fingerprint", "embed"):
            if not hasattr(model, member):
                raise ValueError(f"embedder must be a name or have name, dim, fingerprint and embed, got {model!r}")
        self._check(model)
        return model

    def get(self) -> Any:
        """The collection's embedder, loaded once.

        Raises
        ------
        ValueError
            If there is none yet, the vectors were given, or what its name loads is another model now.
        """
        with self._lock:
            if self._loaded is not None:
                return self._loaded
        row = self._models.row("embedder")
        if row is None:
            raise ValueError(f"embedder must be given: {self._database.path} has none yet")
        if row[0] == GIVEN:
            raise ValueError(
                f"{self._database.path} holds vectors given by a program; assign collection.embedder to embed more"
            )
        try:
            model = embedding.load(row[0])
        except (ValueError, OSError) as error:  # no such name; no such model file
            raise ValueError(
                f"the embedder {row[0]!r} of {self._database.path} cannot be loaded by its name ({error}); assign "
                "collection.embedder"
            ) from error
        self.use(model)
        return model

    def use(self, model: Any) -> None:
        """Embed with this object from now on."""
        row = self._models.row("embedder")
        if row is not None and row[0] == GIVEN and model.dim == row[2]["dim"]:
            pass  # nobody can check what made them
        else:
            self._check(model)
        with self._lock:
            self._loaded = model

    def _check(self, model: Any) -> None:
        row = self._models.row("embedder")
        if row is None or row[1] == model.fingerprint:
            return
        held = "vectors given by a program" if row[0] == GIVEN else f"vectors of {row[0]} ({row[1]})"
        raise ValueError(
            f"embedder must be the one that made the vectors: {self._database.path} holds {held}, got {model.name} "
            f"({model.fingerprint}); vectors of different models cannot be compared, begin another collection"
        )

    def register(self, model: Any) -> None:
        """Make it the collection's embedder, if there is none yet."""
        self._check(model)
        if self._models.row("embedder") is None:
            with self._database.writing() as connection:
                self._check(model)  # somebody else may have begun meanwhile
                if self._models.row("embedder") is None:
                    parameters = {"dim": int(model.dim), "kind": kind_of(model)}
                    Models.write(connection, "embedder", model.name, model.fingerprint, parameters)
        with self._lock:
            self._loaded = model

    def register_given(self, dim: int) -> None:
        """Say that vectors come from a program, if nothing is known yet."""
        with self._database.writing() as connection:
            if connection.execute("SELECT 1 FROM models WHERE role = 'embedder'").fetchone() is None:
                Models.write(connection, "embedder", GIVEN, f"{GIVEN} dim={dim}", {"dim": dim, "kind": None})


def register_source(database: Database, source: FolderSource | TextSource, keys: Sequence[str]) -> int:
    """The source's id, new or known.

    A folder that has moved keeps its items: if all of the keys that exist belong to a folder that is no longer there,
    this is taken for it.

    Raises
    ------
    ValueError
        If a key belongs to another source, or the source is known under another prefix.
    """
    with database.writing() as connection:
        known = connection.execute(
            "SELECT id, prefix FROM sources WHERE kind = ? AND location = ?", (source.kind, source.location)
        ).fetchone()
        if known is not None:
            if known[1] != source.prefix:
                raise ValueError(f"prefix must be {known[1]!r}, with which {source.location} was synced before")
            return int(known[0])
        taken = ids_of(connection, keys)
        owners = {
            connection.execute("SELECT source FROM items WHERE id = ?", (id,)).fetchone()[0] for id in taken.values()
        }
        if owners:
            moved = _moved(connection, owners, source)
            if moved is not None:
                connection.execute("UPDATE sources SET location = ? WHERE id = ?", (source.location, moved))
                return moved
            raise ValueError(
                f"{min(taken)!r} is in {database.path} already, from another source: give this one a prefix"
            )
        cursor = connection.execute(
            "INSERT INTO sources (kind, location, prefix) VALUES (?, ?, ?)",
            (source.kind, source.location, source.prefix),
        )
        return int(cursor.lastrowid or 0)


def _moved(connection: Any, owners: set[int | None], source: FolderSource | TextSource) -> int | None:
    if len(owners) != 1 or not isinstance(source, FolderSource):
        return None
    (owner,) = owners
    row = connection.execute("SELECT kind, location, prefix FROM sources WHERE id = ?", (owner,)).fetchone()
    if row is None or (row[0], row[2]) != (source.kind, source.prefix) or Path(row[1]).exists():
        return None
    return owner
