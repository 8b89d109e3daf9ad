"""CrossModalHash: two kinds of vectors, one space of codes. Words find pictures, and pictures find words."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..codes import Codes, pack
from ..errors import CollapseWarning
from ..files import atomic_write
from ..validation import choice, matrix
from . import cross_modal_file, native_trainer
from .canonical import canonical_start
from .health import CodeHealth
from .held_out_pairs import HeldOutPairs, row_numbers, split_pairs
from .neighbor_graph import temperature
from .network import DenseNetwork
from .pair_recipe import pair_recipe, side_metrics
from .paired import SIDES, PairedHash
from .parameters import Parameters
from .preparation import Preparation
from .progress import EpochBar
from .training import Network, settings_for
from .training_health import epoch_health

__all__ = ["CrossModalHash"]

FloatMatrix = npt.NDArray[np.float32]
RowNumbers = npt.NDArray[np.int32]


# Sides of more columns are projected on their leading directions.
_WIDTH = 512
_START_ROWS = 20_000
_HEALTH_ROWS = 4000
_LEAST_STEPS = 20


class CrossModalHash(Parameters):
    """Codes that two kinds of vectors share, learned from pairs: photographs and their captions, sounds and scores.

    Two networks are trained at once, one for each kind, so that the codes of a pair's two sides are near each other
    and far from those of the other pairs. Afterwards each kind finds the other by plain Hamming search.

    The two kinds are called the first and the second side here, for any two will do; ``images`` and ``texts`` in the
    names of two methods are the usual case.

    Parameters
    ----------
    n_bits : int
        Bits of a code, 1 to 4096.
    hidden : sequence of int
        Width of each hidden layer of both networks; ``()`` for linear ones.
    activation : {"relu", "leaky_relu", "gelu", "tanh", "silu"}
    dropout : float
        Share of hidden activations that is dropped in training, [0, 1).
    batch_norm : bool
    residual : bool
        Add linear paths that start as CCA-ITQ, with networks that start at zero: the first step is CCA-ITQ.
    output : {"tanh", "none"}
    epochs, batch_size : int
        In a batch, all other pairs are what a pair is told from.
    steps_per_epoch : int, optional
        Steps between two looks at the held-out pairs. Default: one pass over the pairs, but at least 20.
    learning_rate : float
    optimizer : {"adamw", "adam", "sgd"}
    schedule : {"cosine", "constant", "onecycle"}
    weight_decay : float
    input_noise : float
        Noise on the networks' inputs, in standard deviations of each of their columns.
    objective_options : mapping of str to float, optional
        Constants of the loss: ``{"soft": 0.2}`` makes pairs that are alike on one side less of a contrast (how sharply
        alike, ``tau_first`` and ``tau_second``, is set from the data unless given); ``simskip._learn.objectives()``
        lists them under ``pairs``.
    metric : {"cosine", "l2", "dot"} or a pair of them
        How vectors are normalised first: to length 1, or centred and scaled as a whole, or scaled only. A pair is for
        the first and the second side.
    validation_fraction : float
        Share of the pairs held out to judge each epoch, [0, 1); at most 2,000 are. 0: the last epoch's weights are
        kept.
    patience : int
        Stop after so many epochs without a better figure on the held-out pairs; 0: never.
    random_state : int
        Seed >= 0 of everything random.
    threads : int, optional
        Threads of the trainer; default ``simskip.set_threads``'s.

    Attributes
    ----------
    first_, second_ : PairedHash
        The hashers of the two sides: they encode, project, are saved and indexed as any other ``Hasher``, without
        torch. Both have the same ``code_space``.
    history_ : list of dict
        One record per epoch: ``epoch`` (from 1), ``step``, ``learning_rate``, ``loss`` and its parts (means over the
        epoch), ``recall@10`` among the held-out pairs with its two directions (``recall@10 forward``: first finds
        second; ``recall@10 backward``), ``first`` and ``second`` (health of each side's codes, see
        ``epoch_health``), ``collapsed`` (whether either's are), ``seconds`` since training began.
    best_epoch_ : int
        The epoch whose weights were kept: the best on held-out pairs.
    health_ : dict of str to CodeHealth
        ``"first"`` and ``"second"``: of the codes of the training rows.

    Notes
    -----
    The loss is the symmetric contrastive one with in-batch negatives and a learned scale, on straight-through codes.
    Rows that occur in several pairs (five captions of one photograph) are right for each other in the held-out figure
    and are held out together. The two sides may have different numbers of columns; a side of more than 512 is
    projected on its leading directions.

    The same seed, data and thread count give bit-identical weights on the same machine. Ctrl-C ends the training
    within a step; the best weights so far are kept, and KeyboardInterrupt is raised only if no epoch had ended.

    References
    ----------
    A. Radford et al., "Learning transferable visual models from natural language supervision", ICML 2021. Y. Gong,
    S. Lazebnik, "Iterative quantization: a procrustean approach to learning binary codes", CVPR 2011 (CCA-ITQ).
    Q.-Y. Jiang, W.-J. Li, "Deep cross-modal hashing", CVPR 2017, set the task.

    Examples
    --------
    >>> import numpy as np, simskip
    >>> rng = np.random.default_rng(0)
    >>> meaning = rng.normal(size=(600, 8))
    >>> photos = (meaning @ rng.normal(size=(8, 40))).astype(np.float32)
    >>> words = np.tanh(meaning @ rng.normal(size=(8, 20))).astype(np.float32)
    >>> model = simskip.CrossModalHash(32, epochs=2, steps_per_epoch=20, batch_size=128)
    >>> model.fit_pairs(photos[:500], words[:500], progress=False)
    CrossModalHash(32, epochs=2, steps_per_epoch=20, batch_size=128) fitted to 40 and 20 dimensions
    >>> index = simskip.HammingIndex(32)
    >>> index.add(model.encode_images(photos[500:]))
    >>> distances, ids = index.search(model.encode_texts(words[500:]), k=5)
    >>> bool((ids == np.arange(100)[:, None]).any(axis=1).mean() > 0.5)
    True
    """

    first_: PairedHash
    second_: PairedHash
    history_: list[dict[str, Any]]
    best_epoch_: int
    health_: dict[str, CodeHealth]

    def __init__(
        self,
        n_bits: int = 64,
        hidden: Sequence[int] = (512,),
        activation: str = "relu",
        dropout: float = 0.1,
        batch_norm: bool = False,
        residual: bool = True,
        output: str = "tanh",
        epochs: int = 10,
        steps_per_epoch: int | None = None,
        batch_size: int = 512,
        learning_rate: float = 5e-3,
        optimizer: str = "adamw",
        schedule: str = "cosine",
        weight_decay: float = 0.0,
        input_noise: float = 0.0,
        objective_options: Mapping[str, float] | None = None,
        metric: str | Sequence[str] = "cosine",
        validation_fraction: float = 0.1,
        patience: int = 5,
        random_state: int = 0,
        threads: int | None = None,
    ) -> None:
        self.n_bits = n_bits
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

    def fit_pairs(
        self,
        A: npt.ArrayLike,
        B: npt.ArrayLike,
        *,
        progress: bool = True,
        callbacks: Iterable[Callable[[dict[str, Any]], Any]] = (),
    ) -> CrossModalHash:
        """Learn from pairs.

        Parameters
        ----------
        A, B : (n, d1), (n, d2) arrays
            Row i of both is a pair; finite numbers, used as float32. A row may occur in several pairs.
        progress : bool
            Show a progress bar.
        callbacks : iterable of callables
            Each gets a copy of every epoch's record; one that returns True ends the training, one that raises ends it
            with its exception and leaves the hasher as it was.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For parameters or arrays that do not fit, or a side whose rows are all equal.
        ImportError
            If the extra ``train`` is missing.

        Warns
        -----
        CollapseWarning
            If the codes of a side have fallen together.
        """
        recipe, metrics = pair_recipe(self), side_metrics(self)
        data = (matrix(A, "A", min_rows=2), matrix(B, "B"))
        if len(data[0]) != len(data[1]):
            raise ValueError(
                f"B must have {len(data[0])} rows, one for each row of A (row i of both is a pair), got {len(data[1])}"
            )
        numbers = row_numbers(data[0]), row_numbers(data[1])
        for name, given in zip(("A", "B"), numbers, strict=True):
            if given.max() == 0:
                raise ValueError(f"{name} must hold different rows, got {len(given)} equal ones")
        trainer = native_trainer.load()
        held_out, rows = split_pairs(*numbers, self.validation_fraction, self.random_state)
        network = Network(self.n_bits, self.activation, self.output)
        if self.steps_per_epoch is None:
            recipe = dataclasses.replace(recipe, steps_per_epoch=max(_LEAST_STEPS, len(rows) // self.batch_size))
        settings = settings_for(
            "pairs",
            network,
            recipe,
            self.objective_options,
            optimizer=self.optimizer,
            seed=self.random_state,
            threads=self.threads,
        )
        judge = HeldOutPairs(held_out, *numbers) if len(held_out) > 1 else None
        preparations, towers = self._prepared(data, metrics, rows)
        if settings.objective_options.get("soft", 0.0) > 0:
            settings.objective_options = {**self._temperatures(towers, rows), **settings.objective_options}
        evaluated = rows[:_HEALTH_ROWS] if judge is None else judge.evaluation_rows
        history: list[dict[str, Any]] = []
        hooks = tuple(callbacks)
        with EpochBar(self.epochs, f"CrossModalHash {self.n_bits} bits", progress) as bar:

            def on_epoch(record: dict[str, Any], outputs: FloatMatrix) -> tuple[float | None, bool]:
                shown: dict[str, Any] = {"loss": record["loss"]}
                metric = None
                if judge is not None:
                    record.update(judge(outputs))
                    metric = shown[judge.name] = record[judge.name]
                for side, part in zip(SIDES, np.split(outputs, 2), strict=True):
                    record[side] = epoch_health(part)
                record["collapsed"] = any(record[side]["collapsed"] for side in SIDES)
                if record["collapsed"]:
                    shown["codes"] = " and ".join(str(record[side]["codes"]) for side in SIDES) + " COLLAPSED"
                history.append(record)
                bar.update(shown)
                stop = [hook(dict(record)) is True for hook in hooks]
                return metric, any(stop)

            result = trainer.train(settings, towers, rows, on_epoch, evaluation_rows=evaluated)
        if result["best_epoch"] == 0:
            raise KeyboardInterrupt("training was interrupted before its first epoch ended")
        if result["interrupted"]:
            history[-1]["interrupted"] = True
        hashers = [
            PairedHash._made(side, DenseNetwork(tuple(layers), residual, self.activation, self.output), preparation, X)
            for side, (layers, residual), preparation, X in zip(
                SIDES, result["networks"], preparations, data, strict=True
            )
        ]
        self._take(hashers[0], hashers[1], history, int(result["best_epoch"]))
        for side, health in self.health_.items():
            if health.collapsed:
                warnings.warn(f"{self!r}: the {side} side's {health.diagnosis}", CollapseWarning, stacklevel=2)
        return self

    def _take(self, first: PairedHash, second: PairedHash, history: list[dict[str, Any]], best_epoch: int) -> None:
        """Set what was learnt. The code space is that of these two networks and no others."""
        digest = hashlib.blake2b(digest_size=16)
        for hasher in (first, second):
            hasher._space = ""
            digest.update(hasher.fingerprint.encode())
        first._space = second._space = digest.hexdigest()
        self.first_, self.second_ = first, second
        self.history_, self.best_epoch_ = history, best_epoch
        self.health_ = {"first": first.health_, "second": second.health_}

    def _prepared(
        self, data: tuple[FloatMatrix, FloatMatrix], metrics: tuple[str, str], rows: RowNumbers
    ) -> tuple[list[Preparation], list[dict[str, Any]]]:
        """What happens to each side before its network, and what the trainer gets of it."""
        preparations, towers, samples = [], [], []
        start = rows[:: -(-len(rows) // _START_ROWS)]
        for X, metric in zip(data, metrics, strict=True):
            preparation = Preparation.fitted(X, rows, metric, max(_WIDTH, self.n_bits), self.random_state)
            inputs, row_scale = preparation.training_inputs(X)
            sample = preparation.apply(X[start])
            deviation = sample.std(axis=0)
            tower: dict[str, Any] = {"inputs": inputs, "row_scale": row_scale}
            tower["centre"] = sample.mean(axis=0).astype(np.float32)
            tower["gain"] = np.full(inputs.shape[1], 1 / max(float(np.sqrt(np.square(deviation).mean())), 1e-12))
            tower["gain"] = tower["gain"].astype(np.float32)
            if self.input_noise > 0:
                tower["noise"] = (float(self.input_noise) * deviation).astype(np.float32)
            preparations.append(preparation)
            towers.append(tower)
            samples.append(sample)
        if self.residual:
            maps, _ = canonical_start(samples[0], samples[1], self.n_bits, self.random_state)
            for tower, (weight, bias) in zip(towers, maps, strict=True):
                tower["residual_weight"], tower["residual_bias"] = weight, bias
        return preparations, towers

    def _temperatures(self, towers: list[dict[str, Any]], rows: RowNumbers) -> dict[str, float]:
        """How sharply the soft targets tell rows of a side apart: see ``neighbor_graph.temperature``."""
        database = rows[:: -(-len(rows) // _START_ROWS)]
        return {
            f"tau_{side}": temperature(
                tower["inputs"],
                "l2" if tower["row_scale"] is None else "cosine",
                database,
                self.random_state,
                self.threads,
            )
            for side, tower in zip(SIDES, towers, strict=True)
        }

    # What users call afterwards.

    def encode_images(self, X: npt.ArrayLike) -> Codes:
        """Codes of the first side's vectors, whatever they are: ``first_.encode(X)``."""
        self._check_fitted()
        return self.first_.encode(X)

    def encode_texts(self, X: npt.ArrayLike) -> Codes:
        """Codes of the second side's vectors, whatever they are: ``second_.encode(X)``."""
        self._check_fitted()
        return self.second_.encode(X)

    def evaluate_pairs(
        self, A: npt.ArrayLike, B: npt.ArrayLike, *, k: Sequence[int] = (1, 10, 25), scoring: str = "codes"
    ) -> dict[str, dict[str, Any]]:
        """How well the sides of new pairs find each other.

        Parameters
        ----------
        A, B : (n, d1), (n, d2) arrays
            Pairs that took no part in the training. Rows that are equal on one side are right for each other.
        k : sequence of int
        scoring : {"codes", "asymmetric"}
            Hamming distance, or the query's real outputs against the other side's bits.

        Returns
        -------
        dict
            ``"forward"`` (A looks for B) and ``"backward"`` (B looks for A), each ``simskip.metrics.pair_retrieval``'s
            scores by name: ``recall@K`` for each K, and ``mrr``.
        """
        from ..evaluation.pair_retrieval import pair_retrieval  # its package imports this one

        choice(scoring, "scoring", ("codes", "asymmetric"))
        self._check_fitted()
        data = matrix(A, "A"), matrix(B, "B")
        if len(data[0]) != len(data[1]):
            raise ValueError(f"B must have {len(data[0])} rows, one for each row of A, got {len(data[1])}")
        outputs = self.first_.project(data[0]), self.second_.project(data[1])
        codes = pack(outputs[0]), pack(outputs[1])
        queries: tuple[Any, Any] = codes if scoring == "codes" else outputs
        shown = row_numbers(data[0]), row_numbers(data[1])
        return {
            "forward": pair_retrieval(queries[0], codes[1], k=k, query_items=shown[0], items=shown[1]),
            "backward": pair_retrieval(queries[1], codes[0], k=k, query_items=shown[1], items=shown[0]),
        }

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits of both networks: the ``code_space`` of the two sides."""
        self._check_fitted()
        return self.first_.code_space

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write both sides to one safetensors file with checksums, atomically; ``CrossModalHash.load`` reads it.

        Raises
        ------
        ValueError
            If not fitted yet.
        OSError
            If the file cannot be written.
        """
        content = self.to_bytes()
        with atomic_write(path) as file:
            file.write(content)

    def to_bytes(self) -> bytes:
        """The content of ``save``'s file."""
        self._check_fitted()
        return cross_modal_file.to_bytes(self)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CrossModalHash:
        """Read what ``save`` wrote. Needs NumPy only.

        Raises
        ------
        FormatError
            If the file is damaged, cut short, of another kind or of a newer format.
        OSError
            If it cannot be opened.
        """
        return cross_modal_file.read(cls, path)

    def __reduce__(self) -> tuple[Any, ...]:
        if self._fitted:
            return cross_modal_file.from_bytes, (type(self), self.to_bytes())
        return _unfitted, (type(self), self.get_params(deep=False))

    @property
    def _fitted(self) -> bool:
        return hasattr(self, "first_")

    def _check_fitted(self) -> None:
        if not self._fitted:
            raise ValueError("CrossModalHash is not fitted yet: call fit_pairs(A, B) first")

    def _state_shown(self) -> str:
        return f" fitted to {self.first_.dim_} and {self.second_.dim_} dimensions" if self._fitted else " (not fitted)"


def _unfitted(cls: type[CrossModalHash], params: dict[str, Any]) -> CrossModalHash:
    return cls(**params)
