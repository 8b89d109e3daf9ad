"""Every objective: that it learns, honestly, and what it does with data that teach nothing."""

from __future__ import annotations

import numpy as np
import pytest

import simskip
from simskip.hashing import load_hasher, native_trainer
from simskip.hashing.deep import DeepHash
from simskip.hashing.recipes import RECIPES

pytestmark = pytest.mark.filterwarnings("ignore::simskip.CollapseWarning")

ALL = tuple(RECIPES)
WITH_LABELS = tuple(name for name, recipe in RECIPES.items() if recipe.supervised)
WITHOUT = tuple(name for name in ALL if name not in WITH_LABELS)
SMALL = {"hidden": (64,), "batch_size": 64, "threads": 1}


def hasher(objective, n_bits=24, **parameters):
    quick = {"epochs": 4, "steps_per_epoch": 12 if objective in WITHOUT else 0}
    return DeepHash(n_bits, objective, **{**SMALL, **quick, **parameters})


def fitted(objective, X, y, **parameters):
    return hasher(objective, **parameters).fit(X, y if objective in WITH_LABELS else None, progress=False)


@pytest.fixture(scope="module")
def clusters():
    """(700, 20) rows of 5 classes, each of two clusters far apart, and their classes."""
    rng = np.random.default_rng(1)
    centres = rng.normal(0, 1, (10, 20))
    cluster = rng.integers(0, 10, 700)
    X = centres[cluster] + 0.45 * rng.normal(size=(700, 20))
    return X.astype(np.float32), cluster % 5


@pytest.fixture(scope="module")
def manifold():
    """(900, 24) rows on four sheets of three dimensions each."""
    rng = np.random.default_rng(0)
    centres, sheets = rng.normal(size=(4, 24)), rng.normal(size=(4, 3, 24))
    on = rng.integers(0, 4, 900)
    X = centres[on] + np.einsum("ns,nsd->nd", rng.normal(size=(900, 3)), sheets[on])
    return (X + 0.05 * rng.normal(size=X.shape)).astype(np.float32)


def unseen_map(codes, labels, n_queries):
    """Of the first rows among the others, ties counted with their expectation."""
    return simskip.metrics.mean_average_precision(
        labels[:n_queries], labels[n_queries:], query_codes=codes[:n_queries], codes=codes[n_queries:]
    )


def test_the_registry_and_the_recipes_name_the_same_objectives():
    known = {info.name: info for info in native_trainer.load().objectives()}
    single = {name for name, info in known.items() if info.towers == 1}
    assert set(ALL) == single - {"softmax"}  # which makes no codes
    for name in ALL:
        assert (name in WITH_LABELS) == (known[name].supervision in ("labels", "targets"))
        assert known[name].formula
        assert known[name].source


def test_the_documentation_says_what_the_recipes_do():
    rows = [line.split() for line in DeepHash.__doc__.splitlines()]
    for name, recipe in RECIPES.items():
        assert f'"{name}"' in DeepHash.__doc__
        row = next(
            r for r in rows if r[:1] == [name] or (recipe.supervised and r[:2] == ["with", "labels"] and len(r) > 5)
        )
        hidden, dropout, norm, residual, epochs, batch, rate, schedule = row[-8:]
        assert hidden == f"({recipe.hidden[0]},)"
        assert (float(dropout), float(rate), schedule) == (recipe.dropout, recipe.learning_rate, recipe.schedule)
        assert (norm, residual) == tuple("yes" if is_on else "no" for is_on in (recipe.batch_norm, recipe.residual))
        assert epochs == (f"{recipe.epochs}x{recipe.steps_per_epoch}" if recipe.steps_per_epoch else str(recipe.epochs))
        assert int(batch) == recipe.batch_size


@pytest.mark.parametrize("objective", WITH_LABELS)
def test_improves_on_its_own_start_with_labels(objective, clusters):
    X, y = clusters
    learned = fitted(objective, X, y, epochs=8)
    first, last = learned.history_[0], learned.history_[-1]
    assert last["loss"] < first["loss"]
    assert last["map"] > first["map"] + 0.03
    start = simskip.PCAHash(24, rotation="itq").fit(X)
    assert unseen_map(learned.encode(X), y, 70) > 1.1 * unseen_map(start.encode(X), y, 70)


@pytest.mark.parametrize("objective", WITHOUT)
def test_improves_on_its_own_start_without_labels(objective, manifold):
    # From random weights: an ITQ start is hard to improve on where the data are nearly linear.
    learned = fitted(objective, manifold, None, residual=False, epochs=50, steps_per_epoch=4, patience=0)
    first, last = learned.history_[0], learned.history_[-1]
    assert last["recall@25"] > 1.1 * first["recall@25"]
    part = {"neighbors": "divergence", "bihalf": "similarity", "autoencoder": "reconstruction"}[objective]
    assert last[part] < first[part]


@pytest.mark.parametrize("objective", ALL)
def test_the_same_seed_gives_the_same_weights(objective, clusters):
    X, y = clusters[0][:200], clusters[1][:200]
    one, other = (fitted(objective, X, y, epochs=2) for _ in range(2))
    assert one.fingerprint == other.fingerprint
    assert fitted(objective, X, y, epochs=2, random_state=1).fingerprint != one.fingerprint


@pytest.mark.parametrize("objective", ALL)
def test_saved_hashers_give_the_same_codes(objective, clusters, tmp_path):
    X, y = clusters[0][:200], clusters[1][:200]
    learned = fitted(objective, X, y, epochs=1)
    learned.save(tmp_path / "hasher")
    loaded = load_hasher(tmp_path / "hasher")
    assert loaded.encode(X) == learned.encode(X)
    assert loaded.objective == objective


@pytest.mark.parametrize("objective", WITH_LABELS)
def test_random_labels_teach_nothing_about_unseen_rows(objective):
    rng = np.random.default_rng(5)
    X = rng.normal(size=(800, 16)).astype(np.float32)
    y = rng.integers(0, 4, 800)
    learned = fitted(objective, X[:400], y[:400], epochs=6)
    # Chance: the share of relevant rows, a quarter, with a standard error of about .004 (100 queries, 300 rows).
    assert unseen_map(learned.encode(X[400:]), y[400:], 100) == pytest.approx(0.25, abs=0.025)


@pytest.mark.parametrize("objective", WITH_LABELS)
def test_several_classes_per_row(objective):
    rng = np.random.default_rng(2)
    # The sign of each of three directions is a class of its own: a row has none to three.
    X = rng.normal(size=(600, 12)).astype(np.float32)
    Y = (X[:, :3] > 0).astype(np.float32)
    learned = fitted(objective, X[:400], Y[:400], epochs=10, learning_rate=5e-3)
    start = simskip.PCAHash(24, rotation="itq").fit(X[:400])
    figures = []
    for codes in (learned.encode(X[400:]), start.encode(X[400:])):
        signs = np.where(simskip.unpack(codes), 1.0, -1.0)
        similarity = signs @ signs.T
        shared = (Y[400:] @ Y[400:].T > 0) & ~np.eye(200, dtype=bool)
        other = Y[400:] @ Y[400:].T == 0
        figures.append((similarity[shared].mean() - similarity[other].mean()) / similarity.std())
    assert figures[0] > 1.2 * figures[1]


@pytest.mark.parametrize("objective", ALL)
@pytest.mark.parametrize(
    "case", ["item per class", "duplicates", "constant columns", "more bits than dimensions", "batch larger than data"]
)
def test_degenerate_data(objective, case):
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(40, 6)).astype(np.float32), np.arange(40) % 4
    n_bits, parameters = 8, {}
    if case == "item per class":
        y = np.arange(40)
    elif case == "duplicates":
        X = np.repeat(X[:4], 10, axis=0)
    elif case == "constant columns":
        X[:, :5] = [0, 1, -1, 1e3, 1e-3]
    elif case == "more bits than dimensions":
        n_bits = 40
    else:
        parameters["batch_size"] = 500
    learned = fitted(objective, X, y, n_bits=n_bits, epochs=2, **parameters)
    assert np.isfinite(learned.project(X)).all()
    assert all(np.isfinite(record["loss"]) for record in learned.history_)


@pytest.mark.parametrize("objective", WITH_LABELS)
def test_one_class_is_refused(objective):
    with pytest.raises(ValueError, match="at least two classes"):
        fitted(objective, np.random.default_rng(0).normal(size=(40, 6)), np.zeros(40, int))


@pytest.mark.parametrize("objective", WITH_LABELS)
def test_labels_are_asked_for(objective):
    with pytest.raises(ValueError, match="y must hold a class for each row"):
        hasher(objective).fit(np.random.default_rng(0).normal(size=(40, 6)), progress=False)


def test_distilled_needs_rows_to_distil_from():
    X, y = np.random.default_rng(0).normal(size=(7, 6)), np.arange(7) % 2
    with pytest.raises(ValueError, match="at least 8 rows"):
        fitted("distilled", X, y)


def test_prefixes_of_codes_are_codes(clusters):
    X, y = clusters
    for objective in ("orthohash", "distilled", "bihalf"):
        learned = fitted(objective, X, y, prefixes=(8,), epochs=2)
        assert learned.encode(X).prefix(8).n_bits == 8


def test_options_of_an_objective_change_it(clusters):
    X, y = clusters[0][:200], clusters[1][:200]
    for objective, options in (
        ("hashnet", {"beta": 2.0}),
        ("orthohash", {"margin": 0.3}),
        ("classifier", {"ste": 1.0}),
        ("deepranking", {"in_class": 1.0}),
        ("bihalf", {"pull": 2.0}),
    ):
        plain = fitted(objective, X, y, epochs=1)
        assert fitted(objective, X, y, epochs=1, objective_options=options).fingerprint != plain.fingerprint
    with pytest.raises(ValueError, match="an option of hashnet"):
        fitted("hashnet", X, y, objective_options={"alpha": 1.0})
