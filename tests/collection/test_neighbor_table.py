"""The precomputed table says what a search would, knows when it no longer does, and costs next to nothing to ask."""

import sqlite3

import numpy as np
import pytest

import simskip
from simskip.collection import neighbor_store


def opened(path, X, metric="cosine"):
    collection = simskip.Collection.open(path, metric=metric)
    collection.add([f"item {i}" for i in range(len(X))], X)
    return collection


@pytest.fixture
def X():
    return np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)


@pytest.fixture
def collection(tmp_path, X):
    with opened(tmp_path / "items.db", X) as made:
        yield made


def oracle(X, k, metric):
    """(n, k) row numbers and distances in double; equal distances by row."""
    A = X.astype(np.float64)
    if metric == "cosine":
        A /= np.linalg.norm(A, axis=1, keepdims=True)
        gaps = 1 - A @ A.T
    elif metric == "l2":
        gaps = np.linalg.norm(A[:, None] - A[None], axis=2)
    else:
        gaps = -(A @ A.T)
    np.fill_diagonal(gaps, np.inf)
    order = np.argsort(gaps, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(gaps, order, axis=1)


@pytest.mark.parametrize("metric", ["cosine", "l2", "dot"])
def test_it_holds_the_nearest_others_of_every_item(tmp_path, X, metric, monkeypatch):
    monkeypatch.setattr(neighbor_store, "_BLOCK", 128)  # three blocks, the last one cut
    with opened(tmp_path / "items.db", X, metric) as collection:
        table = collection.knn_table(k=7, progress=False)
        rows, gaps = oracle(X, 7, metric)
        assert (table.neighbors == table.ids[rows]).all()
        np.testing.assert_allclose(np.abs(table.distances), np.abs(gaps), atol=1e-6)
        assert (len(table), table.k, table.method) == (300, 7, "exact")
        assert table.nbytes == 300 * 8 + 300 * 7 * 12
        distances, keys = table.of("item 42")
        assert keys == [f"item {row}" for row in rows[42]]
        found = collection.search(key="item 42", k=7)
        assert found.keys == keys
        assert [hit.distance for hit in found] == distances.tolist()
        again = collection.neighbors("item 42", k=7)
        assert again.measure == metric
        assert again.as_dicts() == found.as_dicts()
        distances, ids = table.lookup(int(table.ids[42]))
        assert ids.dtype == np.int64
        assert collection.keys_of(ids) == keys


def test_the_stored_table_is_taken_as_long_as_it_holds(collection, X, monkeypatch):
    first = collection.knn_table(k=5, progress=False)
    computed = []
    compute = neighbor_store.NeighborStore._computed
    monkeypatch.setattr(
        neighbor_store.NeighborStore,
        "_computed",
        lambda self, *options: computed.append(options) or compute(self, *options),
    )
    collection.set_labels({"item 0": "a label changes no neighbour"})
    for k in (5, 3):
        stored = collection.knn_table(k=k, progress=False)
        assert (stored.ids == first.ids).all()
        assert (stored.neighbors == first.neighbors[:, :k]).all()
        assert (stored.distances == first.distances[:, :k]).all()
        assert (stored.keys, stored.revision, stored.method) == (first.keys, first.revision, first.method)
    assert not computed
    wider = collection.knn_table(k=6, progress=False)
    assert len(computed) == 1
    assert (wider.neighbors[:, :5] == first.neighbors).all()
    with simskip.Collection.open(collection.path, read_only=True) as reader:
        assert (reader.knn_table(k=6, progress=False).neighbors == wider.neighbors).all()
        assert len(reader.neighbors("item 1", 6)) == 6
    assert len(computed) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda collection: collection.add(["new"], np.ones((1, 16))),
        lambda collection: collection.add(["item 3"], np.ones((1, 16))),
        lambda collection: collection.remove(["item 3"]),
    ],
    ids=["added", "replaced", "removed"],
)
def test_a_table_that_no_longer_holds_does_not_answer(collection, change):
    with pytest.raises(ValueError, match=r"items\.db has no neighbour table: call knn_table\(\) first"):
        collection.neighbors("item 1")
    collection.knn_table(progress=False)
    assert len(collection.neighbors("item 1")) == 10
    change(collection)
    with pytest.raises(ValueError, match=r"out of date: items were added, changed or removed since; call knn_table"):
        collection.neighbors("item 1")
    table = collection.knn_table(progress=False)
    assert len(table) == len(collection)
    assert collection.neighbors("item 1").keys == collection.search(key="item 1").keys


def test_what_it_cannot_answer(collection):
    table = collection.knn_table(k=4, progress=False)
    with pytest.raises(ValueError, match=r"k must be at most 4, got 5: .* knn_table\(k=5\)"):
        collection.neighbors("item 1", 5)
    with pytest.raises(ValueError, match=r"key 'item 300' is not in .*items\.db"):
        collection.neighbors("item 300", 4)
    with pytest.raises(ValueError, match="id 0 is not in the table"):
        table.lookup(0)
    with pytest.raises(ValueError, match="key 'nobody' is not in the table"):
        table.of("nobody")
    assert 300 in table
    assert 301 not in table
    assert "item 1" not in table
    for k in (0, 2.5, True):
        with pytest.raises(ValueError, match="k must be an integer"):
            collection.knn_table(k=k, progress=False)
    with pytest.raises(ValueError, match=r"exact must be True or None: .* has no hasher"):
        collection.knn_table(exact=False, progress=False)


def test_empty(tmp_path):
    with (
        simskip.Collection.open(tmp_path / "items.db") as collection,
        pytest.raises(ValueError, match=r"items\.db is empty"),
    ):
        collection.knn_table(progress=False)


@pytest.mark.parametrize(("n", "metric"), [(1, "cosine"), (4, "dot")])
def test_fewer_others_than_k(tmp_path, X, n, metric):
    with opened(tmp_path / "items.db", X[:n], metric) as collection:
        made = collection.knn_table(k=6, progress=False)
        stored = collection.knn_table(k=6, progress=False)
        for table in (made, stored):
            assert (table.neighbors[:, : n - 1] > 0).all()
            assert (table.neighbors[:, n - 1 :] == -1).all()
            assert (table.distances[:, n - 1 :] == (-np.inf if metric == "dot" else np.inf)).all()
            assert len(table.of("item 0")[1]) == n - 1
        assert (stored.neighbors == made.neighbors).all()
        assert len(collection.neighbors("item 0", 6)) == n - 1


def test_twins_stand_in_the_order_of_their_ids_and_nobody_is_his_own_neighbour(tmp_path):
    X = np.repeat(np.eye(3, dtype=np.float32), 20, axis=0)
    with opened(tmp_path / "items.db", X) as collection:
        table = collection.knn_table(k=5, progress=False)
        for row, id in enumerate(table.ids.tolist()):
            others = [twin for twin in range(1 + row // 20 * 20, 21 + row // 20 * 20) if twin != id]
            assert table.neighbors[row].tolist() == others[:5]
        assert (table.distances == 0).all()


def test_codes_choose_the_candidates_where_there_is_a_hasher(tmp_path):
    X = np.random.default_rng(1).normal(size=(400, 16)).astype(np.float32)
    with opened(tmp_path / "items.db", X) as collection:
        exact = collection.knn_table(k=5, progress=False)
        collection.train("random", 16)
        assert collection.knn_table(k=5, progress=False).method == "exact"  # it is there, and better
        table = collection.knn_table(k=5, exact=False, progress=False)
        assert table.method == "codes"
        for key in ("item 0", "item 399"):
            assert table.of(key)[1] == collection.search(key=key, k=5).keys
        shared = np.mean([len({*a} & {*b}) / 5 for a, b in zip(table.neighbors, exact.neighbors, strict=True)])
        assert 0.3 < shared < 1
        assert collection.knn_table(k=5, progress=False).method == "codes"
        # Codes of another hasher choose other candidates.
        collection.train("pca", 16)
        other = collection.knn_table(k=5, progress=False)
        assert other.method == "codes"
        assert (other.neighbors != table.neighbors).any()
        again = collection.knn_table(k=5, exact=True, progress=False)
        assert again.method == "exact"
        assert (again.neighbors == exact.neighbors).all()


def test_it_can_be_read_with_sql(collection):
    table = collection.knn_table(k=3, progress=False)
    connection = sqlite3.connect(collection.path)
    rows = connection.execute("SELECT id, rank, neighbor, distance FROM neighbors ORDER BY id, rank").fetchall()
    connection.close()
    assert [row[0] for row in rows] == np.repeat(table.ids, 3).tolist()
    assert [row[1] for row in rows] == [0, 1, 2] * 300
    assert [row[2] for row in rows] == table.neighbors.ravel().tolist()
    assert [row[3] for row in rows] == table.distances.ravel().tolist()


@pytest.mark.parametrize("at", [50, 150], ids=["between blocks", "in the last block"])
def test_a_change_by_somebody_else_meanwhile_is_noticed(collection, monkeypatch, at):
    monkeypatch.setattr(neighbor_store, "_BLOCK", 100)
    nearest = neighbor_store.NeighborStore._nearest

    def disturbed(self, state, ids, k, by_codes):
        if ids[0] > at:
            with simskip.Collection.open(collection.path) as other:
                other.remove(["item 250"])
        return nearest(self, state, ids, k, by_codes)

    monkeypatch.setattr(neighbor_store.NeighborStore, "_nearest", disturbed)
    with pytest.raises(simskip.CollectionError, match="was changed while the neighbours were being computed"):
        collection.knn_table(k=3, progress=False)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="has no neighbour table"):
        collection.neighbors("item 1")
    assert len(collection.knn_table(k=3, progress=False)) == 299


def test_ctrl_c_between_blocks_leaves_the_old_table(collection, monkeypatch):
    old = collection.knn_table(k=3, progress=False)
    monkeypatch.setattr(neighbor_store, "_BLOCK", 100)
    nearest, calls = neighbor_store.NeighborStore._nearest, []

    def interrupted(self, *options):
        calls.append(options)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return nearest(self, *options)

    monkeypatch.setattr(neighbor_store.NeighborStore, "_nearest", interrupted)
    with pytest.raises(KeyboardInterrupt):
        collection.knn_table(k=9, progress=False)
    assert len(calls) == 3
    assert collection.neighbors("item 0", 3).keys == old.of("item 0")[1]


def test_a_bar_is_shown(collection, capsys):
    collection.knn_table(k=2)
    assert "300/300" in capsys.readouterr().err
