import os
import sqlite3
import threading

import numpy as np
import pytest

import simskip
from simskip.collection import schema
from simskip.collection.database import Database

from .conftest import save_photo


def test_what_is_no_collection_is_refused(tmp_path):
    (tmp_path / "text.db").write_text("hello " * 1000)
    with pytest.raises(simskip.FormatError, match="is no collection, or damaged: file is not a database"):
        simskip.Collection.open(tmp_path / "text.db")
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE theirs (x)")
    other.commit()
    other.close()
    with pytest.raises(simskip.FormatError, match="is a database, but not a simskip collection"):
        simskip.Collection.open(tmp_path / "other.db")
    with pytest.raises(simskip.CollectionError, match="is a folder, not a collection"):
        simskip.Collection.open(tmp_path)
    with pytest.raises(simskip.CollectionError, match="there is no collection"):
        simskip.Collection.open(tmp_path / "none.db", create=False)
    with pytest.raises(simskip.CollectionError, match="there is no collection"):
        simskip.Collection.open(tmp_path / "none.db", read_only=True)
    with pytest.raises(simskip.CollectionError, match="there is no folder"):
        simskip.Collection.open(tmp_path / "none" / "none.db")
    assert (tmp_path / "text.db").read_text().startswith("hello")
    assert not (tmp_path / "none.db").exists()


def test_a_newer_schema_is_refused(filled):
    filled.close()
    client = sqlite3.connect(filled.path)
    client.execute("PRAGMA user_version = 99")
    client.close()
    with pytest.raises(simskip.FormatError, match=r"schema version 99; .* up to 1: upgrade simskip"):
        simskip.Collection.open(filled.path)


def test_older_schemas_are_brought_up_in_one_transaction(filled, monkeypatch):
    filled.close()
    with simskip.Collection.open(filled.path) as collection:
        before = collection.search(vector=np.ones(8), k=3)
    scripts = (*schema._SCRIPTS, "ALTER TABLE items ADD COLUMN colour TEXT;\nCREATE TABLE more (x);\nbroken;")
    monkeypatch.setattr(schema, "_SCRIPTS", scripts)
    monkeypatch.setattr(schema, "SCHEMA_VERSION", 2)
    with pytest.raises(simskip.CollectionError, match="syntax error"):
        simskip.Collection.open(filled.path)
    monkeypatch.setattr(schema, "_SCRIPTS", (*scripts[:1], scripts[1].replace("broken;", "")))
    with pytest.raises(simskip.FormatError, match="older schema version 1: open it once for writing"):
        simskip.Collection.open(filled.path, read_only=True)
    with simskip.Collection.open(filled.path) as collection:
        assert collection.info()["schema_version"] == 2
        assert collection._database.rows("SELECT colour FROM items LIMIT 1") == [(None,)]
        assert collection.search(vector=np.ones(8), k=3) == before


def test_a_locked_file_says_so(filled):
    with simskip.Collection.open(filled.path, lock_timeout=0.1) as collection:
        other = sqlite3.connect(filled.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(simskip.CollectionError, match=r"is locked: another process has been writing for 0\.1 s"):
            collection.add(["x"], np.ones((1, 8)))
        assert len(collection.search(vector=np.ones(8), k=40)) == 40  # readers are not held up
        other.execute("ROLLBACK")
        other.close()
        collection.add(["x"], np.ones((1, 8)))
        assert len(collection) == 41


def test_a_writer_waits_for_another(filled):
    other = sqlite3.connect(filled.path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.2, lambda: other.execute("ROLLBACK"))
    timer.start()
    filled.add(["x"], np.ones((1, 8)))
    timer.join()
    other.close()
    assert "x" in filled


def test_a_full_disk_keeps_what_was_committed(collection, tmp_path, colours):
    folder = tmp_path / "many"
    for i in range(40):
        save_photo(folder / f"{i:02}.png", i)
    writer = collection._database._writer
    writer.execute(f"PRAGMA max_page_count = {writer.execute('PRAGMA page_count').fetchone()[0] + 1}")

    class Wide:
        name, dim, fingerprint = "wide", 4096, "wide"

        def embed(self, batch, progress=False):
            return np.tile(colours.embed(batch), (1, 342))[:, :4096]

    with pytest.raises(simskip.CollectionError, match=r"no space left for .*; what was saved before is intact"):
        collection.sync(folder, Wide(), progress=False, batch_size=1)
    kept = len(collection)
    assert kept < 40
    assert collection._database.value("PRAGMA integrity_check") == "ok"
    writer.execute("PRAGMA max_page_count = 1000000")
    report = collection.sync(folder, Wide(), progress=False)
    assert (report.added, report.unchanged) == (40 - kept, kept)


def test_a_failed_training_leaves_codes_and_hasher(filled, monkeypatch):
    filled.train("random", 16)
    fingerprint = filled.hasher.fingerprint
    monkeypatch.setattr(simskip.PCAHash, "to_bytes", lambda self: (_ for _ in ()).throw(OSError("no")))
    with pytest.raises(OSError, match="no"):
        filled.train("pca", 8)
    assert filled.hasher.fingerprint == fingerprint
    assert len(filled.codes()[0]) == 40
    assert filled.codes()[1].n_bits == 16


def test_damage_is_told(filled):
    filled.close()
    client = sqlite3.connect(filled.path)
    client.execute("UPDATE vectors SET vector = x'00' WHERE id = 7")
    client.commit()
    client.close()
    with (
        simskip.Collection.open(filled.path) as collection,
        pytest.raises(simskip.FormatError, match="between the items 1 and 40 is damaged"),
    ):
        collection.search(vector=np.ones(8))
    content = bytearray(filled.path.read_bytes())
    content[len(content) // 2 :] = os.urandom(len(content) - len(content) // 2)
    filled.path.write_bytes(content)
    with pytest.raises((simskip.FormatError, simskip.CollectionError)):
        _searched(filled.path)


def _searched(path):
    with simskip.Collection.open(path) as collection:
        return collection.search(vector=np.ones(8), k=3)


def test_a_block_that_fails_changes_nothing(filled):
    database = Database(filled.path)
    with pytest.raises(RuntimeError):
        _half_done(database)
    assert database.value("SELECT count(*) FROM items") == 40
    database.close()


def _half_done(database):
    with database.writing() as outer:
        outer.execute("DELETE FROM items WHERE key = 'item1'")
        with database.writing() as inner:  # part of the outer one
            inner.execute("DELETE FROM items WHERE key = 'item2'")
        raise RuntimeError


def test_readers_see_one_state(filled):
    database = Database(filled.path)
    with database.reading() as connection:
        before = connection.execute("SELECT count(*) FROM items").fetchone()
        filled.add(["x"], np.ones((1, 8)))
        assert connection.execute("SELECT count(*) FROM items").fetchone() == before
    assert database.value("SELECT count(*) FROM items") == 41
    database.close()
