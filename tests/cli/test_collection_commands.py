"""The commands of a collection: words, streams, exit statuses; from a folder of images to a page of hits."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import simskip
from simskip.cli import app
from simskip.collection.database import Database
from simskip.errors import CollectionError

runner = CliRunner()
N = 60


def simskip_(*words):
    return runner.invoke(app, [str(word) for word in words])


def done(*words):
    result = simskip_(*words)
    assert result.exit_code == 0, result.output
    return result


def failed(status, *words):
    result = simskip_(*words)
    assert result.exit_code == status, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    return " ".join(result.stderr.split())


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Real photographs in three folders, and two files that are none."""
    folder = tmp_path_factory.mktemp("photos")
    items = simskip.datasets.fashion_mnist("test")
    for label in (1, 5, 8):
        for i, row in enumerate(np.flatnonzero(items.labels == label)[: N // 3]):
            path = folder / ("trouser", "sandal", "bag")[(1, 5, 8).index(label)] / f"{i:02d}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(items.images[row]).save(path)
    (folder / "bag" / "broken.jpg").write_bytes(b"no picture")
    (folder / "bag" / "empty.png").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def trained(photos, tmp_path_factory):
    """A collection of them, with a hasher."""
    database = tmp_path_factory.mktemp("trained") / "photos.db"
    done("embed", "-m", "efficientnet-lite0", "-i", photos, "-d", database, "-q", "--threads", 1)
    done("train", "-d", database, "--hasher", "pca", "--bits", 32, "-q")
    return database


@pytest.fixture
def database(trained, tmp_path):
    """A copy to change."""
    return shutil.copy(trained, tmp_path / "photos.db")


# embed


def test_embed_says_what_it_did_and_again_does_no_harm(photos, tmp_path):
    database = tmp_path / "a.db"
    words = ["embed", "-m", "efficientnet-lite0", "-i", photos / "bag", "-d", database, "--labels", "none"]
    first = done(*words, "-q")
    assert first.stdout == f"{database}: 20 added, 0 updated, 0 moved, 0 removed, 0 unchanged, 2 unreadable\n"
    assert first.stderr.splitlines()[0].startswith("unreadable: broken.jpg: ")
    second = json.loads(done(*words, "-q", "--json").stdout)
    assert (second["added"], second["unchanged"], second["embedded"], second["items"]) == (0, 20, 0, 20)
    assert [entry["key"] for entry in second["unreadable"]] == ["broken.jpg", "empty.png"]
    with simskip.Collection.open(database) as collection:
        assert collection.labels == {}


def test_embed_remembers_the_model(photos, database):
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(photos / "bag" / "new.png")
    try:
        result = done("embed", "-i", photos, "-d", database, "-q")
    finally:
        (photos / "bag" / "new.png").unlink()
    assert "1 added" in result.stdout
    with simskip.Collection.open(database) as collection:
        assert collection.labels["bag"] == 21


def test_a_folder_in_which_nothing_can_be_read(tmp_path):
    (tmp_path / "photos").mkdir()
    for i in range(12):
        (tmp_path / "photos" / f"{i:02d}.jpg").write_bytes(b"no")
    words = ["embed", "-m", "efficientnet-lite0", "-i", tmp_path / "photos", "-d", tmp_path / "a.db", "-q"]
    told = failed(2, *words)
    assert "nothing in" in told
    assert "unreadable: 09.jpg" in told
    assert "10.jpg" not in told
    assert "and 2 more" in told


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["-i", "{photos}", "-d", "new.db"], 2, "--model must be given"),
        (["-m", "efficientnet-lite0", "-i", "no-such-folder", "-d", "new.db"], 2, "--input: there is nothing at"),
        (["-m", "no-such-model", "-i", "{photos}", "-d", "new.db"], 2, "'efficientnet-lite0'"),
        (["-m", "efficientnet-lite0", "-i", "{empty}", "-d", "new.db"], 2, "has no images"),
        (["-m", "efficientnet-lite1", "-i", "{photos}", "-d", "{trained}"], 2, "efficientnet-lite0"),
        (["-i", "{photos}", "-d", "no/such/folder.db", "-m", "efficientnet-lite0"], 1, "there is no folder"),
        (["-i", "{photos}", "-d", "{photos}/bag/00.png"], 2, "is no collection"),
        (["-i", "{photos}"], 2, "--database"),
    ],
)
def test_wrong_use_of_embed(photos, trained, tmp_path, monkeypatch, words, status, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    names = {"photos": photos, "trained": trained, "empty": tmp_path / "empty"}
    assert told in failed(status, "embed", "-q", *(word.format(**names) for word in words))
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]  # nothing begun in vain


def test_a_locked_collection_is_said_to_be(photos, database, monkeypatch):
    monkeypatch.setattr(Database, "_patiently", lambda self, action: action())  # without waiting
    with simskip.Collection.open(database) as collection, collection._database.writing():
        told = failed(1, "train", "-d", database, "--hasher", "random", "-q")
    assert "is locked" in told


def test_a_full_disk_is_status_1(database, monkeypatch):
    def full(*_, **__):
        raise CollectionError("no space left for photos.db")

    monkeypatch.setattr(simskip.Collection, "encode", full)
    assert failed(1, "encode", "-d", database) == "error: no space left for photos.db"


# train, encode


def test_train_with_parameters(database):
    words = ["train", "-d", database, "--bits", 16, "--set", "epochs=1", "--set", "steps_per_epoch=2", "--set"]
    result = done(*words, "activation=gelu", "-q", "--hold-out", 3, "--threads", 1)
    assert "60 items have codes of 16 bits (neighbors); 3 held out" in result.stdout
    with simskip.Collection.open(database) as collection:
        assert collection.hasher.activation == "gelu"
        assert len(collection.codes()[1]) == N
    figures = json.loads(done("train", "-d", database, "--hasher", "random", "--json", "-q").stdout)
    assert figures["items"] == N
    assert figures["health"]["n_bits"] == 64


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--hasher", "neighbours"], "did you mean 'neighbors'?"),
        (["--set", "epoch=3"], "did you mean 'epochs'?"),
        (["--set", "epochs"], "--set must be name=value"),
        (["--set", "epochs=2", "--set", "epochs=3"], "given twice"),
        (["--set", "dropout=7"], "dropout must lie in"),
    ],
)
def test_wrong_use_of_train(database, words, told):
    assert told in failed(2, "train", "-d", database, *words)


def test_train_a_classifier_and_search_behind_it(database):
    told = done("train", "-d", database, "--classifier", "--set", "epochs=20", "-q", "--threads", 1).stdout
    assert "a classifier of 3 classes" in told
    hits = json.loads(done("search", "-d", database, "--key", "bag/00.png", "--gate", "hard", "--json").stdout)["hits"]
    assert {hit["label"] for hit in hits} == {"bag"}
    figures = json.loads(done("train", "-d", database, "--classifier", "--json", "-q", "--threads", 1).stdout)
    assert figures["classes"] == ["bag", "sandal", "trouser"]
    assert 0 <= figures["judged"]["accuracy"] <= 1
    assert "did you mean 'epochs'?" in failed(2, "train", "-d", database, "--classifier", "--set", "epoch=1")
    words = ["search", "-d", database, "--key", "bag/00.png"]
    assert "--gate compares vectors" in failed(2, *words, "--gate", "soft", "--rerank", 2)
    assert "needs a gate" in failed(2, *words, "--budget", 2)
    assert "gate must be one of" in failed(2, *words, "--gate", "open")


def test_a_classifier_leaves_the_items_alone_that_the_hasher_has_not_seen(database):
    done("train", "-d", database, "--hasher", "random", "--hold-out", 2, "-q")
    with simskip.Collection.open(database) as collection:
        before = collection.held_out.tolist()
    done("train", "-d", database, "--classifier", "-q", "--threads", 1)
    with simskip.Collection.open(database) as collection:
        assert collection.held_out.tolist() == before
    assert len(before) == 2


def test_search_behind_no_classifier(trained):
    assert "classifier" in failed(2, "search", "-d", trained, "--key", "bag/00.png", "--gate", "soft")


def test_encode(database):
    assert "every item has its code" in done("encode", "-d", database).stdout
    with simskip.Collection.open(database) as collection, collection._database.writing() as connection:
        connection.execute("DELETE FROM codes WHERE id IN (SELECT id FROM codes LIMIT 4)")
    assert json.loads(done("encode", "-d", database, "--json").stdout) == {"encoded": 4}


# search


def test_search_by_key_image_and_vector_agree(photos, trained, tmp_path):
    with simskip.Collection.open(trained, read_only=True) as collection:
        np.save(tmp_path / "q.npy", collection.vectors(collection.ids_of(["bag/00.png"]))[1])
    questions = (["--key", "bag/00.png"], ["--image", photos / "bag" / "00.png"], ["--vector", tmp_path / "q.npy"])
    answers = [
        json.loads(done("search", "-d", trained, *question, "-k", 6, "--exact", "--json").stdout)["hits"]
        for question in questions
    ]
    keys = [[hit["key"] for hit in answer] for answer in answers]
    assert keys[0][:5] == keys[1][1:] == keys[2][1:]  # an item does not find itself, a file does
    assert keys[1][0] == "bag/00.png"
    assert answers[0][0]["label"] == "bag"


def test_search_prints_a_table(trained):
    result = done("search", "-d", trained, "--key", "sandal/03.png", "-k", 3)
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["rank", "key", "label", "cosine"]
    assert [line.split()[0] for line in lines[1:]] == ["1", "2", "3"]
    assert result.stderr == ""
    assert " bits" in done("search", "-d", trained, "--key", "sandal/03.png", "--rerank", 0).stdout.splitlines()[0]


def test_names_are_printed_as_they_are(tmp_path):
    names = ["a:b:c :warning:", "[bold]x[/bold]", "[/]\\", "日本"]
    with simskip.Collection.open(tmp_path / "a.db") as collection:
        collection.add(names, np.eye(4), labels=[":b:", "[x]", "[/]", None])
    shown = done("search", "-d", tmp_path / "a.db", "--key", names[3], "-k", 4).stdout
    for name in (*names[:3], ":b:", "[x]"):
        assert name in shown
    assert "no-such [key] :b:" in failed(2, "search", "-d", tmp_path / "a.db", "--key", "no-such [key] :b:")


def test_words(tmp_path, monkeypatch):
    (tmp_path / "v.txt").write_text("king 1 0 0\nqueen 0.9 0.1 0\nrome 0 1 0\n")
    monkeypatch.chdir(tmp_path)
    done("embed", "-m", "words:v.txt", "-d", "a.db", "-q")
    monkeypatch.chdir("/")  # the collection knows where its words lie
    hits = json.loads(done("search", "-d", tmp_path / "a.db", "--text", "king", "-k", 2, "--json").stdout)["hits"]
    assert [hit["key"] for hit in hits] == ["king", "queen"]
    assert "no vector for the word 'zzz'" in failed(2, "search", "-d", tmp_path / "a.db", "--text", "zzz")


def test_search_with_conditions(trained):
    words = ["search", "-d", trained, "--key", "bag/00.png", "--json", "-k", 4]

    def labels(*more):
        return {hit["label"] for hit in json.loads(done(*words, *more).stdout)["hits"]}

    assert labels("--label", "sandal") == {"sandal"}
    assert labels("--where", "label = ? OR label = 'none'", "--param", "trouser") == {"trouser"}
    assert labels("--where", "label <> 'bag'", "--label", "trouser") == {"trouser"}
    assert "nothing was found" in done(*words[:-3], "--label", "cat").stdout


def test_search_writes_a_page_with_the_pictures(trained, tmp_path):
    page = tmp_path / "hits.html"
    result = done("search", "-d", trained, "--key", "bag/00.png", "-k", 4, "--html", page)
    assert str(page) in result.stderr.replace("\n", "")
    html = page.read_text()
    assert html.count("data:image/png;base64,") == 5  # the query's too
    assert "The 4 nearest of 60 items in photos.db, found by codes of 32 bits." in html


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        ([], 2, "give one of --image, --text, --key, --vector, got none"),
        (["--key", "a", "--text", "b"], 2, "got --text and --key"),
        (["--key", "no-such-key"], 2, "no-such-key"),
        (["--image", "no-such-file.png"], 2, "--image: there is no file"),
        (["--key", "bag/00.png", "--where", "lable = 'bag'"], 2, "did you mean label?"),
        (["--key", "bag/00.png", "--where", "1; DROP TABLE items"], 2, "one condition"),
        (["--key", "bag/00.png", "--param", "1"], 2, "--param needs --where"),
        (["--key", "bag/00.png", "--exact", "--rerank", "2"], 2, "--exact"),
        (["--key", "bag/00.png", "--html", "no/such/folder.html"], 1, "does not exist"),
        (["--vector", "{trained}"], 2, "is not a .npy file"),
    ],
)
def test_wrong_use_of_search(trained, words, status, told):
    assert told in failed(status, "search", "-d", trained, *(word.format(trained=trained) for word in words))


def test_a_collection_that_is_not_there(tmp_path):
    for command in (["encode"], ["search", "--key", "a"], ["evaluate"], ["doctor"]):
        assert "there is no collection" in failed(1, *command, "-d", tmp_path / "no.db")
    assert not list(tmp_path.iterdir())


# evaluate, export, doctor


def test_evaluate(trained, tmp_path):
    page = tmp_path / "report.html"
    result = done("evaluate", "-d", trained, "-k", 3, "--html", page, "--threads", 1)
    assert "codes + rerank" in result.stdout
    assert "Recall@3" in result.stdout
    assert "comparing with exact search" in result.stderr
    assert "data:image/png" in page.read_text()
    content = json.loads(done("evaluate", "-d", trained, "-k", 3, "-q", "--json").stdout)
    assert content["provenance"]["collection"]["held_out"] == 6
    assert content["provenance"]["queries_in_database"] == 0


def test_evaluate_needs_items_that_the_hasher_has_not_seen(database, tmp_path):
    done("train", "-d", database, "--hasher", "random", "--hold-out", 0, "-q")
    assert "has not seen" in failed(2, "evaluate", "-d", database)
    with simskip.Collection.open(tmp_path / "a.db") as collection:
        collection.add(["a", "b"], np.eye(2))
    assert "has no hasher" in failed(2, "evaluate", "-d", tmp_path / "a.db")
    assert "--html must end in .html" in failed(2, "evaluate", "-d", database, "--html", "a.pdf")


def test_export(trained, tmp_path):
    words = ["export", "-d", shutil.copy(trained, tmp_path / "a.db"), "-q"]
    files = {"--hasher": tmp_path / "h.safetensors", "--codes": tmp_path / "c.npy"}
    result = done(*words, *(word for pair in files.items() for word in pair))
    assert "60 codes of 32 bits in c.npy" in result.stdout
    with simskip.Collection.open(trained, read_only=True) as collection:
        assert simskip.load_hasher(files["--hasher"]).fingerprint == collection.hasher.fingerprint
        assert np.array_equal(np.load(files["--codes"]), collection.codes()[1].data)
    assert "the 3 nearest of 60 items in k.npz" in done(*words, "--knn", tmp_path / "k.npz", "-k", 3).stdout
    done(*words, "--parquet", tmp_path / "p.parquet", "--json")
    with simskip.Collection.import_(tmp_path / "p.parquet", tmp_path / "again.db") as again:
        assert len(again) == N
    assert "say what to export" in failed(2, "export", "-d", trained)
    assert "does not exist" in failed(1, "export", "-d", trained, "--codes", tmp_path / "no" / "c.npy")


def test_doctor_of_a_collection(trained):
    told = done("doctor", "-d", trained).stdout
    assert "efficientnet-lite0" in told
    assert "held out         6" in told


# As a program


def program(*words, **options):
    command = [sys.executable, "-m", "simskip", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def test_a_program_ends_with_a_status_and_one_line(tmp_path):
    process = program("encode", "-d", tmp_path / "no.db")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert err == f"error: there is no collection {tmp_path / 'no.db'}\n"


def test_ctrl_c_is_status_130_and_loses_nothing(database):
    words = ["train", "-d", database, "--set", "epochs=1000", "--set", "steps_per_epoch=1000", "--set", "patience=0"]
    process = program(*words, env={**os.environ, "OMP_NUM_THREADS": "1"})
    told = ""
    while "epoch" not in told and process.poll() is None:
        told += process.stderr.read(1)
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, told + err
    assert err.endswith("interrupted\n")
    assert "Traceback" not in told + err
    with simskip.Collection.open(database) as collection:
        assert type(collection.hasher).__name__ == "PCAHash"
        assert len(collection.codes()[1]) == N


def test_a_reader_that_has_seen_enough(trained):
    words = f"{sys.executable} -m simskip search -d {trained} --key bag/00.png -k 50 --json | head -n 1"
    result = subprocess.run(["bash", "-c", words], capture_output=True, text=True, timeout=60, check=False)
    assert result.stdout == "{\n"
    assert result.stderr == ""
