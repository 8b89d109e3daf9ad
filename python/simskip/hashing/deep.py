"""DeepHash: codes learned by a small network over frozen embeddings. Trained natively, encoded with NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import cpu
from ..codes import pack
from ..validation import choice
from . import native_trainer
from .hasher import FloatMatrix, Hasher
from .health import code_health
from .held_out import HeldOutMap, HeldOutRecall
from .linear import PCAHash
from .neighbor_graph import half_squares, nearest, temperature
from .network import DenseNetwork
from .preparation import Preparation, unit_scale
from .progress import EpochBar
from .recipes import Recipe, not_negative, resolved, widths

__all__ = ["DeepHash"]

RowNumbers = npt.NDArray[np.int32]

# Batches of `neighbors`: of 924 rows 48 are anchors, each with 12 of its neighbours, and 300 are drawn uniformly.
_ANCHOR_SHARE = 48 / 924
_NEIGHBORS_PER_ANCHOR = 12
_GRAPH_NEIGHBORS = 50
# Above this many rows the neighbour graph is that of a sample, searched among the projected vectors.
_GRAPH_EXACT_ROWS = 20_000
_GRAPH_ANCHORS = 20_000
_GRAPH_DATABASE = 100_000
_START_ROWS = 20_000
_TOWER = ("row_scale", "centre", "gain", "noise", "residual_weight", "residual_bias")
_HEALTH_ROWS = 4000
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
        epoch), the held-out figure (``recall@25`` or ``map``), ``codes`` (different ones among at most 4,000 rows),
        whether they have ``collapsed``, ``seconds`` since training began. The last record of an interrupted
        training has ``interrupted: True``.
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
    neighbors  (1024,)      0.1      no          yes       12x100  924         2e-3           cosine
    csq, dtsh  (512,)       0.3      yes         yes       30      128         3e-3           onecycle
    =========  ===========  =======  ==========  ========  ======  ==========  =============  ========

    Further: ``neighbors`` has input noise 0.3 and patience 5; csq and dtsh have weight decay 0.01, and run through.

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

    def _fit(
        self,
        X: FloatMatrix,
        y: npt.NDArray[Any] | None,
        progress: bool,
        callbacks: Iterable[Callable[..., Any]],
    ) -> None:
        recipe = resolved(self)
        classes = _class_numbers(self.objective, y) if recipe.supervised else None
        trainer = native_trainer.load()
        settings = self._settings(trainer, recipe)
        held_out, rows = _split(len(X), self.validation_fraction, _MAX_HELD_OUT[self.objective], self.random_state)
        prepare = self._prepare_supervised if recipe.supervised else self._prepare_neighbors
        preparation, inputs, arrays, judge = prepare(X, classes, recipe, settings, rows, held_out)
        # Without held-out rows some training rows are looked at: only to see whether codes fall together.
        evaluated = judge.evaluation_rows if judge is not None else rows[:_HEALTH_ROWS]
        looked_at = evaluated[-_HEALTH_ROWS:]
        arrays["evaluation_rows"] = evaluated
        history: list[dict[str, Any]] = []
        hooks = tuple(callbacks)
        with EpochBar(recipe.epochs, f"DeepHash {self.objective} {self.n_bits} bits", progress) as bar:

            def on_epoch(record: dict[str, Any], outputs: FloatMatrix) -> tuple[float | None, bool]:
                figures: dict[str, Any] = {"loss": record["loss"]}
                metric = None
                if judge is not None:
                    metric = figures[judge.name] = record[judge.name] = judge(outputs)
                codes = pack(outputs[-_HEALTH_ROWS:])
                health = code_health(codes, None if classes is None else classes[looked_at])
                record["codes"], record["collapsed"] = health.n_codes, health.collapsed
                if health.collapsed:
                    figures["codes"] = f"{health.n_codes} (collapsed)"
                history.append(record)
                bar.update(figures)
                stop = [hook(dict(record)) is True for hook in hooks]
                return metric, any(stop)

            tower = {"inputs": inputs, **{name: arrays.pop(name) for name in _TOWER if name in arrays}}
            result = trainer.train(settings, [tower], rows, on_epoch, **arrays)
        if result["best_epoch"] == 0:
            raise KeyboardInterrupt("training was interrupted before its first epoch ended")
        if result["interrupted"]:
            history[-1]["interrupted"] = True
        layers, residual = result["networks"][0]
        self.network_ = DenseNetwork(tuple(layers), residual, self.activation, self.output)
        self.preparation_ = preparation
        self.history_ = history
        self.best_epoch_ = int(result["best_epoch"])

    def _settings(self, trainer: Any, recipe: Recipe) -> Any:
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
        recipe: Recipe,
        settings: Any,
        rows: RowNumbers,
        held_out: RowNumbers,
    ) -> tuple[Preparation, FloatMatrix, dict[str, Any], HeldOutRecall | None]:
        """Inputs, the neighbour graph with its temperature, and the start of the linear path."""
        width = max(256 if self.n_bits < 256 else 512, self.n_bits)
        preparation = Preparation.fitted(X, rows, self.metric, width, self.random_state)
        inputs, row_scale = preparation.training_inputs(X)
        arrays: dict[str, Any] = {"row_scale": row_scale}
        if self.metric == "l2":
            arrays["row_bias"] = half_squares(inputs)
        # What the network is shown, and under which metric: projected rows of length 1 have lost some of it.
        shown = "dot" if self.metric == "cosine" and row_scale is None else self.metric
        anchors, database, exact = rows, rows, (X, self.metric)
        if len(rows) > _GRAPH_EXACT_ROWS:
            rng = np.random.default_rng(self.random_state)
            database = np.sort(rng.permutation(rows)[:_GRAPH_DATABASE])
            anchors = np.sort(rng.permutation(database)[:_GRAPH_ANCHORS])
            exact = (inputs, shown)
        m = min(_GRAPH_NEIGHBORS, len(database) - 1)
        arrays["anchors"] = anchors
        arrays["neighbors"], _ = nearest(*exact, anchors, database, m, exclude_self=True, threads=self.threads)
        if "tau" not in settings.objective_options:
            tau = temperature(inputs, shown, database, self.random_state, self.threads)
            settings.objective_options = {**settings.objective_options, "tau": tau}
        start = rows[:: -(-len(rows) // _START_ROWS)]
        sample = preparation.apply(X[start])
        arrays["gain"] = np.full(inputs.shape[1], math.sqrt(inputs.shape[1]), np.float32)
        if recipe.input_noise > 0:
            arrays["noise"] = (recipe.input_noise * sample.std(axis=0)).astype(np.float32)
        if recipe.residual:
            arrays["residual_weight"], arrays["residual_bias"] = self._linear_start(sample)
        judge = None
        if len(held_out):
            judge = HeldOutRecall(X, self.metric, held_out, rows, self.random_state, self.threads)
        return preparation, inputs, arrays, judge

    def _prepare_supervised(
        self,
        X: FloatMatrix,
        classes: RowNumbers | None,
        recipe: Recipe,
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
        params = {k: v.item() if isinstance(v, np.generic) else v for k, v in self.get_params().items()}
        del params["threads"]  # of this machine, not of the hasher
        if self.hidden is not None:
            params["hidden"] = list(widths(self.hidden))
        if self.objective_options is not None:
            params["objective_options"] = {k: float(v) for k, v in self.objective_options.items()}
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
        resolved(hasher)
        hasher.network_ = DenseNetwork.from_tensors(tensors, hasher.activation, hasher.output)
        hasher.preparation_ = Preparation.from_tensors(tensors, metric)
        if hasher.network_.n_outputs != hasher.n_bits:
            raise ValueError(f"the network has {hasher.network_.n_outputs} outputs for {hasher.n_bits} bits")
        hasher.history_ = history
        hasher.best_epoch_ = int(best_epoch)
        return hasher


def _options(trainer: Any, objective: str, given: Mapping[str, float] | None) -> dict[str, float]:
    known = next(info.options for info in trainer.objectives() if info.name == objective)
    options: dict[str, float] = {}
    for name, value in (given or {}).items():
        choice(name, f"an option of {objective}", tuple(sorted(known)))
        options[name] = not_negative(value, f"objective_options[{name!r}]", zero=True)
    return options


def _class_numbers(objective: str, y: npt.NDArray[Any] | None) -> RowNumbers:
    if y is None:
        raise ValueError(f"y must hold a class for each row: objective {objective!r} learns from labels, got None")
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
