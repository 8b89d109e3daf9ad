"""Parts of a collection as files for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..files import atomic_write

__all__ = ["write_codes", "write_hasher", "write_neighbors", "write_parquet"]


def write_parquet(collection: Any, path: Path) -> str:
    """Everything in a collection as Parquet; returns what was written."""
    count = collection.export(path)
    return f"{count:,} items in {path.name}"


def write_hasher(collection: Any, path: Path) -> str:
    """The hasher as safetensors, for ``simskip.load_hasher``."""
    hasher = collection.hasher
    if hasher is None:
        raise ValueError(f"{collection.path} has no hasher to export: train one first")
    hasher.save(path)
    return f"{hasher.n_bits} bits in {path.name}"


def write_codes(collection: Any, path: Path) -> str:
    """The codes as a .npy file: (n, bytes) uint8, in the order of ids."""
    _, codes = collection.codes()
    with atomic_write(path) as file:
        np.save(file, codes.data)
    return f"{len(codes):,} codes of {codes.n_bits} bits in {path.name}"


def write_neighbors(collection: Any, path: Path, k: int, progress: bool = False) -> str:
    """The neighbour table as a .npz file with ``ids`` (n,), ``neighbors`` (n, k) and ``distances`` (n, k)."""
    table = collection.knn_table(k, progress=progress)
    with atomic_write(path) as file:
        np.savez(file, ids=table.ids, neighbors=table.neighbors, distances=table.distances)
    return f"the {table.k} nearest of {len(table):,} items in {path.name}"
