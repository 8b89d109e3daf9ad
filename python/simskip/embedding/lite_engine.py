"""EfficientNet-Lite as an embedder: exported to ONNX once, then run by ONNX Runtime."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import cache
from ..validation import choice
from . import efficientnet_lite
from .efficientnet_lite import VARIANTS, Variant
from .image_embedder import ImageEmbedder
from .model_name import joined
from .onnx_session import OnnxSession
from .ordered_work import Cancellation
from .picture import FRAMINGS, PIXELS_VERSION, Geometry

__all__ = ["LiteEngine", "lite_embedder"]


class LiteEngine:
    """One of the EfficientNet-Lite networks (see ``lite_embedder``)."""

    concurrent = True
    dim = efficientnet_lite.DIM

    def __init__(self, variant: Variant, cache_dir: str | os.PathLike[str] | None, framing: str) -> None:
        self._arguments = variant, cache_dir, framing
        self.name = joined(variant.name, {"framing": None if framing == "whole" else framing})
        # The published evaluation cuts the side over the side + 32.
        side = variant.image_size
        self.geometry = Geometry((side, side), framing, side / (side + 32))
        self.fingerprint = (
            f"{variant.name} weights={variant.sha256[:16]} graph={efficientnet_lite.EXPORT_VERSION}"
            f" pixels={PIXELS_VERSION} framing={framing}"
        )
        self._session = OnnxSession(_exported(variant, cache_dir))

    def run(self, pixels: list[npt.NDArray[np.uint8]], cancellation: Cancellation) -> npt.NDArray[np.float32]:
        """See ``ImageEngine``."""
        vectors: npt.NDArray[np.float32] = self._session.run("vectors", {"pictures": np.stack(pixels)}, cancellation)
        return vectors

    def __reduce__(self) -> tuple[Any, ...]:
        return LiteEngine, self._arguments


def lite_embedder(
    name: str = "efficientnet-lite0",
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    framing: str = "whole",
    **options: Any,
) -> ImageEmbedder:
    """EfficientNet-Lite, pretrained on ImageNet: 1280 numbers >= 0 per picture.

    The network is exported to ONNX the first time and cached; afterwards embedding imports neither PyTorch nor
    ``onnx``.

    Parameters
    ----------
    name : {"efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"}
        Larger ones see 240 and 260 pixels a side instead of 224 and take 1.5 and 2.2 times as long.
    cache_dir : path, optional
        Where the exported network is kept; see ``simskip.cache.cache_dir``.
    framing : {"whole", "centre"}
        How an image becomes a square. ``"whole"`` (default) stretches it, so that nothing at the border is lost:
        the networks were trained on crops with aspect ratios from 3:4 to 4:3 and tolerate it. ``"centre"`` cuts
        the middle square (224/256 of the shorter side for Lite0), as ImageNet accuracies are measured.
    **options
        ``threads`` and ``batch_size`` of ``ImageEmbedder``.

    Raises
    ------
    ImportError
        If the extra ``images`` is missing.
    FormatError
        If the weights are damaged.
    ValueError
        For parameters out of range.

    Examples
    --------
    >>> import numpy as np
    >>> lite_embedder(threads=1).embed([np.zeros((9, 7, 3), np.uint8)]).shape
    (1, 1280)
    """
    variant = VARIANTS[choice(name, "name", tuple(VARIANTS))]
    return ImageEmbedder(LiteEngine(variant, cache_dir, choice(framing, "framing", FRAMINGS)), **options)


def _exported(variant: Variant, directory: str | os.PathLike[str] | None) -> Path:
    """The network's ONNX file, exported if the cache has no intact one."""
    return cache.cached_bytes(
        variant.name,
        cache.fingerprint(variant.sha256, str(efficientnet_lite.EXPORT_VERSION)),
        "onnx",
        lambda: [efficientnet_lite.build_graph(variant, efficientnet_lite.read_weights(variant))],
        directory,
    )
