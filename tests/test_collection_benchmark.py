"""What the benchmark of collections says is what it has measured."""

import sqlite3
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from benchmarks import collection as benchmark
from benchmarks import collection_job

import simskip
from simskip.datasets import LabelledImages


def test_a_folder_of_photographs_and_some_of_them_changed(tmp_path, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), np.uint8)
    source = LabelledImages(images, np.arange(40) % 2, ("cat", "dog"), "made up", "train")
    monkeypatch.setattr(simskip.datasets, "cifar10", lambda split: source)
    about = benchmark.photographs_in(tmp_path, 30, first=10)
    files = sorted(tmp_path.rglob("*.jpg"))
    assert [path.relative_to(tmp_path).as_posix() for path in files[:2]] == ["cat/00010.jpg", "cat/00012.jpg"]
    assert len(files) == about["n"] == 30
    assert about["mean_kb"] == pytest.approx(np.mean([path.stat().st_size for path in files]) / 1000)
    before = [path.read_bytes() for path in files]
    benchmark.changed(tmp_path, 4)
    assert sum(path.read_bytes() != old for path, old in zip(files, before, strict=True)) == 4


def test_usage_is_that_of_the_process():
    usage, printed = benchmark.process([sys.executable, "-c", "print(len(b'x' * 50_000_000))"])
    assert printed == "50000000\n"
    assert 50 < usage["peak_mb"] < 100  # not what this process takes
    assert 0 < usage["cpu_s"] < 10
    with pytest.raises(RuntimeError, match="ended with 3: what went wrong"):
        benchmark.process([sys.executable, "-c", "import sys; print('what went wrong', file=sys.stderr); sys.exit(3)"])


def test_a_killed_job_says_how_far_it_was():
    job = "import time\nfor i in range(1, 9): print(i, flush=True)\ntime.sleep(60)"
    assert benchmark._killed([sys.executable, "-c", job], until=3, delay=0.2) == 8


def test_collections_are_compared_by_what_they_hold(tmp_path):
    for name, keys in (("a", ["x", "y"]), ("b", ["y", "x"]), ("c", ["x", "z"])):
        with simskip.Collection.open(tmp_path / name) as collection:
            collection.add(keys, [[ord(key), 1] for key in keys])
    assert benchmark.content(tmp_path / "a") == benchmark.content(tmp_path / "b") != benchmark.content(tmp_path / "c")
    assert benchmark._count(tmp_path / "a") == 2
    assert benchmark._count(tmp_path / "none") == 0
    sqlite3.connect(tmp_path / "begun").close()
    assert benchmark._count(tmp_path / "begun") == 0
    assert benchmark._integrity(tmp_path / "a") == "ok"


def test_goals():
    runs = {name: {"wall_s": 1.0, "embedded": 1} for name in ("first", "unchanged", "changed")}
    embed = {"files": {"n": 100, "mean_kb": 40}, "runs": runs, "images_per_cpu_s": 90, "one_by_one": {"torch": 20}}
    embed |= {"images_per_s": 130, "peak_mb": 800, "changed_share": 0.04}
    kill = {"kills": [{"lost": 3, "embedded": 300}], "most_lost": 3, "batch": 256, "in_hand": 32}
    kill |= {"integrity": True, "resumed_is_equal": True}
    words = {"n": 9, "steps": {"sync": 1.0}, "wall_s": 60.0, "peak_mb": 500, "recall": 0.9, "paris": ["london"]}
    result = {"embed": embed, "kill": kill, "words": words}
    assert set(benchmark.goals(result).values()) == {True}
    assert len(benchmark.goals(result)) == 5
    assert len(benchmark.lines(result)) == 5
    assert "3 of 300 (batches of 256); integrity check ok; resumed is equal" in benchmark.lines(result)[3]
    assert not benchmark.goals({"kill": {**kill, "most_lost": 289}})["kill -9 loses at most one batch"]
    assert not benchmark.goals({"kill": {**kill, "resumed_is_equal": False}})["kill -9 loses at most one batch"]
    assert not benchmark.goals({"embed": {**embed, "images_per_s": 119}})["at least 120 images/s"]


class Words:
    name, dim, fingerprint, kind = "words", 32, "1", "text"
    vocabulary = ("paris", "london", *(f"word {i}" for i in range(398)))

    def embed(self, batch, progress=False):
        rng = np.random.default_rng([len(text) for text in batch])
        return rng.normal(size=(len(batch), 32)).astype(np.float32)


@pytest.mark.parametrize("n", [0, 300])
def test_words(tmp_path, monkeypatch, n):
    monkeypatch.setattr(simskip.embedding, "text", lambda name: Words())
    train = simskip.Collection.train
    monkeypatch.setattr(simskip.Collection, "train", lambda self, hasher, **options: train(self, "pca", 16))
    found = collection_job.words(str(tmp_path / "words.db"), n)
    assert found["n"] == (n or 400)
    assert list(found["steps"])[1:4] == ["sync", "train and encode", "encode alone"]
    assert min(found["steps"].values()) > 0
    assert 0 < found["recall"] <= 1
    assert len(found["paris"]) == 10
    assert SimpleNamespace(**found).paris != Words.vocabulary[:10]
