"""The frozen features that objectives are compared on, and which rows are for choosing and which for reporting.

========  ==========================================================  =======================================
name      what                                                        rows for reporting only: the queries
========  ==========================================================  =======================================
photos    CIFAR-10 through EfficientNet-Lite0, 1,280 numbers          from the last 5,000 test photographs
clothes   Fashion-MNIST through EfficientNet-Lite0, 1,280 numbers     from the last 5,000 test photographs
digits    scikit-learn's digits, 64 grey values                       400 of the mixed rows
glove     341,479 words, 100 numbers, no labels                       5,000 of the mixed words
========  ==========================================================  =======================================

Everything else (train splits, the first 5,000 test photographs, other words) may be used to choose settings; nothing is
chosen here. Labelled rows for training are drawn from a pool that is disjoint from the database of unseen items.
Vectors are kept in simskip's cache.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

import simskip
from simskip import cache, embedding

__all__ = ["DATA", "Features", "embedded_photographs"]

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
# Photographs are embedded in blocks of the same rows every time, so that the cache knows them.
_BLOCK = 10_000
_CHOOSING_QUERIES = 5000


@dataclass(frozen=True)
class Features:
    """One data set, split.

    Attributes
    ----------
    name, title : str
    pool, pool_labels : (p, d) float32 and (p,) int64 arrays
        Where labelled training rows are drawn from; empty without labels.
    database, database_labels : (n, d) and (n,) arrays
        Items to search, none of them in the pool.
    queries, query_labels : (q, d) and (q,) arrays
        For reporting only.
    n_labelled : int
        Rows with labels that a hasher is trained on.
    label_bits, neighbor_bits : tuple of int
        Code lengths of the two comparisons; none: the comparison is left out.
    """

    name: str
    title: str
    pool: Floats
    pool_labels: Labels
    database: Floats
    database_labels: Labels
    queries: Floats
    query_labels: Labels
    n_labelled: int
    label_bits: tuple[int, ...]
    neighbor_bits: tuple[int, ...]

    def labelled(self, seed: int) -> tuple[Floats, Labels]:
        """The labelled training rows of a seed: (m, d) and (m,)."""
        rows = np.sort(np.random.default_rng(seed).permutation(len(self.pool))[: self.n_labelled])
        return self.pool[rows], self.pool_labels[rows]

    def __str__(self) -> str:
        n, d = self.database.shape
        return f"{self.title}: {n:,} items x {d}, {len(self.queries):,} unseen queries"


def photos(quick: bool) -> Features:
    """CIFAR-10: pool of 10,000 photographs, database of 20,000 or 40,000."""
    train, test = (simskip.datasets.cifar10(split) for split in ("train", "test"))
    n = 30_000 if quick else 50_000
    vectors = _embedded([train[i : i + _BLOCK] for i in range(0, n, _BLOCK)])
    queries = _embedded([test])[_CHOOSING_QUERIES:]
    title = "CIFAR-10 photographs through EfficientNet-Lite0"
    return _labelled("photos", title, vectors, train.labels[:n], queries, test.labels[_CHOOSING_QUERIES:], quick)


def embedded_photographs(n: int) -> tuple[npt.NDArray[np.uint8], Floats]:
    """The first n of CIFAR-10's 60,000 photographs, those for training first, (n, 32, 32, 3), and their vectors."""
    train, test = (simskip.datasets.cifar10(split) for split in ("train", "test"))
    blocks = [train[i : i + _BLOCK] for i in range(0, min(n, len(train)), _BLOCK)] + [test] * (n > len(train))
    images = np.concatenate([block.images for block in blocks])
    return images[:n], _embedded(blocks)[:n]


def clothes(quick: bool) -> Features:
    """Fashion-MNIST: pool of 10,000 photographs, database of 20,000 (the 30,000 that the demo embeds too)."""
    train, test = (simskip.datasets.fashion_mnist(split) for split in ("train", "test"))
    train, test = train[:30_000], test[_CHOOSING_QUERIES : _CHOOSING_QUERIES + 2000]
    title = "Fashion-MNIST through EfficientNet-Lite0"
    return _labelled("clothes", title, _embedded([train]), train.labels, _embedded([test]), test.labels, quick)


def digits(quick: bool) -> Features:
    """scikit-learn's digits: pool of 797 (500 labelled), database of 600, 400 queries."""
    source = simskip.datasets.digits()
    order = np.random.default_rng(0).permutation(len(source))
    vectors, labels = source.images.reshape(len(source), -1)[order].astype(np.float32), source.labels[order]
    parts = np.split(np.arange(len(order)), [797, 1397])
    rows = [(vectors[part], labels[part]) for part in parts]
    (pool, a), (database, b), (queries, c) = rows
    return Features("digits", "Handwritten digits, 8 x 8 pixels", pool, a, database, b, queries, c, 500, (32,), ())


def glove(quick: bool) -> Features:
    """GloVe: database of 100,000 words or all but the queries."""
    source = simskip.datasets.glove()
    order = np.random.default_rng(0).permutation(len(source))
    reporting, database = np.split(order[_CHOOSING_QUERIES:], [5000])
    queries = source.vectors[reporting[: 1000 if quick else 2000]]
    items = source.vectors[np.sort(database[:100_000] if quick else database)]
    none, nothing = np.zeros((0, items.shape[1]), np.float32), np.zeros(0, np.int64)
    return Features("glove", "GloVe words", none, nothing, items, nothing, queries, nothing, 0, (), (128,))


DATA: dict[str, Callable[[bool], Features]] = {"photos": photos, "clothes": clothes, "digits": digits, "glove": glove}


def _labelled(
    name: str, title: str, vectors: Floats, labels: Labels, queries: Floats, query_labels: Labels, quick: bool
) -> Features:
    n = 1000 if quick else 2000
    return Features(
        name,
        title,
        vectors[:_BLOCK],
        labels[:_BLOCK],
        vectors[_BLOCK:],
        labels[_BLOCK:],
        np.ascontiguousarray(queries[:n]),
        query_labels[:n],
        5000,
        (64,),
        (64, 128),
    )


def _embedded(blocks: list[Any]) -> Floats:
    """EfficientNet-Lite0 vectors of images, from the cache where they are there, (n, 1280) float32."""
    embedder = embedding.images("efficientnet-lite0")

    def vectors(images: npt.NDArray[np.uint8]) -> Floats:
        def compute() -> Floats:
            return embedder.embed(images, progress=True)

        return cache.cached_vectors(embedder, cache.array_fingerprint(images), compute)

    return np.concatenate([vectors(block.images) for block in blocks])
