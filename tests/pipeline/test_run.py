"""Runs of an application: what runs, what is left alone, and what is remembered."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

import simskip
from simskip.pipeline import read_configuration, run
from simskip.pipeline.runner import stage_names
from simskip.pipeline.state import Facts, State

EXPORTS = ["export parquet", "export hasher", "export codes", "export knn"]


def go(folder, **options):
    return run(folder / "application.yaml", progress=False, **options)


def edit(folder, old, new, name="application.yaml"):
    path = folder / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def statuses(ended):
    return {outcome.stage: outcome.status for outcome in ended.outcomes}


def test_the_first_run_does_all_the_second_nothing(new_folder):
    first = go(new_folder)
    assert first.ran == ["sync", "train", "evaluate", "knn", *EXPORTS]
    assert first["sync"].summary == "200 added"
    assert first["train"].details["held_out"] == 20
    with simskip.Collection.open(new_folder / "out" / "words.db") as collection:
        assert len(collection) == 200
        assert len(collection.labels) == 4
        assert np.array_equal(np.load(new_folder / "out" / "codes.npy"), collection.codes()[1].data)
        assert (
            simskip.load_hasher(new_folder / "out" / "hasher.safetensors").fingerprint == collection.hasher.fingerprint
        )
        with np.load(new_folder / "out" / "neighbors.npz") as table:
            first_key, distances, ids = collection.keys_of(table["ids"][:1])[0], table["distances"], table["neighbors"]
        found = collection.neighbors(first_key, 4)
        assert [hit.id for hit in found] == ids[0].tolist()
        assert [hit.distance for hit in found] == distances[0].tolist()
    assert pyarrow.parquet.read_table(new_folder / "out" / "words.parquet").num_rows == 200
    report = json.loads((new_folder / "out" / "report.json").read_text())
    assert report["verdict"]["sentence"] == first["evaluate"].details["verdict"]
    second = go(new_folder)
    assert second.ran == []
    assert second["evaluate"].details == first["evaluate"].details
    assert second["evaluate"].summary == first["evaluate"].summary == "20 queries, K = 5"


def test_only_what_a_change_touches_runs(folder):
    edit(folder, "k: 5", "k: 3")
    ended = go(folder)
    assert ended.ran == ["evaluate"]
    assert ended["evaluate"].reason == "evaluation.k: 5 -> 3"

    edit(folder, "bits: 16", "bits: 8")
    ended = go(folder)
    assert ended.ran == ["train", "evaluate", "knn", *EXPORTS]
    assert ended["train"].reason == "hasher.bits: 16 -> 8"

    (folder / "out" / "codes.npy").unlink()
    ended = go(folder)
    assert ended.ran == ["export codes"]
    assert ended["export codes"].reason == "codes.npy is missing"

    (folder / "out" / "report.json").unlink()
    assert go(folder).ran == ["evaluate"]

    edit(folder, "k: 3", "k: 3, metrics: [recall]")
    assert go(folder).ran == []


def test_new_items_are_encoded_and_do_not_train_again_before_a_fifth_is_new(folder):
    before = (folder / "out" / "hasher.safetensors").read_bytes()
    with (folder / "words.txt").open("a") as file:
        file.write("".join(f"w{i:03d}\n" for i in range(200, 220)))
    ended = go(folder)
    assert ended.ran == ["sync", "evaluate", "knn", *(name for name in EXPORTS if name != "export hasher")]
    assert ended["sync"].summary == "20 added, 200 unchanged"
    assert "9% of the items changed" in ended["train"].reason
    assert (folder / "out" / "hasher.safetensors").read_bytes() == before
    assert len(np.load(folder / "out" / "codes.npy")) == 220

    with (folder / "words.txt").open("a") as file:
        file.write("".join(f"w{i:03d}\n" for i in range(220, 240)))
    edit(folder, "hold_out: 20", "hold_out: 20, retrain: 0.1")
    ended = go(folder)
    assert ended["train"].reason == "17% of the items changed since it was trained, more than 10%"
    assert "export hasher" in ended.ran


@pytest.mark.parametrize(("retrain", "trains"), [("never", False), ("when-data-changed", True)])
def test_when_to_train_again(folder, retrain, trains):
    edit(folder, "hold_out: 20", f"hold_out: 20, retrain: {retrain}")
    edit(folder, "w000\n", "", "words.txt")
    ended = go(folder)
    assert ended["sync"].summary == "1 removed, 199 unchanged"
    assert ("train" in ended.ran) is trains
    assert go(folder).ran == []


def test_changed_labels_train_a_hasher_that_learned_from_them(new_folder):
    edit(new_folder, "name: pca", "name: csq")
    edit(new_folder, "hold_out: 20", "hold_out: 20, parameters: {epochs: 1, hidden: [8]}")
    go(new_folder)
    edit(new_folder, ",c1\n", ",c2\n", "labels.csv")
    ended = go(new_folder)
    assert ended["train"].reason == "25% of the labels changed since it was trained, more than 20%"


def test_a_classifier_is_a_stage(new_folder):
    edit(new_folder, "hasher: {name", "classifier: {epochs: 5}\nhasher: {name")
    first = go(new_folder)
    assert first.ran[:3] == ["sync", "classifier", "train"]
    assert first["classifier"].summary.startswith("4 classes, ")
    with simskip.Collection.open(new_folder / "out" / "words.db") as collection:
        assert len(collection.held_out) == 20
        assert len(collection.search(key="w000", gate="soft", k=5)) == 5
    assert go(new_folder).ran == []
    edit(new_folder, "epochs: 5", "epochs: 6")
    ended = go(new_folder)
    assert ended.ran == ["classifier"]
    assert ended["classifier"].reason == "classifier.epochs: 5 -> 6"
    edit(new_folder, ",c1\n", ",c2\n", "labels.csv")
    ended = go(new_folder)
    assert ended["classifier"].reason == "25% of the labels changed since it was trained, more than 20%"
    assert ended["train"].status == "skipped"  # pca learns from no labels


def test_a_killed_run_goes_on_where_it_stopped(new_folder, monkeypatch):
    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(simskip.Collection, "train", killed)
        with pytest.raises(KeyboardInterrupt):
            go(new_folder)
    ended = go(new_folder)
    assert statuses(ended)["sync"] == "skipped"
    assert statuses(ended)["train"] == "ran"


def test_a_dry_run_says_what_would_run_and_changes_nothing(new_folder):
    plan = go(new_folder, dry_run=True)
    assert set(statuses(plan).values()) == {"runs"}
    assert not (new_folder / "out").exists()
    go(new_folder)
    before = (new_folder / "out" / "words.db").read_bytes()
    edit(new_folder, "k: 5", "k: 3")
    plan = go(new_folder, dry_run=True)
    assert statuses(plan)["train"] == "skipped"
    assert statuses(plan)["evaluate"] == "runs"
    (new_folder / "words.txt").write_text("w001\nw002\n")
    plan = go(new_folder, dry_run=True)
    assert statuses(plan)["sync"] == "runs"
    assert plan["train"].reason == "after sync"
    assert (new_folder / "out" / "words.db").read_bytes() == before


def test_changes_by_others_are_looked_at(folder):
    with simskip.Collection.open(folder / "out" / "words.db") as collection:
        collection.remove(["w003"])
    ended = go(folder)
    assert ended["sync"].reason == "the collection was changed meanwhile"
    assert ended["sync"].summary == "1 added, 199 unchanged"
    assert go(folder).ran == []


def test_stages_can_be_forced(folder):
    assert go(folder, force=["exports"]).ran == EXPORTS
    assert go(folder, force="encode").ran == ["encode"]
    assert go(folder, force=["all"]).ran == [outcome.stage for outcome in go(folder).outcomes]
    with pytest.raises(ValueError, match="force must be one of 'sync'"):
        go(folder, force=["training"])
    assert stage_names()[0] == "sync"


def test_a_hasher_from_elsewhere_is_replaced(folder):
    with simskip.Collection.open(folder / "out" / "words.db") as collection:
        collection.train("random", n_bits=24)
    ended = go(folder)
    assert ended["train"].reason == "the hasher in the collection is not from this file"
    assert ended["train"].status == "ran"


def test_a_limit_takes_the_place_of_what_was_there(new_folder):
    edit(new_folder, "words: words.txt", "words: vocabulary, limit: 100")
    edit(new_folder, ", labels: labels.csv", "")
    go(new_folder)
    edit(new_folder, "limit: 100", "limit: 90")
    assert go(new_folder)["sync"].summary == "10 removed, 90 unchanged"


def test_as_json_and_as_table(new_folder):
    ended = go(new_folder)
    content = json.loads(json.dumps(ended.as_dict()))
    assert content["collection"] == str(new_folder / "out" / "words.db")
    assert [stage["stage"] for stage in content["stages"]] == [outcome.stage for outcome in ended.outcomes]
    heads, lines = ended.table()
    assert all(len(line) == len(heads) for line in lines)
    assert "sync" in repr(ended)
    with pytest.raises(ValueError, match="stage must be one of"):
        ended["nothing"]


def test_how_the_collection_is_searched_is_remembered(new_folder):
    edit(new_folder, "evaluation:", "index: {rerank: 3, scoring: asymmetric}\nevaluation:")
    go(new_folder)
    with simskip.Collection.open(new_folder / "out" / "words.db", read_only=True) as collection:
        assert State(collection).index() == {"rerank": 3, "scoring": "asymmetric"}
        assert Facts(collection).without_code == 0


def test_a_state_that_cannot_be_read_is_none(folder):
    with simskip.Collection.open(folder / "out" / "words.db") as collection:
        with collection._database.writing() as connection:
            connection.execute("UPDATE meta SET value = '{\"other\": 1}' WHERE name = 'pipeline:evaluate'")
        assert State(collection).done("evaluate") is None
    assert go(folder).ran == ["evaluate"]


def test_a_configuration_may_be_given_and_relative_paths_begin_at_its_file(new_folder, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    configuration = read_configuration(new_folder / "application.yaml")
    run(configuration, progress=False)
    assert (new_folder / "out" / "report.json").exists()
    assert not list(Path.cwd().iterdir())


def test_an_option_that_the_embedder_has_not_is_said_to_be(folder):
    edit(folder, "embedder: words:vectors.txt", "embedder: {name: 'words:vectors.txt', options: {size: 1}}")
    with pytest.raises(ValueError, match=r"embedder\.options do not fit .*'size'"):
        go(folder)
