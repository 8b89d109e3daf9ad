"""Why codes collapse: rules over what a training was asked to do and what its epochs looked like."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .network import _FUNCTIONS, DenseNetwork

__all__ = ["Cause", "TrainingFacts", "collapse_causes", "dead_units", "input_facts", "margin_capacity"]

FloatMatrix = npt.NDArray[np.float32]

# Rows from which the inputs are judged.
_SAMPLE_ROWS = 2000

# Thresholds. Each lies between the largest value of trainings that were healthy and the smallest of those that had
# the cause, measured on Fashion-MNIST pixels (the tests repeat it in small).
_CONSTANT_INPUT = 1e-6  # variance over mean square; embeddings with a common offset have more than 1e-3
_REPEATED_INPUT = 0.2  # share of pairs of rows that are equal
_DROPPED = 0.05  # share of paths through all hidden layers that are left
_STUCK_SPREAD = 1e-5  # outputs' standard deviation over rows, where noise alone leaves 1e-3
_SATURATED = 0.98
_FLAT_LOSS = 0.95  # least later loss over the first epoch's
_DEAD = 0.9
_MAJORITY = 0.7
_DEEP = 5  # hidden layers


@dataclasses.dataclass(frozen=True)
class TrainingFacts:
    """What is known of a training before its first epoch ends; leave at the default what is not.

    Attributes
    ----------
    objective : str
    n_bits : int
    epochs : int
        Planned.
    n_classes : int or None
    majority : float
        Share of the largest class among the training rows.
    hidden : tuple of int
        Widths of the hidden layers.
    activation, output : str
    dropout : float
    batch_norm, residual : bool
    learning_rate : float
    margin : float or None
        By how much two classes' codes must differ in Hamming distance for the loss to be content: ``alpha`` of dtsh.
    input_variation : float
        Variance of the input rows over their mean square.
    repeated_inputs : float
        Probability that two input rows are equal.
    dead : float
        Largest share of dead units in a hidden layer (``dead_units``), once it is known.
    """

    objective: str
    n_bits: int
    epochs: int = 1
    n_classes: int | None = None
    majority: float = 0.0
    hidden: tuple[int, ...] = ()
    activation: str = "relu"
    output: str = "tanh"
    dropout: float = 0.0
    batch_norm: bool = False
    residual: bool = False
    learning_rate: float = 1e-3
    margin: float | None = None
    input_variation: float = 1.0
    repeated_inputs: float = 0.0
    dead: float = 0.0

    @classmethod
    def of(
        cls,
        hasher: Any,
        recipe: Any,
        options: Mapping[str, float],
        X: npt.NDArray[Any],
        classes: npt.NDArray[Any] | None = None,
    ) -> TrainingFacts:
        """The facts of a DeepHash's training.

        Parameters
        ----------
        hasher : DeepHash
            Its parameters; need not be fitted.
        recipe : Recipe
            ``resolved(hasher)``.
        options : mapping of str to float
            The objective's constants, defaults included.
        X : (n, d) array
            The vectors.
        classes : (n,) array of int, optional
            Class numbers from 0.
        """
        counts = None if classes is None else np.bincount(classes)
        return cls(
            objective=hasher.objective if isinstance(hasher.objective, str) else "own",
            n_bits=hasher.n_bits,
            epochs=recipe.epochs,
            n_classes=None if counts is None else int((counts > 0).sum()),
            majority=0.0 if counts is None else float(counts.max() / counts.sum()),
            hidden=tuple(recipe.hidden),
            activation=hasher.activation,
            output=hasher.output,
            dropout=recipe.dropout,
            batch_norm=recipe.batch_norm,
            residual=recipe.residual,
            learning_rate=recipe.learning_rate,
            margin=options.get("alpha") if hasher.objective == "dtsh" else None,
            **input_facts(X),
        )


@dataclasses.dataclass(frozen=True)
class Cause:
    """One explanation of a collapse.

    Attributes
    ----------
    name : str
        ``"constant inputs"``, ``"repeated inputs"``, ``"margin"``, ``"dropout"``, ``"dead units"``,
        ``"learning rate"``, ``"imbalance"``, ``"depth"``, ``"saturation"`` or ``"unknown"``.
    explanation, remedy : str
        For people, without a full stop.
    """

    name: str
    explanation: str
    remedy: str


def input_facts(X: npt.NDArray[Any]) -> dict[str, float]:
    """``input_variation`` and ``repeated_inputs`` of at most 2,000 evenly spaced rows of an (n, d) matrix.

    Examples
    --------
    >>> import numpy as np
    >>> {name: round(value, 3) for name, value in input_facts(np.repeat(np.eye(2), 4, axis=0)).items()}
    {'input_variation': 0.5, 'repeated_inputs': 0.5}
    """
    rows = np.unique(np.linspace(0, len(X) - 1, min(_SAMPLE_ROWS, len(X)), dtype=np.int64))
    sample = np.ascontiguousarray(X[rows], np.float32)
    square = float(np.square(sample, dtype=np.float64).mean())
    variation = float(sample.var(axis=0, dtype=np.float64).mean()) / square if square > 0 else 0.0
    keys = np.ascontiguousarray(sample + 0.0).view(np.dtype((np.void, 4 * sample.shape[1])))[:, 0]  # -0.0 is 0.0
    shares = np.unique(keys, return_counts=True)[1] / len(sample)
    return {"input_variation": variation, "repeated_inputs": float(np.square(shares).sum())}


def dead_units(network: DenseNetwork, z: FloatMatrix) -> list[float]:
    """Share of the units of each hidden layer whose activation is the same for all rows.

    Parameters
    ----------
    network : DenseNetwork
    z : (n, n_inputs) float32 array
        Prepared rows (``Preparation.apply``), a few hundred.

    Returns
    -------
    list of float
        Outermost last; all zero for a single row cannot be told apart from dead, so give several.
    """
    shares = []
    x = z
    for weight, bias in network.layers[:-1]:
        x = _FUNCTIONS[network.activation](x @ weight.T + bias)
        scale = np.abs(x).max(axis=0)
        shares.append(float(((x.max(axis=0) - x.min(axis=0)) <= 1e-6 * scale).mean()))
    return shares


def margin_capacity(n_bits: int, margin: float) -> float:
    """The largest number of codes that can all be at least ``margin`` bits apart, by Plotkin's bound.

    Infinity where the bound says nothing (``2 * margin < n_bits``).

    References
    ----------
    M. Plotkin, "Binary codes with specified minimum distance", IRE Transactions on Information Theory 6 (1960).

    Examples
    --------
    >>> margin_capacity(7, 5), margin_capacity(8, 5), margin_capacity(7, 3), margin_capacity(64, 5)
    (2, 4, 16, inf)
    """
    distance = max(1, math.ceil(margin))
    if distance > n_bits:
        return 1
    n = n_bits
    if distance % 2:  # a parity bit makes an odd distance even: A(n, d) = A(n + 1, d + 1)
        n, distance = n + 1, distance + 1
    if 2 * distance > n:
        return 2 * (distance // (2 * distance - n))
    return 4 * distance if 2 * distance == n else math.inf


def collapse_causes(records: Sequence[Mapping[str, Any]], facts: TrainingFacts) -> list[Cause]:
    """What explains a collapse, the surest first; at least one (``"unknown"``).

    Several may hold at once: with the origin's network (dtsh, 8 layers, dropout 0.5, 7 bits) margin, dropout and depth
    do, and on Fashion-MNIST taking away any one or two of them left it collapsed.

    Parameters
    ----------
    records : sequence of mapping
        Of all epochs so far: ``epoch_health``'s figures and ``loss``.
    facts : TrainingFacts
    """
    rules = (_inputs, _margin, _dropout, _stuck, _imbalance, _depth, _saturation)
    found = [cause for rule in rules if (cause := rule(records, facts)) is not None]
    return found or [
        Cause(
            "unknown",
            "nothing in the settings explains it",
            "try batch_norm=True, a smaller learning_rate, fewer hidden layers, residual=True (which starts from ITQ)"
            " or another objective (csq gives every class a centre of its own)",
        )
    ]


def _inputs(records: Sequence[Mapping[str, Any]], facts: TrainingFacts) -> Cause | None:
    if facts.repeated_inputs > _REPEATED_INPUT:
        return Cause(
            "repeated inputs",
            f"two rows drawn at random are equal with probability {facts.repeated_inputs:.2f}, and equal rows have"
            " equal codes",
            "remove duplicates, or check what made the vectors",
        )
    if facts.input_variation < _CONSTANT_INPUT:
        return Cause(
            "constant inputs",
            f"the vectors hardly differ: they vary by {math.sqrt(facts.input_variation):.1g} of their length",
            "check what made them (a blank picture, an embedder that failed) and, where a common offset hides their"
            " differences, subtract the mean",
        )
    return None


def _margin(records: Sequence[Mapping[str, Any]], facts: TrainingFacts) -> Cause | None:
    if facts.margin is None or facts.n_classes is None:
        return None
    capacity = margin_capacity(facts.n_bits, facts.margin)
    if capacity >= facts.n_classes:
        return None
    fitting = [m for m in range(1, facts.n_bits + 1) if margin_capacity(facts.n_bits, m) >= facts.n_classes]
    smaller = f"objective_options={{'alpha': {max(fitting)}}} or less, " if fitting else ""
    return Cause(
        "margin",
        f"the margin alpha={facts.margin:g} asks classes to be {math.ceil(facts.margin)} of {facts.n_bits} bits apart,"
        f" and no more than {capacity:g} codes can be (Plotkin's bound), fewer than the {facts.n_classes} classes",
        f"use {smaller}more bits, or objective='csq', with batch_norm=True",
    )


def _dropout(records: Sequence[Mapping[str, Any]], facts: TrainingFacts) -> Cause | None:
    left = (1 - facts.dropout) ** len(facts.hidden)
    if left > _DROPPED:
        return None
    return Cause(
        "dropout",
        f"dropout {facts.dropout:g} in {len(facts.hidden)} hidden layers leaves {left:.2g} of the paths through the"
        " network: what tells rows apart drowns in noise",
        "use less dropout, or fewer hidden layers; batch_norm=True or residual=True help",
    )


def _stuck(records: Sequence[Mapping[str, Any]], facts: TrainingFacts) -> Cause | None:
    """Outputs that no longer change: dead units, or a first step that was far too long."""
    last = records[-1]
    losses = [record["loss"] for record in records]
    flat = len(losses) > 1 and min(losses[1:]) > losses[0] - (1 - _FLAT_LOSS) * abs(losses[0])
    same = last["spread"] < _STUCK_SPREAD and last["saturation"] < _SATURATED and facts.activation == "relu"
    if facts.dead >= _DEAD or same:
        share = f"{facts.dead:.0%} of the units of a hidden layer" if facts.dead >= _DEAD else "all outputs"
        return Cause(
            "dead units",
            f"{share} are the same for every row",
            f"use activation='leaky_relu', batch_norm=True, or a learning_rate below {facts.learning_rate:g}",
        )
    if flat and records[0]["saturation"] >= _SATURATED:
        return Cause(
            "learning rate",
            f"the first epoch drove {records[0]['saturation']:.0%} of the outputs to their limits, and the loss has not"
            f" fallen since: learning_rate={facts.learning_rate:g} is too large",
            f"use a learning_rate of {facts.learning_rate / 10:.1g} or less, or batch_norm=True",
        )
    return None


def _imbalance(records: Sequence[Mapping[str, Any]], facts: TrainingFacts) -> Cause | None:
    if facts.n_classes is None or facts.n_classes < 2 or facts.majority < _MAJORITY:
        return None
    if records[-1]["largest_bucket"] < _MAJORITY * facts.majority:  # that class is not together itself
        return None
    return Cause(
        "imbalance",
        f"{facts.majority:.0%} of the rows are of one class, and the others have fallen to its code",
        "train on fewer rows of that class, or on more of the others",
    )


def _depth(records: Sequence[Mapping[str, Any]], facts: TrainingFacts) -> Cause | None:
    if len(facts.hidden) < _DEEP or facts.batch_norm or facts.residual:
        return None
    return Cause(
        "depth",
        f"{len(facts.hidden)} hidden layers without batch normalisation or a residual path map different rows to nearly"
        " one direction",
        "use batch_norm=True, residual=True, or fewer hidden layers",
    )


def _saturation(records: Sequence[Mapping[str, Any]], facts: TrainingFacts) -> Cause | None:
    """Healthy supervised outputs saturate too, but not in the first epoch."""
    first = records[0]["saturation"]
    if facts.output != "tanh" or first < _SATURATED:
        return None
    return Cause(
        "saturation",
        f"{first:.0%} of the outputs lay beyond 0.99 after the first epoch, where tanh has no slope left to learn from",
        "use batch_norm=True, a smaller learning_rate, or output='none'",
    )
