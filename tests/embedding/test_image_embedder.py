"""Images to vectors: meaning, order, determinism, bad files, interruption."""

import contextlib
import pickle
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from PIL import Image

from simskip import embedding
from simskip.embedding import image_embedder
from simskip.embedding.ordered_work import Cancellation, CancelledError
from simskip.embedding.picture import Geometry


@pytest.fixture(scope="module")
def vectors(embedder, photos):
    return embedder.embed(photos.images)


def test_shape_and_kind(embedder, vectors):
    assert isinstance(embedder, embedding.Embedder)
    assert embedder.kind == "images"
    assert vectors.shape == (500, embedder.dim) == (500, 1280)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    assert (vectors >= 0).all()  # averages of ReLU6
    assert vectors.max() <= 6


def test_neighbours_share_their_class(vectors, photos):
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -1)
    accuracy = (photos.labels[similarity.argmax(1)] == photos.labels).mean()
    assert accuracy > 0.7  # chance is 0.1


@pytest.mark.parametrize(("threads", "batch_size"), [(1, 1), (3, 4), (2, 7)])
def test_same_bytes_for_any_threads_and_batch(networks, photos, vectors, threads, batch_size):
    other = embedding.images(threads=threads, batch_size=batch_size, cache_dir=networks)
    assert other.embed(photos.images[:23]).tobytes() == vectors[:23].tobytes()


def test_mixed_batches(embedder, photos, vectors, tmp_path):
    Image.fromarray(photos.images[1]).save(tmp_path / "one.png")
    batch = [
        photos.images[0],
        tmp_path / "one.png",
        Image.fromarray(photos.images[2]),
        photos.images[3][..., None].repeat(3, axis=2),
    ]
    np.testing.assert_allclose(embedder.embed(batch), vectors[:4], atol=1e-4)


def test_an_empty_batch_has_no_rows(embedder):
    assert embedder.embed([]).shape == (0, 1280)
    assert embedder.embed(np.zeros((0, 28, 28), np.uint8)).shape == (0, 1280)
    assert embedder.embed_files([], progress=False).vectors.shape == (0, 1280)


@pytest.mark.parametrize("bad", [np.zeros((0, 3), np.uint8), np.zeros((3, 3)), None, "missing.png"])
def test_a_bad_image_is_named(embedder, photos, bad):
    with pytest.raises(ValueError, match="batch holds a bad image at position 5"):
        embedder.embed([*photos.images[:5], bad, *photos.images[5:9]])


def test_bad_files_are_skipped_and_listed(embedder, photos, vectors, tmp_path):
    good = [tmp_path / f"good{i}.png" for i in range(3)]
    for path, image in zip(good, photos.images, strict=False):
        Image.fromarray(image).save(path)
    noise = np.random.default_rng(0).integers(0, 256, (90, 90), np.uint8)
    whole = tmp_path / "whole.jpg"
    Image.fromarray(noise).save(whole)
    (tmp_path / "truncated.jpg").write_bytes(whole.read_bytes()[:900])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "folder.png").mkdir()
    names = [
        "truncated.jpg",
        "good0.png",
        "empty.png",
        "missing.png",
        "good1.png",
        "text.png",
        "folder.png",
        "good2.png",
    ]
    files = embedder.embed_files([tmp_path / name for name in names], progress=False)
    assert files.paths == good
    assert files.rows.tolist() == [1, 4, 7]
    assert files.vectors.tobytes() == vectors[:3].tobytes()
    assert [skipped.path.name for skipped in files.skipped] == [name for name in names if "good" not in name]
    for skipped, word in zip(
        files.skipped,
        ["truncated", "cannot identify", "No such file", "cannot identify", "directory"],
        strict=True,
    ):
        assert word in skipped.reason
    assert repr(files) == "EmbeddedFiles(3 x 1280, 5 skipped)"


def test_only_bad_files(embedder, tmp_path):
    files = embedder.embed_files([tmp_path / "a", tmp_path / "b"], progress=False)
    assert len(files) == 0
    assert files.vectors.shape == (0, 1280)
    assert len(files.skipped) == 2


def test_embed_files_takes_paths_only(embedder):
    with pytest.raises(ValueError, match="paths must hold paths, got int at position 1"):
        embedder.embed_files(["a.png", 3])
    with pytest.raises(ValueError, match="paths must be a sequence"):
        embedder.embed_files("a.png")


@pytest.fixture(scope="module")
def folder(photos, tmp_path_factory):
    """30 files, every seventh no image."""
    folder = tmp_path_factory.mktemp("photos")
    paths = [folder / f"{i:02}.png" for i in range(30)]
    for i, path in enumerate(paths):
        if i % 7 == 6:
            path.write_text("no image")
        else:
            Image.fromarray(photos.images[i]).save(path)
    return paths


@pytest.mark.parametrize(
    ("size", "threads", "batch_size"), [(8, 1, None), (1, 2, 5), (7, 3, 2), (30, 2, 4), (99, 2, 9)]
)
def test_pieces_come_in_order_and_make_the_whole(networks, vectors, folder, size, threads, batch_size):
    embedder = embedding.images(threads=threads, batch_size=batch_size, cache_dir=networks)
    pieces = list(embedder.embed_batches(folder, progress=False, size=size))
    bounds = [*range(0, 30, size), 30]
    assert len(pieces) == len(bounds) - 1
    for piece, first, last in zip(pieces, bounds, bounds[1:], strict=False):
        good = [i for i in range(first, last) if i % 7 != 6]
        assert piece.rows.dtype == np.int64
        assert piece.rows.tolist() == good
        assert piece.vectors.tobytes() == vectors[good].tobytes()
        assert [each.path for each in piece.skipped] == [folder[i] for i in range(first, last) if i % 7 == 6]
        assert all("cannot identify" in each.reason for each in piece.skipped)


def test_pieces_check_their_input_before_the_first(embedder):
    with pytest.raises(ValueError, match="paths must hold paths, got int at position 1"):
        embedder.embed_batches(["a.png", 3])
    with pytest.raises(ValueError, match="size must be an integer >= 1, got 0"):
        embedder.embed_batches(["a.png"], size=0)
    assert list(embedder.embed_batches([], progress=False)) == []


def test_files_are_read_only_a_little_ahead(networks, folder, monkeypatch):
    embedder = embedding.images(threads=1, batch_size=1, cache_dir=networks)
    read = []
    original = image_embedder.read_pixels
    monkeypatch.setattr(image_embedder, "read_pixels", lambda path, _: read.append(path) or original(path, _))
    with contextlib.closing(embedder.embed_batches(folder, progress=False, size=2)) as pieces:
        next(pieces)
        assert len(read) <= 2 + 4
    assert len(read) <= 2 + 4 + 1
    assert len(embedder.embed_files(folder[:3], progress=False)) == 3


def test_a_running_network_is_ended(networks, photos):
    """What ``cancel`` reaches when it comes in the middle of a call of the network."""
    embedder = embedding.images(cache_dir=networks)
    cancellation = Cancellation()
    pixels = [np.zeros((224, 224, 3), np.uint8)] * 64
    timer = threading.Timer(0.05, cancellation.cancel)
    timer.start()
    with pytest.raises(CancelledError):  # the first call that is ended or comes too late
        _ = [embedder.engine.run(pixels, cancellation) for _ in range(1000)]
    assert embedder.embed(photos.images[:1]).shape == (1, 1280)


def test_batches_shrink_with_the_input():
    class Engine:
        geometry = Geometry((224, 224))

    embedder = image_embedder.ImageEmbedder(Engine())
    found = []
    for side in (224, 384, 512, 2048):
        Engine.geometry = Geometry((side, side))
        found.append(embedder._batch_for_memory())
    assert found == [4, 2, 1, 1]


def test_an_engine_that_is_not_concurrent_runs_once_at_a_time(photos):
    class Engine:
        name, dim, fingerprint, geometry, concurrent = "slow", 1, "1", None, False
        inside, most = 0, 0

        def run(self, pixels, cancellation):
            self.inside += 1
            self.most = max(self.most, self.inside)
            time.sleep(0.001)
            self.inside -= 1
            return np.array([[image.mean()] for image in pixels], np.float32)

    engine = Engine()
    embedder = image_embedder.ImageEmbedder(engine, threads=4, batch_size=3)
    found = embedder.embed(photos.images[:40])
    assert engine.most == 1
    np.testing.assert_allclose(found[:, 0], photos.images[:40].mean((1, 2)), rtol=1e-6)


def test_progress_bar_reaches_the_end(embedder, photos, capsys):
    embedder.embed(photos.images[:9], progress=True)
    assert "9/9" in capsys.readouterr().err


def test_interrupting_stops_and_leaves_the_embedder_usable(embedder, photos, vectors):
    class Interrupting:
        touched = 0

        def __len__(self):
            return 2000

        def __getitem__(self, rows):
            self.touched += 1
            if self.touched == 3:
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            return photos.images[: len(range(*rows.indices(2000)))]

    batch = Interrupting()
    with pytest.raises(KeyboardInterrupt):
        embedder.embed(batch)
    assert batch.touched < 50  # of 500 batches
    assert embedder.embed(photos.images[:2]).tobytes() == vectors[:2].tobytes()


def test_pickles(embedder, photos, vectors):
    copy = pickle.loads(pickle.dumps(embedder))
    assert copy.fingerprint == embedder.fingerprint
    assert copy.embed(photos.images[:1]).tobytes() == vectors[:1].tobytes()


def test_fingerprint_tells_preprocessing_apart(embedder, networks):
    other = embedding.images(framing="centre", cache_dir=networks)
    assert other.fingerprint != embedder.fingerprint
    assert repr(other) == "ImageEmbedder('efficientnet-lite0', dim=1280, framing='centre')"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": 0}, "threads must be an integer >= 1, got 0"),
        ({"batch_size": 1.5}, "batch_size must be an integer >= 1, got 1.5"),
        ({"framing": "fit"}, "framing must be one of 'whole', 'centre', got 'fit'"),
    ],
)
def test_bad_options(networks, options, message):
    with pytest.raises(ValueError, match=message):
        embedding.images(cache_dir=networks, **options)


def test_the_exported_network_is_reused_and_repaired(embedder, tmp_path):
    def exported():
        (path,) = tmp_path.glob("*.onnx")
        return path

    embedding.images(cache_dir=tmp_path)
    first = exported()
    inode = first.stat().st_ino
    embedding.images(cache_dir=tmp_path)
    assert exported().stat().st_ino == inode
    whole = first.read_bytes()
    first.write_bytes(whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:])
    embedding.images(cache_dir=tmp_path)
    assert exported().read_bytes() == whole


def test_embedding_needs_neither_torch_nor_onnx_once_exported(embedder, networks):
    program = (
        "import sys, numpy, simskip.embedding\n"
        "assert not {'PIL', 'onnxruntime', 'tqdm'} & set(sys.modules)\n"
        f"e = simskip.embedding.images(cache_dir={str(networks)!r}, threads=1)\n"
        "assert e.embed(numpy.zeros((1, 8, 8), numpy.uint8)).shape == (1, 1280)\n"
        "print(sorted({'torch', 'onnx', 'tqdm'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("module", ["onnxruntime", "PIL.Image"])
def test_missing_extra(embedder, networks, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf'{module}.*pip install "simskip\[images\]"'):
        embedding.images(cache_dir=networks)
