"""Images with their classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["LabelledImages"]


@dataclass(frozen=True, repr=False)
class LabelledImages:
    """Images of one size with their classes.

    Attributes
    ----------
    images : (n, h, w) or (n, h, w, 3) uint8 array
    labels : (n,) int64 array
        Positions in ``label_names``.
    label_names : tuple of str
    name, split : str
        Where they come from.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    label_names: tuple[str, ...]
    name: str
    split: str

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: Any) -> LabelledImages:
        """Some of the images: rows as a slice, an index array or a mask."""
        if isinstance(rows, (int, np.integer)):
            rows = [rows]
        return LabelledImages(self.images[rows], self.labels[rows], self.label_names, self.name, self.split)

    def __repr__(self) -> str:
        size = " x ".join(map(str, self.images.shape[1:]))
        classes = len(self.label_names)
        return f"LabelledImages({self.name} {self.split}: {len(self):,} of {size}, {classes} classes)"
