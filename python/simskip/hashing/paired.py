"""PairedHash: one side of a cross-modal hasher, a hasher like any other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy.typing as npt

from ..validation import bit_count, choice
from .hasher import FloatMatrix, Hasher
from .health import code_health
from .network import DenseNetwork
from .preparation import Preparation

__all__ = ["SIDES", "PairedHash"]

SIDES = ("first", "second")

# Health is that of at most so many evenly spaced training rows.
_HEALTH_ROWS = 1 << 18


class PairedHash(Hasher):
    """One side of a ``CrossModalHash``: turns one kind of vectors into codes that another kind shares.

    Made by ``CrossModalHash.fit_pairs``, as ``first_`` and ``second_``; ``load_hasher`` reads one that was saved. Its
    codes can be compared with those of every hasher of the same ``code_space``: itself and the other side.

    Parameters
    ----------
    n_bits : int
    side : {"first", "second"}
    activation, output : str
        As for ``DeepHash``.

    Attributes
    ----------
    network_ : DenseNetwork
    preparation_ : Preparation
    dim_, health_
        See ``Hasher``.
    """

    network_: DenseNetwork
    preparation_: Preparation
    _space: str = ""

    def __init__(self, n_bits: int = 64, side: str = "first", activation: str = "relu", output: str = "tanh") -> None:
        self.n_bits = n_bits
        self.side = side
        self.activation = activation
        self.output = output

    @classmethod
    def _made(cls, side: str, network: DenseNetwork, preparation: Preparation, X: FloatMatrix) -> PairedHash:
        """From what training gave; ``X``: the rows it was trained on."""
        hasher = cls(network.n_outputs, side, network.activation, network.output)
        hasher.network_, hasher.preparation_, hasher.dim_ = network, preparation, X.shape[1]
        hasher.health_ = code_health(hasher.encode(X[:: -(-len(X) // _HEALTH_ROWS)]))
        return hasher

    @property
    def code_space(self) -> str:
        """32 hexadecimal digits that both sides share: their codes can be compared."""
        self._check_fitted()
        return self._space

    def _fit(
        self,
        X: FloatMatrix,
        y: npt.NDArray[Any] | None,
        progress: bool,
        callbacks: Iterable[Callable[..., Any]],
    ) -> None:
        raise ValueError("PairedHash learns together with its other side: call CrossModalHash.fit_pairs(A, B)")

    def _project(self, X: FloatMatrix) -> FloatMatrix:
        return self.network_.forward(self.preparation_.apply(X))

    def _weights(self) -> dict[str, npt.NDArray[Any]]:
        return {**self.network_.tensors(), **self.preparation_.tensors()}

    def _state(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        params = {**self.get_params(), "n_bits": int(self.n_bits), "prepared_metric": self.preparation_.metric}
        return {**params, "space": self._space}, self._weights()

    @classmethod
    def _from_state(cls, params: dict[str, Any], tensors: dict[str, npt.NDArray[Any]]) -> PairedHash:
        network = DenseNetwork.from_tensors(tensors, params["activation"], params["output"])
        n_bits, side = bit_count(params["n_bits"]), choice(params["side"], "side", SIDES)
        if network.n_outputs != n_bits:
            raise ValueError(f"the network has {network.n_outputs} outputs for {n_bits} bits")
        hasher = cls(n_bits, side, network.activation, network.output)
        hasher.network_ = network
        hasher.preparation_ = Preparation.from_tensors(tensors, params["prepared_metric"])
        hasher._space = str(params["space"])
        return hasher
