import json
import sqlite3
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import simskip


def nearest(queries, vectors, k):
    """Brute force: the rows of ``vectors`` nearest by cosine, ties by row."""
    q = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    v = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.argsort(1 - q.astype(np.float64) @ v.T.astype(np.float64), axis=1, kind="stable")[:, :k]


def test_answers_are_those_of_brute_force(filled):
    ids, vectors = filled.vectors()
    queries = np.random.default_rng(2).normal(size=(5, 8)).astype(np.float32)
    distances, found = filled.search_many(vectors=queries, k=7)
    assert (found == ids[nearest(queries, vectors, 7)]).all()
    assert (np.diff(distances, axis=1) >= 0).all()


def test_one_query_gives_hits_with_what_is_known(filled):
    hits = filled.search(key="item3", k=2)
    assert len(hits) == 2
    assert "item3" not in hits.keys
    hit = hits[0]
    assert hit.label in ("sea", "mountain")
    assert hit.attributes["year"] == 1990 + int(hit.key[4:])
    assert hits.as_dicts()[0] == {"rank": 1, **vars(hit), "file": None}
    assert json.dumps(hits.as_dicts())
    assert hit.key in repr(hits)
    assert hits.measure == "cosine"


def test_html_of_hits_is_escaped(collection):
    collection.add(["<b>"], [[1.0, 0.0]], labels=["<i>"])
    page = collection.search(vector=[1.0, 0.0], k=1)._repr_html_()
    assert "<b>" not in page
    assert "&lt;b&gt;" in page


def test_an_item_finds_itself_if_wanted(filled):
    assert filled.search(key="item3", k=1, exclude_self=False).keys == ["item3"]
    _, ids = filled.search_many(keys=["item3", "item3", "item5"], k=39)
    assert ids.shape == (3, 39)
    assert not (ids == filled.ids_of(["item3", "item3", "item5"])[:, None]).any()
    assert (ids >= 0).all()


@settings(max_examples=30)
@given(data=st.data())
def test_k_rows_that_pass_give_k_hits(tmp_path_factory, data):
    n = data.draw(st.integers(1, 30))
    labels = data.draw(st.lists(st.sampled_from(["a", "b", None]), min_size=n, max_size=n))
    k = data.draw(st.integers(1, 12))
    hashed = data.draw(st.booleans())
    vectors = np.random.default_rng(n).normal(size=(n, 6)).astype(np.float32)
    with simskip.Collection.open(tmp_path_factory.mktemp("k") / "k.db") as collection:
        collection.add([str(i) for i in range(n)], vectors, labels=labels)
        if hashed:
            collection.train(simskip.RandomHash(16).fit(vectors))
        hits = collection.search(vector=vectors[0], k=k, where="label = ?", parameters=("b",))
    assert len(hits) == min(k, labels.count("b"))
    assert all(hit.label == "b" for hit in hits)


def test_exactly_one_question(filled):
    with pytest.raises(ValueError, match="exactly one of image, text, key, vector must be given, got none"):
        filled.search(k=1)
    with pytest.raises(ValueError, match="got key, vector"):
        filled.search(key="item1", vector=np.zeros(8))


def test_unknown_key(filled):
    with pytest.raises(ValueError, match="key 'nobody' is not in"):
        filled.search(key="nobody")
    with pytest.raises(ValueError, match="key 'nobody' is not in"):
        filled.ids_of(["item1", "nobody"])
    with pytest.raises(ValueError, match="id 4711 is not in"):
        filled.keys_of([4711])


def test_images_cannot_be_compared_with_given_vectors(filled):
    with pytest.raises(ValueError, match="holds vectors given by a program"):
        filled.search(image=np.zeros((8, 8, 3), np.uint8))


def test_an_empty_collection_says_so(collection):
    with pytest.raises(ValueError, match="is empty: sync a folder or add items"):
        collection.search(vector=[1.0])
    with pytest.raises(ValueError, match="is empty"):
        collection.train("random")
    assert len(collection) == 0
    assert collection.dim is None


def test_adding_again_replaces_the_vector_and_keeps_the_rest(filled):
    (id,) = filled.ids_of(["item3"])
    filled.add(["item3"], np.full((1, 8), 2.0))
    assert filled.ids_of(["item3"]) == [id]
    assert (filled.vectors([id])[1] == 2).all()
    assert filled.search(vector=np.ones(8), k=1)[0].attributes == {"year": 1993, "by": "Ada"}
    assert len(filled) == 40


@pytest.mark.parametrize(
    ("keys", "vectors", "options", "message"),
    [
        (["a", "a"], np.ones((2, 8)), {}, "keys must be distinct, got 'a' more than once"),
        (["a", ""], np.ones((2, 8)), {}, "keys must be non-empty strings, got '' at position 1"),
        ([3], np.ones((1, 8)), {}, "keys must be non-empty strings, got 3"),
        ("abc", np.ones((3, 8)), {}, "keys must be a sequence of strings, got str"),
        (["\ud800"], np.ones((1, 8)), {}, "UTF-8"),
        (["a"], np.ones((2, 8)), {}, "one thing for each of the 1 keys, got 2"),
        (["a"], np.ones((1, 7)), {}, "vectors must have 8 columns"),
        (["a"], np.full((1, 8), np.nan), {}, "finite|NaN"),
        (["a"], np.ones((1, 8)), {"labels": ["x", "y"]}, "labels must hold one label for each of the 1 keys, got 2"),
        (["a"], np.ones((1, 8)), {"labels": [3]}, "labels must be non-empty strings or None, got 3"),
        (["a"], np.ones((1, 8)), {"attributes": [{"Label": 1}]}, "must not be called 'Label'"),
        (["a"], np.ones((1, 8)), {"attributes": [{"x": float("nan")}]}, "what JSON can"),
        (["a"], np.ones((1, 8)), {"attributes": [{'"': 1}]}, "names"),
    ],
)
def test_nothing_is_added_if_anything_is_wrong(filled, keys, vectors, options, message):
    with pytest.raises(ValueError, match=message):
        filled.add(keys, vectors, **options)
    assert len(filled) == 40


def test_removed_items_are_not_found_and_their_ids_not_reused(filled):
    gone = filled.ids_of(["item39"])
    filled.search(vector=np.ones(8), k=1)  # the index is in memory now
    filled.remove(["item39"])
    assert "item39" not in filled
    assert gone[0] not in filled.search_many(vectors=np.ones((1, 8)), k=39)[1]
    filled.add(["item39"], np.ones((1, 8)))
    assert filled.ids_of(["item39"]) != gone
    with pytest.raises(ValueError, match="key 'nobody' is not in"):
        filled.remove(["item1", "nobody"])
    assert "item1" in filled


def test_labels_and_attributes_change(filled):
    filled.set_labels({"item1": "lake", "item2": None})
    assert filled.labels["lake"] == 1
    assert filled.labels_of(filled.ids_of(["item2"])) == [None]
    filled.set_attributes({"item1": {"year": None, "height": 8.5, "tags": ["a", "b"]}})
    hit = filled.search(key="item2", k=1, where="height > 8")[0]
    assert hit.attributes == {"by": "Ada", "height": 8.5, "tags": ["a", "b"]}
    with pytest.raises(ValueError, match="key 'nobody'"):
        filled.set_labels({"item1": "x", "nobody": "y"})
    assert filled.labels["lake"] == 1


def test_training_encodes_everything_and_sets_rows_aside(filled):
    hasher = filled.train("pca", 8, progress=False)
    ids, codes = filled.codes()
    assert len(ids) == 40
    assert (codes.data == hasher.encode(filled.vectors()[1]).data).all()
    assert len(filled.held_out) == 4
    shown = ~np.isin(ids, filled.held_out)
    assert simskip.PCAHash(8).fit(filled.vectors()[1][shown]).fingerprint == hasher.fingerprint
    assert filled.search(key="item1", k=3, rerank=None).measure == "bits"
    assert filled.search(key="item1", k=3).measure == "cosine"
    exact = filled.search(key="item1", k=3, exact=True)
    assert exact.keys == filled.search(key="item1", k=3, rerank=13).keys
    assert filled.encode() == 0


def test_new_vectors_get_codes_of_the_hasher(filled):
    hasher = filled.train("random", 16)
    filled.add(["new"], np.ones((1, 8)))
    ids, codes = filled.codes()
    assert len(ids) == 41
    assert (codes.data[-1] == hasher.encode(np.ones((1, 8))).data[0]).all()


def test_a_hasher_that_needs_labels_gets_labelled_rows(filled):
    with pytest.raises(ValueError, match="hasher must be a name or a hasher, got int"):
        filled.train(3)
    with pytest.raises(ValueError, match="objective must be one of"):
        filled.train("nonsense")
    with pytest.raises(ValueError, match="fitted on vectors of 8 numbers"):
        filled.train(simskip.RandomHash(8).fit(np.ones((3, 5))))
    filled.set_labels({f"item{i}": None for i in range(40)})
    with pytest.raises(ValueError, match="learns from labels, and no item has one"):
        filled.train("csq", 8, epochs=1, progress=False)


def test_everything_is_there_after_reopening(filled):
    filled.train("random", 16)
    before = filled.search(key="item1", k=5)
    filled.close()
    with simskip.Collection.open(filled.path, create=False) as again:
        assert again.search(key="item1", k=5) == before
        assert again.hasher.n_bits == 16
        assert "40 items" in repr(again)
        assert "16 bits" in repr(again)
        info = again.info()
        assert (info["items"], info["codes"], info["schema_version"]) == (40, 40, 1)
    with pytest.raises(simskip.CollectionError, match="has been closed"):
        len(filled)


def test_others_changes_are_seen(filled):
    assert len(filled.search(vector=np.ones(8), k=50)) == 40
    with simskip.Collection.open(filled.path) as other:
        other.add(["far"], [[-1.0] * 8])
        other.add(["here"], np.ones((1, 8)))
        other.remove(["item0"])
    assert filled.search(vector=np.ones(8), k=1).keys == ["here"]
    assert len(filled.search(vector=np.ones(8), k=50)) == 41
    with simskip.Collection.open(filled.path) as other:
        other.train("random", 32)
    assert filled.hasher.n_bits == 32
    assert filled.search(vector=np.ones(8), k=1).keys == ["here"]


def test_any_sqlite_client_can_read_and_write_it(filled):
    filled.close()
    client = sqlite3.connect(filled.path)
    rows = client.execute("SELECT key, vector FROM items JOIN vectors USING (id) WHERE label = 'mountain'").fetchall()
    assert len(rows) == 10
    assert np.frombuffer(rows[0][1], "<f4").shape == (8,)
    client.execute("""UPDATE items SET attributes = '{"colour": "green"}' WHERE key = 'item7'""")
    client.commit()
    client.close()
    with simskip.Collection.open(filled.path) as again:
        assert again.search(vector=np.ones(8), k=3, where="colour = 'green'").keys == ["item7"]


def test_threads_search_while_one_writes(filled):
    errors = []

    def ask():
        try:
            for _ in range(20):
                hits = filled.search(vector=np.ones(8), k=40, where="year < 2100")
                assert len(hits) >= 40 or len(filled) < 41
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for i in range(15):
        filled.add([f"more{i}"], np.random.default_rng(i).normal(size=(1, 8)), attributes=[{"year": 2000}])
    for thread in threads:
        thread.join()
    assert errors == []


def test_the_metric_is_chosen_once(tmp_path):
    with simskip.Collection.open(tmp_path / "l2.db", metric="l2") as collection:
        collection.add(["near", "far"], [[1.0, 1.0], [9.0, 9.0]])
        hits = collection.search(vector=[2.0, 2.0], k=2)
        assert hits.measure == "l2"
        assert hits.keys == ["near", "far"]
    with pytest.raises(ValueError, match="metric must be 'l2'"):
        simskip.Collection.open(tmp_path / "l2.db", metric="cosine")
    with simskip.Collection.open(tmp_path / "l2.db", read_only=True) as collection:
        assert collection.metric == "l2"
        with pytest.raises(simskip.CollectionError, match="opened for reading only"):
            collection.add(["x"], [[1.0, 1.0]])
