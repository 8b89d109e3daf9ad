"""Writes ONNX graphs node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..extras import require

__all__ = ["OnnxGraph"]

Weights = Mapping[str, npt.NDArray[Any]]

_IR_VERSION = 8  # of 2020: every ONNX Runtime for Python >= 3.10 reads it


class OnnxGraph:
    """Collects nodes and weights of one network.

    Parameters
    ----------
    weights : mapping of str to array
        Parameters by name.
    extra : {"images", "text"}
        The extra of simskip that brings ``onnx``, for the error message.
    name : str
        Of the network.

    Raises
    ------
    ImportError
        If ``onnx`` is missing.
    """

    def __init__(self, weights: Weights, extra: str, name: str) -> None:
        self.onnx: Any = require("onnx", extra, f"Exporting {name}")
        self.weights = weights
        self._name = name
        self._nodes: list[Any] = []
        self._initializers: list[Any] = []

    def constant(self, name: str, value: Any) -> str:
        """Add an array; its name."""
        self._initializers.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add an operator with one output; the output's name."""
        self._nodes.append(self.onnx.helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def tensor(self, name: str, dtype: str, shape: Sequence[int | str]) -> Any:
        """An input or output of the graph; ``dtype`` as ONNX names it (``"FLOAT"``)."""
        return self.onnx.helper.make_tensor_value_info(name, getattr(self.onnx.TensorProto, dtype), shape)

    def serialised(self, inputs: list[Any], output: Any, opset: int, version: int) -> bytes:
        """The content of an ``.onnx`` file, checked; the same bytes for the same graph and version of ``onnx``."""
        helper = self.onnx.helper
        model = helper.make_model(
            helper.make_graph(self._nodes, self._name, inputs, [output], self._initializers),
            opset_imports=[helper.make_opsetid("", opset)],
            ir_version=_IR_VERSION,
            producer_name="simskip",
            producer_version=str(version),
        )
        self.onnx.checker.check_model(model)
        return bytes(model.SerializeToString(deterministic=True))
