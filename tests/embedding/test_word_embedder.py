"""Words looked up, texts as means, words that are not known."""

import pickle
import zipfile

import numpy as np
import pytest

from simskip import datasets, embedding
from simskip.embedding import WordEmbedder

WORDS = ["the", "paris", "Paris", "new york", ",", "old", "don't", "old"]
VECTORS = np.arange(len(WORDS) * 3, dtype=np.float32).reshape(-1, 3)


@pytest.fixture(scope="module")
def embedder():
    return WordEmbedder(datasets.WordVectors(np.array(WORDS, object), VECTORS, "tiny"))


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("paris", [1]),
        ("Paris", [2]),
        ("PARIS", [1]),
        ("new york", [3]),
        (",", [4]),
        ("Old,", [5]),
        ("“old”", [5]),
        ("Don't", [6]),
        ("  the\told  ", [0, 5]),
        ("the the old", [0, 0, 5]),
        ("The old Paris!", [0, 5, 2]),
    ],
)
def test_a_text_is_the_mean_of_its_words(embedder, text, rows):
    np.testing.assert_array_equal(embedder.embed(["the", text])[1], VECTORS[rows].mean(axis=0, dtype=np.float64))


def test_the_vocabulary_embeds_to_the_vectors(embedder):
    assert embedder.vocabulary == ("the", "paris", "Paris", "new york", ",", "old", "don't")
    np.testing.assert_array_equal(embedder.embed(embedder.vocabulary), VECTORS[:7])  # of two the first
    assert isinstance(embedder, embedding.Embedder)
    assert (embedder.name, embedder.dim, embedder.kind) == ("tiny", 3, "text")
    assert repr(embedder) == "WordEmbedder('tiny', 8 words, dim=3)"


def test_unknown_words_are_named(embedder):
    with pytest.raises(
        ValueError, match=r"position 1, 'the nowhere': no vector for the word 'nowhere'; position 2, ' '"
    ):
        embedder.embed(["the", "the nowhere", " "])
    (part,) = embedder.embed_batches(["", "old", "...", "the"])
    assert part.rows.tolist() == [1, 3]
    assert [tuple(bad) for bad in part.skipped] == [
        (0, "", "no word in it"),
        (2, "...", "no vector for the word '...'"),
    ]
    (part,) = embedder.embed_batches(["nowhere"])
    assert part.vectors.shape == (0, 3)


def test_unknown_words_can_count_for_nothing(embedder):
    lenient = WordEmbedder(embedder.words, on_unknown="zero")
    vectors = lenient.embed(["nowhere", "the nowhere old"])
    np.testing.assert_array_equal(vectors, [[0, 0, 0], VECTORS[[0, 5]].mean(axis=0)])
    assert lenient.fingerprint == embedder.fingerprint
    with pytest.raises(ValueError, match="on_unknown must be one of 'error', 'zero', got 'skip'"):
        WordEmbedder(embedder.words, on_unknown="skip")
    with pytest.raises(ValueError, match="no word in it"):
        lenient.embed([""])


def test_the_fingerprint_is_of_the_content(embedder):
    def of(words=WORDS, vectors=VECTORS, name="tiny"):
        return WordEmbedder(datasets.WordVectors(np.array(words, object), vectors, name)).fingerprint

    assert of(name="other") == embedder.fingerprint
    assert of(vectors=VECTORS + 1) != embedder.fingerprint
    assert of(words=[*WORDS[:-1], "new"]) != embedder.fingerprint


def test_pickles(embedder):
    copy = pickle.loads(pickle.dumps(embedder))
    assert copy.fingerprint == embedder.fingerprint
    assert copy.embed(["old town", "old"][1:]).tobytes() == embedder.embed(["old"]).tobytes()


def test_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my words.txt").write_text("a 1 2\nb 3 4\n")
    embedder = embedding.text("words:my words.txt", on_unknown="zero")
    assert embedder.name == f"words:{tmp_path.resolve()}/my words.txt?on_unknown=zero"
    assert embedder.embed(["a b"]).tolist() == [[2, 3]]
    again = embedding.load(embedder.name)
    assert again.fingerprint == embedder.fingerprint
    assert again.on_unknown == "zero"
    assert embedding.load(tmp_path / "my words.txt").name == f"words:{tmp_path.resolve()}/my words.txt"
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("in/a.txt", "a 1 2\n")
        archive.writestr("in/b.txt", "a 3 4\n")
    inside = embedding.load("two.zip", member="in/b.txt")
    assert inside.embed(["a"]).tolist() == [[3, 4]]
    assert inside.name == f"words:{tmp_path.resolve()}/two.zip?member=in%2Fb.txt"
    assert embedding.load(inside.name).fingerprint == inside.fingerprint
    with pytest.raises(FileNotFoundError):
        embedding.text("words:nowhere.txt")


@pytest.mark.slow
def test_glove():
    try:
        embedder = embedding.text("glove")
    except OSError as error:
        pytest.skip(f"no data set: {error}")
    assert embedder.name == "glove"
    assert len(embedder.vocabulary) == 341_479
    assert embedder.vocabulary[0] == "the"
    np.testing.assert_array_equal(embedder.embed(embedder.vocabulary), embedder.words.vectors)
    city, same, other = embedder.embed(["paris", "London", "banana"])
    assert city @ same / np.linalg.norm(same) > city @ other / np.linalg.norm(other)
