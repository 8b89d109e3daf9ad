"""The last stages: files. Each is written again when what it holds has changed, or when it is gone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..files import atomic_write
from .configuration import Configuration
from .stages import Context, Result, Stage
from .state import Facts

__all__ = ["EXPORTS", "write_codes", "write_hasher", "write_neighbors", "write_parquet"]


def write_parquet(collection: Any, path: Path) -> str:
    """Everything in a collection as Parquet; returns what was written."""
    collection.export(path)
    return f"{len(collection):,} items in {path.name}"


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


def write_neighbors(collection: Any, path: Path, k: int) -> str:
    """The neighbour table as a .npz file with ``ids`` (n,), ``neighbors`` (n, k) and ``distances`` (n, k)."""
    table = collection.knn_table(k)
    with atomic_write(path) as file:
        np.savez(file, ids=table.ids, neighbors=table.neighbors, distances=table.distances)
    return f"the {k} nearest of {len(table.ids):,} items in {path.name}"


def _stage(
    name: str,
    path_of: Callable[[Configuration], Path | None],
    write: Callable[[Context, Path], str],
    inputs: Callable[[Context, Facts], dict[str, Any]],
    after: tuple[str, ...],
) -> Stage:
    def run(context: Context) -> Result:
        path = path_of(context.configuration)
        assert path is not None
        path.parent.mkdir(parents=True, exist_ok=True)
        return write(context, path), {"path": str(path), "bytes": path.stat().st_size}

    def all_inputs(context: Context, facts: Facts) -> dict[str, Any]:
        return {"path": str(path_of(context.configuration)), **inputs(context, facts)}

    def outputs(configuration: Configuration) -> list[Path]:
        path = path_of(configuration)
        return [] if path is None else [path]

    return Stage(
        f"export {name}",
        lambda configuration: path_of(configuration) is not None,
        all_inputs,
        run,
        after,
        outputs,
    )


def _knn_k(context: Context) -> int:
    section = context.configuration.exports.knn
    return section.k if section else 0


EXPORTS: list[Stage] = [
    _stage(
        "parquet",
        lambda c: c.exports.parquet,
        lambda context, path: write_parquet(context.collection, path),
        lambda context, facts: {"items": facts.revision, "labels": facts.labels, "hasher": facts.hasher},
        ("sync", "train", "encode"),
    ),
    _stage(
        "hasher",
        lambda c: c.exports.hasher,
        lambda context, path: write_hasher(context.collection, path),
        lambda context, facts: {"hasher": facts.hasher},
        ("train",),
    ),
    _stage(
        "codes",
        lambda c: c.exports.codes,
        lambda context, path: write_codes(context.collection, path),
        lambda context, facts: {"items": facts.revision, "hasher": facts.hasher},
        ("sync", "train", "encode"),
    ),
    _stage(
        "knn",
        lambda c: c.exports.knn.path if c.exports.knn else None,
        lambda context, path: write_neighbors(context.collection, path, _knn_k(context)),
        lambda context, facts: {"k": _knn_k(context), "items": facts.revision},
        ("sync", "knn"),
    ),
]
