"""The file that an interrupted training goes on from."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from . import weights

__all__ = ["CheckpointFile", "training_identity"]

FORMAT = "simskip-checkpoint"
FORMAT_VERSION = "1"
_SAMPLED_ROWS = 1024


class CheckpointFile:
    """Reads and writes one checkpoint: a safetensors file, replaced atomically after every epoch.

    Parameters
    ----------
    path : path
    identity : str
        ``training_identity`` of the training; a file of another one is refused.

    Raises
    ------
    ValueError
        For a path that no file can have.
    """

    def __init__(self, path: str | os.PathLike[str], identity: str) -> None:
        self._path = os.fspath(path)
        if os.path.isdir(self._path) or not os.path.isdir(os.path.dirname(self._path) or "."):
            raise ValueError(f"checkpoint must be a file in a folder that exists, got {self._path}")
        self._identity = identity

    def load(self) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
        """(what ``_learn.train`` resumes from, the history so far), or None if there is no file.

        Raises
        ------
        ValueError
            If it belongs to another training.
        FormatError
            If it is damaged or no checkpoint.
        """
        if not os.path.exists(self._path):
            return None
        tensors, metadata = weights.read_weights(self._path)
        if metadata.get("format") != FORMAT or metadata.get("format_version") != FORMAT_VERSION:
            raise ValueError(
                f"checkpoint {self._path} must be a checkpoint of this version, got format {metadata.get('format')!r} "
                f"version {metadata.get('format_version')!r}"
            )
        if metadata.get("identity") != self._identity:
            raise ValueError(
                f"checkpoint {self._path} is of another training (parameters or data differ): "
                "give another path or remove it"
            )
        state = json.loads(metadata["state"])
        names = sorted(tensors)
        return {**state, "tensors": [tensors[name] for name in names]}, json.loads(metadata["history"])

    def save(self, checkpoint: Mapping[str, Any], history: list[dict[str, Any]]) -> None:
        """Replace the file; a crash leaves the one before."""
        tensors = {f"{i:04d}": tensor for i, tensor in enumerate(checkpoint["tensors"])}
        weights.write_weights(
            self._path,
            tensors,
            {
                "format": FORMAT,
                "format_version": FORMAT_VERSION,
                "identity": self._identity,
                "state": json.dumps({name: checkpoint[name] for name in ("epoch", "best_epoch", "best")}),
                "history": json.dumps(history),
            },
        )


def training_identity(
    parameters: Mapping[str, Any], X: npt.NDArray[Any], classes: npt.NDArray[Any] | None, start: str = ""
) -> str:
    """32 hexadecimal digits: the same for the same parameters and data.

    Of ``X`` its shape, type and 1,024 evenly spaced rows are looked at, so that a file larger than memory need not be
    read. ``start`` names the weights that the training goes on from.
    """
    digest = hashlib.blake2b(digest_size=16)
    rows = np.unique(np.linspace(0, len(X) - 1, min(len(X), _SAMPLED_ROWS), dtype=np.int64))
    parts = [repr(sorted((name, repr(value)) for name, value in parameters.items())), start, X.dtype.str, repr(X.shape)]
    digest.update("\0".join(parts).encode())
    digest.update(np.ascontiguousarray(X[rows]).tobytes())
    if classes is not None:
        digest.update(np.ascontiguousarray(classes).tobytes())
    return digest.hexdigest()
