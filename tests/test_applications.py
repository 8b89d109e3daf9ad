"""The examples run from end to end, made small."""

import json
import runpy
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image
from typer.testing import CliRunner

import simskip
from simskip.cli import app
from simskip.pipeline import read_configuration

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(application, *words):
    result = CliRunner().invoke(app, ["run", str(application), "--json", "--quiet", *words])
    assert result.exit_code == 0, result.output
    return {stage["stage"]: stage for stage in json.loads(result.stdout)["stages"]}


def small(example, folder, **changes):
    shutil.copytree(EXAMPLES / example, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("out", "photos"))
    path = folder / "application.yaml"
    text = path.read_text()
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    path = small(
        "photos",
        folder,
        hasher=("name: neighbors", "name: bihalf"),
        epochs=("epochs: 5", "epochs: 1\n    steps_per_epoch: 5\n    hidden: [32]"),
        hold_out=("hold_out: 60", "hold_out: 10"),
        k=("k: 10\n  queries: 60", "k: 3\n  queries: 60\n  baselines: false"),
    )
    write_photos = runpy.run_path(str(folder / "make_photos.py"))["write_photos"]
    assert write_photos(folder / "photos", 100) == 100
    assert write_photos(folder / "photos", 100) == 0
    (folder / "photos" / "bag" / "broken.png").write_bytes(b"no picture")
    return path


def codes_of(database):
    with simskip.Collection.open(database, read_only=True) as collection:
        ids, codes = collection.codes()
        return dict(zip(collection.keys_of(ids), codes.data.tolist(), strict=True))


def test_photos(photos):
    stages = run(photos)
    assert {stage["status"] for name, stage in stages.items() if name != "encode"} == {"ran"}
    assert (stages["sync"]["added"], stages["sync"]["unreadable"][0]["key"]) == (100, "bag/broken.png")
    out = photos.parent / "out"
    assert "data:image/png" in (out / "report.html").read_text()
    assert simskip.load_hasher(out / "hasher.safetensors").n_bits == 64
    with simskip.Collection.open(out / "photos.db", read_only=True) as collection:
        assert len(collection.neighbors(collection.keys_of(collection.held_out[:1])[0], 10)) == 10
    assert pyarrow.parquet.read_table(out / "photos.parquet").num_rows == 100
    before = codes_of(out / "photos.db")
    assert len(before) == 100

    changed = next((photos.parent / "photos" / "coat").iterdir())
    Image.fromarray(np.full((28, 28), 200, np.uint8)).save(changed)
    stages = run(photos)
    assert (stages["sync"]["updated"], stages["sync"]["unchanged"]) == (1, 99)
    assert stages["train"]["status"] == "skipped"
    assert "1% of the items changed" in stages["train"]["reason"]
    assert stages["evaluate"]["status"] == "ran"
    after = codes_of(out / "photos.db")
    assert [key for key in after if after[key] != before[key]] == [f"coat/{changed.name}"]

    assert {stage["status"] for name, stage in run(photos).items() if name != "sync"} == {"skipped"}


def test_words_can_be_read():
    configuration = read_configuration(EXAMPLES / "words" / "application.yaml")
    assert configuration.embedder.name == "glove"
    assert configuration.data.limit == 20000


@pytest.mark.slow
def test_words(tmp_path):
    try:
        simskip.datasets.glove()
    except OSError as error:
        pytest.skip(f"no data set: {error}")
    path = small("words", tmp_path, limit=("20000", "5000"), epochs=("epochs: 5", "epochs: 1"))
    stages = run(path)
    assert stages["sync"]["added"] == 5000
    with simskip.Collection.open(tmp_path / "out" / "words.db", read_only=True) as collection:
        assert "france" in collection.search(text="paris", k=10).keys
