"""What DeepHash can do beside a plain fit: go on from checkpoints and weights, prefixes, restarts, snapped codes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import simskip
from simskip import DeepHash, FormatError, load_hasher
from simskip.hashing import native_trainer
from simskip.hashing.training_data import linear_start

SMALL = {"epochs": 3, "steps_per_epoch": 20, "batch_size": 100, "hidden": (32,), "threads": 1}


@pytest.fixture(scope="module")
def manifold():
    """(1500, 24) rows near a curved surface of few dimensions."""
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(1500, 5))
    X = np.tanh(latent @ rng.normal(size=(5, 24))) + 0.05 * rng.normal(size=(1500, 24))
    return X.astype(np.float32)


@pytest.fixture(scope="module")
def classes():
    """(900, 20) rows of 6 classes, and their labels."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, 6, 900)
    return (1.2 * rng.normal(size=(6, 20))[y] + rng.normal(size=(900, 20))).astype(np.float32), y


def stop_after(epochs):
    return lambda record: record["epoch"] == epochs


# Checkpoints


@pytest.mark.parametrize("objective", ["neighbors", "csq", "dtsh"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_resumed_training_is_bit_identical(classes, tmp_path, objective, optimizer):
    X, y = classes
    parameters = {**SMALL, "epochs": 5, "dropout": 0.2, "input_noise": 0.1, "optimizer": optimizer}
    whole = DeepHash(16, objective, **parameters).fit(X, y, progress=False)
    path = tmp_path / "checkpoint"
    DeepHash(16, objective, **parameters).fit(X, y, progress=False, callbacks=[stop_after(2)], checkpoint=path)
    seen = []
    resumed = DeepHash(16, objective, **parameters)
    resumed.fit(X, y, progress=False, callbacks=[lambda record: seen.append(record["epoch"])], checkpoint=path)
    assert seen == [3, 4, 5]
    assert resumed.fingerprint == whole.fingerprint
    assert resumed.encode(X) == whole.encode(X)
    # Finished: nothing is trained again.
    again = DeepHash(16, objective, **parameters)
    again.fit(X, y, progress=False, callbacks=[lambda record: seen.append(0)], checkpoint=path)
    assert seen == [3, 4, 5]
    assert again.fingerprint == whole.fingerprint


def test_a_killed_training_goes_on(manifold, tmp_path):
    np.save(tmp_path / "X.npy", manifold)
    program = textwrap.dedent(
        """
        import os, signal, sys
        import numpy as np
        from simskip import DeepHash

        def kill(record):
            if record["epoch"] == 3:
                os.kill(os.getpid(), signal.SIGKILL)

        X = np.load("X.npy")
        parameters = dict(epochs=4, steps_per_epoch=20, batch_size=100, hidden=(32,), threads=1)
        hasher = DeepHash(16, **parameters)
        hasher.fit(X, progress=False, checkpoint="checkpoint", callbacks=[kill] if sys.argv[1] == "kill" else [])
        print(hasher.fingerprint)
        """
    )

    def run(argument):
        return subprocess.run(
            [sys.executable, "-c", program, argument], cwd=tmp_path, capture_output=True, text=True, timeout=120
        )

    assert run("kill").returncode == -signal.SIGKILL
    assert os.listdir(tmp_path) == sorted(["X.npy", "checkpoint"]) or (tmp_path / "checkpoint").exists()
    resumed = run("on")
    assert resumed.returncode == 0, resumed.stderr
    whole = DeepHash(16, **{**SMALL, "epochs": 4}).fit(manifold, progress=False)
    assert resumed.stdout.strip() == whole.fingerprint


def test_checkpoints_of_other_trainings_and_damaged_ones_are_refused(manifold, tmp_path):
    path = tmp_path / "checkpoint"
    hasher = DeepHash(8, **SMALL).fit(manifold, progress=False, checkpoint=path)
    for other, data in (
        (DeepHash(8, **{**SMALL, "epochs": 4}), manifold),
        (DeepHash(8, random_state=1, **SMALL), manifold),
        (DeepHash(8, **SMALL), manifold[:-1]),
        (DeepHash(8, **SMALL), manifold + np.float32(1e-3)),
    ):
        with pytest.raises(ValueError, match="another training"):
            other.fit(data, progress=False, checkpoint=path)
    for nowhere in (tmp_path, tmp_path / "missing" / "checkpoint"):
        with pytest.raises(ValueError, match="checkpoint must be a file in a folder that exists"):
            DeepHash(8, **SMALL).fit(manifold, progress=False, checkpoint=nowhere)
    with pytest.raises(ValueError, match="n_init=1"):
        DeepHash(8, n_init=2, **SMALL).fit(manifold, progress=False, checkpoint=path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(FormatError):
        DeepHash(8, **SMALL).fit(manifold, progress=False, checkpoint=path)
    hasher.save(path)
    with pytest.raises(ValueError, match="must be a checkpoint"):
        DeepHash(8, **SMALL).fit(manifold, progress=False, checkpoint=path)


# Going on with new rows


@pytest.mark.parametrize("objective", ["neighbors", "csq"])
def test_partial_fit_goes_on_from_the_weights(classes, objective):
    X, y = classes
    hasher = DeepHash(16, objective, **SMALL)
    assert hasher.partial_fit(X[:450], y[:450], progress=False) is hasher  # the first time as fit
    assert hasher.fingerprint == DeepHash(16, objective, **SMALL).fit(X[:450], y[:450], progress=False).fingerprint
    before, epochs = hasher.project(X), len(hasher.history_)
    hasher.partial_fit(X[450:], y[450:], progress=False)
    after = hasher.project(X)
    assert not np.array_equal(before, after)
    # Small steps from the old weights: most bits stay.
    assert ((before > 0) == (after > 0)).mean() > 0.8
    assert len(hasher.history_) == epochs + 1
    assert hasher.best_epoch_ == epochs + 1


def test_partial_fit_learns_rows_of_another_kind(manifold):
    other = np.roll(manifold, 3, axis=1)
    hasher = DeepHash(16, **{**SMALL, "epochs": 18, "learning_rate": 5e-3}).fit(manifold, progress=False)
    before = len(hasher.history_)
    hasher.partial_fit(other, progress=False)
    new = hasher.history_[before:]
    assert [record["epoch"] for record in hasher.history_] == list(range(1, before + len(new) + 1))
    assert max(record["recall@25"] for record in new) > new[0]["recall@25"] + 0.01


def test_partial_fit_knows_its_classes(classes):
    X, y = classes
    names = np.array(list("abcdef"))[y]
    hasher = DeepHash(16, "csq", **SMALL).fit(X, names, progress=False)
    assert hasher.classes_ == list("abcdef")
    two = np.isin(y, [2, 4])
    hasher.partial_fit(X[two], names[two], progress=False)
    assert hasher.classes_ == list("abcdef")
    with pytest.raises(ValueError, match="first training only, got also 'z'"):
        hasher.partial_fit(X[:2], ["a", "z"], progress=False)
    with pytest.raises(ValueError, match="20 columns"):
        hasher.partial_fit(X[:, :5], names, progress=False)


# Prefixes


def recall(codes, queries, truth):
    index = simskip.HammingIndex(codes.n_bits)
    index.add(codes)
    _, found = index.search(queries, truth.shape[1])
    return np.mean([len(set(a) & set(b)) for a, b in zip(found, truth, strict=True)]) / truth.shape[1]


def test_prefixes_are_good_codes_of_their_own(manifold):
    database, queries = manifold[:1200], manifold[1200:]
    exact = simskip.VectorIndex(24)
    exact.add(database)
    truth = exact.search(queries, 10)[1]
    parameters = {**SMALL, "epochs": 5, "steps_per_epoch": 60, "batch_size": 200}
    plain = DeepHash(48, **parameters).fit(database, progress=False)
    nested = DeepHash(48, prefixes=(8, 24), **parameters).fit(database, progress=False)
    for width in (8, 24):
        first = [
            recall(h.encode(database).prefix(width), h.encode(queries).prefix(width), truth) for h in (plain, nested)
        ]
        assert first[1] > first[0] + 0.02, width
        assert first[1] > recall(*(simskip.PCAHash(width).fit(database).encode(x) for x in (database, queries)), truth)
    whole = [recall(h.encode(database), h.encode(queries), truth) for h in (plain, nested)]
    assert whole[1] > 0.9 * whole[0]


def test_prefixes_of_class_codes_keep_the_classes_apart(classes):
    X, y = classes
    hasher = DeepHash(32, "csq", prefixes=(8, 16), **{**SMALL, "epochs": 8}).fit(X, y, progress=False)
    for width in (8, 16):
        assert simskip.metrics.code_health(hasher.encode(X).prefix(width), y).distinct_class_codes == 6


def test_linear_start_with_prefixes_begins_with_what_varies_most(manifold):
    weight, bias = linear_start(manifold, 16, (4,), seed=0)
    outputs = manifold @ weight.T + bias
    assert outputs[:, :4].std() == pytest.approx(1, abs=0.01)
    axes = simskip.PCAHash(4, rotation=None).fit(manifold).weights_
    # The first four directions span the leading components.
    inside = np.linalg.norm(weight[:4] @ axes) / np.linalg.norm(weight[:4])
    assert inside == pytest.approx(1, abs=1e-4)


# Restarts, snapped codes, rows without a class


def test_of_several_restarts_the_best_is_kept(manifold):
    several = DeepHash(16, n_init=3, **SMALL).fit(manifold, progress=False)
    single = DeepHash(16, **SMALL).fit(manifold, progress=False)
    figure = several.history_[several.best_epoch_ - 1]["recall@25"]
    assert figure >= max(record["recall@25"] for record in single.history_)
    assert several.history_[0]["restart"] in (0, 1, 2)


@pytest.mark.parametrize("objective", ["csq", "dtsh"])
def test_snapped_codes_are_one_per_class(classes, objective, tmp_path):
    X, y = classes
    hasher = DeepHash(12, objective, snap=True, **{**SMALL, "epochs": 10}).fit(X[:600], y[:600], progress=False)
    assert hasher.centres_.shape == (6, 12)
    health = simskip.metrics.code_health(hasher.encode(X[600:]), y[600:])
    assert health.n_codes <= 6
    assert health.distinct_class_codes >= 5
    assert 0.7 < health.computation_ratio < 1.4
    hasher.save(tmp_path / "hasher")
    assert load_hasher(tmp_path / "hasher").encode(X) == hasher.encode(X)


def test_rows_without_a_class_are_left_out(classes):
    X, y = classes
    known = np.where(np.arange(900) % 3 == 0, y, -1)
    hasher = DeepHash(16, "csq", **SMALL).fit(X, known, progress=False)
    assert hasher.classes_ == [0, 1, 2, 3, 4, 5]
    assert hasher.health_.n_items == 300
    # The same as training on the labelled rows alone: nothing else was seen.
    assert hasher.encode(X) == DeepHash(16, "csq", **SMALL).fit(X[::3], y[::3], progress=False).encode(X)
    with pytest.raises(ValueError, match="rows without a class"):
        DeepHash(16, "csq").fit(X, np.where(y == 1, 1, -1), progress=False)


@pytest.mark.parametrize("objective", ["csq", "dtsh"])
def test_several_classes_per_row(objective):
    rng = np.random.default_rng(3)
    member = rng.random((900, 5)) < 0.3
    member[np.arange(900), rng.integers(0, 5, 900)] = True
    X = (member @ rng.normal(size=(5, 16)) + 0.3 * rng.normal(size=(900, 16))).astype(np.float32)
    hasher = DeepHash(16, objective, **{**SMALL, "epochs": 8}).fit(X[:700], member[:700], progress=False)
    assert hasher.classes_ is None
    assert hasher.history_[hasher.best_epoch_ - 1]["map"] > 0.85  # two rows share a class in two of three cases
    # Rows with the same classes are nearer to each other than rows that share none.
    u = hasher.project(X[700:])
    shared = member[700:].astype(int) @ member[700:].T.astype(int)
    products = np.sign(u) @ np.sign(u).T
    assert products[shared >= 2].mean() > products[shared == 0].mean() + 3


def test_weights_of_classes_are_checked(classes):
    X, y = classes
    with pytest.raises(ValueError, match=r"weights of classes in \[0, 1\]"):
        DeepHash(16, "csq").fit(X, np.eye(6)[y] * 2, progress=False)
    with pytest.raises(ValueError, match="each of the 900 rows, got 899"):
        DeepHash(16, "csq").fit(X, np.eye(6)[y[:-1]], progress=False)
    with pytest.raises(ValueError, match="at least two classes"):
        DeepHash(16, "csq").fit(X, np.ones((900, 1)), progress=False)


# Rows as they are: half precision, files


@pytest.mark.parametrize("objective", ["neighbors", "csq"])
def test_half_precision_rows_are_used_as_they_are(classes, monkeypatch, objective):
    X, y = classes
    half = X.astype(np.float16)
    given = []
    train = native_trainer.load().train

    def spy(settings, towers, rows, on_epoch, **arrays):
        given.append(towers[0]["inputs"])
        return train(settings, towers, rows, on_epoch, **arrays)

    monkeypatch.setattr(native_trainer.load(), "train", spy)
    hasher = DeepHash(16, objective, **SMALL).fit(half, y, progress=False)
    assert given[0] is half  # no copy
    assert hasher.encode(half) == DeepHash(16, objective, **SMALL).fit(
        half.astype(np.float32), y, progress=False
    ).encode(half)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("columns", [24, 300])
def test_mapped_files_train_as_arrays_do(manifold, tmp_path, dtype, columns):
    X = np.tile(manifold, (1, 13))[:, :columns].astype(dtype)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    hasher = DeepHash(16, **SMALL).fit(mapped, progress=False)
    assert hasher.fingerprint == DeepHash(16, **SMALL).fit(X, progress=False).fingerprint
    broken = np.load(tmp_path / "X.npy", mmap_mode="r+")
    broken[1234, 5] = np.nan
    with pytest.raises(ValueError, match="row 1234, column 5"):
        DeepHash(16, **SMALL).fit(broken, progress=False)


def test_of_more_rows_than_fit_into_a_copy_a_sample_is_trained_on(manifold, monkeypatch):
    wide = np.tile(manifold, (1, 13))[:, :300].copy()
    monkeypatch.setattr("simskip.hashing.training_data._MAX_COPIED_VALUES", 700 * 256)
    given = []
    train = native_trainer.load().train

    def spy(settings, towers, rows, on_epoch, **arrays):
        given.append((towers[0]["inputs"].shape, len(rows), arrays))
        return train(settings, towers, rows, on_epoch, **arrays)

    monkeypatch.setattr(native_trainer.load(), "train", spy)
    hasher = DeepHash(16, **SMALL).fit(wide, progress=False)
    shape, n_rows, arrays = given[0]
    assert n_rows == 700
    assert shape == (850, 256)  # and the 150 held out
    assert arrays["neighbors"].max() < 850
    assert np.isfinite(hasher.project(wide)).all()
    assert hasher.history_[-1]["recall@25"] > 0.1


# Objectives of one's own, what is watched, the origin's networks


def test_an_objective_written_in_python(classes):
    torch = pytest.importorskip("torch")
    X, y = classes
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    centres = torch.from_numpy(np.where(np.random.default_rng(0).random((6, 16)) < 0.5, -1, 1).astype(np.float32))
    seen = []

    def attraction(outputs, targets):
        assert targets.dtype == torch.int64
        seen.append(tuple(outputs.shape))
        return (outputs - centres[targets]).square().mean()

    hasher = DeepHash(16, attraction, **{**SMALL, "epochs": 6}).fit(X, y, progress=False)
    assert seen[0] == (100, 16)
    assert hasher.history_[-1]["loss"] < 0.5 * hasher.history_[0]["loss"]
    wanted = (centres.numpy()[y] > 0) == (hasher.project(X) > 0)
    assert wanted.mean() > 0.9
    assert torch.equal(torch.random.get_rng_state(), state)
    copy = simskip.hashing.hasher_from_bytes(hasher.to_bytes())
    assert copy.encode(X) == hasher.encode(X)
    assert copy.objective == "custom"
    with pytest.raises(ValueError, match="function"):
        copy.fit(X, y, progress=False)


def test_an_objective_in_python_equals_the_native_one(classes):
    torch = pytest.importorskip("torch")
    X, y = classes
    parameters = {**SMALL, "epochs": 2, "dropout": 0.0, "batch_norm": False, "residual": False}
    native = DeepHash(8, "csq", objective_options={"quantization": 0.1}, snap=True, **parameters)
    native.fit(X, y, progress=False)
    centres = torch.from_numpy(native.centres_)

    def csq(u, targets):
        p = ((u * centres[targets] + 1) / 2).clamp(1e-4, 1)
        return -p.log().mean() + 0.1 * (u.abs() - 1).square().mean()

    own = DeepHash(8, csq, **parameters).fit(X, y, progress=False)
    assert own.history_[0]["loss"] == pytest.approx(native.history_[0]["loss"], rel=1e-4)
    np.testing.assert_allclose(own.project(X), native.project(X), atol=0.05)


def test_an_objective_without_labels_gets_the_vectors(manifold):
    torch = pytest.importorskip("torch")

    def similarity(outputs, targets):
        return (outputs @ outputs.T / outputs.shape[1] - targets @ targets.T).square().mean()

    hasher = DeepHash(16, similarity, **SMALL).fit(manifold, progress=False)
    assert "recall@25" in hasher.history_[0]
    assert hasher.history_[-1]["loss"] < hasher.history_[0]["loss"]
    with pytest.raises(ValueError, match="one number"):
        DeepHash(16, lambda outputs, targets: outputs.sum(dim=1), **SMALL).fit(manifold, progress=False)
    with pytest.raises(ValueError, match="depends on the outputs"):
        DeepHash(16, lambda outputs, targets: torch.zeros(()), **SMALL).fit(manifold, progress=False)
    with pytest.raises(ZeroDivisionError):
        DeepHash(16, lambda outputs, targets: 1 / 0, **SMALL).fit(manifold, progress=False)


def test_an_objective_in_python_sees_the_prefixes_too(manifold):
    pytest.importorskip("torch")
    seen = set()

    def similarity(outputs, targets):
        seen.add(outputs.shape[1])
        return (outputs @ outputs.T / outputs.shape[1] - targets @ targets.T).square().mean()

    hasher = DeepHash(16, similarity, prefixes=(4, 9), **SMALL).fit(manifold, progress=False)
    assert seen == {4, 9, 16}
    assert hasher.history_[-1]["loss"] < hasher.history_[0]["loss"]


def test_what_is_watched_can_be_chosen(classes):
    X, y = classes
    hasher = DeepHash(16, "csq", watch="recall", **SMALL).fit(X, y, progress=False)
    assert "recall@25" in hasher.history_[0]
    assert "map" not in hasher.history_[0]
    hasher = DeepHash(16, "neighbors", watch="map", **SMALL).fit(X, y, progress=False)
    assert "map" in hasher.history_[0]
    with pytest.raises(ValueError, match="watch='map' needs labels"):
        DeepHash(16, "neighbors", watch="map", **SMALL).fit(X, progress=False)


@pytest.mark.parametrize("kind", ["image", "text"])
def test_the_origins_networks(classes, kind):
    X, y = classes
    hasher = DeepHash.origin(kind, epochs=1, steps_per_epoch=2, on_collapse="ignore").fit(X, y, progress=False)
    assert len(hasher.network_.layers) == {"image": 9, "text": 4}[kind]
    assert DeepHash.origin(kind, 7, dropout=0.1).get_params()["n_bits"] == 7
    with pytest.raises(ValueError, match="kind"):
        DeepHash.origin("sound")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"prefixes": (16,)}, "prefixes"),
        ({"prefixes": (8, 4)}, "prefixes"),
        ({"prefixes": 8}, "prefixes"),
        ({"n_init": 0}, "n_init"),
        ({"watch": "loss"}, "watch"),
        ({"snap": True}, "snap"),
        ({"on_collapse": "cry"}, "on_collapse"),
    ],
)
def test_bad_parameters(manifold, parameters, message):
    with pytest.raises(ValueError, match=message):
        DeepHash(16, **parameters).fit(manifold, progress=False)
