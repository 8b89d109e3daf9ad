"""DeepHash: codes learned by a small network over frozen embeddings. Trained natively, encoded with NumPy."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..codes import Codes
from ..errors import CollapseWarning
from ..validation import bit_count, float_rows
from . import training
from .centres import majority_centres, snapped
from .checkpoint import CheckpointFile, training_identity
from .collapse_cause import TrainingFacts
from .custom_objective import NAME as CUSTOM
from .custom_objective import custom_loss
from .hasher import FloatMatrix, Hasher
from .health import CodeHealth, code_health
from .network import DenseNetwork
from .preparation import Preparation
from .recipes import Recipe, continued, origin, resolved, widths
from .supervision import ClassLabels, checked_labels
from .training_data import Problem, TrainingData, prepare, start_of
from .training_health import CollapseWatch

__all__ = ["DeepHash"]


class DeepHash(Hasher):
    """Codes from a small neural network, trained for what the codes are used for.

    Parameters that are None take the value that suits the objective (see Notes).

    Parameters
    ----------
    n_bits : int
        Bits of a code, 1 to 4096.
    objective : str or callable
        What the codes are trained for: without labels ``"neighbors"``, ``"bihalf"``, ``"autoencoder"``; with labels
        ``"csq"``, ``"orthohash"``, ``"hashnet"``, ``"dpsh"``, ``"dtsh"``, ``"greedyhash"``, ``"classifier"``,
        ``"deepranking"``, ``"distilled"`` (see Notes). A function ``(outputs, targets) -> loss`` on torch tensors is an
        objective of your own: outputs (B, n_bits), targets the rows of ``y`` (int64 classes or a float32 matrix), or of
        the vectors where there is no ``y``; slower than a native one.
    hidden : sequence of int, optional
        Width of each hidden layer; ``()`` for a linear hasher.
    activation : {"relu", "leaky_relu", "gelu", "tanh", "silu"}
        After every hidden layer; gelu is the tanh approximation.
    dropout : float, optional
        Share of hidden activations (with labels of inputs too) that is dropped in training, [0, 1).
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
    prefixes : sequence of int
        The first so many bits of each code shall be good codes too (``codes.prefix(64)``): one training for several
        lengths, "matryoshka" codes. Ascending, below ``n_bits``.
    snap : bool
        Codes are those of the nearest class: each row gets the code of the centre (of csq and orthohash; else the
        majority of its class) with the largest inner product with its outputs. For search in buckets; needs labels.
    metric : {"cosine", "l2", "dot"}
        What "nearest" means for ``neighbors``; with cosine, rows are also scaled to length 1 before anything else.
    validation_fraction : float
        Share of the rows held out to judge each epoch, [0, 1); at most 2,000 rows (5,000 for map) are. 0: the last
        epoch's weights are kept.
    watch : {"recall", "map"}, optional
        The held-out figure that decides which epoch is kept, and when to stop: Recall@25 against the exact neighbours,
        or mean average precision over classes. Default: map where the objective learns from labels, else recall.
    patience : int, optional
        Stop after so many epochs without a better figure on the held-out rows; 0: never.
    n_init : int
        Trainings from different random weights; the one with the best held-out figure is kept.
    on_collapse : {"warn", "stop", "ignore"}
        What to do when codes fall together while training: ``CollapseWarning`` names the likely cause and the remedy;
        ``"stop"`` ends the training too.
    random_state : int
        Seed >= 0 of everything random.
    threads : int, optional
        Threads of the trainer; default ``simskip.set_threads``'s.

    Attributes
    ----------
    history_ : list of dict
        One record per epoch: ``epoch`` (from 1), ``step``, ``learning_rate``, ``loss`` and its parts (means over the
        epoch), the held-out figure (``recall@25`` or ``map``), the codes' health among at most 4,000 rows (``codes``,
        ``largest_bucket``, ``bit_entropy``, ``bit_correlation``, ``saturation``, ``spread``, ``collapsed``; with labels
        ``coverage``, ``computation_ratio``, ``distinct_class_codes``), ``seconds`` since training began. The last
        record of an interrupted training has ``interrupted: True``.
    best_epoch_ : int
        The epoch whose weights were kept: the best on held-out rows.
    network_ : DenseNetwork
        Its weights.
    preparation_ : Preparation
        What happens to vectors before the network.
    classes_ : list of int or str, or None
        The classes of an objective that learns from labels; None for several classes per row and without labels.
    centres_ : (n_classes, n_bits) float32 array or None
        With ``snap``, the codes that rows can have, as +-1.
    dim_, health_
        See ``Hasher``.

    Notes
    -----
    Objectives, and what they take where a parameter is None:

    ===========  ===========  =======  ==========  ========  ======  ==========  =============  ========
    objective    hidden       dropout  batch_norm  residual  epochs  batch_size  learning_rate  schedule
    ===========  ===========  =======  ==========  ========  ======  ==========  =============  ========
    neighbors    (1024,)      0.1      no          yes       20x100  924         2e-3           cosine
    bihalf       (1024,)      0.1      no          yes       12x100  512         1e-3           cosine
    autoencoder  (1024,)      0.1      no          yes       12x100  512         1e-3           cosine
    with labels  (512,)       0.3      yes         yes       30      128         3e-3           onecycle
    ===========  ===========  =======  ==========  ========  ======  ==========  =============  ========

    Without labels, further input noise 0.3 and patience 5 (``neighbors``: 8); with labels, weight decay 0.01, and they
    run through.

    - Without labels: ``neighbors`` keeps each row's neighbours; ``bihalf`` keeps cosines with each bit 1 for half of a
      batch; ``autoencoder`` lets a linear decoder read the vectors off the bits.
    - Classes as places: ``csq`` draws rows to the code of their class, bit by bit; ``orthohash`` by the cosine, against
      the codes of the other classes.
    - Classes of pairs: ``hashnet``, ``dpsh`` and ``distilled`` predict from inner products of codes whether two rows
      share a class. ``distilled`` also learns what other rows' classifiers make of a row (five small networks are
      trained first), which tells hard rows and wrong labels from the others.
    - Classes of triplets: ``dtsh`` and ``deepranking`` (which also orders rows within a class by their vectors).
    - Codes that a linear classifier can read: ``greedyhash`` reads the bits, ``classifier`` the outputs before them.

    ``simskip._learn.objectives()`` has formulas, sources and options. All that learn from labels know what to do with
    several classes per row.

    ``neighbors`` projects rows with many columns on their 256 leading directions (512 for 256 bits and more), takes
    the exact neighbours among the training rows as the truth (above 20,000 rows those in a sample of 100,000, found by
    codes and then exactly), and sets the temperature of the truth from the data. ``objective_options={"tau": ...}``
    overrides it. Twice the time for 2 % more recall: ``hidden=(1024, 1024), activation="gelu"``.

    The same seed, data and thread count give bit-identical weights on the same machine. Ctrl-C ends the training
    within a step; the best weights so far are kept, and KeyboardInterrupt is raised only if no epoch had ended.

    Training needs ``pip install "simskip[train]"``; a trained hasher encodes without torch.

    References
    ----------
    L. Yuan et al., "Central similarity quantization for efficient image and video retrieval", CVPR 2020 (csq). J. Hoe
    et al., "One loss for all: deep hashing with a single cosine similarity based learning objective", NeurIPS 2021
    (orthohash). Z. Cao et al., "HashNet: deep learning to hash by continuation", ICCV 2017. W. Li et al., "Feature
    learning based deep supervised hashing with pairwise labels", IJCAI 2016 (dpsh). X. Wang et al., "Deep supervised
    hashing with triplet labels", ACCV 2016 (dtsh). J. Wang et al., "Learning fine-grained image similarity with deep
    ranking", CVPR 2014. S. Su et al., "Greedy hash: towards fast optimization for accurate hash coding in CNN",
    NeurIPS 2018. K. Lin et al., "Deep learning of binary hash codes for fast image retrieval", CVPR workshops 2015
    (classifier). Y. Li and J. van Gemert, "Deep unsupervised image hashing by maximizing bit entropy", AAAI 2021
    (bihalf). M. Carreira-Perpinan and R. Raziperchikolaei, "Hashing with binary autoencoders", CVPR 2015. G. Hinton and
    S. Roweis, "Stochastic neighbor embedding", NIPS 2002 (the divergence of neighbors).

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

    network_: DenseNetwork
    preparation_: Preparation
    classes_: list[Any] | None
    centres_: FloatMatrix | None
    history_: list[dict[str, Any]]
    best_epoch_: int

    def __init__(
        self,
        n_bits: int = 64,
        objective: str | Callable[[Any, Any], Any] = "neighbors",
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
        *,
        prefixes: Sequence[int] = (),
        snap: bool = False,
        watch: str | None = None,
        n_init: int = 1,
        on_collapse: str = "warn",
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
        self.prefixes = prefixes
        self.snap = snap
        self.watch = watch
        self.n_init = n_init
        self.on_collapse = on_collapse

    @classmethod
    def origin(cls, kind: str, n_bits: int | None = None, **parameters: Any) -> DeepHash:
        """The networks that simskip's origin trained, to check what was claimed for them.

        Parameters
        ----------
        kind : {"image", "text"}
            image: dtsh, 8 hidden layers, leaky ReLU, dropout 0.5, 8 bits. text: dtsh, hidden layers of 128, 64 and 32,
            dropout 0.4, 4 bits. Both in batches of 32 by Adam, without residual path and batch-norm.
        n_bits : int, optional
        **parameters
            Replace others.

        Returns
        -------
        DeepHash
            Not fitted. The image network collapses: that is what it is for.
        """
        preset = origin(kind)
        if n_bits is not None:
            preset["n_bits"] = n_bits
        return cls(**{**preset, **parameters})

    def fit(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike | None = None,
        *,
        progress: bool = True,
        callbacks: Iterable[Callable[..., Any]] = (),
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> DeepHash:
        """Learn from vectors.

        Parameters
        ----------
        X : (n, d) array
            Finite numbers. float32 and float16 matrices are used as they are, memory-mapped ones too; rows that must be
            projected first are copied (float32, at most 2 GiB: of more, a random sample is trained on).
        y : (n,) array of int or str, or (n, n_classes) array, optional
            A class for each row, -1 (among integers) for rows without one, which are not trained on; or several classes
            per row as a matrix of weights in [0, 1], where the objective knows what to do with them.
        progress : bool
            Show a progress bar.
        callbacks : iterable of callables
            Each gets every epoch's record (see ``history_``); training stops when one returns True.
        checkpoint : path, optional
            A file to write after every epoch. If it is there already, training goes on from it, with the same result,
            bit by bit, as if it had never stopped.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For parameters, ``X``, ``y`` or a checkpoint that do not fit.
        RuntimeError
            If the loss stops being a number.
        FormatError
            If the checkpoint is damaged.

        Warns
        -----
        CollapseWarning
            If codes have fallen together, while training or at its end.
        """
        rows, labels = self._checked(X, y)
        self._fit(rows, labels, progress=progress, callbacks=callbacks, checkpoint=checkpoint)
        return self._learnt(rows, labels)

    def partial_fit(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike | None = None,
        *,
        progress: bool = True,
        callbacks: Iterable[Callable[..., Any]] = (),
    ) -> DeepHash:
        """Go on from today's weights with new rows, in smaller steps; the first time as ``fit``.

        A third of the epochs at a tenth of the learning rate. Codes change: rows that are in an index must be encoded
        again (``fingerprint`` tells). Give rows of the old kind too, or what they taught is forgotten.

        Parameters
        ----------
        X, y, progress, callbacks
            As in ``fit``; ``y`` may hold no class that the first training did not see.

        Returns
        -------
        self
            ``history_`` goes on where it ended.

        Raises
        ------
        ValueError, RuntimeError
            As ``fit``.
        """
        if not self._fitted:
            return self.fit(X, y, progress=progress, callbacks=callbacks)
        rows, labels = self._checked(X, y)
        self._check_input(rows)
        self._fit(rows, labels, progress=progress, callbacks=callbacks, continues=True)
        return self._learnt(rows, labels)

    def _checked(self, X: npt.ArrayLike, y: npt.ArrayLike | None) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None]:
        bit_count(self.n_bits)
        rows = float_rows(X, "X", min_rows=self._min_rows)
        return rows, None if y is None else checked_labels(y, len(rows))

    def _fit(
        self,
        X: FloatMatrix,
        y: npt.NDArray[Any] | None,
        progress: bool,
        callbacks: Iterable[Callable[..., Any]],
        checkpoint: str | os.PathLike[str] | None = None,
        continues: bool = False,
    ) -> None:
        if self.objective == CUSTOM:
            raise ValueError("objective must be the function itself to train again: a file or pickle does not hold it")
        recipe = resolved(self, labelled=y is not None)
        given = ClassLabels.of(y, recipe, self.objective, known=self.classes_ if continues else None)
        if continues:
            recipe = continued(recipe)
        problem = Problem(
            X,
            self.metric,
            self.n_bits,
            recipe,
            given.numbers,
            given.targets,
            given.count,
            tuple(self.prefixes),
            self.watch or ("map" if recipe.supervised else "recall"),
            self.validation_fraction,
            self.random_state,
            self.threads,
            progress,
        )
        settings = training.settings_for(
            CUSTOM if callable(self.objective) else self.objective,
            training.Network(self.n_bits, self.activation, self.output, problem.prefixes),
            recipe,
            self.objective_options,
            optimizer=self.optimizer,
            seed=self.random_state,
            threads=self.threads,
        )
        file = self._checkpoint_file(checkpoint, X, problem.classes)
        data = prepare(problem, self.preparation_ if continues else None)
        if continues:
            data.tower["start"] = {"layers": self.network_.layers, "residual": self.network_.residual}
        else:
            start_of(problem, data)
        _set_temperature(settings, data)
        before = self.history_ if continues else []
        watch = CollapseWatch(self._facts(recipe, settings, problem), self.on_collapse)
        trained = training.train(
            settings,
            data,
            labels=given.numbers if recipe.supervised else None,
            watch=watch,
            description=f"DeepHash {settings.objective} {self.n_bits} bits",
            progress=progress,
            callbacks=callbacks,
            restarts=1 if continues else self.n_init,
            epochs_before=len(before),
            checkpoint=file,
            custom_loss=self._custom_loss(problem, data),
        )
        self.network_ = trained.networks[0]
        self.preparation_ = data.preparation
        self.classes_ = given.values
        self.history_ = before + trained.history
        self.best_epoch_ = len(before) + trained.best_epoch
        self.centres_ = None
        if self.snap:  # the objective's centres, or what its codes say
            self.centres_ = trained.centres if trained.centres is not None else majority_centres(self._project, problem)
        self._watch = watch

    def _facts(self, recipe: Recipe, settings: Any, problem: Problem) -> TrainingFacts:
        labels = problem.labels
        if labels is not None:
            labels = labels[labels >= 0]
        options = {**training.default_options(settings.objective), **settings.objective_options}
        return TrainingFacts.of(self, recipe, options, problem.X, labels)

    def _checkpoint_file(
        self, path: str | os.PathLike[str] | None, X: FloatMatrix, classes: npt.NDArray[Any] | None
    ) -> CheckpointFile | None:
        if path is None:
            return None
        if self.n_init != 1:
            raise ValueError(f"checkpoint needs n_init=1, got n_init={self.n_init}: restarts cannot be resumed")
        parameters = {name: value for name, value in self.get_params().items() if name != "threads"}
        if callable(self.objective):
            parameters["objective"] = getattr(self.objective, "__qualname__", CUSTOM)
        return CheckpointFile(path, training_identity(parameters, X, classes))

    def _custom_loss(self, problem: Problem, data: TrainingData) -> Callable[..., Any] | None:
        if not callable(self.objective):
            return None
        if problem.recipe.supervised:
            arrays = data.arrays
            targets = arrays["targets"] if "targets" in arrays else arrays["labels"].astype(np.int64)
        else:
            targets = data.tower["inputs"]
        return custom_loss(self.objective, targets)

    def _health(self, X: npt.NDArray[Any], y: npt.NDArray[Any] | None) -> CodeHealth:
        if y is None or y.ndim == 2:
            return code_health(self._encode(X))
        known = np.flatnonzero(y != -1) if y.dtype.kind == "i" else np.arange(len(y))
        return code_health(self._encode(X[known]), y[known])

    def _warn_of_collapse(self) -> None:
        if self.on_collapse == "ignore" or self._watch.told:
            return
        told = self._watch.message if self._watch.collapsed else self.health_.diagnosis
        warnings.warn(f"{self!r}: {told}", CollapseWarning, stacklevel=4)

    def _project(self, X: FloatMatrix) -> FloatMatrix:
        return self.network_.forward(self.preparation_.apply(X))

    def _pack(self, outputs: FloatMatrix) -> Codes:
        if self.centres_ is None:
            return super()._pack(outputs)
        return snapped(outputs, self.centres_)

    def _state(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        params = {k: v.item() if isinstance(v, np.generic) else v for k, v in self.get_params().items()}
        del params["threads"]  # of this machine, not of the hasher
        if callable(self.objective):
            params["objective"] = CUSTOM  # functions do not travel
        if self.hidden is not None:
            params["hidden"] = list(widths(self.hidden))
        params["prefixes"] = [int(width) for width in self.prefixes]
        if self.objective_options is not None:
            params["objective_options"] = {k: float(v) for k, v in self.objective_options.items()}
        # Seconds are left out: the same training must give the same fingerprint.
        params["history"] = [{k: v for k, v in record.items() if k != "seconds"} for record in self.history_]
        params["best_epoch"] = self.best_epoch_
        params["classes"] = self.classes_
        params["prepared_metric"] = self.preparation_.metric
        tensors = {**self.network_.tensors(), **self.preparation_.tensors()}
        if self.centres_ is not None:
            tensors["centres"] = self.centres_
        return params, tensors

    @classmethod
    def _from_state(cls, params: dict[str, Any], tensors: dict[str, npt.NDArray[Any]]) -> DeepHash:
        params = dict(params)
        history, best_epoch = params.pop("history"), params.pop("best_epoch")
        metric, classes = params.pop("prepared_metric"), params.pop("classes", None)
        for name in ("hidden", "prefixes"):
            if params.get(name) is not None:
                params[name] = tuple(params[name])
        hasher = cls(**params)
        resolved(hasher)
        hasher.network_ = DenseNetwork.from_tensors(tensors, hasher.activation, hasher.output)
        hasher.preparation_ = Preparation.from_tensors(tensors, metric)
        if hasher.network_.n_outputs != hasher.n_bits:
            raise ValueError(f"the network has {hasher.network_.n_outputs} outputs for {hasher.n_bits} bits")
        hasher.centres_ = tensors["centres"] if hasher.snap else None
        if hasher.centres_ is not None and (
            hasher.centres_.ndim != 2 or hasher.centres_.shape[1] != hasher.n_bits or not len(hasher.centres_)
        ):
            raise ValueError(f"centres must have {hasher.n_bits} columns, got shape {hasher.centres_.shape}")
        hasher.classes_ = classes
        hasher.history_ = history
        hasher.best_epoch_ = int(best_epoch)
        return hasher


def _set_temperature(settings: Any, data: TrainingData) -> None:
    tau = data.arrays.pop("tau", None)
    if tau is not None and "tau" not in settings.objective_options:
        settings.objective_options = {**settings.objective_options, "tau": tau}
