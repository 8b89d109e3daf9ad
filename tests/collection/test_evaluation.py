"""Evaluation of a collection: who asks, who answers, and what is shown."""

import numpy as np
import pytest
from PIL import Image

import simskip
from simskip.collection.evaluation import evaluate_collection
from simskip.collection.pictures import Pictures
from simskip.index import VectorIndex

N, DIM = 300, 10


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    rng = np.random.default_rng(0)
    with simskip.Collection.open(tmp_path_factory.mktemp("evaluation") / "a.db") as opened:
        vectors = rng.normal(size=(5, DIM))[np.arange(N) % 5] + rng.normal(size=(N, DIM))
        opened.add([f"k{i}" for i in range(N)], vectors, labels=[f"c{i % 5}" for i in range(N)])
        opened.remove(["k7"])  # ids are no row numbers
        opened.train("pca", n_bits=24, hold_out=25)
        yield opened


def test_held_out_items_ask_and_the_others_answer(collection):
    report = evaluate_collection(collection, 4)
    assert report.provenance["queries"]["rows"] == 25
    assert report.provenance["database"]["rows"] == N - 1 - 25
    assert report.provenance["queries_in_database"] == 0
    assert report.provenance["collection"]["hasher_fingerprint"] == collection.hasher.fingerprint
    assert [row.name for row in report.rows] == [
        *("exact", "codes", "codes + rerank", "random", "random + rerank", "control")  # pca is the hasher itself
    ]
    # The recall of the codes, by hand.
    ids, vectors = collection.vectors()
    asks = np.isin(ids, collection.held_out)
    exact, index = VectorIndex(DIM), simskip.HammingIndex(24)
    exact.add(vectors[~asks])
    index.add(collection.hasher.encode(vectors[~asks]))
    true = exact.search(vectors[asks], 4)[1]
    found = index.search(collection.hasher.encode(vectors[asks]), 4)[1]
    shares = [len(set(a) & set(b)) / 4 for a, b in zip(true.tolist(), found.tolist(), strict=True)]
    assert report.row("codes").get("recall@4") == pytest.approx(np.mean(shares))
    assert report.row("codes").get("map") > 0.2


def test_what_is_judged_can_be_chosen(collection):
    report = collection.evaluate(4, queries=9, rerank=None, scoring="asymmetric", baselines=False)
    assert [row.name for row in report.rows] == ["exact", "codes", "codes, asymmetric", "control"]
    assert report.provenance["queries"]["rows"] == 9
    again = evaluate_collection(collection, 4, queries=9, rerank=None, scoring="asymmetric", baselines=False)
    assert again.provenance["queries"]["sha256"] == report.provenance["queries"]["sha256"]


def test_labels_are_used_if_every_item_has_one(collection, tmp_path):
    collection.set_labels({"k3": None})
    try:
        report = evaluate_collection(collection, 4, baselines=False)
    finally:
        collection.set_labels({"k3": "c3"})
    assert "map" not in [column.key for column in report.columns]
    assert "no label metrics: not every item has a label" in report.warnings


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"k": 0}, "k must be"),
        ({"k": N}, "k must be at most"),
        ({"queries": 0}, "queries must be"),
        ({"rerank": 0}, "rerank must be"),
        ({"scoring": "bits"}, "scoring must be one of"),
        ({"random_state": -1}, "random_state must be"),
    ],
)
def test_wrong_input(collection, options, words):
    with pytest.raises(ValueError, match=words):
        evaluate_collection(collection, **options)


class Grey:
    """Turns a picture into its mean."""

    name, dim, fingerprint, kind = "grey", 2, "grey 1", "images"

    def embed(self, batch, progress=False):
        means = [float(np.asarray(Image.open(path)).mean()) for path in batch]
        return np.array([[1, mean] for mean in means], np.float32)


def test_pictures_of_items(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(3):
        Image.fromarray(np.full((4, 4), 50 * i, np.uint8)).save(folder / f"{i}.png")
    with simskip.Collection.open(tmp_path / "a.db") as collection:
        collection.sync(folder, Grey(), progress=False)
        collection.add(["own"], np.ones((1, 2)))
        ids = collection.ids_of(["0.png", "1.png", "own"])
        pictures = Pictures(collection, ids)
        assert pictures.any
        assert pictures.path(ids[1]) == folder / "1.png"
        assert pictures.of(ids[1]).getpixel((0, 0)) == (50, 50, 50)
        assert pictures.path(ids[2]) is None
        assert pictures.of(ids[2]).shape == (1, 1)
        (folder / "1.png").write_bytes(b"no picture")
        (folder / "0.png").unlink()
        assert pictures.of(ids[1]).shape == (1, 1)
        assert not Pictures(collection, ids).any
        assert not Pictures(collection, ids[:0]).any
