"""Hasher: what turns vectors into codes. The manners of all hashers, and how they are saved and loaded."""

from __future__ import annotations

import abc
import hashlib
import inspect
import json
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt

from .. import validation
from ..codes import Codes, pack, require_codes
from ..errors import CollapseWarning, FormatError
from ..files import atomic_write
from . import weights
from .health import CodeHealth, code_health
from .parameters import Parameters

__all__ = ["Hasher", "checked_codes", "hasher_from_bytes", "load_hasher", "require_fitted"]

FloatMatrix = npt.NDArray[np.float32]
_Self = TypeVar("_Self", bound="Hasher")

FORMAT = "simskip-hasher"
FORMAT_VERSION = 1

# Floats of one block's input and output together: 16 MiB, about what stays in the caches of two cores.
_BLOCK_FLOATS = 1 << 22
# Health is that of at most so many evenly spaced training rows.
_HEALTH_ROWS = 1 << 18

_REGISTRY: dict[str, type[Hasher]] = {}


class Hasher(Parameters, abc.ABC):
    """Base class of hashers: ``fit`` learns, ``project`` gives real outputs, ``encode`` packs their signs.

    Like a scikit-learn estimator: ``__init__`` only stores keyword parameters under their own names, learnt
    attributes end in ``_``, ``fit`` returns ``self``.

    Parameters
    ----------
    n_bits : int
        Bits of a code, 1 to 4096.

    Attributes
    ----------
    dim_ : int
        Columns of the vectors it was fitted to.
    health_ : CodeHealth
        Health of the codes of the training rows (of at most 262,144 of them, evenly spaced).

    Notes
    -----
    A subclass has an ``__init__`` that stores its parameters and supplies four methods:

    * ``_fit(X, y, progress, callbacks)``: learn from the checked (n, d) float32 ``X``; set learnt attributes
      last, so that an error leaves the hasher as it was.
    * ``_project(X)``: (n, d) -> (n, n_bits) float32, from learnt attributes only, safe to call from several
      threads.
    * ``_state()``: ``(params, tensors)``, the JSON-ready parameters and the arrays that make it what it is.
    * ``_from_state(params, tensors)``: classmethod, the inverse; ``ValueError`` or ``KeyError`` if they do
      not fit.

    It is registered under its class name, which saved files hold. Files and pickles carry ``dim_`` and
    ``health_`` for it.
    """

    n_bits: int

    _min_rows: ClassVar[int] = 2

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not inspect.isabstract(cls):
            _REGISTRY[cls.__name__] = cls

    # What subclasses supply.

    @abc.abstractmethod
    def _fit(
        self,
        X: FloatMatrix,
        y: npt.NDArray[Any] | None,
        progress: bool,
        callbacks: Iterable[Callable[..., Any]],
    ) -> None: ...

    @abc.abstractmethod
    def _project(self, X: FloatMatrix) -> FloatMatrix: ...

    @abc.abstractmethod
    def _state(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]: ...

    @classmethod
    @abc.abstractmethod
    def _from_state(cls: type[_Self], params: dict[str, Any], tensors: dict[str, npt.NDArray[Any]]) -> _Self: ...

    # What users call.

    def fit(
        self: _Self,
        X: npt.ArrayLike,
        y: npt.ArrayLike | None = None,
        *,
        progress: bool = True,
        callbacks: Iterable[Callable[..., Any]] = (),
    ) -> _Self:
        """Learn from vectors.

        Parameters
        ----------
        X : (n, d) array
            Finite numbers; used as float32.
        y : (n,) array of int or str, optional
            Class labels. Hashers that learn without labels use them for ``health_`` only.
        progress : bool
            Show a progress bar if training takes epochs.
        callbacks : iterable of callables
            Called after each epoch by hashers that train in epochs.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For parameters, ``X`` or ``y`` that do not fit.

        Warns
        -----
        CollapseWarning
            If the training rows' codes have fallen together (``health_.collapsed``).
        """
        X, y = self._checked(X, y)
        self._fit(X, y, progress=progress, callbacks=callbacks)
        return self._learnt(X, y)

    def project(self, X: npt.ArrayLike) -> FloatMatrix:
        """The real outputs whose signs are the code.

        Parameters
        ----------
        X : (n, dim_) array
            Finite numbers; n may be 0.

        Returns
        -------
        (n, n_bits) float32 array
            A bit is 1 where the output is > 0; the size says how sure the bit is.

        Raises
        ------
        ValueError
            If not fitted yet, or ``X`` has a wrong shape or holds NaN or infinity.
        """
        rows = self._check_input(X)
        X = validation.matrix(rows, "X", min_rows=0)
        outputs = np.empty((len(X), self.n_bits), np.float32)
        start = 0
        for block in self._blocks(X):
            outputs[start : start + len(block)] = self._project(block)
            start += len(block)
        return outputs

    def encode(self, X: npt.ArrayLike) -> Codes:
        """The codes of vectors: ``pack(project(X))``, in blocks of rows, so that memory stays bounded.

        Parameters
        ----------
        X : (n, dim_) array
            Finite numbers; n may be 0. A memory-mapped array is read block by block.

        Returns
        -------
        Codes
            n codes of ``n_bits`` bits.

        Raises
        ------
        ValueError
            As ``project``.

        Notes
        -----
        The same rows give the same codes on the same machine. Split into other blocks, an output within
        rounding (about 1e-6 of its scale) of 0 may fall on the other side.
        """
        return self._encode(self._check_input(X))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted hasher as a safetensors file with checksums, atomically; ``load_hasher`` reads it.

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
        """The content of ``save``'s file, for storing a hasher elsewhere; ``hasher_from_bytes`` reads it."""
        return weights.to_bytes(*self._parts())

    def _parts(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
        """Tensors and metadata of a file; ``_build`` is the inverse."""
        self._check_fitted()
        params, tensors = self._state()
        from .. import __version__

        return tensors, {
            "format": FORMAT,
            "format_version": str(FORMAT_VERSION),
            "class": type(self).__name__,
            "parameters": _json(params),
            "dim": str(self.dim_),
            "health": json.dumps(self.health_.as_dict()),
            "simskip_version": __version__,
        }

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits of class, parameters and weights: equal fingerprints give equal codes.

        Codes and hashers travel apart; an index that stores it can refuse a hasher of another model.
        """
        self._check_fitted()
        params, tensors = self._state()
        digest = hashlib.blake2b(digest_size=16)
        # Every part is preceded by its length, so that no two different states give the same bytes.
        parts: list[bytes] = [type(self).__name__.encode(), _json(params).encode()]
        for name in sorted(tensors):
            array = np.asarray(tensors[name])
            array = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape)
            parts += [name.encode(), array.dtype.str.encode(), repr(array.shape).encode(), array.tobytes()]
        for part in parts:
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
        return digest.hexdigest()

    @property
    def code_space(self) -> str:
        """32 hexadecimal digits: codes of hashers with equal ones can be compared with each other.

        Usually the fingerprint; the two sides of a ``CrossModalHash`` have different fingerprints and share this.
        """
        return self.fingerprint

    def _state_shown(self) -> str:
        return f" fitted to {self.dim_} dimensions" if self._fitted else " (not fitted)"

    def __reduce__(self) -> tuple[Any, ...]:
        # Fitted hashers travel as their file's bytes: nothing native, checked again on arrival.
        if self._fitted:
            return _restore, (type(self), self.to_bytes())
        return _unfitted, (type(self), self.get_params(deep=False))

    # Shared machinery.

    def _checked(self, X: npt.ArrayLike, y: npt.ArrayLike | None) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None]:
        """What ``_fit`` gets."""
        validation.bit_count(self.n_bits)
        rows = validation.matrix(X, "X", min_rows=self._min_rows)
        return rows, None if y is None else validation.labels(y, "y", len(rows))

    def _learnt(self: _Self, X: npt.NDArray[Any], y: npt.NDArray[Any] | None) -> _Self:
        """After ``_fit``: dimensions and health. Called by what users call, which the warning points behind."""
        self.dim_ = X.shape[1]
        step = -(-len(X) // _HEALTH_ROWS)
        self.health_ = self._health(X[::step], None if y is None else y[::step])
        if self.health_.collapsed:
            self._warn_of_collapse()
        return self

    def _health(self, X: npt.NDArray[Any], y: npt.NDArray[Any] | None) -> CodeHealth:
        return code_health(self._encode(X), y)

    def _warn_of_collapse(self) -> None:
        warnings.warn(f"{self!r}: {self.health_.diagnosis}", CollapseWarning, stacklevel=4)

    def _pack(self, outputs: FloatMatrix) -> Codes:
        """Codes of real outputs."""
        return pack(np.ascontiguousarray(outputs, dtype=np.float32))

    @property
    def _fitted(self) -> bool:
        return hasattr(self, "dim_")

    def _check_fitted(self) -> None:
        if not self._fitted:
            raise ValueError(f"{type(self).__name__} is not fitted yet: call fit(X) first")

    def _check_input(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """``X`` as an array of shape (n, dim_), values unchecked."""
        self._check_fitted()
        rows = np.asarray(X)
        if rows.ndim == 2 and rows.shape[1] != self.dim_:
            raise ValueError(
                f"wrong dim: X must have {self.dim_} columns, as the vectors that {type(self).__name__} was "
                f"fitted to, got shape {rows.shape}"
            )
        if rows.ndim != 2 or rows.dtype.kind not in "fiub":
            validation.matrix(rows, "X", min_rows=0)  # says what is wrong
        return rows

    def _encode(self, rows: npt.NDArray[Any]) -> Codes:
        blocks: list[npt.NDArray[np.uint8]] = []
        for block in self._blocks(rows):
            try:
                X = validation.matrix(block, "X", min_rows=0)
            except ValueError:
                validation.matrix(rows, "X", min_rows=0)  # the same complaint with the row's number in all of X
                raise
            blocks.append(self._pack(self._project(X)).data)
        if not blocks:
            return Codes(np.zeros((0, (self.n_bits + 7) // 8), np.uint8), self.n_bits)
        return Codes(blocks[0] if len(blocks) == 1 else np.concatenate(blocks), self.n_bits)

    def _blocks(self, rows: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
        step = max(1, _BLOCK_FLOATS // (rows.shape[1] + self.n_bits))
        return (rows[start : start + step] for start in range(0, len(rows), step))


def require_fitted(hasher: Any, methods: tuple[str, ...] = ("encode",)) -> int:
    """``dim_`` of a fitted hasher, or of whatever has such methods; ``ValueError`` says what is missing."""
    if not all(callable(getattr(hasher, name, None)) for name in methods):
        needed = " and ".join(f"{name}()" for name in methods)
        raise ValueError(f"hasher must have {needed}, got {type(hasher).__name__}")
    dim = getattr(hasher, "dim_", None)
    if dim is None:
        raise ValueError(f"hasher must be fitted, got {hasher!r}: call fit(X) first")
    return int(dim)


def checked_codes(hasher: Any, X: FloatMatrix, n_bits: int) -> Codes:
    """``hasher.encode(X)`` of a hasher that may be somebody else's: ``ValueError`` if it does not give such codes."""
    codes = require_codes(hasher.encode(X), "hasher.encode(X)", n_bits)
    if len(codes) != len(X):
        raise ValueError(f"hasher.encode(X) must give {len(X)} codes, got {len(codes)}")
    return codes


def load_hasher(path: str | os.PathLike[str]) -> Hasher:
    """Read a hasher that ``Hasher.save`` wrote. Needs NumPy only, whatever it was trained with.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    Hasher
        Fitted; gives the same codes as the one that was saved.

    Raises
    ------
    FormatError
        If the file is damaged, cut short, of another kind, of a newer format, or of a class that is not known
        here.
    OSError
        If it cannot be opened.

    Examples
    --------
    >>> import numpy as np, os, tempfile, simskip
    >>> X = np.random.default_rng(0).standard_normal((100, 16)).astype(np.float32)
    >>> hasher = simskip.RandomHash(32).fit(X)
    >>> path = os.path.join(tempfile.mkdtemp(), "hasher.safetensors")
    >>> hasher.save(path)
    >>> simskip.load_hasher(path).encode(X) == hasher.encode(X)
    True
    """
    tensors, metadata = weights.read_weights(path)
    return _build(tensors, metadata, os.fspath(path))


def hasher_from_bytes(content: bytes, where: str = "hasher") -> Hasher:
    """``load_hasher`` for the bytes of ``Hasher.to_bytes``; ``where`` names them in errors."""
    return _build(*weights.from_bytes(content, where), where)


def _build(tensors: dict[str, npt.NDArray[Any]], metadata: Mapping[str, str], where: str) -> Hasher:
    if metadata.get("format") != FORMAT:
        raise FormatError(f"{where}: not a hasher: its metadata say format {metadata.get('format')!r}")
    if metadata.get("format_version") != str(FORMAT_VERSION):
        raise FormatError(
            f"{where}: hasher format version {metadata.get('format_version')!r} (written by simskip "
            f"{metadata.get('simskip_version')}), this simskip reads version {FORMAT_VERSION}"
        )
    name = metadata.get("class", "")
    if name not in _REGISTRY:
        known = ", ".join(sorted(_REGISTRY))
        raise FormatError(f"{where}: unknown hasher class {name!r} (known: {known}); import the module that defines it")
    try:
        hasher = _REGISTRY[name]._from_state(json.loads(metadata["parameters"]), tensors)
        hasher.dim_ = int(metadata["dim"])
        hasher.health_ = CodeHealth.from_dict(json.loads(metadata["health"]))
        _check_sizes(hasher, max((array.size for array in tensors.values()), default=0))
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{where}: parameters or tensors do not make a {name}: {error!r}") from error
    return hasher


def _check_sizes(hasher: Hasher, largest_tensor: int) -> None:
    """Project one vector, so that tensors that do not fit each other are found now and not in a search."""
    if not 1 <= hasher.dim_ <= max(largest_tensor, 1 << 16):  # what follows takes no more than the file did
        raise ValueError(f"dim is {hasher.dim_}")
    with np.errstate(all="ignore"):
        shape = hasher._project(np.ones((1, hasher.dim_), np.float32)).shape
    if shape != (1, hasher.n_bits):
        raise ValueError(f"a vector gives outputs of shape {shape}, expected {(1, hasher.n_bits)}")


def _json(params: dict[str, Any]) -> str:
    return json.dumps(params, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _restore(cls: type[Hasher], content: bytes) -> Hasher:
    # Naming the class made pickle import the module that registers it.
    return hasher_from_bytes(content, f"pickled {cls.__name__}")


def _unfitted(cls: type[_Self], params: dict[str, Any]) -> _Self:
    return cls(**params)
