"""A collection that an earlier version wrote loads for ever.

``python -m tests.collection.test_golden`` writes the file of this version, once.
"""

import gzip
import sqlite3
from pathlib import Path

import numpy as np
import pytest

import simskip
from simskip.collection import schema

FOLDER = Path(__file__).parent / "golden"
KEYS = ("a", "b/c.jpg", "ü", "d", "e")


def written(path: Path) -> None:
    """Five items with everything that the first schema holds, but no trained network: those depend on the machine."""
    rng = np.random.default_rng(5)
    with simskip.Collection.open(path) as collection:
        labels = ["x", "y", None, "x", "y"]
        attributes = [{"year": 2000 + i} for i in range(5)]
        collection.add(KEYS, rng.normal(size=(5, 3)).round(2), labels=labels, attributes=attributes)
        collection.train(simskip.RandomHash(12).fit(np.eye(3)))
        collection.knn_table(2, progress=False)


@pytest.fixture(params=sorted(FOLDER.glob("*.gz")), ids=lambda path: path.name)
def collection(request, tmp_path):
    path = tmp_path / "golden.db"
    path.write_bytes(gzip.decompress(request.param.read_bytes()))
    with simskip.Collection.open(path) as opened:
        yield opened


def test_everything_is_there(collection):
    assert collection.keys_of(collection.vectors()[0]) == list(KEYS)
    assert collection.labels == {"x": 2, "y": 2}
    expected = np.random.default_rng(5).normal(size=(5, 3)).round(2).astype(np.float32)
    assert (collection.vectors()[1] == expected).all()
    assert (collection.codes()[1].data == collection.hasher.encode(expected).data).all()
    hits = collection.search(key="a", k=2, where="year > 2001", exact=True)
    assert all(hit.attributes["year"] > 2001 for hit in hits)
    assert len(hits) == 2
    assert len(collection.neighbors("ü", 2)) == 2
    collection.add(["f"], [[1.0, 2.0, 3.0]])
    assert collection.search(vector=[1.0, 2.0, 3.0], k=1).keys == ["f"]


def test_there_is_one_of_every_schema():
    """A new schema needs a file of its own."""
    found = {int(path.name.split("-v")[1].split(".")[0]) for path in FOLDER.glob("*.gz")}
    assert found == set(range(1, schema.SCHEMA_VERSION + 1))


if __name__ == "__main__":
    target = FOLDER / f"collection-v{schema.SCHEMA_VERSION}.db.gz"
    temporary = target.with_suffix("")
    written(temporary)
    connection = sqlite3.connect(temporary)
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.execute("VACUUM")
    connection.close()
    target.write_bytes(gzip.compress(temporary.read_bytes(), mtime=0))
    temporary.unlink()
