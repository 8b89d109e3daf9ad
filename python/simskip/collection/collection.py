"""The collection: one SQLite file with items, vectors, codes and the models that made them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..codes import Codes
from ..evaluation import Report
from ..hashing import Hasher
from ..index.vector import METRICS
from ..validation import choice, matrix, positive_int
from . import editing, training
from .database import Database
from .file_sync import FileSync
from .filters import Parameters
from .hierarchy.gate_report import GateRecall
from .hierarchy.vector_classifier import VectorClassifier
from .hits import Hits
from .items import checked_keys, ids_in, read_codes, read_vectors, required_ids, revision_of, rows_of
from .labels import read_labels
from .models import Models
from .neighbor_store import NeighborStore
from .neighbor_table import NeighborTable
from .parquet_export import export
from .parquet_import import ParquetItems, removed_on_error
from .queries import one_given
from .registration import EmbedderOfCollection, register_source
from .searcher import How, Searcher
from .sources import FolderSource, source_of
from .sync import SyncReport, sync_texts

__all__ = ["Collection"]

Vectors = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]


class Collection:
    """Items with keys, labels, attributes, vectors and codes in one SQLite file. Made by ``Collection.open``.

    Any SQLite client can read the file (tables ``items``, ``vectors`` with little-endian float32, ``codes``, ``models``
    and others, see ``simskip.collection.schema``). Every change is one transaction: a crash leaves what was committed.
    Several processes may read beside one that writes; several threads may share the object.

    Examples
    --------
    >>> import numpy as np, pathlib, simskip, tempfile
    >>> rng = np.random.default_rng(0)
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "items.db"
    >>> with simskip.Collection.open(path) as collection:
    ...     collection.add(["a", "b", "c"], rng.normal(size=(3, 8)), labels=["x", "x", "y"])
    ...     collection.set_attributes({"a": {"year": 1999}, "b": {"year": 2004}})
    ...     collection.search(key="c", where="label = ? AND year > 2000", parameters=("x",)).keys
    ['b']
    """

    def __init__(self, database: Database, metric: str) -> None:
        self._database = database
        self._models = Models(database)
        self._embedder = EmbedderOfCollection(database, self._models)
        self._searcher = Searcher(database, self._models, self._embedder, metric)
        self._neighbors = NeighborStore(database, self._searcher.state, metric, How().rerank or 1)
        self._metric = metric

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        create: bool = True,
        read_only: bool = False,
        metric: str | None = None,
        lock_timeout: float = 10.0,
    ) -> Collection:
        """Open a collection, or begin one.

        Parameters
        ----------
        path : path
        create : bool
            Begin a new one if there is no file.
        read_only : bool
            Change nothing.
        metric : {"cosine", "l2", "dot"}, optional
            How vectors are compared; chosen once, when the collection is begun (``"cosine"``).
        lock_timeout : float
            Seconds to wait for another process that is writing.

        Raises
        ------
        CollectionError
            If there is no file (and none is wanted), it is locked, or cannot be read.
        FormatError
            If it is another kind of file, damaged, or made by a newer simskip.
        ValueError
            If the collection has another metric.
        """
        if metric is not None:
            choice(metric, "metric", METRICS)
        database = Database(path, create=create, read_only=read_only, lock_timeout=lock_timeout)
        stored = database.value("SELECT value FROM meta WHERE name = 'metric'")
        if stored is None:
            stored = metric or "cosine"
            if not read_only:
                with database.writing() as connection:
                    connection.execute("INSERT OR IGNORE INTO meta VALUES ('metric', ?)", (stored,))
        elif metric is not None and metric != stored:
            database.close()
            raise ValueError(f"metric must be {stored!r}, with which {database.path} was begun, got {metric!r}")
        return cls(database, stored)

    def close(self) -> None:
        """Close the file."""
        self._searcher.close()
        self._database.close()

    def __enter__(self) -> Collection:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    # What it holds.

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self._database.path)

    @property
    def metric(self) -> str:
        """How vectors are compared."""
        return self._metric

    @property
    def dim(self) -> int | None:
        """Numbers per vector; ``None`` while empty."""
        return self._models.dim

    @property
    def hasher(self) -> Hasher | None:
        """The trained hasher, or ``None``."""
        return self._models.hasher()

    @property
    def embedder_name(self) -> str | None:
        """What made the vectors, as ``simskip.embedding.load`` knows it."""
        row = self._models.row("embedder")
        return None if row is None else row[0]

    @property
    def embedder_fingerprint(self) -> str | None:
        """The identity of what made the vectors."""
        return self._models.fingerprint("embedder")

    @property
    def embedder(self) -> Any:
        """What made the vectors, loaded by name; assign the object itself if it has no name that can be loaded.

        Raises ``ValueError`` on assigning another model, or if it cannot be loaded.
        """
        return self._embedder.get()

    @embedder.setter
    def embedder(self, embedder: Any) -> None:
        self._embedder.use(embedder)

    @property
    def revision(self) -> int:
        """Grows with every change of vectors or of which items there are."""
        with self._database.reading() as connection:
            return revision_of(connection)

    @property
    def labels(self) -> dict[str, int]:
        """How many items have each label."""
        return dict(self._database.rows("SELECT label, count(*) FROM items WHERE label IS NOT NULL GROUP BY label"))

    @property
    def held_out(self) -> Ids:
        """Ids that the hasher was not trained on, ascending: honest queries."""
        with self._database.reading() as connection:
            return ids_in(connection, "held_out")

    def unreadable(self) -> list[tuple[str, str]]:
        """Keys and reasons of what syncs could not read."""
        return [tuple(row) for row in self._database.rows("SELECT path, reason FROM unreadable ORDER BY path")]

    def __len__(self) -> int:
        n: int = self._database.value("SELECT count(*) FROM items")
        return n

    def __contains__(self, key: Any) -> bool:
        return isinstance(key, str) and self._database.value("SELECT 1 FROM items WHERE key = ?", (key,)) is not None

    def __repr__(self) -> str:
        hasher = self._models.row("hasher")
        codes = f"{hasher[2]['n_bits']} bits" if hasher else "no codes"
        return f"Collection({self.path.name!r}, {len(self):,} items, {self.embedder_name or 'no vectors'}, {codes})"

    def info(self) -> dict[str, Any]:
        """What is in the file: counts, models, schema, size in bytes."""
        count = self._database.value
        hasher, embedder = self._models.row("hasher"), self._models.row("embedder")
        return {
            "path": str(self.path),
            "bytes": count("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"),
            "schema_version": count("PRAGMA user_version"),
            "revision": self.revision,
            "items": len(self),
            "vectors": count("SELECT count(*) FROM vectors"),
            "codes": count("SELECT count(*) FROM codes"),
            "labels": len(self.labels),
            "labelled": count("SELECT count(*) FROM items WHERE label IS NOT NULL"),
            "unreadable": count("SELECT count(*) FROM unreadable"),
            "held_out": count("SELECT count(*) FROM held_out"),
            "metric": self._metric,
            "dim": self.dim,
            "embedder": None if embedder is None else embedder[0],
            "hasher": None if hasher is None else hasher[2]["description"],
        }

    # Changing it.

    def sync(
        self,
        source: Any = None,
        embedder: Any = None,
        *,
        label_from: str | os.PathLike[str] | None = "folder",
        prefix: str = "",
        progress: bool = True,
        batch_size: int | None = None,
    ) -> SyncReport:
        """Bring the collection up to what a source holds now.

        New and changed things are embedded (and encoded, if there is a hasher), those that are gone are removed, the
        others are left alone: a second run with nothing changed embeds nothing. Batches are committed one by one, so a
        crash costs one batch, and the next run goes on from there. What cannot be read is recorded with the reason
        (``unreadable``) and tried again when the file changes.

        Parameters
        ----------
        source : path or sequence of str, optional
            A folder of images (or of text files, for an embedder of texts); a text file with an item per line; texts
            themselves. Default: all words of an embedder of words. Several sources may share a collection; all
            sequences are one source, so that a second one takes the place of the first (``add`` adds).
        embedder : str or Embedder, optional
            A name for ``simskip.embedding.load`` or an object. Default: the one that made the vectors so far.
        label_from : "folder", None or path
            Where labels come from: the first folder on the way to a file, nowhere, or a CSV file (see
            ``simskip.collection.labels``).
        prefix : str
            Stands in front of the keys, which otherwise are paths relative to the folder; keeps two folders apart.
        progress : bool
            Show a bar.
        batch_size : int, optional
            Items per commit. Default: up to 256 images or 16,384 texts.

        Raises
        ------
        ValueError
            If there is nothing in the source, the embedder is another model than the one of the vectors, or a key
            belongs to another source.
        CollectionError
            If the file is locked or there is no space left; what was committed before stays.
        """
        if batch_size is not None:
            positive_int(batch_size, "batch_size")
        table = None if label_from in (None, "folder") else read_labels(label_from)  # type: ignore[arg-type]
        model = self._embedder.chosen(embedder)
        origin = source_of(source, model, prefix)
        options: dict[str, Any] = {"progress": progress, "batch_size": batch_size}
        if isinstance(origin, FolderSource):
            entries = origin.entries()
            number = register_source(self._database, origin, [entry.key for entry in entries])
            self._embedder.register(model)
            options["labelled"] = label_from == "folder"
            report = FileSync(self._database, origin, number, model, self.hasher, **options).run(entries)
        else:
            number = register_source(self._database, origin, ())
            self._embedder.register(model)
            report = sync_texts(self._database, origin, number, model, self.hasher, **options)
        if table is not None:
            editing.apply_table(self._database, table, f"label_from={os.fspath(label_from)!r}", known_only=True)  # type: ignore[arg-type]
        return report

    def add(
        self,
        keys: Sequence[str],
        vectors: npt.ArrayLike | None = None,
        *,
        images: Sequence[Any] | None = None,
        texts: Sequence[str] | None = None,
        labels: Sequence[str | None] | None = None,
        attributes: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        """Add items, or replace those whose keys are there.

        Parameters
        ----------
        keys : n distinct str
        vectors : (n, dim) array, optional
            Vectors of your own; or else ``images`` or ``texts``, which the collection's embedder turns into vectors.
        labels, attributes : n values, optional
            A replaced item keeps what is not given.

        Raises
        ------
        ValueError
            If anything does not fit; nothing is added then.
        """
        names = checked_keys(keys)
        name, value = one_given(vectors=vectors, images=images, texts=texts)
        if name == "vectors":
            rows = matrix(value, name, dim=self.dim, min_rows=0)
        else:
            rows = self._searcher.question(self.dim).vectors(name, value)[0]
        if len(rows) != len(names):
            raise ValueError(f"{name} must hold one thing for each of the {len(names)} keys, got {len(rows)}")
        model = self._embedder.get() if name != "vectors" else None
        editing.add(self._database, self._embedder, model, names, rows, self.hasher, labels, attributes)

    def remove(self, keys: Sequence[str]) -> None:
        """Remove items; ``ValueError`` (and no change) if one is not there."""
        editing.remove(self._database, checked_keys(keys))

    def set_labels(self, labels: Mapping[str, str | None] | str | os.PathLike[str]) -> None:
        """Set labels by key, or labels and attributes from a CSV file; ``None`` takes a label away.

        Raises ``ValueError`` (and changes nothing) for a key that is not there.
        """
        editing.set_labels(self._database, labels)

    def set_attributes(self, attributes: Mapping[str, Mapping[str, Any]]) -> None:
        """Set attributes by key: names to values that JSON can hold. Others stay; the value ``None`` takes one away.

        Raises ``ValueError`` (and changes nothing) for a key that is not there or a name that ``where`` cannot use.
        """
        editing.set_attributes(self._database, attributes)

    def train(
        self,
        hasher: str | Hasher = "neighbors",
        n_bits: int = 64,
        *,
        hold_out: int = 1000,
        progress: bool = True,
        **parameters: Any,
    ) -> Hasher:
        """Train a hasher on the vectors, keep it in the file, and encode everything.

        Parameters
        ----------
        hasher : str or Hasher
            An objective of ``simskip.DeepHash``, ``"pca"``, ``"itq"`` or ``"random"``; or an object, which is fitted
            unless it is fitted already.
        n_bits : int
        hold_out : int
            At most so many items (and at most a tenth) are not trained on: ``held_out``, for an honest evaluation.
            While there is a classifier, the items that it was not trained on.
        **parameters
            Of the hasher.

        Returns
        -------
        Hasher
            Fitted.
        """
        made = training.hasher_of(hasher, n_bits, self._metric, parameters)
        return training.train(self._database, self._models, made, hold_out=hold_out, progress=progress)

    def train_classifier(self, *, hold_out: int = 1000, progress: bool = True, **parameters: Any) -> VectorClassifier:
        """Train a classifier of the vectors by the items' labels, and keep it in the file, for searches with a gate.

        Parameters
        ----------
        hold_out : int
            As for ``train``. While there is a hasher, the items that it was not trained on.
        **parameters
            Of ``VectorClassifier``.

        Raises ``ValueError`` for fewer than two labels.
        """
        return training.train_classifier(self._database, self._models, parameters, hold_out=hold_out, progress=progress)

    def encode(self) -> int:
        """Give codes to items that have none (``train`` and ``sync`` do it themselves); how many there were."""
        return training.encode(self._database, self._models)

    # Asking it.

    def search(
        self,
        *,
        image: Any = None,
        text: str | None = None,
        key: str | None = None,
        vector: npt.ArrayLike | None = None,
        k: int = 10,
        where: str | None = None,
        parameters: Parameters = (),
        exclude_self: bool = True,
        **options: Any,
    ) -> Hits:
        """The items nearest to an image, a text, an item or a vector.

        Parameters
        ----------
        image : path, uint8 array or PIL image
        text : str
        key : str
            Of an item.
        vector : (dim,) array
        k : int
        where : str, optional
            An SQL condition on ``key``, ``label`` and attributes; see ``Filters``. If at least k items satisfy it, k
            come back.
        parameters : sequence or mapping
            Values for ``?`` or ``:name`` in ``where``: whatever comes from others belongs here.
        exclude_self : bool
            Leave the item itself out of the answer to ``key``.
        **options
            As for ``search_many``.

        Returns
        -------
        Hits
            At most k, the nearest first.
        """
        name, value = one_given(image=image, text=text, key=key, vector=vector)
        plural = {"image": "images", "text": "texts", "key": "keys", "vector": "vectors"}[name]
        one: Any = np.asarray(value)[None] if name == "vector" else [value]
        return self._searcher.one(plural, one, k, where, parameters, exclude_self, How(**options))

    def search_many(
        self,
        *,
        images: Sequence[Any] | None = None,
        texts: Sequence[str] | None = None,
        keys: Sequence[str] | None = None,
        vectors: npt.ArrayLike | None = None,
        k: int = 10,
        where: str | None = None,
        parameters: Parameters = (),
        exclude_self: bool = True,
        **options: Any,
    ) -> tuple[npt.NDArray[Any], Ids]:
        """Many queries at once; see ``search``.

        Parameters
        ----------
        **options
            ``scoring``, ``rerank`` (10), ``recall``, ``threads``: as for ``SimilarityIndex.search``; used once a hasher
            has been trained; ``recall`` replaces ``rerank``. ``exact=True``: compare all vectors, as is done while
            there is no hasher. ``gate="soft"`` or ``"hard"``, with ``probability`` and ``budget``: compare the vectors
            of the likely classes only, as for ``HierarchicalSearch.search``; needs ``train_classifier``.

        Returns
        -------
        distances : (q, k) array
        ids : (q, k) int64
            -1 where fewer than k items pass; ``keys_of`` gives their keys.
        """
        name, value = one_given(images=images, texts=texts, keys=keys, vectors=vectors)
        return self._searcher.many(name, value, k, where, parameters, exclude_self, How(**options))

    def gate_recall(self, k: int = 25, **options: Any) -> GateRecall:
        """Which share of the true k nearest the gate lets through, and how many rows it reads.

        Asked by the items that neither hasher nor classifier was trained on (``held_out``), which are left out of the
        search for it. ``options``: ``gate``, ``probability``, ``budget``, ``threads``, as for ``search_many``.

        Raises ``ValueError`` if no items are held out, or there is no classifier.
        """
        held_out = self.held_out
        if len(held_out) == 0:
            raise ValueError(f"{self.path.name} has no held-out items to ask with: train with hold_out > 0")
        return self._searcher.gated().recall(held_out, positive_int(k, "k"), How(**{"gate": "soft", **options}))

    def evaluate(self, k: int = 25, **options: Any) -> Report:
        """What the codes cost, asked by the items that the hasher has not seen; see ``evaluate_collection``."""
        from .evaluation import evaluate_collection

        return evaluate_collection(self, k, **options)

    def keys_of(self, ids: npt.ArrayLike) -> list[str]:
        """The keys of ids; ``ValueError`` for one that is not there."""
        numbers = np.asarray(ids, np.int64).ravel().tolist()
        with self._database.reading() as connection:
            rows = rows_of(connection, numbers)
        missing = next((id for id in numbers if id not in rows), None)
        if missing is not None:
            raise ValueError(f"id {missing} is not in {self.path.name}")
        return [rows[id].key for id in numbers]

    def ids_of(self, keys: Sequence[str]) -> Ids:
        """The ids of keys, (n,) int64; ``ValueError`` for one that is not there."""
        distinct = checked_keys(list(dict.fromkeys(keys)))
        with self._database.reading() as connection:
            numbers = dict(zip(distinct, required_ids(connection, distinct, self.path.name), strict=True))
        return np.array([numbers[key] for key in keys], np.int64)

    def labels_of(self, ids: npt.ArrayLike) -> list[str | None]:
        """The labels of ids."""
        numbers = np.asarray(ids, np.int64).ravel().tolist()
        with self._database.reading() as connection:
            rows = rows_of(connection, numbers)
        return [rows[id].label if id in rows else None for id in numbers]

    def files_of(self, ids: npt.ArrayLike) -> list[Path | None]:
        """The files that items were synced from, where they were."""
        numbers = np.asarray(ids, np.int64).ravel().tolist()
        with self._database.reading() as connection:
            rows = rows_of(connection, numbers)
        return [rows[id].file if id in rows else None for id in numbers]

    def vectors(self, ids: npt.ArrayLike | None = None) -> tuple[Ids, Vectors]:
        """Ids, ascending, and vectors (n, dim): all, or those of ``ids``."""
        if self.dim is None:
            return np.empty(0, np.int64), np.empty((0, 0), np.float32)
        wanted = None if ids is None else np.unique(np.asarray(ids, np.int64))
        with self._database.reading() as connection:
            return read_vectors(connection, self.dim, wanted)

    def codes(self) -> tuple[Ids, Codes]:
        """Ids, ascending, and codes of all items that have one; ``ValueError`` before training."""
        hasher = self.hasher
        if hasher is None:
            raise ValueError(f"{self.path.name} has no codes: train a hasher first")
        with self._database.reading() as connection:
            return read_codes(connection, hasher.n_bits)

    def knn_table(self, k: int = 25, *, exact: bool | None = None, progress: bool = True) -> NeighborTable:
        """The k nearest of every item, computed once and kept in the file; see ``NeighborStore.table``.

        One search per item, by codes if there is a hasher and ``exact`` is not True; nothing of size n * n. A table of
        the items as they are now is read instead.
        """
        return self._neighbors.table(positive_int(k, "k", maximum=2**31 - 2), exact, progress)

    def neighbors(self, key: str, k: int = 10) -> Hits:
        """The k nearest of an item, itself left out, looked up in the table that ``knn_table`` has made.

        Raises ``ValueError`` if there is none, it is out of date or too narrow, or there is no such item.
        """
        distances, ids = self._neighbors.of(key, positive_int(k, "k"))
        return self._searcher.hits(distances.tolist(), ids.tolist(), self._metric)

    def export(self, path: str | os.PathLike[str], *, vectors: bool = True, codes: bool = True) -> int:
        """Write everything to a ``.parquet`` file or a folder of them; how many items. See ``parquet_export``."""
        return export(self._database, path, vectors=vectors, codes=codes)

    @classmethod
    def import_(
        cls, parquet: str | os.PathLike[str], db: str | os.PathLike[str], *, metric: str | None = None
    ) -> Collection:
        """A collection from what ``export`` wrote, or from any Parquet with columns ``key`` and ``vector``.

        See ``parquet_import.ParquetItems``. ``db`` is made, or gets the items added; in one transaction.
        """
        items = ParquetItems(parquet, metric)
        with removed_on_error(db), contextlib.ExitStack() as closed_on_error:
            collection = closed_on_error.enter_context(cls.open(db, metric=items.metric))
            items.into(collection._database, collection._models, collection._embedder)
            closed_on_error.pop_all()
        return collection
