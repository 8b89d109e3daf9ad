"""A small application of words that has not run yet, and one that has."""

import shutil

import numpy as np
import pytest

from simskip.pipeline import run

N = 240
TEXT = """\
collection: out/words.db
data: {words: words.txt, labels: labels.csv}
embedder: words:vectors.txt
hasher: {name: pca, bits: 16, hold_out: 20}
evaluation: {k: 5, baselines: false}
exports: {hasher: out/hasher.safetensors, codes: out/codes.npy, report: out/report.json,
          parquet: out/words.parquet, knn: {k: 4, path: out/neighbors.npz}}
"""


@pytest.fixture(scope="session")
def fresh(tmp_path_factory):
    """An application that has not run yet."""
    tmp_path = tmp_path_factory.mktemp("fresh")
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4, 12))
    vectors = centres[np.arange(N) % 4] + 0.5 * rng.normal(size=(N, 12))
    words = [f"w{i:03d}" for i in range(N)]
    lines = [" ".join([word, *(f"{x:.4f}" for x in row)]) for word, row in zip(words, vectors, strict=True)]
    (tmp_path / "vectors.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "words.txt").write_text("\n".join(words[:200]) + "\n")
    (tmp_path / "labels.csv").write_text("key,label\n" + "".join(f"{w},c{i % 4}\n" for i, w in enumerate(words[:200])))
    (tmp_path / "application.yaml").write_text(TEXT)
    return tmp_path


@pytest.fixture(scope="session")
def done(fresh, tmp_path_factory):
    """One that has."""
    folder = tmp_path_factory.mktemp("done") / "application"
    shutil.copytree(fresh, folder)
    run(folder / "application.yaml", progress=False)
    return folder


@pytest.fixture
def folder(done, tmp_path):
    """One that has run, somewhere else: it may be moved."""
    shutil.copytree(done, tmp_path / "application")
    return tmp_path / "application"


@pytest.fixture
def new_folder(fresh, tmp_path):
    shutil.copytree(fresh, tmp_path / "application")
    return tmp_path / "application"
