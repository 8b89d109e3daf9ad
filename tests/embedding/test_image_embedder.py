"""Images to vectors: meaning, order, determinism, bad files, interruption."""

import pickle
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from PIL import Image

from simskip import embedding
from simskip.embedding.image_embedder import ImageEmbedder


@pytest.fixture(scope="module")
def vectors(embedder, photos):
    return embedder.embed(photos.images)


def test_shape_and_kind(embedder, vectors):
    assert isinstance(embedder, embedding.Embedder)
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
def test_same_bytes_for_any_threads_and_batch(embedder, photos, vectors, threads, batch_size):
    other = ImageEmbedder(threads=threads, batch_size=batch_size, cache_dir=embedder.cache_dir)
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


def test_fingerprint_tells_preprocessing_apart(embedder):
    other = ImageEmbedder(framing="centre", cache_dir=embedder.cache_dir)
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
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        ImageEmbedder(**options)


def test_the_exported_network_is_reused_and_repaired(embedder, tmp_path):
    def exported():
        (path,) = tmp_path.glob("*.onnx")
        return path

    ImageEmbedder(cache_dir=tmp_path)
    first = exported()
    inode = first.stat().st_ino
    ImageEmbedder(cache_dir=tmp_path)
    assert exported().stat().st_ino == inode
    whole = first.read_bytes()
    first.write_bytes(whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:])
    ImageEmbedder(cache_dir=tmp_path)
    assert exported().read_bytes() == whole


def test_embedding_needs_neither_torch_nor_onnx_once_exported(embedder):
    program = (
        "import sys, numpy, simskip.embedding\n"
        "assert not {'PIL', 'onnxruntime', 'tqdm'} & set(sys.modules)\n"
        f"e = simskip.embedding.images(cache_dir={str(embedder.cache_dir)!r}, threads=1)\n"
        "assert e.embed(numpy.zeros((1, 8, 8), numpy.uint8)).shape == (1, 1280)\n"
        "print(sorted({'torch', 'onnx', 'tqdm'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("module", ["onnxruntime", "PIL.Image"])
def test_missing_extra(embedder, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf'{module}.*pip install "simskip\[images\]"'):
        ImageEmbedder(cache_dir=embedder.cache_dir)
