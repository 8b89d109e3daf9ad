import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import simskip
from simskip.collection import sources

from .conftest import Colours, save_photo, settle


def counts(report):
    return report.added, report.updated, report.moved, report.removed, report.unchanged


def synced(collection, folder, embedder, **options):
    return collection.sync(folder, embedder, progress=False, **options)


def test_a_folder_becomes_items(collection, photos, colours):
    report = synced(collection, photos, colours)
    assert counts(report) == (6, 0, 0, 0, 0)
    assert report.embedded == 6
    assert collection.labels == {"blue": 3, "red": 3}
    assert set(collection.keys_of(collection.vectors()[0])) == {
        f"{'red' if i % 2 else 'blue'}/{i}.png" for i in range(6)
    }
    assert collection.files_of(collection.ids_of(["red/1.png"])) == [photos / "red/1.png"]
    assert (collection.vectors(collection.ids_of(["red/1.png"]))[1] == colours.embed([photos / "red/1.png"])).all()
    hits = collection.search(image=photos / "red/1.png", k=3)
    assert hits[0].file == photos / "red/1.png"
    hits[1].file.unlink()
    page = hits._repr_html_()
    assert page.count("<img ") == page.count("data:image/png;base64,") == 2


def test_what_cannot_be_read_is_recorded_and_left_alone(collection, photos, colours):
    report = synced(collection, photos, colours)
    ((key, reason),) = report.unreadable
    assert key == "broken.jpg"
    assert "identify" in reason
    assert collection.unreadable() == report.unreadable
    colours.seen.clear()
    assert synced(collection, photos, colours).unreadable == report.unreadable
    assert colours.seen == []
    save_photo(photos / "broken.png", 9)
    (photos / "broken.png").rename(photos / "broken.jpg")
    report = synced(collection, photos, colours)
    assert counts(report) == (1, 0, 0, 0, 6)
    assert report.unreadable == []
    assert collection.unreadable() == []


def test_the_second_run_embeds_nothing(collection, photos, colours):
    synced(collection, photos, colours)
    revision = collection.revision
    colours.seen.clear()
    assert counts(synced(collection, photos, colours)) == (0, 0, 0, 0, 6)
    assert colours.seen == []
    assert collection.revision == revision


def test_only_what_changed_is_embedded(collection, photos, colours):
    synced(collection, photos, colours)
    before = {key: collection.ids_of([key])[0] for key in ("red/1.png", "blue/2.png", "red/3.png")}
    colours.seen.clear()
    save_photo(photos / "red/1.png", 77)  # changed
    os.utime(photos / "red/5.png", (2e9 - 1e9, 3))  # only touched
    (photos / "blue/2.png").rename(photos / "red/2.png")  # moved
    (photos / "red/3.png").unlink()  # gone
    (photos / "blue/copy.png").write_bytes((photos / "blue/0.png").read_bytes())  # the content is known
    save_photo(photos / "green/new.png", 78)  # new
    report = synced(collection, photos, colours)
    assert counts(report) == (2, 1, 1, 1, 3)
    assert {path.name for path in colours.seen} == {"1.png", "new.png"}
    assert report.embedded == 2
    assert collection.ids_of(["red/1.png"]) == before["red/1.png"]
    assert collection.ids_of(["red/2.png"]) == before["blue/2.png"]
    assert collection.labels == {"blue": 3, "red": 3, "green": 1}
    assert "red/3.png" not in collection
    same = collection.vectors(collection.ids_of(["blue/copy.png", "blue/0.png"]))[1]
    assert (same[0] == same[1]).all()
    everything = {key: collection.vectors(collection.ids_of([key]))[1] for key in ("red/1.png", "green/new.png")}
    for key, vector in everything.items():
        assert (vector == colours.embed([photos / key])).all()


def test_a_label_that_somebody_gave_moves_along(collection, photos, colours):
    synced(collection, photos, colours)
    collection.set_labels({"red/1.png": "sunset"})
    for name in ("1.png", "3.png"):
        (photos / "red" / name).rename(photos / "blue" / name)
    synced(collection, photos, colours)
    assert collection.labels_of(collection.ids_of(["blue/1.png", "blue/3.png"])) == ["sunset", "blue"]


def test_a_file_that_changed_just_now_is_compared_by_content(collection, tmp_path, colours):
    """Same size, same time of modification: possible within the resolution of a file system's clock."""
    path = tmp_path / "now" / "a.png"
    save_photo(path, 1)
    synced(collection, path.parent, colours)
    status = path.stat()
    content = path.read_bytes()
    other = next(
        data for seed in range(2, 500) if len(data := _photo_bytes(tmp_path, seed)) == len(content) and data != content
    )
    path.write_bytes(other)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert counts(synced(collection, path.parent, colours)) == (0, 1, 0, 0, 0)


def _photo_bytes(folder, seed):
    save_photo(folder / "other.png", seed)
    return (folder / "other.png").read_bytes()


def test_an_item_whose_file_breaks_stays(collection, photos, colours):
    synced(collection, photos, colours)
    vector = collection.vectors(collection.ids_of(["red/1.png"]))[1]
    (photos / "red/1.png").write_bytes(b"half a pho")
    report = synced(collection, photos, colours)
    assert {key for key, _ in report.unreadable} == {"broken.jpg", "red/1.png"}
    assert (collection.vectors(collection.ids_of(["red/1.png"]))[1] == vector).all()


@pytest.mark.parametrize("emptied", [True, False])
def test_a_folder_without_images_is_an_error_and_nothing_is_lost(collection, photos, colours, emptied, tmp_path):
    synced(collection, photos, colours)
    if emptied:
        for path in photos.rglob("*.*"):
            path.unlink()
    target = photos if emptied else tmp_path / "nowhere"
    with pytest.raises(ValueError, match=r"source has no images|there is nothing at"):
        synced(collection, target, colours)
    assert len(collection) == 6


def test_folders_that_cannot_be_listed_lose_nothing(collection, photos, colours, monkeypatch):
    synced(collection, photos, colours)

    def refusing(folder, suffixes, on_error):
        on_error(PermissionError(13, "Permission denied", os.fspath(photos / "red")))
        return [path for path in files_below(folder, suffixes, on_error) if path.parent.name != "red"]

    files_below = sources.files_below
    monkeypatch.setattr(sources, "files_below", refusing)
    report = synced(collection, photos, colours)
    assert report.removed == 0
    assert ("red/", "Permission denied") in report.unreadable
    assert len(collection) == 6
    monkeypatch.undo()
    assert ("red/", "Permission denied") not in synced(collection, photos, colours).unreadable


def test_what_only_looks_like_a_file_is_not_waited_for(collection, photos, colours):
    os.mkfifo(photos / "pipe.jpg")
    (photos / "nowhere.png").symlink_to(photos / "gone.png")
    (photos / "folder.png").mkdir()
    named_by_bytes = os.fsencode(photos) + b"/\xff.png"
    (photos / "red/1.png").rename(os.fsdecode(named_by_bytes))
    save_photo(photos / "two\nlines.png", 12)
    report = synced(collection, photos, colours)
    assert report.added == 6
    assert "two\nlines.png" in collection
    reasons = dict(report.unreadable)
    assert reasons["pipe.jpg"] == "it is a pipe, a socket or a device"
    assert reasons["nowhere.png"] == "No such file or directory"
    assert reasons["?.png"] == "its name is not text in UTF-8"


def test_vectors_of_another_model_are_refused(collection, photos, colours):
    synced(collection, photos, colours)
    other = Colours()
    other.fingerprint = "colours 2"
    with pytest.raises(ValueError, match=r"holds vectors of colours \(colours 1\), got colours \(colours 2\)"):
        synced(collection, photos, other)
    with pytest.raises(ValueError, match="different models cannot be compared, begin"):
        collection.embedder = other
    with pytest.raises(ValueError, match=r"name must be one of|embedder"):
        synced(collection, photos, "no-such-model")
    with pytest.raises(ValueError, match="embedder must be a name or have"):
        synced(collection, photos, object())


def test_an_embedder_without_a_loadable_name_must_be_assigned_after_reopening(collection, photos, colours):
    synced(collection, photos, colours)
    with simskip.Collection.open(collection.path) as again:
        with pytest.raises(ValueError, match=r"cannot be loaded by its name .*assign collection.embedder"):
            again.search(image=photos / "red/1.png")
        again.embedder = Colours()
        assert again.search(image=photos / "red/1.png", k=1).keys == ["red/1.png"]
        assert counts(again.sync(photos, progress=False)) == (0, 0, 0, 0, 6)


def test_two_folders_need_prefixes(collection, photos, colours, tmp_path):
    synced(collection, photos, colours)
    save_photo(tmp_path / "more" / "red" / "1.png", 50)
    with pytest.raises(ValueError, match=r"'red/1.png' is in .* already, from another source: give this one a prefix"):
        synced(collection, tmp_path / "more", colours)
    assert counts(synced(collection, tmp_path / "more", colours, prefix="more/")) == (1, 0, 0, 0, 0)
    assert len(collection) == 7
    with pytest.raises(ValueError, match="prefix must be 'more/'"):
        synced(collection, tmp_path / "more", colours)
    assert counts(synced(collection, photos, colours)) == (0, 0, 0, 0, 6)
    assert collection.files_of(collection.ids_of(["more/red/1.png"])) == [tmp_path / "more/red/1.png"]


def test_a_folder_that_moved_keeps_its_items(collection, photos, colours):
    synced(collection, photos, colours)
    moved = photos.rename(photos.with_name("renamed"))
    colours.seen.clear()
    assert counts(synced(collection, moved, colours)) == (0, 0, 0, 0, 6)
    assert colours.seen == []


def test_labels_from_a_table_or_none(collection, photos, colours, tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("file;class;year\nred/1.png;sunset;2003\nelsewhere.png;x;1\n")
    synced(collection, photos, colours, label_from=table)
    assert collection.labels == {"sunset": 1}
    assert collection.search(key="red/1.png", k=1, exclude_self=False)[0].attributes == {"year": 2003}
    with simskip.Collection.open(tmp_path / "plain.db") as plain:
        synced(plain, photos, colours, label_from=None)
        assert plain.labels == {}


def test_synced_items_get_codes(collection, photos, colours):
    synced(collection, photos, colours)
    collection.train("random", 8)
    save_photo(photos / "red/new.png", 33)
    synced(collection, photos, colours)
    assert len(collection.codes()[0]) == 7


def test_texts_are_their_own_keys(collection, letters, tmp_path):
    report = collection.sync(["abc", "abd", "", "42", "abc"], letters, progress=False)
    assert counts(report) == (2, 0, 0, 0, 0)
    assert report.unreadable == [("42", "no letters in '42'")]
    assert collection.search(text="abcc", k=1).keys == ["abc"]
    report = collection.sync(["abd", "xyz"], letters, progress=False)
    assert counts(report) == (1, 0, 0, 1, 1)
    assert report.unreadable == []
    lines = tmp_path / "lines.txt"
    lines.write_text("\ufefffirst line\n\n second line \nfirst line\n", encoding="utf-8")
    assert counts(collection.sync(lines, letters, progress=False)) == (2, 0, 0, 0, 0)
    assert "second line" in collection
    lines.write_bytes(b"caf\xe9\n")
    with pytest.raises(ValueError, match="text in UTF-8"):
        collection.sync(lines, letters, progress=False)
    assert len(collection) == 4


def test_files_of_text_are_items_by_path(collection, letters, tmp_path):
    folder = tmp_path / "notes"
    for name, content in {"a/1.txt": b"alpha", "b/2.md": b"beta", "b/bad.txt": b"caf\xe9", "b/empty.txt": b" "}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    settle(folder)
    report = synced(collection, folder, letters)
    assert counts(report) == (2, 0, 0, 0, 0)
    assert dict(report.unreadable) == {
        "b/bad.txt": "the file is not text in UTF-8",
        "b/empty.txt": "the file is empty",
    }
    assert collection.search(text="alpha", k=1).keys == ["a/1.txt"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (3, "source must be a folder, a file or a sequence of texts, got int"),
        (None, "source must be given: the embedder letters has no vocabulary"),
        ([], "source has no texts"),
    ],
)
def test_sources_that_are_none(collection, letters, source, message):
    with pytest.raises(ValueError, match=message):
        collection.sync(source, letters, progress=False)


def test_images_do_not_come_from_lists(collection, colours, tmp_path):
    (tmp_path / "a.txt").write_text("x")
    for source in (["a"], tmp_path / "a.txt"):
        with pytest.raises(ValueError, match="source must be a folder of images for colours"):
            synced(collection, source, colours)


class Interrupted(Colours):
    """Presses Ctrl-C in front of the fifth image."""

    def embed(self, batch, progress=False):
        if len(self.seen) + len(batch) > 4:
            raise KeyboardInterrupt
        return super().embed(batch)

    def embed_batches(self, paths, progress=True):
        for i, path in enumerate(paths):
            yield [i], self.embed([path]), []


def test_ctrl_c_keeps_what_was_committed(collection, photos):
    (photos / "broken.jpg").unlink()
    with pytest.raises(KeyboardInterrupt):
        synced(collection, photos, Interrupted(), batch_size=2)
    assert len(collection) == 4
    colours = Colours()
    assert counts(synced(collection, photos, colours)) == (2, 0, 0, 0, 4)
    assert len(colours.seen) == 2


KILLED = textwrap.dedent(
    """
    import os, sys, simskip
    from tests.collection.conftest import Colours

    class Slow(Colours):
        def embed_batches(self, paths, progress=True):
            for i, path in enumerate(paths):
                print(i, flush=True)
                sys.stdin.readline()
                yield [i], self.embed([path]), []

    with simskip.Collection.open(sys.argv[1]) as collection:
        collection.sync(sys.argv[2], Slow(), progress=False, batch_size=2)
    """
)


def test_kill_9_loses_at_most_one_batch(tmp_path, photos):
    (photos / "broken.jpg").unlink()
    database = tmp_path / "killed.db"
    command = [sys.executable, "-c", KILLED, os.fspath(database), os.fspath(photos)]
    root = Path(__file__).parents[2]
    embedded = 0
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(5):
            assert process.stdout.readline()
            process.stdin.write("\n")
            process.stdin.flush()
            embedded += 1
        assert process.stdout.readline()  # in the sixth
        process.send_signal(signal.SIGKILL)
    with simskip.Collection.open(database) as collection:
        assert embedded - 2 < len(collection) <= embedded
        assert collection._database.value("PRAGMA integrity_check") == "ok"
        colours = Colours()
        report = synced(collection, photos, colours)
        assert report.added == len(colours.seen) == 6 - report.unchanged
        ids, vectors = collection.vectors()
        paths = collection.files_of(ids)
        assert (vectors == colours.embed(paths)).all()
        assert np.unique([path.name for path in paths]).size == 6


def test_things_can_be_added_one_by_one(collection, letters, colours, photos):
    with pytest.raises(ValueError, match="embedder must be given"):
        collection.add(["a"], texts=["alpha"])
    collection.embedder = letters
    collection.add(["first", "second"], texts=["alpha", "beta"], labels=["x", None])
    assert collection.search(text="alpha", k=1).keys == ["first"]
    assert collection.embedder_name == "letters"
    with pytest.raises(ValueError, match="images cannot be compared with vectors of letters, which embeds text"):
        collection.add(["third"], images=[photos / "red/1.png"])
    with pytest.raises(ValueError, match="exactly one of vectors, images, texts must be given"):
        collection.add(["third"])
    assert len(collection) == 2
