import gzip
import os
import subprocess
import sys
import threading
from math import erf, sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA

import simskip
from simskip import CollapseWarning, PCAHash, RandomHash, _core
from simskip.hashing import linear

FASHION = Path("/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz")

sizes = st.integers(1, 24)
seeds = st.integers(0, 2**64 - 1)


def correlated(n: int, d: int, seed: int = 0) -> np.ndarray:
    """Vectors whose variances fall along random axes, off centre."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.standard_normal((d, d)))[0]
    spread = 0.9 ** np.arange(d)
    return (rng.standard_normal((n, d)) * spread @ axes + 3 * rng.standard_normal(d)).astype(np.float32)


# The native parts.


@given(seeds, sizes, sizes)
def test_random_orthogonal(seed: int, rows: int, columns: int) -> None:
    matrix = _core.random_orthogonal(seed, rows, columns)
    assert matrix.shape == (rows, columns)
    gram = matrix.T @ matrix if rows >= columns else matrix @ matrix.T
    np.testing.assert_allclose(gram, np.eye(min(rows, columns)), atol=1e-13)
    np.testing.assert_array_equal(matrix, _core.random_orthogonal(seed, rows, columns))


def test_random_orthogonal_is_uniform() -> None:
    # Haar measure: every entry has mean 0 and variance 1 / n, the trace has mean 0 (it has not if the signs
    # of R's diagonal are left as Householder's method gives them).
    matrices = np.array([_core.random_orthogonal(seed, 4, 4) for seed in range(4000)])
    np.testing.assert_allclose(matrices.mean(axis=0), 0, atol=0.04)
    np.testing.assert_allclose(np.square(matrices).mean(axis=0), 0.25, atol=0.03)
    assert abs(np.trace(matrices, axis1=1, axis2=2).mean()) < 0.08


def test_gaussian_is_standard_normal() -> None:
    values = np.sort(_core.gaussian(5, 1000, 101).reshape(-1))
    assert abs(values.mean()) < 0.02
    assert abs(values.std() - 1) < 0.02
    for x in (-2.0, -1.0, 0.0, 0.5, 1.5):
        assert np.searchsorted(values, x) / len(values) == pytest.approx((1 + erf(x / sqrt(2))) / 2, abs=0.006)
    neighbours = _core.gaussian(5, 1000, 100).reshape(-1)
    assert abs(np.corrcoef(neighbours[:-1], neighbours[1:])[0, 1]) < 0.02


def mersenne_twister_64(seed: int, n: int) -> list[int]:
    """The generator from its definition (Matsumoto and Nishimura 2000), as the C++ standard prescribes it."""
    mask = 2**64 - 1
    state = [seed]
    for i in range(1, 312):
        state.append((6364136223846793005 * (state[-1] ^ (state[-1] >> 62)) + i) & mask)
    for i in range(312, 312 + n):
        x = (state[i - 312] & ~0x7FFFFFFF & mask) | (state[i - 311] & 0x7FFFFFFF)
        state.append(state[i - 156] ^ (x >> 1) ^ (0xB5026F5AA96619E9 if x & 1 else 0))
    out = []
    for x in state[312:]:
        x ^= (x >> 29) & 0x5555555555555555
        x ^= (x << 17) & 0x71D67FFFEDA60000
        x ^= (x << 37) & 0xFFF7EEE000000000
        out.append(x ^ (x >> 43))
    return out


@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1])
def test_gaussian_is_the_documented_stream(seed: int) -> None:
    draws = np.array([x >> 11 for x in mersenne_twister_64(seed, 700)], dtype=np.float64).reshape(-1, 2)
    radius = np.sqrt(-2 * np.log((draws[:, 0] + 1) * 2.0**-53))
    angle = 2 * np.pi * draws[:, 1] * 2.0**-53
    expected = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)
    np.testing.assert_allclose(_core.gaussian(seed, 1, 699)[0], expected[:699], rtol=1e-9, atol=1e-15)


@given(seeds, st.integers(1, 16), st.integers(1, 16))
def test_principal_axes_against_numpy(seed: int, dim: int, n_axes: int) -> None:
    n_axes = min(n_axes, dim)
    root = np.random.default_rng(seed).standard_normal((dim, dim))
    matrix = root @ root.T
    axes, values = _core.principal_axes(matrix, n_axes)
    expected = np.linalg.eigh(matrix)[0][::-1][:n_axes]
    np.testing.assert_allclose(values, expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(matrix @ axes, axes * values, atol=1e-9 * max(1, expected[0]))
    np.testing.assert_allclose(axes.T @ axes, np.eye(n_axes), atol=1e-12)
    largest = axes[np.abs(axes).argmax(axis=0), np.arange(n_axes)]
    assert (largest > 0).all()


@given(seeds, sizes, sizes)
def test_nearest_orthogonal_maximises_the_trace(seed: int, rows: int, columns: int) -> None:
    matrix = np.random.default_rng(seed).standard_normal((rows, columns))
    nearest = _core.nearest_orthogonal(matrix)
    gram = nearest.T @ nearest if rows >= columns else nearest @ nearest.T
    np.testing.assert_allclose(gram, np.eye(min(rows, columns)), atol=1e-12)
    # The maximum is the nuclear norm.
    assert np.sum(nearest * matrix) == pytest.approx(np.linalg.norm(matrix, "nuc"), rel=1e-9)


def test_native_checks() -> None:
    with pytest.raises(ValueError, match="NaN or infinity"):
        _core.principal_axes(np.full((2, 2), np.nan), 1)
    with pytest.raises(ValueError, match="NaN or infinity"):
        _core.nearest_orthogonal(np.full((2, 2), np.inf))
    with pytest.raises(ValueError, match="wrong shape"):
        _core.principal_axes(np.ones((2, 3)), 1)
    with pytest.raises(ValueError, match="n_axes"):
        _core.principal_axes(np.eye(2), 3)
    for function in (_core.gaussian, _core.random_orthogonal):
        with pytest.raises(ValueError, match="at least one row"):
            function(0, 0, 3)


@pytest.mark.parametrize(
    "call",
    [
        lambda: _core.principal_axes(np.diag(np.arange(300.0)) + 1, 300),
        lambda: _core.nearest_orthogonal(np.random.default_rng(0).standard_normal((200, 200))),
        lambda: _core.random_orthogonal(0, 500, 500),
        lambda: _core.gaussian(0, 1000, 1000),
    ],
)
def test_the_gil_is_released(call) -> None:
    # While the native call runs, this thread must get on: with the GIL held it could not count at all between
    # "started" and "done", because the switch interval is longer than any of the calls.
    counts = []
    before = sys.getswitchinterval()
    sys.setswitchinterval(60)
    try:
        started, done = threading.Event(), threading.Event()

        def work() -> None:
            started.set()
            for _ in range(3):
                call()
            done.set()

        thread = threading.Thread(target=work)
        thread.start()
        started.wait()
        while not done.is_set():
            counts.append(1)
            done.wait(1e-4)
        thread.join()
    finally:
        sys.setswitchinterval(before)
    assert counts


# RandomHash.


def test_random_hash_estimates_angles() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 20, 30)).astype(np.float32)
    hasher = RandomHash(4096).fit(a)
    differing = (simskip.unpack(hasher.encode(a)) != simskip.unpack(hasher.encode(b))).mean(axis=1)
    cosine = np.sum(a * b, axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(differing, np.arccos(cosine) / np.pi, atol=0.04)  # five standard errors


@given(st.floats(1e-3, 1e3))
def test_random_hash_ignores_length(scale: float) -> None:
    X = correlated(50, 8)
    hasher = RandomHash(100).fit(X)
    outputs = hasher.project(X)
    sure = np.abs(outputs) > 1e-4
    scaled = hasher.project(X * np.float32(scale))
    np.testing.assert_array_equal((scaled > 0)[sure], (outputs > 0)[sure])


def test_random_hash_depends_on_seed_bits_and_dimension_only() -> None:
    a, b = correlated(40, 8), correlated(90, 8, seed=5)
    assert RandomHash(70, 3).fit(a).fingerprint == RandomHash(70, 3).fit(b).fingerprint
    assert RandomHash(70, 4).fit(a).fingerprint != RandomHash(70, 3).fit(a).fingerprint
    RandomHash(4096).fit(a[:1, :1])  # any number of bits, one row


def test_centring_balances_the_bits() -> None:
    X = correlated(2000, 16) + np.float32(5)
    plain, centred = RandomHash(64).fit(X), RandomHash(64, center=True).fit(X)
    np.testing.assert_array_equal(plain.weights_, centred.weights_)
    np.testing.assert_allclose(centred.project(X), (X - X.mean(axis=0)) @ plain.weights_, atol=1e-3)
    assert centred.health_.worst_bit_balance > 0.4 > plain.health_.bit_balance
    with pytest.raises(ValueError, match="center must be one of False, True, got 'mean'"):
        RandomHash(8, center="mean").fit(X)  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [RandomHash, PCAHash])
@pytest.mark.parametrize("seed", [-1, 2**64, 0.5, None, "0", np.random.default_rng(0)])
def test_seeds_are_checked(make, seed) -> None:
    X = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32)
    with pytest.raises(ValueError, match="random_state must be an integer from 0"):
        make(4, random_state=seed).fit(X)
    make(4, random_state=np.int64(7)).fit(X).to_bytes()


# PCAHash.


@given(st.integers(0, 1000), st.integers(2, 20), st.integers(1, 12))
def test_pca_spans_the_leading_subspace(seed: int, dim: int, n_bits: int) -> None:
    n_bits = min(n_bits, dim)
    X = correlated(300, dim, seed)
    reference = PCA(n_bits, svd_solver="full").fit(X.astype(np.float64))
    for rotation in ("random", "itq", None):
        hasher = PCAHash(n_bits, rotation, seed).fit(X)
        W = hasher.weights_.astype(np.float64)
        np.testing.assert_allclose(W.T @ W, np.eye(n_bits), atol=1e-5)
        # W W^T is the projector on the subspace.
        np.testing.assert_allclose(W @ W.T, reference.components_.T @ reference.components_, atol=1e-3)
        np.testing.assert_allclose(hasher.mean_, reference.mean_, atol=1e-5)
        np.testing.assert_allclose(
            hasher.explained_variance_ratio_, reference.explained_variance_ratio_, rtol=1e-4, atol=1e-6
        )
    components = reference.transform(X)
    np.testing.assert_allclose(np.abs(hasher.project(X)), np.abs(components), atol=2e-2)


def test_blocks_of_rows_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    X = correlated(500, 10)
    expected = PCAHash(6, "itq").fit(X)
    monkeypatch.setattr(linear, "_BLOCK_VALUES", 70)
    hasher = PCAHash(6, "itq").fit(X)
    np.testing.assert_allclose(hasher.weights_, expected.weights_, atol=1e-4)


def test_wide_data_use_a_sketch(monkeypatch: pytest.MonkeyPatch) -> None:
    X = correlated(400, 120)
    exact = PCAHash(8, None).fit(X)
    monkeypatch.setattr(linear, "_EXACT_DIM", 100)
    sketch = PCAHash(8, None).fit(X)
    np.testing.assert_allclose(sketch.explained_variance_ratio_, exact.explained_variance_ratio_, rtol=1e-4)
    np.testing.assert_allclose(sketch.weights_, exact.weights_, atol=0.02)  # signs too
    W = sketch.weights_.astype(np.float64)
    np.testing.assert_allclose(W.T @ W, np.eye(8), atol=1e-5)


def test_more_columns_than_rows() -> None:
    X = np.random.default_rng(0).standard_normal((12, 2000)).astype(np.float32)
    hasher = PCAHash(64).fit(X)
    assert len(hasher.explained_variance_ratio_) == 11  # centred, 12 rows span 11 directions
    assert hasher.explained_variance_ratio_.sum() == pytest.approx(1)
    assert len(np.unique(hasher.encode(X).data, axis=0)) == 12


@pytest.mark.parametrize("rotation", ["random", "itq", None])
@pytest.mark.parametrize(("dim", "n_bits"), [(5, 64), (2, 8), (16, 17), (7, 7)])
def test_more_bits_than_dimensions(rotation: str | None, dim: int, n_bits: int) -> None:
    X = correlated(500, dim)
    hasher = PCAHash(n_bits, rotation).fit(X)
    assert hasher.encode(X).n_bits == n_bits
    # Rows of the map are orthonormal, so inner products of outputs are those of the vectors.
    W = hasher.weights_.astype(np.float64)
    np.testing.assert_allclose(W @ W.T, np.eye(dim), atol=1e-5)
    assert hasher.health_.constant_bits == 0


def test_one_dimension_has_two_codes_and_says_so() -> None:
    X = correlated(500, 1)
    with pytest.warns(CollapseWarning, match="500 items have 2 different 8-bit codes"):
        hasher = PCAHash(8).fit(X)
    assert (np.abs(hasher.weights_) > 0).all()


def test_more_bits_than_directions_that_vary() -> None:
    X = np.repeat(correlated(300, 4), 5, axis=1)  # 20 columns, rank 4
    hasher = PCAHash(12).fit(X)
    assert len(hasher.explained_variance_ratio_) == 4
    assert hasher.health_.constant_bits == 0


@pytest.mark.parametrize("dim", [1, 3, 50])
def test_equal_rows_have_no_axes(dim: int) -> None:
    with pytest.raises(ValueError, match="X must hold different rows, got 1009 equal ones"):
        PCAHash(2).fit(np.full((1009, dim), 0.1, np.float32))


@pytest.mark.parametrize("scale", [1e-25, 1e-3, 1e25])
def test_scale_does_not_matter(scale: float) -> None:
    X = correlated(300, 8)
    scaled = PCAHash(8, "itq").fit(X * np.float32(scale))
    expected = PCAHash(8, "itq").fit(X)
    np.testing.assert_allclose(scaled.weights_, expected.weights_, atol=1e-3)


def test_unknown_rotation() -> None:
    with pytest.raises(ValueError, match="rotation must be one of 'random', 'itq', None, got 'pca'"):
        PCAHash(2, rotation="pca").fit(correlated(10, 4))


@given(st.integers(0, 1000), st.integers(1, 24))
def test_itq_never_raises_the_loss(seed: int, n_bits: int) -> None:
    X = correlated(200, 12, seed)
    itq = PCAHash(n_bits, "itq", seed).fit(X)
    losses = itq.quantisation_losses_
    assert len(losses) >= 2
    assert (np.diff(losses) <= 1e-6).all()
    # The same loss from its definition, for the result and for the random rotation that it started from.
    for hasher, expected in ((itq, losses[-1]), (PCAHash(n_bits, "random", seed).fit(X), losses[0])):
        outputs = hasher.project(X)
        # Components have mean square 1; the map to more bits than components keeps the sum, not the mean.
        outputs *= np.sqrt(min(n_bits, 12) / n_bits / np.square(outputs).mean())
        assert np.square(np.sign(outputs) - outputs).mean() == pytest.approx(expected, abs=1e-3)
    if n_bits > 1:
        assert losses[-1] < losses[0]


def test_itq_finds_a_rotated_cube() -> None:
    # Corners of a cube, rotated: PCA cannot see the axes (all variances are equal), ITQ can.
    rng = np.random.default_rng(0)
    corners = rng.choice([-1.0, 1.0], (4000, 3)) + 0.05 * rng.standard_normal((4000, 3))
    X = (corners @ np.linalg.qr(rng.standard_normal((3, 3)))[0]).astype(np.float32)
    best = min(PCAHash(3, "itq", seed).fit(X).quantisation_losses_[-1] for seed in range(5))
    assert best < 0.01


def test_itq_reads_a_bounded_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    X = correlated(1000, 8)
    seen = []
    original = linear._itq
    monkeypatch.setattr(linear, "_itq", lambda V, R: seen.append(V.shape) or original(V, R))
    monkeypatch.setattr(linear, "_ITQ_ROWS", 300)
    PCAHash(4, "itq").fit(X)
    assert seen == [(250, 4)]


def test_a_far_mean_does_not_blur_the_bits() -> None:
    X = correlated(500, 8)
    hasher = PCAHash(8).fit(X)
    far = PCAHash(8).fit(X + np.float32(1000))
    agree = simskip.unpack(hasher.encode(X)) == simskip.unpack(far.encode(X + np.float32(1000)))
    assert agree.mean() > 0.99


FIT = """
import sys, numpy as np
from simskip import PCAHash, RandomHash
X = np.random.default_rng(0).standard_normal((3000, 60)).astype(np.float32)
print(*[h.fit(X).fingerprint for h in (RandomHash(64), PCAHash(32), PCAHash(32, "itq"), PCAHash(100, "itq"))])
"""


def test_same_seed_same_bytes_in_another_process() -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    outputs = {
        subprocess.run([sys.executable, "-c", FIT], env=environment, capture_output=True, check=True, text=True).stdout
        for _ in range(2)
    }
    assert len(outputs) == 1


@pytest.mark.skipif(not FASHION.exists(), reason="Debian's dataset-fashion-mnist is not installed")
def test_recall_on_real_images() -> None:
    with gzip.open(FASHION) as file:
        pixels = np.frombuffer(file.read(16 + 784 * 3500)[16:], np.uint8).reshape(-1, 784)
    X = pixels.astype(np.float32) / 255
    database, queries = X[:3000], X[3000:]
    distances = np.square(database).sum(axis=1) - 2 * queries @ database.T
    exact = np.argsort(distances, axis=1, kind="stable")[:, :25]

    def recall(hasher: simskip.Hasher) -> float:
        hasher.fit(database)
        signs = [2.0 * simskip.unpack(hasher.encode(part)) - 1 for part in (queries, database)]
        found = np.argsort(-(signs[0] @ signs[1].T), axis=1, kind="stable")[:, :25]
        return float(np.mean([len(np.intersect1d(a, b)) for a, b in zip(found, exact, strict=True)]) / 25)

    random, rotated, itq = recall(RandomHash(64)), recall(PCAHash(64)), recall(PCAHash(64, "itq"))
    assert 0.15 < random < 0.35
    assert rotated > random + 0.1
    assert itq > random + 0.1
    assert recall(PCAHash(256)) > rotated + 0.08
