"""What became of image files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["EmbeddedBatch", "EmbeddedFiles", "SkippedFile"]

Vectors = npt.NDArray[np.float32]


class SkippedFile(NamedTuple):
    """A file that could not be embedded, and why."""

    path: Path
    reason: str


class EmbeddedBatch(NamedTuple):
    """What became of the next few of a list of files.

    Attributes
    ----------
    rows : (m,) int64 array
        Positions in the list that was given, ascending.
    vectors : (m, dim) float32 array
        Row ``i`` belongs to the file at ``rows[i]``.
    skipped : list of SkippedFile
        Those that could not be read, in order.
    """

    rows: npt.NDArray[np.int64]
    vectors: Vectors
    skipped: list[SkippedFile]

    @classmethod
    def joined(cls, parts: Sequence[EmbeddedBatch]) -> EmbeddedBatch:
        """At least one part, and the others behind it."""
        return cls(
            np.concatenate([part.rows for part in parts]),
            np.concatenate([part.vectors for part in parts]),
            [skipped for part in parts for skipped in part.skipped],
        )


@dataclass(frozen=True, repr=False)
class EmbeddedFiles:
    """What became of a list of image files: row ``i`` of ``vectors`` belongs to ``paths[i]``.

    Attributes
    ----------
    vectors : (m, dim) float32 array
    paths : list of Path
        The m files that were embedded, in the order given.
    rows : (m,) int64 array
        Their positions in the list that was given, to pick labels: ``labels[files.rows]``.
    skipped : list of SkippedFile
        The others, with the reason.
    """

    vectors: Vectors
    paths: list[Path]
    rows: npt.NDArray[np.int64]
    skipped: list[SkippedFile]

    @classmethod
    def of(cls, batches: Iterable[EmbeddedBatch], files: Sequence[Any], dim: int) -> EmbeddedFiles:
        """All batches of ``files`` as one."""
        none = EmbeddedBatch(np.empty(0, np.int64), np.empty((0, dim), np.float32), [])
        rows, vectors, skipped = EmbeddedBatch.joined([none, *batches])
        return cls(vectors, [Path(files[row]) for row in rows.tolist()], rows, skipped)

    def __len__(self) -> int:
        return len(self.paths)

    def __repr__(self) -> str:
        return f"EmbeddedFiles({len(self):,} x {self.vectors.shape[1]}, {len(self.skipped):,} skipped)"
