"""The ground that all trials of a study stand on: which rows are for what, the exact neighbours, the figures."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import validation
from ..cache import array_fingerprint, fingerprint
from ..evaluation.metrics import mean_average_precision, recall_at_k
from ..evaluation.scores import Score
from ..hashing.preparation import METRICS as DISTANCES
from ..hashing.supervision import NO_CLASS, checked_labels
from ..validation import FloatMatrix, choice, fraction, positive_int

__all__ = ["DATABASES", "METRICS", "MINIMISED", "QUALITIES", "Ground", "Rows", "Settings", "metric_names"]

# Figures of a trial. The first four are means over queries.
QUALITIES = ("recall", "recall-reranked", "recall-asymmetric", "map")
MINIMISED = ("seconds", "bytes")
METRICS = QUALITIES + MINIMISED
DATABASES = ("unseen", "training")

RowNumbers = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Settings:
    """What makes two trials comparable; the same in all trials of a study (``tune`` explains each)."""

    metrics: tuple[str, ...]
    k: int = 25
    rerank: int = 10
    distance: str = "cosine"
    database: str = "unseen"
    choosing: float = 0.2
    reporting: float = 0.2
    max_queries: int = 1000
    random_state: int = 0

    def __post_init__(self) -> None:
        positive_int(self.k, "k")
        positive_int(self.rerank, "rerank")
        choice(self.distance, "distance", DISTANCES)
        choice(self.database, "database", DATABASES)
        for name in ("choosing", "reporting"):
            fraction(getattr(self, name), name, open_high=True)
        if not (self.choosing > 0 and self.reporting > 0 and self.choosing + self.reporting < 1):
            raise ValueError(
                "choosing and reporting must be shares of the rows above 0 that leave some for training, got"
                f" {self.choosing} and {self.reporting}"
            )
        positive_int(self.max_queries, "max_queries")
        positive_int(self.random_state, "random_state", minimum=0, maximum=2**32 - 1)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; ``from_dict`` takes it back."""
        return {**dataclasses.asdict(self), "metrics": list(self.metrics)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Settings:
        """The inverse of ``as_dict``."""
        return cls(**{**values, "metrics": tuple(values["metrics"])})

    @property
    def fixed(self) -> dict[str, Any]:
        """Parameters of ``DeepHash`` that are alike in all trials: the metric, the seed, and which held-out figure
        decides the epoch that is kept (of the kind that is tuned for)."""
        qualities = [name for name in self.metrics if name in QUALITIES]
        watch = {} if not qualities else {"watch": "map" if qualities[0] == "map" else "recall"}
        return {"metric": self.distance, "random_state": self.random_state, **watch}

    def directions(self) -> list[Any]:
        """Optuna's word for each metric."""
        return ["minimize" if name in MINIMISED else "maximize" for name in self.metrics]


def metric_names(metric: Any, labels: bool) -> tuple[str, ...]:
    """The metrics that ``tune(metric=...)`` stands for.

    Raises ``ValueError`` for an unknown one, one twice, or ``map`` without labels.
    """
    if metric is None:
        return ("map" if labels else "recall",)
    names = (metric,) if isinstance(metric, str) else tuple(metric)
    if not names:
        raise ValueError("metric must be the name of a figure or several, got none")
    for name in names:
        choice(name, "metric", METRICS)
    if len(set(names)) < len(names):
        raise ValueError(f"metric must name each figure once, got {names!r}")
    if "map" in names and not labels:
        raise ValueError("metric 'map' needs labels: pass y")
    return names


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows on which trained hashers are judged.

    Attributes
    ----------
    queries, database : (q,), (n,) int64 arrays
        Row numbers, ascending, disjoint.
    truth : (q, k) int64 array
        Each query's exact nearest, as positions in ``database``, nearest first.
    """

    queries: RowNumbers
    database: RowNumbers
    truth: RowNumbers


class Ground:
    """Vectors, labels, and the three parts of the rows; the exact neighbours are computed here, once.

    Parameters
    ----------
    X : (n, d) array
    y : (n,) array of int or str, or (n, classes) array of 0 and 1, or None
    settings : Settings
    parts : dict of str to array, optional
        What ``save`` wrote, instead of computing it.

    Attributes
    ----------
    training : (m,) int64 array
        Rows that hashers are trained on.
    choosing, reporting : Rows
        What trials are compared on, and what is kept for ``Study.report``.
    """

    def __init__(
        self, X: npt.ArrayLike, y: npt.ArrayLike | None, settings: Settings, parts: dict[str, Any] | None = None
    ) -> None:
        self.X: FloatMatrix = validation.matrix(X, "X")
        self.y = None if y is None else _labels(y, len(self.X))
        self.settings = settings
        if parts is None:
            parts = self._split()
        self.training: RowNumbers = parts["training"]
        self.choosing = self._rows("choosing", parts)
        self.reporting = self._rows("reporting", parts)

    def _split(self) -> dict[str, Any]:
        n, s = len(self.X), self.settings
        sizes = [int(n * s.choosing), int(n * s.reporting)]
        order = np.random.default_rng(s.random_state).permutation(n)
        parts: dict[str, Any] = {"training": np.sort(order[sum(sizes) :])}
        start = 0
        for name, size in zip(("choosing", "reporting"), sizes, strict=True):
            rows = order[start : start + size]
            start += size
            if s.database == "training":
                queries, database = rows[: s.max_queries], parts["training"]
            else:
                count = min(s.max_queries, size // 4)
                queries, database = rows[:count], rows[count:]
            parts[f"{name} queries"], parts[f"{name} database"] = np.sort(queries), np.sort(database)
            wanted = s.k * s.rerank if "recall-reranked" in s.metrics else s.k
            if len(queries) < 1 or len(database) <= wanted:
                raise ValueError(
                    f"X must hold more rows: {n} leave {len(queries)} queries and {len(database)} rows to search in for"
                    f" {name}; a search reads {wanted} of them"
                )
        return parts

    def _rows(self, name: str, parts: dict[str, Any]) -> Rows:
        from ..index.vector import VectorIndex  # its package imports the hashers

        queries, database = parts[f"{name} queries"], parts[f"{name} database"]
        truth = parts.get(f"{name} truth")
        if truth is None:
            index = VectorIndex(self.X.shape[1], self.settings.distance)
            index.add(self.X[database])
            truth = index.search(self.X[queries], self.settings.k)[1]
        return Rows(queries, database, truth)

    def save(self, folder: Path) -> None:
        """Write everything for another process; ``load`` reads it, vectors by memory map."""
        np.save(folder / "X.npy", self.X)
        if self.y is not None:
            np.save(folder / "y.npy", self.y, allow_pickle=False)
        parts: dict[str, Any] = {"training": self.training}
        for name, rows in (("choosing", self.choosing), ("reporting", self.reporting)):
            parts |= {f"{name} {field}": getattr(rows, field) for field in ("queries", "database", "truth")}
        np.savez(folder / "rows.npz", **parts)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], settings: Settings) -> Ground:
        """The inverse of ``save``."""
        folder = Path(folder)
        X = np.load(folder / "X.npy", mmap_mode="r")
        y = np.load(folder / "y.npy") if (folder / "y.npy").exists() else None
        with np.load(folder / "rows.npz") as file:
            return cls(X, y, settings, dict(file))

    @property
    def fingerprint(self) -> str:
        """Of vectors and labels."""
        labels = "none" if self.y is None else array_fingerprint(self.y)
        return fingerprint(array_fingerprint(self.X), labels)

    @property
    def training_labels(self) -> npt.NDArray[Any] | None:
        """Labels of the training rows."""
        return None if self.y is None else self.y[self.training]

    def figures(self, hasher: Any, part: str, threads: int | None = None) -> dict[str, Score]:
        """The qualities of a trained hasher, each with its values per query.

        Parameters
        ----------
        hasher : fitted hasher
        part : {"choosing", "reporting"}
        threads : int, optional
            Of the search.

        Returns
        -------
        dict of str to Score
            ``recall``, ``recall-asymmetric``, ``recall-reranked`` where a rerank is a shortcut, and ``map`` (ties
            count with their expected value; queries that have a class) where there are labels.
        """
        from ..index import SimilarityIndex

        rows, s = {"choosing": self.choosing, "reporting": self.reporting}[part], self.settings
        queries, database = self.X[rows.queries], self.X[rows.database]
        index = SimilarityIndex(hasher, s.distance)
        index.add(database)

        def recall(**how: Any) -> Score:
            return recall_at_k(index.search(queries, s.k, threads=threads, **how)[1], rows.truth)

        found = {"recall": recall(scoring="codes"), "recall-asymmetric": recall(scoring="asymmetric")}
        if s.k * s.rerank < len(database):
            found["recall-reranked"] = recall(scoring="codes", rerank=s.rerank)
        if self.y is not None and (asking := self._labelled(rows.queries)).any():
            found["map"] = mean_average_precision(
                self.y[rows.queries[asking]],
                self.y[rows.database],
                query_codes=hasher.encode(queries[asking]),
                codes=index.codes,
            )
        return found

    def _labelled(self, rows: RowNumbers) -> npt.NDArray[np.bool_]:
        """Which of these rows have a class: those without one are no queries, and relevant to none."""
        assert self.y is not None
        if self.y.ndim == 2:
            return np.asarray(self.y[rows].any(axis=1))
        if self.y.dtype.kind == "i":
            return np.asarray(self.y[rows] != NO_CLASS)
        return np.ones(len(rows), bool)


def _labels(y: npt.ArrayLike, n: int) -> npt.NDArray[Any]:
    array = checked_labels(y, n)
    if array.dtype.kind == "O":  # they travel to other processes and into a fingerprint
        kinds = {type(label) for label in array.tolist()}
        if kinds != {str}:
            raise ValueError(
                f"y must be all integers or all strings, got {', '.join(sorted(kind.__name__ for kind in kinds))}"
            )
        array = array.astype(str)
    return array
