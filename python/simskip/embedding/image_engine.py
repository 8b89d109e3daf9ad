"""What turns pixels into vectors, as ``ImageEmbedder`` sees it."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from .ordered_work import Cancellation
from .picture import Geometry

__all__ = ["ImageEngine"]


class ImageEngine(Protocol):
    """A model with its preprocessing: pixels of one size -> vectors. Immutable, and picklable by its maker.

    Attributes
    ----------
    name : str
        What ``simskip.embedding.load`` finds it by.
    dim : int
        Numbers per vector.
    fingerprint : str
        Identity of weights, graph and preprocessing.
    geometry : Geometry or None
        How images become its input; None if it takes them as large as they are.
    concurrent : bool
        Whether several threads may call ``run`` at once; otherwise one does, while others decode.
    """

    @property
    def name(self) -> str: ...
    @property
    def dim(self) -> int: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def geometry(self) -> Geometry | None: ...
    @property
    def concurrent(self) -> bool: ...

    def run(self, pixels: list[npt.NDArray[np.uint8]], cancellation: Cancellation) -> npt.NDArray[np.float32]:
        """Vectors (n, dim) of n >= 1 pictures, each (h, w, 3) in RGB order; the sums do not depend on n.

        May end early by ``CancelledError`` once ``cancellation`` says so.
        """
        ...
