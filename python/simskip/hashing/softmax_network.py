"""Networks that tell classes apart, trained natively, and the temperature that makes their probabilities honest."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from .native_trainer import load as load_trainer
from .network import DenseNetwork
from .preparation import standardisation, start_sample

__all__ = ["SoftmaxRecipe", "best_temperature", "class_probabilities", "train_softmax"]

FloatMatrix = npt.NDArray[np.float32]
RowNumbers = npt.NDArray[np.int32]

_LOWEST, _HIGHEST = 0.2, 20.0


@dataclasses.dataclass(frozen=True)
class SoftmaxRecipe:
    """How a network of classes is built and trained.

    Attributes
    ----------
    hidden : tuple of int
        Widths of the layers between input and logits; none: logistic regression.
    epochs : int
    dropout : float
        Of hidden units and of the standardised input.
    batch_size : int
    learning_rate : float
        The largest; it rises and falls over the training.
    weight_decay : float
    """

    hidden: tuple[int, ...] = (512,)
    epochs: int = 15
    dropout: float = 0.3
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2


def train_softmax(
    recipe: SoftmaxRecipe,
    X: FloatMatrix,
    row_scale: FloatMatrix | None,
    rows: RowNumbers,
    *,
    n_classes: int,
    labels: RowNumbers | None = None,
    targets: FloatMatrix | None = None,
    seed: int,
    threads: int,
    on_epoch: Callable[[dict[str, Any]], None],
) -> DenseNetwork:
    """Train a network whose outputs are the logits of the classes.

    Parameters
    ----------
    recipe : SoftmaxRecipe
    X : (n, d) float32 or float16 array
    row_scale : (n,) float32 array or None
        A factor for each row.
    rows : (m,) int32 array
        Rows to train on.
    n_classes : int
    labels : (n,) int32 array, optional
        Class numbers of classes that exclude each other.
    targets : (n, n_classes) float32 array, optional
        Weights of classes that are independent, in place of ``labels``.
    seed, threads : int
        The same ones give the same weights.
    on_epoch : callable
        Is given each epoch's record, with ``"loss"``.

    Raises
    ------
    KeyboardInterrupt
        If interrupted.
    ImportError
        If the native trainer or its torch is missing.
    """
    trainer = load_trainer()
    network = trainer.NetworkSettings()
    network.n_bits = n_classes
    network.hidden = list(recipe.hidden)
    network.dropout = network.input_dropout = recipe.dropout
    network.batch_norm = bool(recipe.hidden)
    network.output = "none"
    settings = trainer.Settings()
    settings.network = network
    settings.objective = "softmax"
    settings.epochs = recipe.epochs
    settings.batch_size = recipe.batch_size
    settings.learning_rate = recipe.learning_rate
    settings.weight_decay = recipe.weight_decay
    settings.schedule = "onecycle"
    settings.seed = seed % 2**64
    settings.threads = threads
    centre, gain = standardisation(start_sample(X, row_scale, rows))
    tower = {"inputs": X, "row_scale": row_scale, "centre": centre, "gain": gain}

    def each_epoch(record: dict[str, Any], outputs: FloatMatrix) -> tuple[None, bool]:
        on_epoch(record)
        return None, False

    result = trainer.train(settings, [tower], rows, each_epoch, labels=labels, targets=targets, n_classes=n_classes)
    if result["interrupted"]:
        raise KeyboardInterrupt("training was interrupted before its classifiers were ready")
    layers, _ = result["networks"][0]
    return DenseNetwork(tuple(layers), None, settings.network.activation, "none")


def class_probabilities(logits: npt.ArrayLike, temperature: float, exclusive: bool = True) -> npt.NDArray[np.float64]:
    """(n, n_classes) logits -> probabilities: of classes that exclude each other, or of each one alone.

    Examples
    --------
    >>> class_probabilities([[0.0, 2.0]], 2.0).round(3).tolist()
    [[0.269, 0.731]]
    >>> class_probabilities([[0.0, 2.0]], 2.0, exclusive=False).round(3).tolist()
    [[0.5, 0.731]]
    """
    z = np.asarray(logits, np.float64) / temperature
    if not exclusive:
        return np.asarray(0.5 + 0.5 * np.tanh(0.5 * z))
    z -= z.max(axis=1, keepdims=True)
    np.exp(z, out=z)
    return np.asarray(z / z.sum(axis=1, keepdims=True))


def best_temperature(logits: npt.ArrayLike, truth: npt.NDArray[Any], exclusive: bool = True) -> float:
    """Between 1/5 and 20, where the truth is most likely: by golden sections of its logarithm.

    Parameters
    ----------
    logits : (n, n_classes) array
        Of rows that the network was not trained on.
    truth : (n, n_classes) array
        Weights in [0, 1] of each row's classes.

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun, K. Weinberger, "On calibration of modern neural networks", ICML 2017.

    Examples
    --------
    >>> import numpy as np
    >>> sure = np.where(np.arange(100)[:, None] < 80, [[9.0, -9.0]], [[-9.0, 9.0]])  # right for 80 of 100
    >>> class_probabilities(sure[:1], best_temperature(sure, np.tile([1.0, 0.0], (100, 1)))).round(2).tolist()
    [[0.8, 0.2]]
    """

    def cost(logarithm: float) -> float:
        p = class_probabilities(logits, float(np.exp(logarithm)), exclusive)
        likelihood = truth * np.log(np.maximum(p, 1e-12))
        if not exclusive:
            likelihood += (1 - truth) * np.log(np.maximum(1 - p, 1e-12))
        return -float(likelihood.sum())

    low, high = float(np.log(_LOWEST)), float(np.log(_HIGHEST))
    ratio = (5**0.5 - 1) / 2
    for _ in range(20):  # the bracket shrinks to a ten-thousandth
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if cost(left) <= cost(right):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))
