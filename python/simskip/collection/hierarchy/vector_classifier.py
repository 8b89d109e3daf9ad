"""VectorClassifier: which class a vector belongs to, with probabilities that mean what they say."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ... import cpu
from ...errors import FormatError
from ...files import atomic_write
from ...hashing import weights
from ...hashing.network import DenseNetwork
from ...hashing.parameters import Parameters
from ...hashing.progress import EpochBar
from ...hashing.recipes import widths
from ...hashing.softmax_network import SoftmaxRecipe, class_probabilities, train_softmax
from ...validation import FloatMatrix, fraction, matrix, positive_int, thread_count
from .class_labels import class_array, class_numbers
from .classifier_calibration import ClassifierCalibration, calibrated, held_out_turns

__all__ = ["VectorClassifier"]

FORMAT = "simskip-classifier"
FORMAT_VERSION = 1

# Logistic regression. A step moves every weight by up to the learning rate, so a logit of standardised columns by the
# more the more columns there are: 6 columns need large steps to be learnt from 60 rows (accuracy .71; at the rate that
# suits 1,280 columns .27), 1,280 columns small ones (log loss after 600 rows .46; at 2e-2 .98).
_LINEAR = SoftmaxRecipe((), batch_size=32)
_LINEAR_RATE = 0.2  # over the square root of the columns
_LINEAR_RATES = 2e-3, 5e-2
_SEED_STEP = 7919  # between the seeds of the networks of turns
_Self = TypeVar("_Self", bound="VectorClassifier")


class VectorClassifier(Parameters):
    """Classes of vectors: a softmax network, calibrated on held-out rows.

    Parameters
    ----------
    hidden : tuple of int
        Widths of hidden layers. Default: none, that is logistic regression.
    epochs : int
        Passes over the training rows.
    validation_fraction : float
        Share of the rows of each class, in [0, 0.5], that is held out of training to find the temperature and to judge
        the result. Where that gives fewer than 200 rows, all rows are held out in five turns, each out of a network of
        its own, and the network that is kept is trained on all of them. 0: probabilities stay uncalibrated.
    random_state : int
        Seed >= 0. With the same number of threads, the same seed gives the same weights.
    threads : int, optional
        For training. Default: ``simskip.set_threads``'s.

    Attributes
    ----------
    classes_ : (c,) array of int64 or str
        Ascending.
    dim_ : int
        Columns of the vectors.
    temperature_ : float
        What the network's outputs are divided by.
    calibration_ : ClassifierCalibration or None
        None without held-out rows.
    trained_ : (m,) int64 array
        Rows of the ``X`` given to ``fit`` that its network was trained on, ascending; not kept in files.

    Notes
    -----
    Training needs torch, prediction NumPy only. Each row is multiplied with the weights on its own, so probabilities
    are the same bytes however rows are put into batches.

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun, K. Weinberger, "On calibration of modern neural networks", ICML 2017: one temperature,
    and the expected calibration error.

    Examples
    --------
    >>> import numpy as np
    >>> from simskip.collection.hierarchy.vector_classifier import VectorClassifier
    >>> rng = np.random.default_rng(0)
    >>> names = np.array(["city", "forest", "sea"])[np.arange(300) % 3]
    >>> X = (rng.normal(size=(3, 8))[np.arange(300) % 3] + rng.normal(size=(300, 8))).astype(np.float32)
    >>> classifier = VectorClassifier(threads=1).fit(X, names, progress=False)
    >>> classifier
    VectorClassifier(threads=1) of 3 classes, 8 dimensions
    >>> classifier.predict_proba(X[:2]).shape, bool((classifier.predict(X) == names).mean() > 0.8)
    ((2, 3), True)
    """

    def __init__(
        self,
        hidden: tuple[int, ...] = (),
        epochs: int = 30,
        validation_fraction: float = 0.1,
        random_state: int = 0,
        threads: int | None = None,
    ) -> None:
        self.hidden = hidden
        self.epochs = epochs
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.threads = threads

    def fit(self: _Self, X: npt.ArrayLike, y: Any, *, progress: bool = True) -> _Self:
        """Learn from labelled vectors.

        Parameters
        ----------
        X : (n, d) array
            Finite numbers; used as float32.
        y : (n,) sequence of int or of str
            Classes, at least two different ones. Rows with None or -1 take no part.
        progress : bool
            Show a progress bar.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For wrong parameters or shapes, NaN or infinity, fewer than two classes.
        ImportError
            If torch is missing (``pip install "simskip[train]"``).
        KeyboardInterrupt
            If interrupted; the classifier is as before.
        """
        hidden, epochs = widths(self.hidden), positive_int(self.epochs, "epochs")
        share = fraction(self.validation_fraction, "validation_fraction", high=0.5)
        seed = positive_int(self.random_state, "random_state", minimum=0)
        threads = thread_count(self.threads) or cpu.threads()
        rows = matrix(X, "X", min_rows=2)
        recipe = SoftmaxRecipe(hidden, epochs) if hidden else _linear(rows.shape[1], epochs)
        numbers, classes = class_numbers(y, "y", len(rows))
        if len(classes) < 2:
            got = f"only {classes[0]!r}" if classes else "none"
            raise ValueError(f"y must hold at least two classes, got {got}")
        turns, trained = held_out_turns(numbers, share, seed)
        in_turns = [np.setdiff1d(trained, held_out, assume_unique=True) for held_out in turns]
        # One turn is held out of the network that is kept; several are held out of one of their own each.
        own = len(turns) > 1
        logits, truth = [], []
        with EpochBar(recipe.epochs * (1 + own * len(turns)), "classifier", progress) as bar:

            def network_of(chosen: npt.NDArray[np.int64], number: int) -> DenseNetwork:
                return train_softmax(
                    recipe,
                    rows,
                    None,
                    chosen.astype(np.int32),
                    n_classes=len(classes),
                    labels=numbers,
                    seed=seed + number * _SEED_STEP,
                    threads=threads,
                    on_epoch=lambda record: bar.update({"loss": record["loss"]}),
                )

            network = network_of(trained, 0)
            for number, (held_out, chosen) in enumerate(zip(turns, in_turns, strict=True), 1):
                judge = network_of(chosen, number) if own else network
                logits.append(_logits(judge, rows[held_out]))
                truth.append(numbers[held_out])
        temperature, calibration = 1.0, None
        if turns:
            temperature, calibration = calibrated(np.concatenate(logits), np.concatenate(truth))
        self._take(network, classes, temperature, calibration)
        self.trained_ = trained
        return self

    def _take(
        self, network: DenseNetwork, classes: list[Any], temperature: float, calibration: ClassifierCalibration | None
    ) -> None:
        self._network = network
        self.classes_ = class_array(classes)
        self.dim_ = network.n_inputs
        self.temperature_ = temperature
        self.calibration_ = calibration
        self.trained_ = np.empty(0, np.int64)

    def predict_proba(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Probabilities of the classes.

        Parameters
        ----------
        X : (n, dim_) array
            Finite numbers; n may be 0.

        Returns
        -------
        (n, c) float64 array
            Columns in the order of ``classes_``; rows sum to 1.

        Raises
        ------
        ValueError
            If not fitted yet, or ``X`` has a wrong shape or holds NaN or infinity.
        """
        self._check_fitted()
        logits = _logits(self._network, matrix(X, "X", dim=self.dim_, min_rows=0))
        if not len(logits):
            return np.empty((0, len(self.classes_)))
        return class_probabilities(logits, self.temperature_)

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """The most probable class of each row, (n,) of ``classes_``; the first of equals. Errors: ``predict_proba``."""
        probabilities = self.predict_proba(X)
        return np.asarray(self.classes_[probabilities.argmax(axis=1)])

    def score(self, X: npt.ArrayLike, y: Any) -> float:
        """Share of the rows that have a class whose ``predict`` is right."""
        predicted = self.predict_proba(X).argmax(axis=1)
        numbers, _ = class_numbers(y, "y", len(predicted), self.classes_.tolist())
        known = numbers >= 0
        if not known.any():
            raise ValueError("y must hold at least one class, got none")
        return float((predicted == numbers)[known].mean())

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits of weights, temperature and classes: equal ones give equal probabilities."""
        self._check_fitted()
        content = weights.to_bytes(self._network.tensors(), self._identity())
        return hashlib.blake2b(content, digest_size=16).hexdigest()

    def to_bytes(self) -> bytes:
        """The content of ``save``'s file, for storing it elsewhere; ``from_bytes`` reads it."""
        self._check_fitted()
        from ... import __version__

        params = {key: value.item() if isinstance(value, np.generic) else value for key, value in self._stored()}
        metadata = {
            "format": FORMAT,
            "format_version": str(FORMAT_VERSION),
            "simskip_version": __version__,
            "parameters": json.dumps(params, sort_keys=True, allow_nan=False),
            "calibration": json.dumps(self.calibration_ and dataclasses.asdict(self.calibration_), allow_nan=False),
            **self._identity(),
        }
        return weights.to_bytes(self._network.tensors(), metadata)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as a safetensors file with checksums, atomically. ``OSError`` if that fails."""
        content = self.to_bytes()
        with atomic_write(path) as file:
            file.write(content)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> VectorClassifier:
        """Read a file of ``save``. Needs NumPy only.

        Raises
        ------
        FormatError
            If the file is damaged, cut short, of another kind or of a newer format.
        OSError
            If it cannot be opened.

        Examples
        --------
        >>> import numpy as np, os, tempfile
        >>> X = np.eye(20, 4, dtype=np.float32)
        >>> classifier = VectorClassifier(epochs=1, threads=1).fit(X, np.arange(20) % 2, progress=False)
        >>> path = os.path.join(tempfile.mkdtemp(), "classifier.safetensors")
        >>> classifier.save(path)
        >>> VectorClassifier.load(path).fingerprint == classifier.fingerprint
        True
        """
        return cls._built(*weights.read_weights(path), os.fspath(path))

    @classmethod
    def from_bytes(cls, content: bytes, where: str = "classifier") -> VectorClassifier:
        """``load`` for the bytes of ``to_bytes``; ``where`` names them in errors."""
        return cls._built(*weights.from_bytes(content, where), where)

    @classmethod
    def _built(
        cls, tensors: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, str], where: str
    ) -> VectorClassifier:
        if metadata.get("format") != FORMAT:
            raise FormatError(f"{where}: not a classifier: its metadata say format {metadata.get('format')!r}")
        if metadata.get("format_version") != str(FORMAT_VERSION):
            raise FormatError(
                f"{where}: classifier format version {metadata.get('format_version')!r} (written by simskip "
                f"{metadata.get('simskip_version')}), this simskip reads version {FORMAT_VERSION}"
            )
        try:
            params = json.loads(metadata["parameters"])
            params["hidden"] = tuple(params["hidden"])
            network = DenseNetwork.from_tensors(tensors, metadata["activation"], "none")
            classes, temperature = json.loads(metadata["classes"]), json.loads(metadata["temperature"])
            if not isinstance(classes, list) or len(classes) != network.n_outputs:
                raise ValueError(f"{network.n_outputs} outputs, but {len(classes)} classes")
            kind = type(classes[0])
            if kind not in (int, str) or any(type(one) is not kind for one in classes):
                raise ValueError("classes are neither integers nor strings")
            if not (isinstance(temperature, float) and 0 < temperature < np.inf):
                raise ValueError(f"temperature is {temperature!r}")
            calibration = json.loads(metadata["calibration"])
            classifier = cls(**params)
            classifier._take(network, classes, temperature, calibration and ClassifierCalibration(**calibration))
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{where}: parameters or tensors do not make a classifier: {error!r}") from error
        return classifier

    def _identity(self) -> dict[str, str]:
        """What probabilities depend on besides the weights."""
        return {
            "activation": self._network.activation,
            "classes": json.dumps(self.classes_.tolist()),
            "temperature": json.dumps(self.temperature_),
        }

    def _stored(self) -> list[tuple[str, Any]]:
        """Parameters for a file; threads are this machine's."""
        params = {**self.get_params(), "hidden": list(widths(self.hidden))}
        return [(name, value) for name, value in params.items() if name != "threads"]

    def _check_fitted(self) -> None:
        if not hasattr(self, "dim_"):
            raise ValueError("VectorClassifier is not fitted yet: call fit(X, y) first")

    def _state_shown(self) -> str:
        if not hasattr(self, "dim_"):
            return " (not fitted)"
        return f" of {len(self.classes_)} classes, {self.dim_} dimensions"

    def __reduce__(self) -> tuple[Any, ...]:
        if hasattr(self, "dim_"):
            return _restored, (self.to_bytes(),)
        return type(self), tuple(self.get_params().values())


def _restored(content: bytes) -> VectorClassifier:
    return VectorClassifier.from_bytes(content, "pickled VectorClassifier")


def _linear(dim: int, epochs: int) -> SoftmaxRecipe:
    rate = float(np.clip(_LINEAR_RATE / np.sqrt(dim), *_LINEAR_RATES))
    return dataclasses.replace(_LINEAR, epochs=epochs, learning_rate=rate)


def _logits(network: DenseNetwork, rows: FloatMatrix) -> FloatMatrix:
    # One product per row: what BLAS adds up in which order depends on the shapes that it is given.
    if not len(rows):
        return np.empty((0, network.n_outputs), np.float32)
    return network.forward(rows[:, None, :])[:, 0]
