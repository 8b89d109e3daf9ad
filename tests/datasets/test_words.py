"""GloVe: the package's JSON, text files of the authors, damaged files."""

import contextlib
import gzip
import io
import json
import tarfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simskip import FormatError, datasets
from simskip.datasets.words import glove_package, wink_json

TRICKY = ["the", ",", '"', "\\", "],", '":[1', "é", "\u4e2d", "unkVector", "]}"]


def packaged(vectors, order=None):
    """The JSON of the package for words and rows of 100 numbers."""
    entries = {
        word: [*row, float(np.linalg.norm(row)), i if order is None else order[i]]
        for i, (word, row) in enumerate(vectors.items())
    }
    content = {"precision": 8, "dimensions": 100, "words": list(vectors), "vectors": entries}
    return json.dumps({**content, "unkVector": [0] * 101 + [-1]}, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.fixture
def package(monkeypatch, tmp_path):
    """A package with few words; returns its rows and how often it was fetched."""
    rows = np.random.default_rng(0).normal(size=(len(TRICKY), 100)).round(5)
    content = packaged(dict(zip(TRICKY, rows.tolist(), strict=True)))
    fetched = []

    @contextlib.contextmanager
    def opened(package, title):
        fetched.append(package)
        tar = io.BytesIO()
        with tarfile.open(fileobj=tar, mode="w") as archive:
            entry = tarfile.TarInfo(glove_package._MEMBER)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        tar.seek(0)
        with tarfile.open(fileobj=tar) as archive:
            yield archive

    monkeypatch.setattr(glove_package, "opened", opened)
    monkeypatch.setenv("SIMSKIP_CACHE", str(tmp_path))
    return rows.astype(np.float32), fetched


def test_fetched_once(package):
    rows, fetched = package
    for _ in range(2):
        glove = datasets.glove()
        assert glove.words.tolist() == TRICKY
        np.testing.assert_array_equal(glove.vectors, rows)
        assert glove.vectors.dtype == np.float32
    assert len(fetched) == 1
    assert repr(glove) == "WordVectors(glove-100d: 10 words, 100 numbers each)"
    assert glove.row_of("é") == 6
    assert glove[[6, 0]].words.tolist() == ["é", "the"]
    np.testing.assert_array_equal(glove[3].vectors, rows[3:4])
    with pytest.raises(ValueError, match="word must be one of the 10 words of glove-100d, got 'nobody'"):
        glove.row_of("nobody")


def test_rows_that_are_not_in_order_are_refused():
    with pytest.raises(FormatError, match="entry 0 says it is 1"):
        wink_json.read_json(io.BytesIO(packaged({"a": [0.5] * 100, "b": [1] * 100}, order=[1, 0])), "GloVe")
    with pytest.raises(FormatError, match="entry 1 has 101 numbers, expected 102"):
        wink_json.read_json(io.BytesIO(packaged({"a": [0.5] * 100, "b": [0.5] * 99})), "GloVe")


NUMBERS = st.floats(-100, 100, width=32)
WORDS = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=5)


@given(
    st.integers(1, 4).flatmap(lambda d: st.dictionaries(WORDS, st.lists(NUMBERS, min_size=d, max_size=d), min_size=1))
)
def test_text_round_trip(tmp_path_factory, vectors):
    text = "".join(f"{word} {' '.join(map(repr, row))}\n" for word, row in vectors.items()).encode()
    header = f"{len(vectors)} {len(next(iter(vectors.values())))}\n".encode()
    for content in (text, header + text, gzip.compress(header + text)):
        path = tmp_path_factory.getbasetemp() / "some.6B.txt"
        path.write_bytes(content)
        found = datasets.glove(path)
        assert found.words.tolist() == list(vectors)
        np.testing.assert_array_equal(found.vectors, np.array(list(vectors.values()), np.float32))
        assert found.name == "some.6B"


def test_words_with_spaces(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("the 1 2\n. . . 3 4\n")
    assert datasets.glove(path).words.tolist() == ["the", ". . ."]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no words"),
        (b"2 3\n", "holds no words"),
        (b"word\n", "line 1: expected a word and some numbers, got 0 numbers"),
        (b"the 1 2\nof 1\n", "line 2: expected a word and 2 numbers"),
        (b"the 1 2\nof 1 x\n", "line 2: expected a word and 2 numbers, got could not convert"),
        (b"the 1 nan\n", "line 1: expected a word and 2 numbers, got a number that is not finite"),
        (b"\xff 1 2\n", "line 1: expected a word"),
        (b"the 1 2\n\nof 1 2\n", "line 2: expected a word and 2 numbers"),
    ],
)
def test_damaged_text(tmp_path, content, message):
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=rf"bad\.txt.*{message}"):
        datasets.glove(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        datasets.glove(tmp_path / "nowhere.txt")


@pytest.mark.slow
def test_the_real_one():
    try:
        glove = datasets.glove()
    except OSError as error:
        pytest.skip(f"no data set: {error}")
    assert glove.vectors.shape == (341_479, 100)
    assert len(set(glove.words.tolist())) == 341_479
    unit = glove.vectors / np.linalg.norm(glove.vectors, axis=1, keepdims=True)
    nearest = np.argsort(-(unit @ unit[glove.row_of("king")]))[1:4]
    assert "queen" in glove.words[nearest]
