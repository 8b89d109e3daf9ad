"""DeepHash: that it learns, and that it behaves."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest

import simskip
from simskip.hashing import PCAHash, load_hasher, native_trainer
from simskip.hashing.deep import DeepHash
from simskip.hashing.held_out import HeldOutMap, HeldOutRecall
from simskip.hashing.neighbor_graph import nearest, temperature

pytestmark = pytest.mark.filterwarnings("default::simskip.CollapseWarning")

SMALL = {"epochs": 3, "steps_per_epoch": 20, "batch_size": 96, "threads": 1}


@pytest.fixture(scope="module")
def manifold():
    """(2500, 32) rows on five sheets of three dimensions each: no one linear map suits them all."""
    rng = np.random.default_rng(0)
    centres, sheets = rng.normal(size=(5, 32)), rng.normal(size=(5, 3, 32))
    on = rng.integers(0, 5, 2500)
    X = centres[on] + np.einsum("ns,nsd->nd", rng.normal(size=(2500, 3)), sheets[on])
    return (X + 0.05 * rng.normal(size=X.shape)).astype(np.float32)


@pytest.fixture(scope="module")
def classes():
    """(900, 20) rows of 6 classes, each of two clusters far apart, and their labels."""
    rng = np.random.default_rng(1)
    centres = rng.normal(0, 1, (12, 20))
    cluster = rng.integers(0, 12, 900)
    X = centres[cluster] + 0.45 * rng.normal(size=(900, 20))
    return X.astype(np.float32), np.array([f"class {c % 6}" for c in cluster])


def recall(hasher, database, queries, metric="cosine", k=10):
    exact = simskip.VectorIndex(database.shape[1], metric)
    exact.add(database)
    index = simskip.HammingIndex(hasher.n_bits)
    index.add(hasher.encode(database))
    truth = exact.search(queries, k=k)[1]
    found = index.search(hasher.encode(queries), k=k)[1]
    return np.mean([len(set(a) & set(b)) / k for a, b in zip(truth, found, strict=True)])


def separation(hasher, X, y):
    """Share of pairs (same class, other class) that the codes order rightly; 0.5 is chance."""
    signs = np.where(hasher.project(X) > 0, 1, -1)
    similarity = signs @ signs.T
    same = y[:, None] == y
    np.fill_diagonal(same, False)
    other = y[:, None] != y
    inner, outer = similarity[same], similarity[other]
    values = np.arange(-hasher.n_bits, hasher.n_bits + 1)
    inside = np.searchsorted(np.sort(inner), values, "right") - np.searchsorted(np.sort(inner), values, "left")
    below = np.searchsorted(np.sort(outer), values, "left")
    tied = np.searchsorted(np.sort(outer), values, "right") - below
    return float((inside * (below + tied / 2)).sum() / len(inner) / len(outer))


@pytest.mark.parametrize("metric", ["cosine", "l2", "dot"])
def test_neighbors_beats_linear_codes_on_unseen_rows(manifold, metric):
    database, queries = manifold[:2000], manifold[2000:]
    learned = DeepHash(24, hidden=(256,), metric=metric, epochs=6, steps_per_epoch=60, batch_size=300, threads=1)
    learned.fit(database, progress=False)
    if metric == "dot":  # neighbours by inner product are few hubs: only that training helps is checked
        assert learned.history_[-1]["recall@25"] > learned.history_[0]["recall@25"]
        return
    figure = recall(learned, database, queries, metric)
    for rotation in ("random", "itq"):
        assert figure > 1.1 * recall(PCAHash(24, rotation=rotation).fit(database), database, queries, metric)
    best = learned.history_[learned.best_epoch_ - 1]["recall@25"]
    assert best == max(record["recall@25"] for record in learned.history_)


@pytest.mark.parametrize("objective", ["csq", "dtsh"])
def test_supervised_objectives_separate_classes_on_unseen_rows(classes, objective):
    X, y = classes
    hasher = DeepHash(16, objective, hidden=(64,), epochs=12, batch_size=64, threads=1, dropout=0.1)
    hasher.fit(X[:600], y[:600], progress=False)
    figure = separation(hasher, X[600:], y[600:])
    assert figure > 0.9
    assert figure > separation(PCAHash(16).fit(X[:600]), X[600:], y[600:]) + 0.15
    assert hasher.health_.n_classes == 6
    assert not hasher.health_.collapsed
    assert hasher.history_[-1]["map"] > 0.7


@pytest.mark.parametrize("threads", [1, 2])
def test_same_seed_same_bits(manifold, threads):
    def fit(seed):
        parameters = {**SMALL, "threads": threads, "batch_size": 300}
        return DeepHash(16, random_state=seed, hidden=(128,), **parameters).fit(manifold, progress=False)

    first, again, other = fit(3), fit(3), fit(4)
    assert first.fingerprint == again.fingerprint
    assert first.encode(manifold) == again.encode(manifold)
    assert first.fingerprint != other.fingerprint


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "gelu", "tanh", "silu"])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_numpy_forward_pass_is_the_trainers(manifold, monkeypatch, activation, batch_norm):
    seen = []
    judge = HeldOutRecall.__call__

    def keep(self, outputs):
        seen.append((self.evaluation_rows, outputs))
        return judge(self, outputs)

    monkeypatch.setattr(HeldOutRecall, "__call__", keep)
    hasher = DeepHash(
        12,
        hidden=(20, 16),
        activation=activation,
        batch_norm=batch_norm,
        dropout=0.2,
        residual=not batch_norm,
        output="none" if activation == "gelu" else "tanh",
        **SMALL,
    ).fit(manifold, progress=False)
    rows, outputs = seen[hasher.best_epoch_ - 1]
    np.testing.assert_allclose(hasher.project(manifold[rows]), outputs, atol=2e-5)


def test_wide_inputs_are_projected():
    rng = np.random.default_rng(2)
    X = (rng.normal(size=(400, 8)) @ rng.normal(size=(8, 300))).astype(np.float32)
    hasher = DeepHash(8, hidden=(16,), **SMALL).fit(X, progress=False)
    assert hasher.network_.n_inputs == 256
    assert hasher.project(X[:5]).shape == (5, 8)


def test_large_data_use_the_graph_of_a_sample(manifold, monkeypatch):
    for name, value in (("_EXACT_ROWS", 1000), ("_SAMPLE_ROWS", 900), ("_SAMPLE_ANCHORS", 400)):
        monkeypatch.setattr(f"simskip.hashing.neighbor_graph.{name}", value)
    given = {}
    train = native_trainer.load().train

    def spy(settings, towers, rows, on_epoch, **arrays):
        given.update(arrays, rows=rows)
        return train(settings, towers, rows, on_epoch, **arrays)

    monkeypatch.setattr(native_trainer.load(), "train", spy)
    DeepHash(8, hidden=(8,), **SMALL).fit(manifold, progress=False)
    assert given["anchors"].shape == (400,)
    assert given["neighbors"].shape == (400, 50)
    assert set(given["neighbors"].ravel()) <= set(given["rows"])
    assert not (given["neighbors"] == given["anchors"][:, None]).any()


def test_temperature_gives_the_perplexity_it_promises(manifold):
    rows = np.arange(1000, dtype=np.int32)
    for metric in ("cosine", "l2", "dot"):
        tau = temperature(manifold, metric, rows, seed=0)
        anchors = rows[::7]
        _, found = nearest(manifold, metric, anchors, rows, 500, exclude_self=True)
        similarity = {"cosine": -found, "dot": found, "l2": -(found**2) / 2}[metric].astype(np.float64)
        p = np.exp((similarity - similarity.max(axis=1, keepdims=True)) / tau)
        p /= p.sum(axis=1, keepdims=True)
        perplexity = np.exp(-(p * np.log(np.maximum(p, 1e-300))).sum(axis=1).mean())
        assert 25 < perplexity < 36, metric


def test_nearest_leaves_the_row_itself_out_even_among_copies():
    X = np.ones((6, 2), np.float32)
    X[4:] = [1, 2]
    rows = np.array([0, 1, 2, 3, 4, 5], np.int32)
    neighbors, _ = nearest(X, "l2", rows, rows, 2, exclude_self=True)
    assert neighbors.tolist() == [[1, 2], [0, 2], [0, 1], [0, 1], [5, 0], [4, 0]]


def test_held_out_recall_is_the_expected_value_over_ties():
    X = np.eye(30, dtype=np.float32)
    rows = np.arange(30, dtype=np.int32)
    judge = HeldOutRecall(X, "cosine", rows[:3], rows[3:], seed=0)
    assert judge(np.ones((30, 8), np.float32)) == pytest.approx(25 / 27)  # all equal: k of n


def test_held_out_map_is_the_expected_value_over_ties():
    labels = np.array([0, 0, 1, 1, 1], np.int32)
    judge = HeldOutMap(np.arange(5, dtype=np.int32), labels)
    perfect = np.where(labels == 0, 1.0, -1.0)[:, None] * np.ones((5, 4))
    assert judge(perfect.astype(np.float32)) == pytest.approx(1.0)
    # All codes equal: the mean over all orders of the four others, by enumeration.
    expected = []
    for query in range(5):
        others = [labels[i] == labels[query] for i in range(5) if i != query]
        for order in itertools.permutations(others):
            places = np.flatnonzero(order)
            expected.append(((np.arange(len(places)) + 1) / (places + 1)).mean())
    assert judge(np.ones((5, 4), np.float32)) == pytest.approx(np.mean(expected))


def test_more_bits_than_dimensions(manifold):
    hasher = DeepHash(40, hidden=(16,), **SMALL).fit(manifold, progress=False)
    assert hasher.encode(manifold[:7]).n_bits == 40


@pytest.mark.parametrize("objective", ["neighbors", "csq", "dtsh"])
@pytest.mark.parametrize("n", [2, 3, 9, 30])
def test_few_rows_and_batches_larger_than_the_data(objective, n):
    rng = np.random.default_rng(n)
    X = rng.normal(size=(n, 6)).astype(np.float32)
    y = np.arange(n) % 2
    hasher = DeepHash(8, objective, epochs=2, steps_per_epoch=3, batch_size=500, hidden=(4,), threads=1)
    hasher.fit(X, y, progress=False)
    assert np.isfinite(hasher.project(X)).all()
    assert len(hasher.history_) == 2


def test_linear_network_and_no_validation(manifold):
    hasher = DeepHash(8, hidden=(), residual=False, validation_fraction=0.0, **SMALL).fit(manifold, progress=False)
    assert hasher.best_epoch_ == 3
    assert "recall@25" not in hasher.history_[0]
    assert len(hasher.network_.layers) == 1


def test_rows_of_zeros_and_repeated_rows_are_fine(manifold):
    X = manifold.copy()
    X[:200] = X[0]
    X[5] = 0
    hasher = DeepHash(8, hidden=(8,), **SMALL).fit(X, progress=False)
    assert np.isfinite(hasher.project(X)).all()


def test_early_stopping_by_patience(classes):
    X, y = classes
    hasher = DeepHash(
        16, "csq", hidden=(64,), epochs=200, patience=3, batch_size=64, threads=1, schedule="constant"
    ).fit(X, y, progress=False)
    assert len(hasher.history_) < 200
    assert hasher.best_epoch_ == len(hasher.history_) - 3


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("schedule", ["cosine", "constant", "onecycle"])
def test_every_optimizer_and_schedule_lowers_the_loss(classes, optimizer, schedule):
    X, y = classes
    rate = 0.1 if optimizer == "sgd" else 5e-3
    hasher = DeepHash(
        16,
        "csq",
        hidden=(32,),
        optimizer=optimizer,
        schedule=schedule,
        learning_rate=rate,
        dropout=0.0,
        epochs=6,
        batch_size=64,
        threads=1,
    ).fit(X, y, progress=False)
    assert hasher.history_[-1]["loss"] < 0.8 * hasher.history_[0]["loss"]


def test_history_and_callbacks(manifold):
    seen = []

    def hook(record):
        seen.append(record)
        return record["epoch"] == 2

    hasher = DeepHash(8, hidden=(8,), **{**SMALL, "epochs": 9}).fit(manifold, progress=False, callbacks=[hook])
    assert [record["epoch"] for record in hasher.history_] == [1, 2]
    assert seen == hasher.history_
    for name in ("step", "learning_rate", "loss", "divergence", "recall@25", "codes", "collapsed", "seconds"):
        assert name in seen[0]
    assert seen[1]["step"] == 40


def test_an_error_in_a_callback_comes_through_and_leaves_the_hasher_as_it_was(manifold):
    hasher = DeepHash(8, hidden=(8,), **SMALL).fit(manifold, progress=False)
    before = hasher.fingerprint

    def hook(record):
        raise RuntimeError("from the callback")

    with pytest.raises(RuntimeError, match="from the callback"):
        hasher.fit(manifold[:500], progress=False, callbacks=[hook])
    assert hasher.fingerprint == before


def test_progress_bar_shows_loss_and_figure(manifold, capsys):
    pytest.importorskip("tqdm")
    DeepHash(8, hidden=(8,), **SMALL).fit(manifold)
    shown = capsys.readouterr().err
    assert "3/3" in shown
    assert "loss" in shown
    assert "recall@25" in shown


def test_save_load_and_pickle(manifold, classes, tmp_path):
    X, y = classes
    wide = np.random.default_rng(5).normal(size=(300, 260)).astype(np.float32)
    for hasher in (
        DeepHash(12, hidden=(8, 8), activation="gelu", objective_options={"tau": 0.1}, **SMALL).fit(
            wide, progress=False
        ),
        DeepHash(12, metric="l2", hidden=(), **SMALL).fit(manifold, progress=False),
        DeepHash(12, "csq", batch_norm=True, epochs=2, threads=1).fit(X, y, progress=False),
    ):
        data = wide if hasher.dim_ == 260 else manifold if hasher.dim_ == 32 else X
        path = tmp_path / "hasher.safetensors"
        hasher.save(path)
        for other in (load_hasher(path), pickle.loads(pickle.dumps(hasher))):
            assert isinstance(other, DeepHash)
            np.testing.assert_array_equal(other.project(data), hasher.project(data))
            assert other.fingerprint == hasher.fingerprint
            assert other.best_epoch_ == hasher.best_epoch_
            assert len(other.history_) == len(hasher.history_)
            assert {**other.get_params(), "threads": 1} == {**hasher.get_params(), "threads": 1}


def test_numpy_numbers_as_parameters(manifold, tmp_path):
    hasher = DeepHash(
        np.int64(8),
        hidden=np.array([8]),
        learning_rate=np.float32(1e-3),
        objective_options={"tau": np.float32(0.1)},
        **SMALL,
    ).fit(manifold, progress=False)
    hasher.save(tmp_path / "hasher.safetensors")
    assert load_hasher(tmp_path / "hasher.safetensors").encode(manifold) == hasher.encode(manifold)


def test_damaged_state_is_refused(manifold):
    hasher = DeepHash(8, hidden=(8,), **SMALL).fit(manifold, progress=False)
    params, tensors = hasher._state()
    for change in (
        {"layers.1.weight": tensors["layers.1.weight"][:, :-1]},
        {"layers.0.bias": tensors["layers.0.bias"] * np.nan},
        {"residual.weight": tensors["residual.weight"].astype(np.float64)},
    ):
        with pytest.raises(ValueError, match=r"layer|weights|float32"):
            DeepHash._from_state(params, {**tensors, **change})
    with pytest.raises(ValueError, match="activation"):
        DeepHash._from_state({**params, "activation": "sine"}, tensors)


def test_collapse_is_said(classes):
    X, y = classes
    hasher = DeepHash(
        7, "dtsh", hidden=(32,) * 8, activation="leaky_relu", dropout=0.5, batch_norm=False, residual=False, epochs=4
    )
    with pytest.warns(simskip.CollapseWarning, match="dropout"):
        hasher.fit(X, y, progress=False)
    assert hasher.health_.collapsed
    assert hasher.history_[-1]["collapsed"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"objective": "nearest"}, "objective"),
        ({"hidden": 512}, "hidden"),
        ({"hidden": (512, 0)}, "hidden"),
        ({"activation": "sine"}, "activation"),
        ({"dropout": 1.0}, "dropout"),
        ({"batch_norm": 1}, "batch_norm"),
        ({"output": "sigmoid"}, "output"),
        ({"epochs": 0}, "epochs"),
        ({"steps_per_epoch": -1}, "steps_per_epoch"),
        ({"batch_size": 1}, "batch_size"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"optimizer": "lbfgs"}, "optimizer"),
        ({"schedule": "step"}, "schedule"),
        ({"weight_decay": -1}, "weight_decay"),
        ({"input_noise": "much"}, "input_noise"),
        ({"objective_options": {"alpha": 1.0}}, "option of neighbors"),
        ({"metric": "hamming"}, "metric"),
        ({"validation_fraction": 1.0}, "validation_fraction"),
        ({"patience": -1}, "patience"),
        ({"random_state": -1}, "random_state"),
        ({"threads": 0}, "threads"),
        ({"n_bits": 0}, "n_bits"),
    ],
)
def test_bad_parameters(manifold, parameters, message):
    hasher = DeepHash(**parameters)
    with pytest.raises(ValueError, match=message):
        hasher.fit(manifold, progress=False)
    assert not hasattr(hasher, "network_")


def test_bad_data(manifold):
    with pytest.raises(ValueError, match="y must hold a class"):
        DeepHash(8, "csq").fit(manifold, progress=False)
    with pytest.raises(ValueError, match="two classes"):
        DeepHash(8, "dtsh").fit(manifold, np.zeros(len(manifold), int), progress=False)
    with pytest.raises(ValueError, match="one label for each"):
        DeepHash(8, "dtsh").fit(manifold, np.zeros(3, int), progress=False)
    with pytest.raises(ValueError, match="X must"):
        DeepHash(8).fit(np.full((10, 3), np.nan), progress=False)
    with pytest.raises(ValueError, match="at least 2 rows"):
        DeepHash(8).fit(manifold[:1], progress=False)
    with pytest.raises(ValueError, match="fit"):
        DeepHash(8).encode(manifold)


def test_divergence_is_an_error_that_names_the_learning_rate(manifold):
    hasher = DeepHash(8, hidden=(8,), output="none", optimizer="sgd", learning_rate=1e30, **SMALL)
    with pytest.raises(RuntimeError, match="learning_rate"):
        hasher.fit(manifold, progress=False)
