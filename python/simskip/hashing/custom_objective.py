"""An objective written in Python: a loss of outputs and targets on torch tensors, for the native trainer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["NAME", "CustomLoss", "custom_loss"]

NAME = "custom"

FloatMatrix = npt.NDArray[np.float32]
CustomLoss = Callable[[FloatMatrix, npt.NDArray[np.int32], float], tuple[float, FloatMatrix]]


def custom_loss(function: Callable[[Any, Any], Any], targets: npt.NDArray[Any]) -> CustomLoss:
    """What ``_learn.train`` calls in every step.

    Parameters
    ----------
    function : callable
        ``function(outputs, targets) -> loss``: outputs is a (B, n_bits) float32 tensor, targets the rows of
        ``targets`` that belong to them, the loss a tensor with one number, made by operations that torch can
        differentiate.
    targets : (n,) or (n, m) array
        For every row of the trainer's inputs: int64 classes or float32 numbers.

    Returns
    -------
    callable
        ``(outputs, rows, progress) -> (loss, gradient)`` on NumPy arrays.
    """
    import torch

    def loss_and_gradient(outputs: FloatMatrix, rows: npt.NDArray[np.int32], progress: float) -> tuple[float, Any]:
        # The trainer runs in inference mode, whose tensors know no gradients. Both arrays are copies already.
        with torch.inference_mode(False), torch.enable_grad():
            u = torch.from_numpy(outputs).requires_grad_()
            loss = function(u, torch.from_numpy(targets[rows]))
            if not isinstance(loss, torch.Tensor) or loss.numel() != 1 or not loss.requires_grad:
                raise ValueError(
                    "objective must return a torch tensor with one number that depends on the outputs, got "
                    f"{type(loss).__name__}" + (f" of shape {tuple(loss.shape)}" if hasattr(loss, "shape") else "")
                )
            (gradient,) = torch.autograd.grad(loss.reshape(()), u)
        return float(loss), np.ascontiguousarray(gradient.numpy(), dtype=np.float32)

    return loss_and_gradient
