"""The trainer's loops in Python torch, as somebody would write them: modules, autograd, ``torch.optim``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["OPTIMIZERS", "CsqLoop", "NeighborsLoop", "hadamard_centres", "reference_epoch"]

Floats = npt.NDArray[np.float32]
Layers = Sequence[tuple[Floats, Floats]]

# The ways torch.optim.Adam can be asked to work; which is fastest depends on the network.
OPTIMIZERS: dict[str, dict[str, bool]] = {
    "for loop": {"foreach": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
}


def hadamard_centres(n_classes: int, n_bits: int) -> Floats:
    """Rows 1, 2, ... of the Hadamard matrix of ``n_bits``, a power of two: the centres that ``csq`` takes."""
    rows = np.arange(1, n_classes + 1) % n_bits
    parity = np.bitwise_count(rows[:, None] & np.arange(n_bits)) % 2
    return np.where(parity, -1.0, 1.0).astype(np.float32)


def _network(layers: Layers, dropout: float) -> Any:
    """``layers`` with ReLU between them; with dropout after it where that is not 0."""
    from torch import nn

    modules: list[Any] = []
    for weight, bias in layers:
        if modules:
            modules.append(nn.ReLU())
            if dropout:
                modules.append(nn.Dropout(dropout))
        modules.append(_linear(weight, bias))
    return nn.Sequential(*modules)


def _linear(weight: Floats, bias: Floats) -> Any:
    import torch

    linear = torch.nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(weight))
        linear.bias.copy_(torch.from_numpy(bias))
    return linear


class CsqLoop:
    """``csq`` on (n, d) rows with labels: BCE to Hadamard centres + quantization * mean (|u| - 1)^2."""

    def __init__(
        self,
        X: Floats,
        labels: npt.NDArray[np.int32],
        layers: Layers,
        batches: Iterator[npt.NDArray[np.int64]],
        learning_rate: float,
        optimizer: dict[str, bool],
        quantization: float = 0.1,
    ) -> None:
        import torch

        self._X, self._labels = torch.from_numpy(X), torch.from_numpy(labels.astype(np.int64))
        n_bits = len(layers[-1][1])
        self._targets = torch.from_numpy((1 + hadamard_centres(int(labels.max()) + 1, n_bits)) / 2)
        self._network = torch.nn.Sequential(_network(layers, 0.0), torch.nn.Tanh())
        self._optimizer = torch.optim.Adam(self._network.parameters(), lr=learning_rate, **optimizer)
        self._batches = batches
        self._quantization = quantization

    def step(self) -> float:
        """Train on the next batch; return its loss."""
        import torch
        from torch.nn import functional

        rows = torch.from_numpy(next(self._batches))
        u = self._network(self._X[rows])
        target = self._targets[self._labels[rows]]
        attraction = functional.binary_cross_entropy((1 + u) / 2, target)
        loss = attraction + self._quantization * (u.abs() - 1).square().mean()
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        return float(loss.item())


class NeighborsLoop:
    """``neighbors`` on unit vectors: y = W z + c + MLP(z sqrt(d)), signs straight through, KL of neighbour lists.

    The share of the sign is ``ste_end`` from the start: ``ste_anneal`` is 0.
    """

    def __init__(
        self,
        Z: Floats,
        layers: Layers,
        residual: tuple[Floats, Floats],
        batches: Iterator[npt.NDArray[np.int64]],
        learning_rate: float,
        optimizer: dict[str, bool],
        options: dict[str, float],
        dropout: float = 0.0,
        noise: Floats | None = None,
    ) -> None:
        import torch

        self._Z = torch.from_numpy(Z)
        self._network, self._residual = _network(layers, dropout), _linear(*residual)
        self._log_scale = torch.nn.Parameter(torch.tensor(math.log(options["scale"] / 2)))
        parameters = [*self._network.parameters(), *self._residual.parameters()]
        groups = [{"params": parameters}, {"params": [self._log_scale], "lr": options["scale_learning_rate"]}]
        self._optimizer = torch.optim.Adam(groups, lr=learning_rate, **optimizer)
        self._batches, self._options = batches, options
        self._gain = math.sqrt(Z.shape[1])
        self._noise = None if noise is None else torch.from_numpy(noise)

    def step(self) -> float:
        """Train on the next batch; return its loss."""
        import torch
        from torch.nn import functional

        options = self._options
        z = self._Z[torch.from_numpy(next(self._batches))]
        seen = z if self._noise is None else z + self._noise * torch.randn_like(z)
        u = torch.tanh(self._residual(seen) + self._network(seen * self._gain))
        code = u + options["ste_end"] * (u.sign() - u).detach()
        with torch.no_grad():
            target = torch.log_softmax((z @ z.T / options["tau"]).fill_diagonal_(-1e9), dim=1)
        scale = 2 * self._log_scale.exp() / u.shape[1]
        # Out of place, so that autograd may keep the product.
        apart = torch.eye(len(u), dtype=torch.bool)
        model = torch.log_softmax((scale * (code @ code.T)).masked_fill(apart, -1e9), dim=1)
        divergence = functional.kl_div(model, target, reduction="batchmean", log_target=True)
        loss = divergence + options["balance"] * u.mean(dim=0).square().mean()
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        return float(loss.item())


def reference_epoch(
    X: Floats, labels: npt.NDArray[np.int32], layers: Layers, batch: int, learning_rate: float
) -> Callable[[], Floats]:
    """An epoch as the published implementations of deep hashing write it; returns the codes of all rows.

    A ``DataLoader`` hands out (vector, one-hot label, row number), the step is that of ``csq``, and after the epoch a
    second pass over the loader recomputes the codes of the whole training set.
    """
    import torch
    from torch.nn import functional
    from torch.utils.data import DataLoader, TensorDataset

    n_classes, n_bits = int(labels.max()) + 1, len(layers[-1][1])
    one_hot = functional.one_hot(torch.from_numpy(labels.astype(np.int64)), n_classes).float()
    data = TensorDataset(torch.from_numpy(X), one_hot, torch.arange(len(X)))
    loader = DataLoader(data, batch_size=batch, shuffle=True)
    centres = torch.from_numpy(hadamard_centres(n_classes, n_bits))
    network = torch.nn.Sequential(_network(layers, 0.0), torch.nn.Tanh())
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)

    def epoch() -> Floats:
        for x, label, _ in loader:
            optimizer.zero_grad()
            u = network(x)
            target = centres[label.argmax(dim=1)]
            loss = functional.binary_cross_entropy((1 + u) / 2, (1 + target) / 2)
            loss = loss + 0.1 * (u.abs() - 1).square().mean()
            loss.backward()
            optimizer.step()
            loss.item()
        codes = torch.empty(len(X), n_bits)
        with torch.no_grad():
            for x, _, rows in loader:
                codes[rows] = network(x).sign()
        return codes.numpy()

    return epoch
