"""The last stages: files. Each is written again when what it holds has changed, or when it is gone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .configuration import Configuration
from .files import write_codes, write_hasher, write_neighbors, write_parquet
from .stages import Context, Result, Stage, relative_path
from .state import Facts

__all__ = ["EXPORTS"]


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
        path = relative_path(path_of(context.configuration), context.configuration)
        return {"path": path, **inputs(context, facts)}

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
        lambda context, path: write_neighbors(context.collection, path, _knn_k(context), context.progress),
        lambda context, facts: {"k": _knn_k(context), "items": facts.revision, "hasher": facts.hasher},
        ("sync", "train", "knn"),
    ),
]
