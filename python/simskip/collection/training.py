"""Train a collection's hasher and give its items codes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..hashing import DeepHash, Hasher, PCAHash, RandomHash
from ..hashing.hasher import require_fitted
from ..hashing.recipes import learns_from_labels
from ..validation import positive_int
from .database import Database
from .hierarchy.vector_classifier import VectorClassifier
from .items import ids_in, labels_by_id, read_vectors, vector_blocks, without_code, write_codes
from .models import Models

__all__ = ["encode", "hasher_of", "train", "train_classifier"]

Ids = npt.NDArray[np.int64]

# Items set aside for evaluation are at most this share: a small collection needs its items for training.
_HELD_OUT_SHARE = 0.1


def hasher_of(hasher: Any, n_bits: int, metric: str, parameters: dict[str, Any]) -> Hasher:
    """The hasher that ``train`` was asked for: a name with parameters, or a ready object."""
    if isinstance(hasher, Hasher):
        if parameters:
            raise ValueError(f"parameters must not be given beside a hasher object, got {', '.join(parameters)}")
        return hasher
    if not isinstance(hasher, str):
        raise ValueError(f"hasher must be a name or a hasher, got {type(hasher).__name__}")
    if hasher == "random":
        return RandomHash(n_bits, **parameters)
    if hasher == "itq":
        return PCAHash(n_bits, rotation="itq", **parameters)
    if hasher == "pca":
        return PCAHash(n_bits, **parameters)
    return DeepHash(n_bits, hasher, **{"metric": metric, **parameters})


def train(
    database: Database,
    models: Models,
    hasher: Hasher,
    *,
    hold_out: int = 1000,
    random_state: int = 0,
    progress: bool = True,
) -> Hasher:
    """Fit a hasher on the collection's vectors (a fitted one is taken as it is), store it, encode all items.

    Rows that were set aside (``held_out``) are not shown to it; a fitted hasher may have seen any. Hasher and codes
    change in one transaction.
    """
    dim = models.dim
    if dim is None:
        raise ValueError(f"{database.path} is empty: sync a folder or add items before training")
    held_out = np.empty(0, np.int64)
    if not hasattr(hasher, "dim_"):
        with database.reading() as connection:
            ids, vectors = read_vectors(connection, dim)
            labels = labels_by_id(connection)
        held_out = _set_aside(database, "classifier", ids, hold_out, random_state)
        shown, y = _labelled(hasher, ids, labels, ~np.isin(ids, held_out))
        hasher.fit(vectors[shown], y, progress=progress)
    elif require_fitted(hasher) != dim:
        raise ValueError(f"hasher must be fitted on vectors of {dim} numbers, got {hasher!r}")
    with database.writing() as connection:
        connection.execute("DELETE FROM codes")
        _keep_aside(connection, held_out)
        parameters = {"n_bits": hasher.n_bits, "description": repr(hasher)}
        Models.write(connection, "hasher", type(hasher).__name__, hasher.fingerprint, parameters, hasher.to_bytes())
        _encode(database, connection, hasher, dim)
    return hasher


def encode(database: Database, models: Models) -> int:
    """Give a code to every item that has none; how many there were."""
    hasher, dim = models.hasher(), models.dim
    if hasher is None or dim is None:
        raise ValueError(f"{database.path} has no hasher: train one before encoding")
    with database.writing() as connection:
        return _encode(database, connection, hasher, dim)


def _encode(database: Database, connection: Any, hasher: Hasher, dim: int) -> int:
    ids = without_code(connection)
    for block, vectors in vector_blocks(database, dim, ids):
        write_codes(connection, block, hasher.encode(vectors))
    return len(ids)


def train_classifier(
    database: Database,
    models: Models,
    parameters: dict[str, Any],
    *,
    hold_out: int = 1000,
    random_state: int = 0,
    progress: bool = True,
) -> VectorClassifier:
    """Fit a classifier on the labelled items that are not held out, and store it."""
    classifier = VectorClassifier(**parameters)
    dim = models.dim
    if dim is None:
        raise ValueError(f"{database.path} is empty: sync a folder or add items before training")
    with database.reading() as connection:
        ids, vectors = read_vectors(connection, dim)
        labels = labels_by_id(connection)
    if len(set(labels.values())) < 2:
        raise ValueError(f"a classifier needs at least two labels, {database.path} has {len(set(labels.values()))}")
    held_out = _set_aside(database, "hasher", ids, hold_out, random_state)
    unseen = set(held_out.tolist())
    classifier.fit(vectors, [None if id in unseen else labels.get(id) for id in ids.tolist()], progress=progress)
    with database.writing() as connection:
        _keep_aside(connection, held_out)
        stored = {"classes": len(classifier.classes_)}
        Models.write(
            connection, "classifier", "VectorClassifier", classifier.fingerprint, stored, classifier.to_bytes()
        )
    return classifier


def _set_aside(database: Database, other: str, ids: Ids, hold_out: int, random_state: int) -> Ids:
    """Items that no model is to see.

    While the other model is there, those that it has not seen, however many: of any others it has seen some. Else those
    held out already if they are about as many as wanted, so that training again changes nothing; or new ones.
    """
    count = min(positive_int(hold_out, "hold_out", minimum=0), int(len(ids) * _HELD_OUT_SHARE))
    with database.reading() as connection:
        known = ids_in(connection, "held_out")
    if database.value("SELECT 1 FROM models WHERE role = ?", (other,)) or 0.5 * count <= len(known) <= count:
        return known
    return np.sort(np.random.default_rng(random_state).choice(ids, count, replace=False))


def _keep_aside(connection: Any, held_out: Ids) -> None:
    connection.execute("DELETE FROM held_out")
    connection.executemany("INSERT INTO held_out VALUES (?)", ((int(id),) for id in held_out))


def _labelled(
    hasher: Hasher, ids: Ids, labels: dict[int, str], shown: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.bool_], list[str] | None]:
    """Which rows the hasher is shown, and their labels.

    One that learns from labels gets the rows that have one; any other gets all rows, with labels only if all have one
    (for the health of its codes).
    """
    has_label = np.array([int(id) in labels for id in ids], bool)
    if learns_from_labels(getattr(hasher, "objective", None)):
        shown = shown & has_label
        if not shown.any():
            raise ValueError(f"hasher {hasher!r} learns from labels, and no item has one")
    if not has_label[shown].all():
        return shown, None
    return shown, [labels[int(id)] for id in ids[shown]]
