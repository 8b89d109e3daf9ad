"""One vector per picture from whatever a network puts out."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["POOLINGS", "pooled"]

POOLINGS = ("mean", "first")


def pooled(features: npt.NDArray[Any], name: str, layout: str, pooling: str | None) -> npt.NDArray[np.float32]:
    """(n, d) as it is; feature maps of rank 4 averaged over the picture; rank 3 (n, tokens, d) as ``pooling`` says.

    Parameters
    ----------
    features : array
        With one row per picture.
    name : str
        Of the output, for messages.
    layout : {"nchw", "nhwc"}
        Where the channels of a feature map are.
    pooling : {"mean", "first"} or None
        For tokens: their average, or the first (the class token of a transformer).

    Raises
    ------
    ValueError
        For another rank, and for tokens if ``pooling`` is None.
    """
    if features.ndim == 4:
        features = features.mean((2, 3) if layout == "nchw" else (1, 2), dtype=np.float32)
    elif features.ndim == 3 and pooling is not None:
        features = features.mean(1, dtype=np.float32) if pooling == "mean" else features[:, 0]
    elif features.ndim == 3:
        raise ValueError(
            f"pooling must be 'mean' or 'first' for the output {name!r} of shape {features.shape} (n, tokens, d)"
        )
    elif features.ndim != 2:
        raise ValueError(f"output must have shape (n, d), (n, tokens, d) or a feature map's, got {features.shape}")
    return np.ascontiguousarray(features, np.float32)
