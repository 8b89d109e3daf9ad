"""DeepHash: codes learned by a small network over frozen embeddings. Trained natively, encoded with NumPy."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import cpu
from ..validation import choice, fraction, positive_int
from . import native_trainer
from .hasher import FloatMatrix, Hasher
from .held_out import HeldOutMap, HeldOutRecall
from .linear import PCAHash
from .neighbor_graph import Rows, half_squares, nearest, temperature
from .network import ACTIVATIONS, OUTPUTS, DenseNetwork
from .preparation import METRICS, Preparation, unit_scale
from .progress import EpochBar

__all__ = ["DeepHash"]

RowNumbers = npt.NDArray[np.int32]

OPTIMIZERS = ("adamw", "adam", "sgd")
SCHEDULES = ("cosine", "constant", "onecycle")


@dataclasses.dataclass(frozen=True)
class _Recipe:
    """What an objective uses for the parameters that are left None."""

    supervised: bool
    hidden: tuple[int, ...]
    dropout: float
    batch_norm: bool
    residual: bool
    epochs: int
    steps_per_epoch: int  # 0: a pass over the rows
    batch_size: int
    learning_rate: float
    schedule: str
    weight_decay: float
    input_noise: float
    patience: int


_RECIPES = {
    "neighbors": _Recipe(False, (1024,), 0.1, False, True, 15, 100, 924, 2e-3, "cosine", 0.0, 0.3, 5),
    "csq": _Recipe(True, (512,), 0.5, True, False, 30, 0, 128, 3e-3, "onecycle", 1e-4, 0.0, 10),
    "dtsh": _Recipe(True, (512,), 0.5, True, False, 30, 0, 128, 3e-3, "onecycle", 1e-4, 0.0, 10),
}

# Batches of `neighbors`: of 924 rows 48 are anchors, each with 12 of its neighbours, and 300 are drawn uniformly.
_ANCHOR_SHARE = 48 / 924
_NEIGHBORS_PER_ANCHOR = 12
_GRAPH_NEIGHBORS = 50
# Above this many rows the neighbour graph is that of a sample, searched among the projected vectors.
_GRAPH_EXACT_ROWS = 20_000
_GRAPH_ANCHORS = 20_000
_GRAPH_DATABASE = 100_000
_START_ROWS = 20_000
_MAX_HELD_OUT = {"neighbors": 2000, "csq": 5000, "dtsh": 5000}


class DeepHash(Hasher):
    """Codes from a small neural network, trained for what the codes are used for.

    Parameters that are None take the value that suits the objective (see Notes).

    Parameters
    ----------
    n_bits : int
        Bits of a code, 1 to 4096.
    objective : {"neighbors", "csq", "dtsh"}
        ``"neighbors"`` needs no labels: codes shall rank rows as the exact metric does. ``"csq"`` and ``"dtsh"`` need
        labels ``y``: rows of a class are drawn to one centre per class, or nearer to each other than to other classes.
    hidden : sequence of int, optional
        Width of each hidden layer; ``()`` for a linear hasher.
    activation : {"relu", "leaky_relu", "gelu", "tanh", "silu"}
        After every hidden layer; gelu is the tanh approximation.
    dropout : float, optional
        Share of hidden activations (for csq and dtsh of inputs too) that is dropped in training, [0, 1).
    batch_norm : bool, optional
        After every hidden layer, and after the last where there is no residual path. Folded away after training.
    residual : bool, optional
        Add a linear path that starts as ITQ, with a network that starts at zero: the first step is ITQ.
    output : {"tanh", "none"}
        What follows the last layer.
    epochs, batch_size : int, optional
    steps_per_epoch : int, optional
        Steps between two looks at the held-out rows; 0: one pass over the rows.
    learning_rate : float, optional
        At the height of the schedule.
    optimizer : {"adamw", "adam", "sgd"}
    schedule : {"cosine", "constant", "onecycle"}, optional
    weight_decay : float, optional
    input_noise : float, optional
        Noise on the network's input, in standard deviations of each of its columns.
    objective_options : mapping of str to float, optional
        Constants of the loss, such as ``{"alpha": 5.0}`` for dtsh; ``simskip._learn.objectives()`` lists them.
    metric : {"cosine", "l2", "dot"}
        What "nearest" means for ``neighbors``; with cosine, rows are also scaled to length 1 before anything else.
    validation_fraction : float
        Share of the rows held out to judge each epoch, [0, 1); at most 2,000 rows (5,000 with labels) are. 0: the last
        epoch's weights are kept.
    patience : int, optional
        Stop after so many epochs without a better figure on the held-out rows; 0: never.
    random_state : int
        Seed >= 0 of everything random.
    threads : int, optional
        Threads of the trainer; default ``simskip.set_threads``'s.

    Attributes
    ----------
    history_ : list of dict
        One record per epoch: ``epoch`` (from 1), ``step``, ``learning_rate``, ``loss`` and its parts (means over the
        epoch), the held-out figure (``recall@25`` or ``map``), ``seconds`` since training began. The last record of
        an interrupted training has ``interrupted: True``.
    best_epoch_ : int
        The epoch whose weights were kept: the best on held-out rows.
    network_ : DenseNetwork
        Its weights.
    preparation_ : Preparation
        What happens to vectors before the network.
    dim_, health_
        See ``Hasher``.

    Notes
    -----
    =========  ===========  =======  ==========  ========  ======  ==========  =============  ========
    objective  hidden       dropout  batch_norm  residual  epochs  batch_size  learning_rate  schedule
    =========  ===========  =======  ==========  ========  ======  ==========  =============  ========
    neighbors  (1024,)      0.1      no          yes       15x100  924         2e-3           cosine
    csq, dtsh  (512,)       0.5      yes         no        30      128         3e-3           onecycle
    =========  ===========  =======  ==========  ========  ======  ==========  =============  ========

    ``neighbors`` projects rows with many columns on their 256 leading directions (512 for 256 bits and more), takes
    the exact neighbours among the training rows (of a sample, above 20,000 rows) as the truth, and sets the
    temperature of the truth from the data. ``objective_options={"tau": ...}`` overrides it.

    The same seed, data and thread count give bit-identical weights on the same machine. Ctrl-C ends the training
    within a step; the best weights so far are kept, and KeyboardInterrupt is raised only if no epoch had ended.

    Training needs ``pip install "simskip[train]"``; a trained hasher encodes without torch.

    References
    ----------
    L. Yuan et al., "Central similarity quantization for efficient image and video retrieval", CVPR 2020 (csq).
    X. Wang, Y. Shi, K. Kitani, "Deep supervised hashing with triplet labels", ACCV 2016 (dtsh). G. Hinton, S. Roweis,
    "Stochastic neighbor embedding", NIPS 2002 (the divergence of neighbors).

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).standard_normal((500, 32)).astype(np.float32)
    >>> hasher = DeepHash(16, epochs=2, steps_per_epoch=5, batch_size=64).fit(X, progress=False)
    >>> hasher.encode(X[:3])
    Codes(3 x 16 bits, 6 bytes)
    >>> [record["epoch"] for record in hasher.history_]
    [1, 2]
    """

    def __init__(
        self,
        n_bits: int = 64,
        objective: str = "neighbors",
        hidden: Sequence[int] | None = None,
        activation: str = "relu",
        dropout: float | None = None,
        batch_norm: bool | None = None,
        residual: bool | None = None,
        output: str = "tanh",
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        optimizer: str = "adamw",
        schedule: str | None = None,
        weight_decay: float | None = None,
        input_noise: float | None = None,
        objective_options: Mapping[str, float] | None = None,
        metric: str = "cosine",
        validation_fraction: float = 0.1,
        patience: int | None = None,
        random_state: int = 0,
        threads: int | None = None,
    ) -> None:
        self.n_bits = n_bits
        self.objective = objective
        self.hidden = hidden
        self.activation = activation
        self.dropout = dropout
        self.batch_norm = batch_norm
        self.residual = residual
        self.output = output
        self.epochs = epochs
        self.steps_per_epoch = steps_per_epoch
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.optimizer = optimizer
        self.schedule = schedule
        self.weight_decay = weight_decay
        self.input_noise = input_noise
        self.objective_options = objective_options
        self.metric = metric
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.random_state = random_state
        self.threads = threads

    def _resolved(self) -> _Recipe:
        """The recipe with the user's parameters in it, all checked."""
        recipe = _RECIPES[choice(self.objective, "objective", tuple(_RECIPES))]
        choice(self.activation, "activation", ACTIVATIONS)
        choice(self.output, "output", OUTPUTS)
        choice(self.optimizer, "optimizer", OPTIMIZERS)
        choice(self.metric, "metric", METRICS)
        fraction(self.validation_fraction, "validation_fraction", open_high=True)
        positive_int(self.random_state, "random_state", minimum=0, maximum=2**64 - 1)
        if self.threads is not None:
            positive_int(self.threads, "threads")
        own: dict[str, Any] = {}
        if self.hidden is not None:
            own["hidden"] = _widths(self.hidden)
        for name in ("dropout",):
            if getattr(self, name) is not None:
                own[name] = fraction(getattr(self, name), name, open_high=True)
        for name in ("batch_norm", "residual"):
            if getattr(self, name) is not None:
                own[name] = choice(getattr(self, name), name, (False, True))
        for name, minimum in (("epochs", 1), ("steps_per_epoch", 0), ("batch_size", 2), ("patience", 0)):
            if getattr(self, name) is not None:
                own[name] = positive_int(getattr(self, name), name, minimum=minimum)
        if self.schedule is not None:
            own["schedule"] = choice(self.schedule, "schedule", SCHEDULES)
        for name, zero in (("learning_rate", False), ("weight_decay", True), ("input_noise", True)):
            if getattr(self, name) is not None:
                own[name] = _not_negative(getattr(self, name), name, zero=zero)
        return dataclasses.replace(recipe, **own)

    def _fit(
        self,
        X: FloatMatrix,
        y: npt.NDArray[Any] | None,
        progress: bool,
        callbacks: Iterable[Callable[..., Any]],
    ) -> None:
        recipe = self._resolved()
        classes = _class_numbers(self.objective, y) if recipe.supervised else None
        trainer = native_trainer.load()
        settings = self._settings(trainer, recipe)
        held_out, rows = _split(
            len(X), self.validation_fraction, _MAX_HELD_OUT[self.objective], self.random_state
        )
        prepare = self._prepare_supervised if recipe.supervised else self._prepare_neighbors
        preparation, inputs, arrays, judge = prepare(X, classes, recipe, settings, rows, held_out)
        if judge is not None:
            arrays["evaluation_rows"] = judge.evaluation_rows
        history: list[dict[str, Any]] = []
        hooks = tuple(callbacks)
        with EpochBar(recipe.epochs, f"DeepHash {self.objective} {self.n_bits} bits", progress) as bar:

            def on_epoch(record: dict[str, Any], outputs: FloatMatrix) -> tuple[float | None, bool]:
                metric = None
                if judge is not None:
                    metric = record[judge.name] = judge(outputs)
                history.append(record)
                bar.update(
                    {name: record[name] for name in ("loss", judge.name if judge else "") if name in record}
                )
                stop = [hook(dict(record)) is True for hook in hooks]
                return metric, any(stop)

            result = trainer.train(settings, inputs, rows, on_epoch, **arrays)
        if result["best_epoch"] == 0:
            raise KeyboardInterrupt("training was interrupted before its first epoch ended")
        if result["interrupted"]:
            history[-1]["interrupted"] = True
        self.network_ = DenseNetwork(
            tuple(result["layers"]), result["residual"], self.activation, self.output
        )
        self.preparation_ = preparation
        self.history_ = history
        self.best_epoch_ = int(result["best_epoch"])

    def _settings(self, trainer: Any, recipe: _Recipe) -> Any:
        network = trainer.NetworkSettings()
        network.n_bits = self.n_bits
        network.hidden = list(recipe.hidden)
        network.activation = self.activation
        network.dropout = recipe.dropout
        network.input_dropout = recipe.dropout if recipe.supervised else 0.0
        network.batch_norm = recipe.batch_norm
        network.output = self.output
        settings = trainer.Settings()
        settings.network = network
        settings.objective = self.objective
        settings.objective_options = _options(trainer, self.objective, self.objective_options)
        settings.epochs = recipe.epochs
        settings.steps_per_epoch = recipe.steps_per_epoch
        settings.batch_size = recipe.batch_size
        settings.anchors = max(1, round(recipe.batch_size * _ANCHOR_SHARE))
        settings.neighbors_per_anchor = _NEIGHBORS_PER_ANCHOR
        settings.optimizer = self.optimizer
        settings.schedule = recipe.schedule
        settings.learning_rate = recipe.learning_rate
        settings.weight_decay = recipe.weight_decay
        settings.patience = recipe.patience
        settings.seed = self.random_state
        settings.threads = self.threads or cpu.threads()
        return settings

    def _prepare_neighbors(
        self,
        X: FloatMatrix,
        classes: RowNumbers | None,
        recipe: _Recipe,
        settings: Any,
        rows: RowNumbers,
        held_out: RowNumbers,
    ) -> tuple[Preparation, FloatMatrix, dict[str, Any], HeldOutRecall | None]:
        """Inputs, the neighbour graph with its temperature, and the start of the linear path."""
        width = max(256 if self.n_bits < 256 else 512, self.n_bits)
        preparation = Preparation.fitted(X, rows, self.metric, width, self.random_state)
        inputs, row_scale = preparation.training_inputs(X)
        arrays: dict[str, Any] = {"row_scale": row_scale}
        seen = Rows(inputs, row_scale, half_squares(inputs) if self.metric == "l2" else None)
        arrays["row_bias"] = seen.bias
        anchors, database = rows, rows
        exact = seen
        if len(rows) <= _GRAPH_EXACT_ROWS:
            exact = Rows.of(X, self.metric)
        else:
            rng = np.random.default_rng(self.random_state)
            database = np.sort(rng.permutation(rows)[:_GRAPH_DATABASE])
            anchors = np.sort(rng.permutation(database)[:_GRAPH_ANCHORS])
        m = min(_GRAPH_NEIGHBORS, len(database) - 1)
        arrays["anchors"] = anchors
        arrays["neighbors"], _ = nearest(exact, anchors, database, m, exclude_self=True)
        if "tau" not in settings.objective_options:
            tau = temperature(seen, database, self.random_state)
            settings.objective_options = {**settings.objective_options, "tau": tau}
        start = rows[:: -(-len(rows) // _START_ROWS)]
        sample = preparation.apply(X[start])
        arrays["gain"] = np.full(inputs.shape[1], math.sqrt(inputs.shape[1]), np.float32)
        if recipe.input_noise > 0:
            arrays["noise"] = (recipe.input_noise * sample.std(axis=0)).astype(np.float32)
        if recipe.residual:
            arrays["residual_weight"], arrays["residual_bias"] = self._linear_start(sample)
        judge = HeldOutRecall(exact, held_out, rows, self.random_state) if len(held_out) else None
        return preparation, inputs, arrays, judge

    def _prepare_supervised(
        self,
        X: FloatMatrix,
        classes: RowNumbers | None,
        recipe: _Recipe,
        settings: Any,
        rows: RowNumbers,
        held_out: RowNumbers,
    ) -> tuple[Preparation, FloatMatrix, dict[str, Any], HeldOutMap | None]:
        """All columns, standardised: what separates classes need not be what varies most."""
        assert classes is not None
        preparation = Preparation(self.metric, None, 1.0, None)
        if self.metric == "l2":
            preparation = Preparation("dot", None, 1.0, None)
        scale = unit_scale(X) if self.metric == "cosine" else None
        start = rows[:: -(-len(rows) // _START_ROWS)]
        sample = preparation.apply(X[start])
        deviation = sample.std(axis=0)
        floor = 1e-3 * float(deviation.max()) + 1e-12  # columns that hardly vary must not be blown up
        arrays: dict[str, Any] = {
            "row_scale": scale,
            "centre": sample.mean(axis=0).astype(np.float32),
            "gain": (1 / np.maximum(deviation, floor)).astype(np.float32),
            "labels": classes,
            "n_classes": int(classes.max()) + 1,
        }
        if recipe.input_noise > 0:
            arrays["noise"] = (recipe.input_noise * deviation).astype(np.float32)
        if recipe.residual:
            arrays["residual_weight"], arrays["residual_bias"] = self._linear_start(sample)
        judge = HeldOutMap(held_out, classes)
        return preparation, X, arrays, judge if judge.possible else None

    def _linear_start(self, sample: FloatMatrix) -> tuple[FloatMatrix, FloatMatrix]:
        """(n_bits, m) weight and (n_bits,) bias of ITQ, its outputs scaled to standard deviation 1."""
        linear = PCAHash(self.n_bits, rotation="itq", random_state=self.random_state)
        linear._fit(sample, None, False, ())
        outputs = linear._project(sample)
        factor = np.float32(1 / max(float(outputs.std()), 1e-12))
        weight = np.ascontiguousarray((linear.weights_ * factor).T, dtype=np.float32)
        return weight, (-weight @ linear.mean_).astype(np.float32)

    def _project(self, X: FloatMatrix) -> FloatMatrix:
        return self.network_.forward(self.preparation_.apply(X))

    def _state(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        params = self.get_params()
        del params["threads"]  # of this machine, not of the hasher
        params["hidden"] = None if self.hidden is None else list(_widths(self.hidden))
        params["objective_options"] = None if self.objective_options is None else dict(self.objective_options)
        # Seconds are left out: the same training must give the same fingerprint.
        params["history"] = [{k: v for k, v in record.items() if k != "seconds"} for record in self.history_]
        params["best_epoch"] = self.best_epoch_
        params["prepared_metric"] = self.preparation_.metric
        return params, {**self.network_.tensors(), **self.preparation_.tensors()}

    @classmethod
    def _from_state(cls, params: dict[str, Any], tensors: dict[str, npt.NDArray[Any]]) -> DeepHash:
        params = dict(params)
        history, best_epoch = params.pop("history"), params.pop("best_epoch")
        metric = params.pop("prepared_metric")
        if params["hidden"] is not None:
            params["hidden"] = tuple(params["hidden"])
        hasher = cls(**params)
        hasher._resolved()
        hasher.network_ = DenseNetwork.from_tensors(tensors, hasher.activation, hasher.output)
        hasher.preparation_ = Preparation.from_tensors(tensors, metric)
        if hasher.network_.n_outputs != hasher.n_bits:
            raise ValueError(f"the network has {hasher.network_.n_outputs} outputs for {hasher.n_bits} bits")
        hasher.history_ = history
        hasher.best_epoch_ = int(best_epoch)
        return hasher


def _widths(value: Any) -> tuple[int, ...]:
    if isinstance(value, (str, bytes)) or not isinstance(value, (Sequence, np.ndarray)):
        raise ValueError(f"hidden must be a sequence of widths such as (512, 256), got {value!r}")
    return tuple(positive_int(width, "a width in hidden") for width in value)


def _not_negative(value: Any, name: str, *, zero: bool) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and (number > 0 or (zero and number == 0))):
        raise ValueError(f"{name} must be a number {'>= 0' if zero else '> 0'}, got {value!r}")
    return number


def _options(trainer: Any, objective: str, given: Mapping[str, float] | None) -> dict[str, float]:
    known = next(info.options for info in trainer.objectives() if info.name == objective)
    options: dict[str, float] = {}
    for name, value in (given or {}).items():
        choice(name, f"an option of {objective}", tuple(sorted(known)))
        options[name] = _not_negative(value, f"objective_options[{name!r}]", zero=True)
    return options


def _class_numbers(objective: str, y: npt.NDArray[Any] | None) -> RowNumbers:
    if y is None:
        raise ValueError(
            f"y must hold a class for each row: objective {objective!r} learns from labels, got None"
        )
    try:
        values, numbers = np.unique(y, return_inverse=True)
    except TypeError:
        raise ValueError("y must be all integers or all strings, got a mixture") from None
    if len(values) < 2:
        raise ValueError(f"y must hold at least two classes, got only {values[0]!r}")
    return numbers.reshape(-1).astype(np.int32)


def _split(n: int, share: float, most: int, seed: int) -> tuple[RowNumbers, RowNumbers]:
    """(held-out rows, training rows): both sorted, disjoint, together all; at least two rows are trained on."""
    count = min(int(n * share), most, n - 2)
    order = np.random.default_rng(seed).permutation(n).astype(np.int32)
    return np.sort(order[:count]), np.sort(order[count:])
