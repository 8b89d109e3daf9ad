"""The demo from end to end: real photographs, real training (little of it), everything that it leaves behind."""

import functools
import importlib.util

import numpy as np
import pytest

from simskip import SimilarityIndex, datasets, demo, embedding, load_hasher
from simskip.hashing import deep


class ProjectedPixels:
    """Stands in for the network, which has tests of its own: pixels through a fixed random projection."""

    name, dim, fingerprint = "projected-pixels", 64, "1"
    calls = 0

    def embed(self, batch, progress=False):
        type(self).calls += 1
        matrix = np.random.default_rng(0).normal(size=(784, self.dim)).astype(np.float32)
        return batch.reshape(len(batch), 784).astype(np.float32) / 255 @ matrix


@pytest.fixture
def short(monkeypatch, tmp_path):
    """Runs a demo of 1,000 + 40 photographs with a few steps of training."""
    try:
        datasets.fashion_mnist("test")
    except OSError as error:
        pytest.skip(f"no data set: {error}")
    if importlib.util.find_spec("simskip._learn") is None:
        pytest.skip("built without the trainer")
    ProjectedPixels.calls = 0
    monkeypatch.setattr(embedding, "images", lambda name, **options: ProjectedPixels())
    brief = functools.partial(deep.DeepHash, epochs=2, steps_per_epoch=4, hidden=(32,))
    monkeypatch.setattr(deep, "DeepHash", brief)
    return functools.partial(
        demo.run_demo, tmp_path / "out", database=1000, queries=40, progress=False, cache_dir=tmp_path / "cache"
    )


# Reasons that tiny data and tiny training give for caution are not what is tested here.
@pytest.mark.filterwarnings("ignore::simskip.CollapseWarning")
def test_demo_leaves_a_report_and_files_that_answer(short, tmp_path):
    lines = []
    result = short(say=lines.append)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "report.html",
        "hasher.safetensors",
        "index.simskip",
    }
    names = [row.name for row in result.report.rows]
    assert names[0] == "exact"
    assert names[-1] == "control"
    for hasher in ("random", "pca", "itq", "learned", "learned with labels"):
        assert {hasher, f"{hasher} + rerank"} <= set(names)
        assert result.report.row(f"{hasher} + rerank").get("recall@25") > result.report.row(hasher).get("recall@25")
    assert "learned, asymmetric + rerank" in names
    assert len(lines) == len(result.seconds)
    assert result.vectors_reused is False
    assert ProjectedPixels.calls == 2

    page = (tmp_path / "out" / "report.html").read_text()
    assert "data:image/png" in page
    hasher = load_hasher(tmp_path / "out" / "hasher.safetensors")
    index = SimilarityIndex.load(tmp_path / "out" / "index.simskip")
    assert (hasher.n_bits, len(index)) == (64, 1000)

    query = datasets.fashion_mnist("test")[:1]
    vector = ProjectedPixels().embed(query.images)
    _, ids = index.search(vector, k=10, rerank=10)
    assert [id for id, _, _ in result.answer.neighbours] == ids[0].tolist()
    items = datasets.fashion_mnist("train")
    assert [label for _, label, _ in result.answer.neighbours] == [items.label_names[items.labels[id]] for id in ids[0]]
    assert result.answer.label == "Ankle boot"

    again = short()
    assert again.vectors_reused is True
    assert again.answer == result.answer  # same seeds, same vectors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"database": 999}, "database must be an integer from 1000 to 60000, got 999"),
        ({"database": 60_001}, "database must be an integer from 1000 to 60000, got 60001"),
        ({"queries": 10_001}, "queries must be an integer from 1 to 10000, got 10001"),
        ({"queries": 0}, "queries must be an integer from 1 to 10000, got 0"),
    ],
)
def test_bad_sizes(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        demo.run_demo(tmp_path, **options)
