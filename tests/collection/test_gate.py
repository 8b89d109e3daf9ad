"""Searches of a collection behind a gate."""

import numpy as np
import pytest

import simskip

CLASSES = ("city", "forest", "mountain", "sea")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    rng = np.random.default_rng(0)
    y = np.arange(1200) % 4
    X = (1.5 * rng.normal(size=(4, 8))[y] + rng.normal(size=(1200, 8))).astype(np.float32)
    with simskip.Collection.open(tmp_path_factory.mktemp("scenes") / "scenes.db") as collection:
        labels = [CLASSES[i] if row % 10 else None for row, i in enumerate(y)]
        collection.add([f"scene{i}" for i in range(1200)], X, labels=labels)
        collection.train_classifier(epochs=10, threads=1, progress=False)
        yield collection


def test_the_classifier_is_kept_and_leaves_items_for_judging(scenes):
    assert len(scenes.held_out) == 120
    with simskip.Collection.open(scenes.path, read_only=True) as again:
        hits = again.search(key="scene3", k=5, gate="soft")
    assert hits == scenes.search(key="scene3", k=5, gate="soft")
    assert hits.measure == "cosine"


def test_all_probability_is_exact_search(scenes):
    found = scenes.search_many(keys=["scene1", "scene2"], k=9, gate="soft", probability=1)
    exact = scenes.search_many(keys=["scene1", "scene2"], k=9, exact=True)
    assert (found[1] == exact[1]).all()
    assert (found[0] == exact[0]).all()


def test_k_means_k_behind_a_gate(scenes):
    hits = scenes.search(key="scene3", k=40, gate="hard", where="label = ?", parameters=("city",))
    assert len(hits) == 40
    assert {hit.label for hit in hits} == {"city"}


def test_the_gate_tells_its_recall(scenes):
    soft, all_of_it = scenes.gate_recall(k=10), scenes.gate_recall(k=10, probability=1)
    assert 0.6 < soft.recall < 1
    assert soft.report.rows.mean() < 800
    assert all_of_it.recall == 1


def test_labels_that_change_are_seen(scenes):
    before = len(scenes.search(key="scene1", k=1200, gate="soft", where="label = 'city'"))
    scenes.set_labels({"scene0": "city"})
    assert len(scenes.search(key="scene1", k=1200, gate="soft", where="label = 'city'")) == before + 1
    scenes.set_labels({"scene0": "desert"})
    with pytest.raises(ValueError, match="does not know the label 'desert': train_classifier again"):
        scenes.search(key="scene1", gate="soft")
    scenes.set_labels({"scene0": None})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gate": "wide"}, "gate must be one of None, 'soft', 'hard', got 'wide'"),
        ({"probability": 0.5}, "probability needs a gate"),
        ({"gate": "soft", "probability": 2}, "probability must"),
        ({"gate": "soft", "scoring": "codes"}, "scoring must not be given beside gate"),
        ({"gate": "soft", "recall": 0.9}, "recall must not be given beside gate"),
    ],
)
def test_gates_that_are_none(scenes, options, message):
    with pytest.raises(ValueError, match=message):
        scenes.search(key="scene1", **options)


def test_a_gate_needs_a_classifier_and_that_needs_labels(filled):
    with pytest.raises(ValueError, match="gate needs a classifier: call train_classifier"):
        filled.search(key="item1", gate="soft")
    with pytest.raises(ValueError, match="no held-out items"):
        filled.gate_recall()
    filled.set_labels({f"item{i}": None for i in range(40)})
    with pytest.raises(ValueError, match=r"needs at least two labels, .* has 0"):
        filled.train_classifier(progress=False)


def test_hasher_and_classifier_hold_out_the_same(scenes, filled):
    before = scenes.held_out
    scenes.train("pca", 8, hold_out=7, progress=False)
    assert (scenes.held_out == before).all()
    filled.train("pca", 4, hold_out=1)
    (one,) = filled.held_out
    filled.train_classifier(epochs=1, progress=False)  # the hasher has seen all others
    assert filled.held_out.tolist() == [one]
    filled.train("pca", 4)
    assert filled.held_out.tolist() == [one]
