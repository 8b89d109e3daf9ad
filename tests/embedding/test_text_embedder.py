"""What embedders of text share: order, windows, skipping, threads, interruption."""

import signal
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simskip import embedding
from simskip.embedding.text_embedder import TextEmbedder, Unusable


class Lengths(TextEmbedder):
    """A text's number of characters; texts with an "x" are unusable."""

    name, dim, fingerprint = "lengths", 2, "1"

    def __init__(self, concurrent=True, seconds=0.0, **options):
        super().__init__(**options)
        self.concurrent = concurrent
        self.seconds = seconds
        self.calls = []

    def _prepare(self, texts):
        return [Unusable("an x") if "x" in text else len(text) for text in texts]

    def _run(self, prepared, cancellation):
        self.calls.append((threading.current_thread(), len(prepared)))
        time.sleep(self.seconds)
        return np.array([[length, -length] for length in prepared], np.float32)


SETTINGS = [
    {"threads": 1, "batch_size": 1, "window": 1},
    {"threads": 3, "batch_size": 2, "window": 5},
    {"concurrent": False, "batch_size": 3, "window": 4},
]


@pytest.mark.parametrize("options", SETTINGS)
@given(texts=st.lists(st.text("ax", max_size=4), max_size=20))
def test_every_text_is_embedded_or_skipped_in_order(options, texts):
    parts = list(Lengths(**options).embed_batches(iter(texts)))
    rows = [row for part in parts for row in part.rows]
    skipped = [bad for part in parts for bad in part.skipped]
    assert rows == [i for i, text in enumerate(texts) if "x" not in text]
    assert [tuple(bad) for bad in skipped] == [(i, text, "an x") for i, text in enumerate(texts) if "x" in text]
    vectors = np.concatenate([part.vectors for part in parts] + [np.empty((0, 2), np.float32)])
    assert vectors[:, 0].tolist() == [len(texts[row]) for row in rows]
    # Parts follow each other: nothing comes back to an earlier part's positions.
    ends = [max([*part.rows, *(bad.row for bad in part.skipped)]) for part in parts]
    assert ends == sorted(ends)


@pytest.mark.parametrize("options", SETTINGS)
def test_embed(options):
    embedder = Lengths(**options)
    texts = ["a" * n for n in (3, 1, 0, 2, 9, 4, 7)]
    vectors = embedder.embed(texts)
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[len(text), -len(text)] for text in texts]
    assert embedder.embed([]).shape == (0, 2)
    assert embedder.embed(np.array(["aa", "a"]))[:, 0].tolist() == [2, 1]
    assert isinstance(embedder, embedding.Embedder)
    assert embedder.kind == "text"


def test_bad_texts_are_named():
    embedder = Lengths(threads=1)
    with pytest.raises(ValueError, match=r"cannot be embedded: position 1, 'x': an x; position 3, 'ax': an x$"):
        embedder.embed(["a", "x", "a", "ax"])
    with pytest.raises(ValueError, match=r"position 4, 'x{60}'\.\.\.: an x; and 2 more$"):
        embedder.embed(["x" * 99] * 7)


@pytest.mark.parametrize("method", ["embed", "embed_batches"])
@pytest.mark.parametrize("bad", ["a", b"a", 3, None])
def test_one_text_is_not_many(method, bad):
    with pytest.raises(ValueError, match=rf"must be a sequence of str, got {type(bad).__name__}; for one pass \[it\]"):
        getattr(Lengths(), method)(bad)


@pytest.mark.parametrize("bad", [b"a", 3, None])
def test_only_text_is_text(bad):
    with pytest.raises(ValueError, match=rf"batch must hold str, got {type(bad).__name__} at position 2"):
        Lengths(window=2, batch_size=1).embed(["a", "b", bad])
    with pytest.raises(ValueError, match=r"texts must hold str, .* at position 0"):
        list(Lengths().embed_batches([bad]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": 0}, "threads must be an integer >= 1, got 0"),
        ({"batch_size": 1.5}, "batch_size must be an integer >= 1, got 1.5"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        Lengths(**options)


def test_threads_compute_or_the_caller_does():
    embedder = Lengths(threads=2, batch_size=1)
    embedder.embed(["a"] * 8)
    assert threading.current_thread() not in {thread for thread, _ in embedder.calls}
    embedder = Lengths(concurrent=False, batch_size=3)
    embedder.embed(["a"] * 8)
    assert embedder.calls == [(threading.current_thread(), size) for size in (3, 3, 2)]


def test_texts_are_drawn_when_their_turn_comes():
    drawn = []

    def source():
        for i in range(1000):
            drawn.append(i)
            yield "a"

    batches = Lengths(threads=1, batch_size=5, window=10).embed_batches(source())
    next(batches)
    assert len(drawn) == 20
    batches.close()
    assert len(drawn) == 20


def test_an_error_while_computing_comes_out_and_the_threads_end():
    class Broken(Lengths):
        def _run(self, prepared, cancellation):
            raise RuntimeError("broken")

    before = threading.active_count()
    with pytest.raises(RuntimeError, match="broken"):
        Broken(threads=2).embed(["a"] * 50)
    assert threading.active_count() == before


def test_progress(capsys):
    pytest.importorskip("tqdm")
    Lengths().embed(["a"] * 9, progress=True)
    assert "9/9" in capsys.readouterr().err
    list(Lengths().embed_batches((text for text in ("a", "x")), progress=True))
    assert "2text" in capsys.readouterr().err.replace(" ", "")


def test_progress_without_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with pytest.raises(ImportError, match=r'tqdm.*pip install "simskip\[text\]"'):
        Lengths().embed(["a"], progress=True)


@pytest.mark.parametrize("concurrent", [True, False])
def test_interrupting_stops_and_leaves_the_embedder_usable(concurrent):
    class Interrupting(Lengths):
        armed = True

        def _run(self, prepared, cancellation):
            if len(self.calls) == 2 and self.armed:
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            return super()._run(prepared, cancellation)

    embedder = Interrupting(concurrent, seconds=0.001, threads=2, batch_size=1, window=50)
    with pytest.raises(KeyboardInterrupt):
        embedder.embed(["a"] * 2000)
    assert len(embedder.calls) < 60  # of 2000 batches
    embedder.armed = False
    assert embedder.embed(["aa"]).tolist() == [[2, -2]]
