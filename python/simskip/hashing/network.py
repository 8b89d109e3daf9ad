"""A trained hash network without torch: matrix products, biases and activations in NumPy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["ACTIVATIONS", "OUTPUTS", "DenseNetwork"]

FloatMatrix = npt.NDArray[np.float32]
Layer = tuple[FloatMatrix, FloatMatrix]

_GELU = np.float32(np.sqrt(2 / np.pi))


def _relu(x: FloatMatrix) -> FloatMatrix:
    return np.maximum(x, 0, out=x)


def _leaky_relu(x: FloatMatrix) -> FloatMatrix:
    return np.maximum(x, np.float32(0.01) * x, out=x)


def _gelu(x: FloatMatrix) -> FloatMatrix:
    inner = np.tanh(_GELU * (x + np.float32(0.044715) * x * x * x))
    inner += 1
    x *= np.float32(0.5)
    return np.multiply(x, inner, out=x)


def _tanh(x: FloatMatrix) -> FloatMatrix:
    return np.tanh(x, out=x)


def _silu(x: FloatMatrix) -> FloatMatrix:
    # x sigma(x) through tanh, which cannot overflow.
    half = np.float32(0.5) * x
    return np.multiply(half, 1 + np.tanh(half), out=x)


_FUNCTIONS: dict[str, Callable[[FloatMatrix], FloatMatrix]] = {
    "relu": _relu,
    "leaky_relu": _leaky_relu,
    "gelu": _gelu,
    "tanh": _tanh,
    "silu": _silu,
}
ACTIVATIONS = tuple(_FUNCTIONS)
OUTPUTS = ("tanh", "none")


@dataclasses.dataclass(frozen=True)
class DenseNetwork:
    """Weights of a trained network; batch-norm, input centring and scaling are folded into them.

    Attributes
    ----------
    layers : tuple of (weight, bias)
        weight (out, in) and bias (out,), float32; the last one gives the outputs.
    residual : (weight, bias) or None
        A linear path from the input to the outputs, added before the output activation.
    activation : str
        After every layer but the last: one of ``ACTIVATIONS`` (``"gelu"`` is the tanh approximation).
    output : {"tanh", "none"}
        After the sum of both paths.
    """

    layers: tuple[Layer, ...]
    residual: Layer | None
    activation: str
    output: str

    def __post_init__(self) -> None:
        width: int | None = None
        for weight, bias in self.layers:
            _check(weight, bias)
            if width is not None and weight.shape[1] != width:
                raise ValueError(f"layers do not follow each other: {width} outputs, then {weight.shape[1]} inputs")
            width = weight.shape[0]
        if width is None:
            raise ValueError("layers must hold at least one layer")
        if self.residual is not None:
            _check(*self.residual)
            if self.residual[0].shape != (width, self.layers[0][0].shape[1]):
                raise ValueError(f"residual must map the input to {width} outputs, got {self.residual[0].shape}")

    @property
    def n_inputs(self) -> int:
        """Columns of the input."""
        return int(self.layers[0][0].shape[1])

    @property
    def n_outputs(self) -> int:
        """Columns of the output."""
        return int(self.layers[-1][0].shape[0])

    def forward(self, z: FloatMatrix) -> FloatMatrix:
        """(n, n_inputs) float32 -> (n, n_outputs) float32."""
        activate = _FUNCTIONS[self.activation]
        x = z
        for i, (weight, bias) in enumerate(self.layers):
            x = x @ weight.T
            x += bias
            if i + 1 < len(self.layers):
                x = activate(x)
        if self.residual is not None:
            weight, bias = self.residual
            x += z @ weight.T
            x += bias
        return _tanh(x) if self.output == "tanh" else x

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """The weights by name, for a file."""
        named: dict[str, npt.NDArray[Any]] = {}
        for i, (weight, bias) in enumerate(self.layers):
            named[f"layers.{i}.weight"] = weight
            named[f"layers.{i}.bias"] = bias
        if self.residual is not None:
            named["residual.weight"], named["residual.bias"] = self.residual
        return named

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, npt.NDArray[Any]], activation: str, output: str) -> DenseNetwork:
        """The inverse of ``tensors``. ``KeyError`` or ``ValueError`` if they do not fit together."""
        layers: list[Layer] = []
        while f"layers.{len(layers)}.weight" in tensors:
            i = len(layers)
            layers.append((tensors[f"layers.{i}.weight"], tensors[f"layers.{i}.bias"]))
        residual = (tensors["residual.weight"], tensors["residual.bias"]) if "residual.weight" in tensors else None
        if activation not in _FUNCTIONS or output not in OUTPUTS:
            raise ValueError(f"unknown activation {activation!r} or output {output!r}")
        return cls(tuple(layers), residual, activation, output)


def _check(weight: FloatMatrix, bias: FloatMatrix) -> None:
    if weight.ndim != 2 or bias.shape != weight.shape[:1]:
        raise ValueError(f"a layer needs weight (out, in) and bias (out,), got {weight.shape} and {bias.shape}")
    if weight.dtype != np.float32 or bias.dtype != np.float32:
        raise ValueError(f"weights must be float32, got {weight.dtype} and {bias.dtype}")
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise ValueError("weights must be finite")
