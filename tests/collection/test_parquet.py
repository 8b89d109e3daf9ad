"""A collection that went through Parquet is the same; damaged, foreign and half-written files are told apart."""

import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import simskip
from simskip.collection import Collection, parquet_export

# Everything that a file of ours holds but the revision, which counts changes, and the table of neighbours.
QUERIES = [
    "SELECT * FROM items ORDER BY id",
    "SELECT id, vector FROM vectors ORDER BY id",
    "SELECT * FROM codes ORDER BY id",
    "SELECT * FROM files ORDER BY id",
    "SELECT * FROM sources ORDER BY id",
    "SELECT * FROM unreadable ORDER BY source, path",
    "SELECT * FROM models ORDER BY role",
    "SELECT * FROM held_out ORDER BY id",
    "SELECT * FROM attribute_names ORDER BY name",
    "SELECT seq FROM sqlite_sequence WHERE name = 'items'",
    "SELECT value FROM meta WHERE name = 'metric'",
]


def content(path):
    connection = sqlite3.connect(path)
    found = [connection.execute(query).fetchall() for query in QUERIES]
    connection.close()
    return found


class Letters:
    """Embeds texts by counting letters."""

    name, dim, fingerprint, kind = "letters", 26, "letters 1", "text"

    def embed(self, batch, progress=False):
        return np.array([[text.count(chr(97 + i)) for i in range(26)] for text in batch], np.float32)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A collection with everything in it: files, unreadable ones, labels, attributes, codes, held out items, gaps."""
    folder = tmp_path_factory.mktemp("original")
    rng = np.random.default_rng(0)
    for i in range(40):
        path = folder / "texts" / f"class {i % 3}" / f"{i}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(rng.choice(list("abcdef"), 20)))
    (folder / "texts" / "empty.txt").write_text("")
    with Collection.open(folder / "items.db", metric="l2") as collection:
        collection.sync(folder / "texts", Letters(), progress=False)
        collection.add(["given", "gone"], rng.normal(size=(2, 26)), attributes=[{"year": 1999, "日本": [1, None]}, {}])
        collection.remove(["gone"])
        collection.train("pca", 12, hold_out=3)
    return folder / "items.db"


@pytest.fixture
def collection(original):
    with Collection.open(original, read_only=True) as opened:
        yield opened


def small_groups(monkeypatch):
    """Row groups of 7 rows, parts of two of them."""
    monkeypatch.setattr(parquet_export, "_GROUP_ROWS", (7, 7))
    monkeypatch.setattr(parquet_export, "_PART_BYTES", 14 * 4 * 26)


@pytest.mark.parametrize("name", ["items.parquet", "parts"])
def test_what_comes_back_is_the_same(tmp_path, original, collection, name, monkeypatch):
    small_groups(monkeypatch)
    before = content(original)
    assert all(before)  # nothing is compared with nothing
    assert collection.export(tmp_path / name) == 41
    if name == "parts":
        assert sorted(os.listdir(tmp_path / name)) == [f"part-0000{i}.parquet" for i in range(3)]
    else:
        assert pq.ParquetFile(tmp_path / name).num_row_groups == 6
    with Collection.import_(tmp_path / name, tmp_path / "copy.db") as copy:
        assert content(copy.path) == before
        for key in ("given", "class 0/0.txt"):
            assert copy.search(key=key).as_dicts() == collection.search(key=key).as_dicts()
        assert (copy.held_out == collection.held_out).all()
        copy.add(["new"], np.ones((1, 26)))
        assert copy.ids_of(["new"]) == [43]  # not that of the item that is gone
        report = copy.sync(original.parent / "texts", Letters(), progress=False)
        assert (report.unchanged, report.embedded, len(report.unreadable)) == (40, 0, 1)


def test_other_programs_can_read_it(tmp_path, collection):
    collection.export(tmp_path / "items.parquet")
    table = pq.read_table(tmp_path / "items.parquet")
    ids, vectors = collection.vectors()
    assert table.schema.field("vector").type == pa.list_(pa.float32(), 26)
    assert table.schema.field("code").type == pa.binary(2)
    assert table["id"].to_pylist() == ids.tolist()
    assert table["key"].to_pylist() == collection.keys_of(ids)
    assert table["label"].to_pylist() == collection.labels_of(ids)
    assert json.loads(table["attributes"].to_pylist()[-1]) == {"year": 1999, "日本": [1, None]}
    assert (np.array(table["vector"].to_pylist(), np.float32) == vectors).all()
    codes = simskip.Codes.from_(table["code"].combine_chunks(), n_bits=12, format="arrow")
    assert codes == collection.codes()[1]
    assert [id for id, held in zip(ids, table["held_out"].to_pylist(), strict=True) if held] == [*collection.held_out]
    manifest = json.loads(table.schema.metadata[b"simskip"])
    assert [(model["role"], model["name"]) for model in manifest["models"]] == [
        ("embedder", "letters"),
        ("hasher", "PCAHash"),
    ]


def test_parts_left_out(tmp_path, original, collection):
    collection.export(tmp_path / "no codes.parquet", codes=False)
    assert "code" not in pq.read_schema(tmp_path / "no codes.parquet").names
    with Collection.import_(tmp_path / "no codes.parquet", tmp_path / "copy.db"):
        pass
    assert content(tmp_path / "copy.db") == content(original)  # the hasher makes them again
    collection.export(tmp_path / "no vectors.parquet", vectors=False)
    with pytest.raises(ValueError, match="vector is missing: it was exported without vectors"):
        Collection.import_(tmp_path / "no vectors.parquet", tmp_path / "other.db")
    assert not (tmp_path / "other.db").exists()


def test_empty(tmp_path):
    with Collection.open(tmp_path / "items.db", metric="dot") as collection:
        assert collection.export(tmp_path / "items.parquet") == 0
        assert collection.export(tmp_path / "parts") == 0
    for name in ("items.parquet", "parts"):
        with Collection.import_(tmp_path / name, tmp_path / f"{name}.db") as copy:
            assert (len(copy), copy.metric) == (0, "dot")


def test_one_moment_is_exported_whoever_writes_meanwhile(tmp_path, monkeypatch):
    small_groups(monkeypatch)
    with Collection.open(tmp_path / "items.db") as collection:
        collection.add([f"{i}" for i in range(20)], np.eye(20))
        table = parquet_export._Tables._table

        def disturbed(self, rows):
            with Collection.open(tmp_path / "items.db") as other:
                other.remove([key for key in ("18", "19") if key in other])
            return table(self, rows)

        monkeypatch.setattr(parquet_export._Tables, "_table", disturbed)
        assert collection.export(tmp_path / "items.parquet") == 20
        assert len(collection) == 18
    with Collection.import_(tmp_path / "items.parquet", tmp_path / "copy.db") as copy:
        assert len(copy) == 20


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)
VALUE = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
VALUE |= TEXT | st.lists(st.integers(0, 3), max_size=2)
NAME = TEXT.filter(lambda name: '"' not in name and name.lower() not in {"id", "key", "label", "attributes"})
NUMBER = st.floats(-1e6, 1e6, width=32)
ITEM = st.tuples(st.none() | TEXT, st.dictionaries(NAME, VALUE, max_size=2), st.lists(NUMBER, min_size=3, max_size=3))


@given(st.dictionaries(TEXT, ITEM, min_size=1, max_size=8), st.sampled_from(["cosine", "l2", "dot"]), st.booleans())
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_keys_labels_attributes_and_vectors_come_back(tmp_path_factory, items, metric, coded):
    folder = tmp_path_factory.mktemp("any")
    labels, attributes, vectors = zip(*items.values(), strict=True)
    with Collection.open(folder / "items.db", metric=metric) as collection:
        collection.add(list(items), np.array(vectors), labels=labels, attributes=attributes)
        if coded:
            collection.train("random", 9, hold_out=1)
        collection.export(folder / "items.parquet")
    with Collection.import_(folder / "items.parquet", folder / "copy.db"):
        pass
    assert content(folder / "copy.db") == content(folder / "items.db")


def foreign(path, **columns):
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(
    "type_", [pa.list_(pa.float64()), pa.list_(pa.float32(), 2), pa.large_list(pa.float32()), pa.list_(pa.float16(), 2)]
)
def test_any_table_of_keys_and_vectors_is_taken(tmp_path, type_):
    vectors = np.array([[1, 2], [3, 4], [5, 6.5]])
    values = pa.array(list(vectors.astype(np.float16)) if "halffloat" in str(type_) else vectors.tolist(), type_)
    path = foreign(tmp_path / "a.parquet", vector=values, price=[1, 2, 3], key=["x", "y", "z"])
    with Collection.import_(path, tmp_path / "items.db", metric="l2") as collection:
        assert collection.metric == "l2"
        assert (collection.vectors()[1] == vectors).all()
        assert collection.search(key="x", k=1).keys == ["y"]
        assert collection.labels == {}


def test_labels_and_attributes_of_such_tables(tmp_path):
    path = foreign(
        tmp_path / "a.parquet",
        key=["x", "y"],
        vector=[[1.0, 2.0], [3.0, 4.0]],
        label=pa.array(["cat", None]).dictionary_encode(),
        attributes=['{"year": 1999}', None],
    )
    with Collection.import_(path, tmp_path / "items.db") as collection:
        collection.train("random", 8)
        hit = collection.search(vector=[1, 2], k=1, where="year < 2000")[0]
        assert (hit.key, hit.label, hit.attributes) == ("x", "cat", {"year": 1999})
        again = foreign(tmp_path / "b.parquet", key=["x", "z"], vector=[[9.0, 9.0], [1.0, 1.0]])
        before = collection.ids_of(["x"])
    # A second table goes on: keys that are there keep their id, label and attributes.
    with Collection.import_(again, tmp_path / "items.db") as collection:
        assert (collection.ids_of(["x"]) == before).all()
        assert collection.vectors(before)[1].tolist() == [[9, 9]]
        assert collection.search(key="x", k=2, exact=True).keys[0] == "z"
        assert collection.labels == {"cat": 1}
        assert len(collection.codes()[1]) == 3


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"key": ["a"]}, r"must have the columns key, vector; vector is missing, it has key$"),
        ({"vector": [[1.0]], "name": ["a"]}, r"key is missing, it has vector, name"),
        ({"key": [1], "vector": [[1.0]]}, r"the column key must hold text, got int64"),
        ({"key": ["a"], "vector": ["1 2"]}, r"the column vector must hold lists of floats, got string"),
        ({"key": ["a"], "vector": [[1, 2]]}, r"the column vector must hold lists of floats, got list<.*int64>"),
        ({"key": ["a", "b"], "vector": [[1.0, 2.0], [1.0]]}, r"the column vector must hold lists of 2 floats"),
        ({"key": ["a", "b"], "vector": [[1.0, 2.0], None]}, r"the item 'b' has no vector"),
        ({"key": ["a"], "vector": [[1.0, None]]}, r"the column vector must hold lists of 2 floats"),
        ({"key": ["a"], "vector": pa.array([[]], pa.list_(pa.float32()))}, r"must hold lists of 0 floats"),
        ({"key": ["a"], "vector": [[1.0, np.nan]]}, r"vector must be finite"),
        ({"key": ["a", None], "vector": [[1.0], [2.0]]}, r"key must be non-empty strings, got None at position 1"),
        ({"key": ["a", "a"], "vector": [[1.0], [2.0]]}, r"key must be distinct, got 'a' more than once"),
        ({"key": ["a"], "vector": [[1.0]], "attributes": ["[1]"]}, r"attributes must be a mapping"),
        ({"key": ["a"], "vector": [[1.0]], "attributes": ["{"]}, r"attributes must be JSON, got '\{'"),
        ({"key": ["a"], "vector": [[1.0]], "label": [3]}, r"the column label must hold text, got int64"),
    ],
)
def test_tables_that_are_refused(tmp_path, columns, message):
    path = foreign(tmp_path / "a.parquet", **columns)
    with pytest.raises(ValueError, match=message):
        Collection.import_(path, tmp_path / "items.db")
    assert os.listdir(tmp_path) == ["a.parquet"]


def test_twins_far_apart_are_found_too(tmp_path):
    keys = [f"{i}" for i in range(9000)]
    path = foreign(tmp_path / "a.parquet", key=[*keys, "7"], vector=np.ones((9001, 1)).tolist())
    with pytest.raises(ValueError, match="key must be distinct, got '7' more than once"):
        Collection.import_(path, tmp_path / "items.db")
    assert os.listdir(tmp_path) == ["a.parquet"]


def test_vectors_of_another_model_are_refused_and_those_of_the_same_added(tmp_path, original, collection):
    collection.export(tmp_path / "items.parquet")
    with Collection.open(tmp_path / "given.db", metric="l2") as other:
        other.add(["a"], np.ones((1, 26)))
    with pytest.raises(
        ValueError, match=r"must hold vectors of the model of .*given\.db, vectors .* got letters \(let"
    ):
        Collection.import_(tmp_path / "items.parquet", tmp_path / "given.db")
    path = foreign(tmp_path / "foreign.parquet", key=["a"], vector=[[1.0] * 26])
    with Collection.open(tmp_path / "letters.db", metric="l2") as other:
        other.sync(["some", "words"], Letters(), progress=False)
        other.add(["given"], np.ones((1, 26)), labels=["old"])
    with pytest.raises(ValueError, match=r"the model of .*letters\.db, letters .*got unknown vectors of 26 numbers"):
        Collection.import_(path, tmp_path / "letters.db")
    with Collection.import_(tmp_path / "items.parquet", tmp_path / "letters.db") as both:
        assert len(both) == 43
        ids = both.ids_of(["given"])
        assert (both.vectors(ids)[1] == collection.vectors(collection.ids_of(["given"]))[1]).all()
        assert both.hasher is None
    with pytest.raises(ValueError, match="metric must be 'l2', that of"):
        Collection.import_(tmp_path / "items.parquet", tmp_path / "new.db", metric="dot")
    with Collection.open(tmp_path / "dots.db", metric="dot"):
        pass
    with pytest.raises(ValueError, match="metric must be 'dot'"):
        Collection.import_(tmp_path / "items.parquet", tmp_path / "dots.db")


def test_what_is_no_parquet(tmp_path, collection):
    (tmp_path / "text.parquet").write_text("no parquet")
    (tmp_path / "empty").mkdir()
    collection.export(tmp_path / "cut.parquet")
    whole = (tmp_path / "cut.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[:-100])
    for name in ("text.parquet", "cut.parquet"):
        with pytest.raises(simskip.FormatError, match=f"{name} is no Parquet file, or damaged"):
            Collection.import_(tmp_path / name, tmp_path / "items.db")
    with pytest.raises(simskip.CollectionError, match="there is no file or folder"):
        Collection.import_(tmp_path / "nothing.parquet", tmp_path / "items.db")
    with pytest.raises(simskip.CollectionError, match=r"there are no \.parquet files"):
        Collection.import_(tmp_path / "empty", tmp_path / "items.db")
    assert not (tmp_path / "items.db").exists()


def test_parts_that_do_not_belong_together(tmp_path, collection, monkeypatch):
    small_groups(monkeypatch)
    collection.export(tmp_path / "a")
    collection.export(tmp_path / "b")
    os.rename(tmp_path / "a" / "part-00001.parquet", tmp_path / "part")
    with pytest.raises(simskip.FormatError, match=r"not one whole export: it has the parts \[0, 2\] of 3"):
        Collection.import_(tmp_path / "a", tmp_path / "items.db")
    os.rename(tmp_path / "b" / "part-00001.parquet", tmp_path / "a" / "part-00001.parquet")
    with pytest.raises(simskip.FormatError, match="not one whole export"):
        Collection.import_(tmp_path / "a", tmp_path / "items.db")
    os.rename(tmp_path / "part", tmp_path / "a" / "part-00001.parquet")
    with Collection.import_(tmp_path / "a", tmp_path / "items.db") as copy:
        assert len(copy) == 41


def test_a_flipped_byte_is_found_or_changes_nothing(tmp_path, original, collection):
    collection.export(tmp_path / "items.parquet")
    whole = (tmp_path / "items.parquet").read_bytes()
    before, outcomes = content(original), {True: 0, False: 0}
    for place in np.random.default_rng(0).integers(0, len(whole), 80).tolist():
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        (tmp_path / "damaged.parquet").write_bytes(damaged)
        try:
            with Collection.import_(tmp_path / "damaged.parquet", tmp_path / "copy.db"):
                pass
        except ValueError:  # FormatError, or a column that is called something else now
            outcomes[False] += 1
            assert not (tmp_path / "copy.db").exists()
        else:
            outcomes[True] += 1
            assert content(tmp_path / "copy.db") == before, place
            for path in tmp_path.glob("copy.db*"):
                path.unlink()
    assert outcomes[False] > 40


def test_where_nothing_may_be_written(tmp_path, collection):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "photo.jpg").write_text("")
    (tmp_path / "file.txt").write_text("")
    for name in ("full", "file.txt"):
        with pytest.raises(ValueError, match=r"path must be a \.parquet file, or a folder that is new or empty"):
            collection.export(tmp_path / name)
    for name in ("missing/items.parquet", "missing/parts"):
        with pytest.raises(simskip.CollectionError, match="cannot be written: No such file or directory"):
            collection.export(tmp_path / name)


@pytest.mark.parametrize("name", ["items.parquet", "parts"])
def test_a_full_disk_leaves_the_old_file(tmp_path, collection, name):
    with Collection.open(tmp_path / "items.db") as big:
        big.add([f"{i}" for i in range(3000)], np.random.default_rng(0).normal(size=(3000, 26)))
        if name == "items.parquet":
            collection.export(tmp_path / name)
            old = (tmp_path / name).read_bytes()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        try:
            with pytest.raises(simskip.CollectionError, match=f"no space left for .*{name}; what was there before"):
                big.export(tmp_path / name)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    left = {path.name for path in tmp_path.iterdir() if not path.name.startswith("items.db")}
    assert left == ({name} if name == "items.parquet" else set())
    if left:
        assert (tmp_path / name).read_bytes() == old


EXPORTER = """
import sys, simskip
from simskip.collection import parquet_export
parquet_export._GROUP_ROWS = (20, 20)
with simskip.Collection.open(sys.argv[1], read_only=True) as collection:
    print("ready", flush=True)
    while True:
        collection.export(sys.argv[2])
"""


def test_kill_during_export_leaves_a_whole_file(tmp_path):
    path = tmp_path / "items.parquet"
    with Collection.open(tmp_path / "items.db") as collection:
        collection.add([f"{i}" for i in range(2000)], np.ones((2000, 8)))
        collection.export(path)
    first = path.read_bytes()
    command = [sys.executable, "-c", EXPORTER, tmp_path / "items.db", path]
    exporter = subprocess.Popen(command, stdout=subprocess.PIPE)
    with exporter.stdout:
        assert exporter.stdout.readline() == b"ready\n"
        while path.read_bytes() == first:  # every export has a name of its own
            assert exporter.poll() is None
        while not list(tmp_path.glob(".items.parquet.*.tmp")):
            assert exporter.poll() is None
        exporter.send_signal(signal.SIGKILL)
        exporter.wait()
    with Collection.import_(path, tmp_path / "copy.db") as copy:
        assert len(copy) == 2000


def test_ids_as_they_were_given_out(tmp_path):
    """Rows that contradict each other are an error, not half a collection."""
    with Collection.open(tmp_path / "items.db") as collection:
        collection.add(["a", "b"], np.eye(2))
        collection.export(tmp_path / "items.parquet")
    table = pq.read_table(tmp_path / "items.parquet")
    twice = table.set_column(0, "id", pa.array([1, 1]))
    pq.write_table(twice, tmp_path / "twice.parquet")
    with pytest.raises(simskip.FormatError, match="its rows contradict each other: UNIQUE constraint failed"):
        Collection.import_(tmp_path / "twice.parquet", tmp_path / "copy.db")
    pq.write_table(table.slice(0, 1), tmp_path / "short.parquet")
    with pytest.raises(simskip.FormatError, match="should hold 2 items, it holds 1"):
        Collection.import_(tmp_path / "short.parquet", tmp_path / "copy.db")
    assert not Path(tmp_path / "copy.db").exists()


def test_a_newer_format_is_told(tmp_path):
    from simskip.collection import parquet_manifest

    with Collection.open(tmp_path / "items.db") as collection:
        collection.add(["a"], np.eye(1))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(parquet_manifest, "_FORMAT", 2)
            collection.export(tmp_path / "items.parquet")
    with pytest.raises(simskip.FormatError, match="has format 2; this simskip knows up to 1: upgrade simskip"):
        Collection.import_(tmp_path / "items.parquet", tmp_path / "copy.db")
