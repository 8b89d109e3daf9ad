"""What every embedder offers, whatever it embeds."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

__all__ = ["Embedder"]


@runtime_checkable
class Embedder(Protocol):
    """Turns things (pictures, sentences) into vectors: the door between data and everything else in simskip.

    Any object with these four members works wherever simskip wants an embedder. Optional, and present on all of
    simskip's own: ``kind``, ``"images"`` (a batch is a sequence of uint8 arrays, PIL images or paths) or
    ``"text"`` (a batch is a sequence of str). Embedders of images also have ``embed_files`` and
    ``embed_batches`` (see ``simskip.embedding.ImageEmbedder``).
    """

    @property
    def name(self) -> str:
        """What it is called in the registry, for example ``"efficientnet-lite0"``."""
        ...

    @property
    def dim(self) -> int:
        """Numbers per vector."""
        ...

    @property
    def fingerprint(self) -> str:
        """Identity of model, weights and preprocessing: equal fingerprints mean comparable vectors."""
        ...

    def embed(self, batch: Any, progress: bool = False) -> npt.NDArray[np.float32]:
        """Vectors of a batch of things, shape (n, dim) float32, in the batch's order."""
        ...
