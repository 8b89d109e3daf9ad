"""Linear hashers: the sign of a projection. Random hyperplanes, and principal axes with a rotation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _core
from ..validation import bit_count, choice, positive_int
from .hasher import FloatMatrix, Hasher

__all__ = ["PCAHash", "RandomHash"]

DoubleMatrix = npt.NDArray[np.float64]
Callbacks = Iterable[Callable[..., Any]]

_ROTATIONS = ("random", "itq", None)
_ITQ_ROWS = 32_768
_ITQ_ITERATIONS = 50
# Up to here the whole covariance matrix is decomposed (1 to 2 s at 1,536 columns, growing with the cube).
_EXACT_DIM = 1536
_OVERSAMPLING = 32
_POWER_ITERATIONS = 4
# Numbers in one block of rows that is held as float64: 8 MiB, and Ctrl-C waits for one block's products.
_BLOCK_VALUES = 1 << 20
# Variance below this share of the largest is rounding of float32 data (squared), not a direction.
_NO_VARIANCE = 1e-13


class RandomHash(Hasher):
    """Signs of random projections: the code of no training, and the floor that others must beat.

    Bit j of a vector's code tells on which side of a random hyperplane through the origin it lies. Two
    vectors at angle a differ in each bit with probability a / pi, so Hamming distance estimates the angle
    (cosine). Any number of bits works for any dimension.

    Parameters
    ----------
    n_bits : int
        Bits of a code, 1 to 4096.
    random_state : int
        Seed >= 0 of the hyperplanes: the same seed, bits and dimension give the same hyperplanes everywhere.
    center : bool
        False: vectors are used as they are. True: the mean of the training rows is subtracted first, so that
        the hyperplanes go through the middle of the data and the angles are those seen from there. Vectors
        that all point to one side (pixels, ReLU features) need it for balanced bits.

    Attributes
    ----------
    weights_ : (dim_, n_bits) float32 array
        Normals of the hyperplanes, one per column, independent standard normal entries.
    mean_ : (dim_,) float32 array
        What is subtracted; zeros without ``center``.
    dim_, health_
        See ``Hasher``.

    References
    ----------
    M. Charikar, "Similarity estimation techniques from rounding algorithms", STOC 2002.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).standard_normal((1000, 50)).astype(np.float32)
    >>> hasher = RandomHash(64).fit(X)
    >>> hasher
    RandomHash(64) fitted to 50 dimensions
    >>> hasher.encode(X[:3])
    Codes(3 x 64 bits, 24 bytes)
    """

    _min_rows = 1

    mean_: FloatMatrix
    weights_: FloatMatrix

    def __init__(self, n_bits: int, random_state: int = 0, center: bool = False) -> None:
        self.n_bits = n_bits
        self.random_state = random_state
        self.center = center

    def _fit(self, X: FloatMatrix, y: npt.NDArray[Any] | None, progress: bool, callbacks: Callbacks) -> None:
        seed = _seed(self.random_state)
        choice(self.center, "center", (False, True))
        mean = _mean(X) if self.center else np.zeros(X.shape[1])
        normals = _core.gaussian(seed, X.shape[1], self.n_bits)
        self.mean_, self.weights_ = mean.astype(np.float32), normals.astype(np.float32)

    def _project(self, X: FloatMatrix) -> FloatMatrix:
        return (np.subtract(X, self.mean_) if self.center else X) @ self.weights_

    def _state(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        params = {
            "n_bits": int(self.n_bits),
            "random_state": int(self.random_state),
            "center": self.center,
        }
        return params, {"mean": self.mean_, "weights": self.weights_}

    @classmethod
    def _from_state(cls, params: dict[str, Any], tensors: dict[str, npt.NDArray[Any]]) -> RandomHash:
        center = choice(params["center"], "center", (False, True))
        hasher = cls(bit_count(params["n_bits"]), _seed(params["random_state"]), center)
        hasher.weights_ = _tensor(tensors, "weights", (-1, hasher.n_bits))
        hasher.mean_ = _tensor(tensors, "mean", (len(hasher.weights_),))
        return hasher


class PCAHash(Hasher):
    """Signs of a rotation of the leading principal components: the strong baseline that trains in seconds.

    Vectors are centred and projected on the ``n_bits`` directions of largest variance. The signs of those
    components alone would waste bits on the weak ones; a rotation spreads the variance evenly over the bits
    first.

    Parameters
    ----------
    n_bits : int
        Bits of a code, 1 to 4096. If the data vary in fewer directions than that, all of them are used and
        the rotation becomes a random map to more bits (with orthonormal rows), which ITQ refines if asked to.
    rotation : {"random", "itq", None}
        How the components are turned into bits:

        * ``"random"``: a uniformly random rotation (PCA-RR), usually best for Euclidean neighbours.
        * ``"itq"``: the rotation that brings the components closest to their own signs, by at most 50
          alternating steps from the random one, on at most 32,768 evenly spaced rows.
        * None: the components themselves (or a random map if bits outnumber them).
    random_state : int
        Seed >= 0 of the random rotation.

    Attributes
    ----------
    mean_ : (dim_,) float32 array
        Mean of the training rows.
    weights_ : (dim_, n_bits) float32 array
        Principal axes times rotation: outputs are ``(X - mean_) @ weights_``.
    explained_variance_ratio_ : (m,) float64 array
        Share of the total variance along each principal axis used, falling; m <= n_bits.
    quantisation_losses_ : (steps,) float64 array
        For ``rotation="itq"``: mean squared distance of the components (all scaled to mean square 1) from
        their signs, for the random rotation first and then after each step; never rising. Empty otherwise.
    dim_, health_
        See ``Hasher``.

    Notes
    -----
    With more than 1,536 columns the leading axes come from subspace iteration on a random sketch instead of
    the whole covariance matrix. Rows are read in blocks; nothing of the data's size is copied to float64.

    References
    ----------
    Random rotation after PCA: H. Jegou, M. Douze, C. Schmid, P. Perez, "Aggregating local descriptors into a
    compact image representation", CVPR 2010. ITQ: Y. Gong, S. Lazebnik, "Iterative quantization: a
    procrustean approach to learning binary codes", CVPR 2011. Sketch: N. Halko, P. Martinsson, J. Tropp,
    "Finding structure with randomness", SIAM Review 2011.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = (rng.standard_normal((1000, 8)) @ rng.standard_normal((8, 50))).astype(np.float32)
    >>> hasher = PCAHash(8, rotation="itq").fit(X)
    >>> float(hasher.explained_variance_ratio_.sum().round(3))
    1.0
    >>> bool(hasher.quantisation_losses_[-1] < hasher.quantisation_losses_[0])
    True
    """

    mean_: FloatMatrix
    weights_: FloatMatrix
    explained_variance_ratio_: npt.NDArray[np.float64]
    quantisation_losses_: npt.NDArray[np.float64]

    def __init__(self, n_bits: int, rotation: str | None = "random", random_state: int = 0) -> None:
        self.n_bits = n_bits
        self.rotation = rotation
        self.random_state = random_state

    def _fit(self, X: FloatMatrix, y: npt.NDArray[Any] | None, progress: bool, callbacks: Callbacks) -> None:
        choice(self.rotation, "rotation", _ROTATIONS)
        seed = _seed(self.random_state)
        # Not asked of the variances: the mean of equal numbers may be off by a rounding.
        if not any((block != X[0]).any() for block in _row_blocks(X)):
            raise ValueError(f"X must hold different rows, got {len(X)} equal ones")
        mean = _mean(X)
        axes, variances, total = _leading_axes(X, mean, min(self.n_bits, X.shape[1]), seed)
        kept = int((variances > _NO_VARIANCE * variances[0]).sum())
        axes = axes[:, :kept]
        rotation = (
            np.eye(kept)
            if self.rotation is None and kept == self.n_bits
            else _core.random_orthogonal(seed, kept, self.n_bits)
        )
        losses: list[float] = []
        if self.rotation == "itq":
            step = -(-len(X) // _ITQ_ROWS)
            rotation, losses = _itq(_components(X[::step], mean, axes / np.sqrt(variances[:kept].mean())), rotation)
        self.mean_ = mean.astype(np.float32)
        self.weights_ = (axes @ rotation).astype(np.float32)
        self.explained_variance_ratio_ = variances[:kept] / total
        self.quantisation_losses_ = np.array(losses)

    def _project(self, X: FloatMatrix) -> FloatMatrix:
        # Subtracting first keeps the digits that X @ W - mean @ W would cancel when the mean is large.
        return np.subtract(X, self.mean_) @ self.weights_

    def _state(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        params = {
            "n_bits": int(self.n_bits),
            "rotation": self.rotation,
            "random_state": int(self.random_state),
        }
        tensors: dict[str, npt.NDArray[Any]] = {
            "mean": self.mean_,
            "weights": self.weights_,
            "explained_variance_ratio": self.explained_variance_ratio_,
            "quantisation_losses": self.quantisation_losses_,
        }
        return params, tensors

    @classmethod
    def _from_state(cls, params: dict[str, Any], tensors: dict[str, npt.NDArray[Any]]) -> PCAHash:
        rotation = choice(params["rotation"], "rotation", _ROTATIONS)
        hasher = cls(bit_count(params["n_bits"]), rotation, _seed(params["random_state"]))
        hasher.weights_ = _tensor(tensors, "weights", (-1, hasher.n_bits))
        hasher.mean_ = _tensor(tensors, "mean", (len(hasher.weights_),))
        hasher.explained_variance_ratio_ = _tensor(tensors, "explained_variance_ratio", (-1,), np.float64)
        hasher.quantisation_losses_ = _tensor(tensors, "quantisation_losses", (-1,), np.float64)
        return hasher


def _seed(value: Any) -> int:
    return positive_int(value, "random_state", minimum=0, maximum=2**64 - 1)


def _tensor(
    tensors: dict[str, npt.NDArray[Any]], name: str, shape: tuple[int, ...], dtype: Any = np.float32
) -> npt.NDArray[Any]:
    """``tensors[name]``, checked: ``shape`` has -1 for sizes that are free."""
    array = tensors[name]
    fits = array.ndim == len(shape) and all(want in (-1, got) for want, got in zip(shape, array.shape, strict=True))
    if array.dtype != dtype or not fits or not np.isfinite(array).all():
        raise ValueError(
            f"tensor {name!r} must be finite {np.dtype(dtype)} of shape {shape}, got {array.dtype} {array.shape}"
        )
    return array


def _row_blocks(X: FloatMatrix) -> Iterator[FloatMatrix]:
    step = max(1, _BLOCK_VALUES // X.shape[1])
    return (X[start : start + step] for start in range(0, len(X), step))


def _mean(X: FloatMatrix) -> npt.NDArray[np.float64]:
    total = np.zeros(X.shape[1])
    for block in _row_blocks(X):
        total += block.sum(axis=0, dtype=np.float64)
    return total / len(X)


def _leading_axes(
    X: FloatMatrix, mean: npt.NDArray[np.float64], n_axes: int, seed: int
) -> tuple[DoubleMatrix, npt.NDArray[np.float64], float]:
    """(d, n_axes) principal axes, their variances, and the total variance of all."""
    dim = X.shape[1]
    if dim <= _EXACT_DIM:
        covariance = np.zeros((dim, dim))
        for block in _row_blocks(X):
            centred = block - mean
            covariance += centred.T @ centred
        covariance /= len(X)
        axes, variances = _core.principal_axes(covariance, n_axes)
        return axes, variances, float(np.trace(covariance))
    width = min(dim, n_axes + _OVERSAMPLING)
    # Another stream than the rotation's, which takes the seed itself.
    basis = _core.gaussian(seed ^ 0x9E3779B97F4A7C15, dim, width)
    for _ in range(_POWER_ITERATIONS):
        basis = np.linalg.qr(_covariance_times(X, mean, basis))[0]
    small = basis.T @ _covariance_times(X, mean, basis)
    inner, variances = _core.principal_axes(np.ascontiguousarray((small + small.T) / 2), n_axes)
    axes = basis @ inner
    largest = np.abs(axes).argmax(axis=0)
    axes *= np.where(axes[largest, np.arange(n_axes)] < 0, -1.0, 1.0)
    total = sum(float(np.square(block - mean).sum()) for block in _row_blocks(X)) / len(X)
    return axes, variances, total


def _covariance_times(X: FloatMatrix, mean: npt.NDArray[np.float64], matrix: DoubleMatrix) -> DoubleMatrix:
    result = np.zeros_like(matrix)
    for block in _row_blocks(X):
        centred = block - mean
        result += centred.T @ (centred @ matrix)
    return result / len(X)


def _components(X: FloatMatrix, mean: npt.NDArray[np.float64], axes: DoubleMatrix) -> FloatMatrix:
    """(n, m) float32 coordinates along (d, m) axes."""
    components = np.empty((len(X), axes.shape[1]), np.float32)
    start = 0
    for block in _row_blocks(X):
        components[start : start + len(block)] = (block - mean) @ axes
        start += len(block)
    return components


def _itq(components: FloatMatrix, rotation: DoubleMatrix) -> tuple[DoubleMatrix, list[float]]:
    """Alternate B = sign(V R), R = argmin ||B - V R||; V is (n, m), R is (m, n_bits) with orthonormal rows.

    Neither step can raise the loss: the first is the best B for R, and for orthonormal rows ||V R|| does not
    depend on R, so the second is the orthogonal Procrustes problem of V^T B. Stops early when no sign
    changes.
    """
    losses: list[float] = []
    signs_before: list[npt.NDArray[np.uint8]] = []
    n_values = len(components) * rotation.shape[1]
    squares = float(np.square(components).sum(dtype=np.float64))
    step = max(1, _BLOCK_VALUES // rotation.shape[1])
    while True:
        map_ = rotation.astype(np.float32)
        product = np.zeros(rotation.shape)
        absolutes = 0.0
        signs_now: list[npt.NDArray[np.uint8]] = []
        for start in range(0, len(components), step):  # float32 sums over a block, float64 over blocks
            block = components[start : start + step]
            rotated = block @ map_
            product += block.T @ np.copysign(np.float32(1), rotated)
            absolutes += float(np.abs(rotated).sum())
            signs_now.append(np.packbits(rotated > 0))
        # ||B - V R||^2 = ||B||^2 - 2 |V R| + ||V||^2
        losses.append(1 + (squares - 2 * absolutes) / n_values)
        settled = len(losses) > 1 and all(map(np.array_equal, signs_before, signs_now))
        if settled or len(losses) > _ITQ_ITERATIONS:
            return rotation, losses
        signs_before = signs_now
        rotation = _core.nearest_orthogonal(product)
