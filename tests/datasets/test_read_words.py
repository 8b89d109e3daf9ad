"""Files of word vectors: every format there and back, archives, damage."""

import gzip
import io
import json
import tarfile
import zipfile

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from simskip import FormatError, datasets
from simskip.datasets.words import text_lines, word2vec_binary, word_table

NUMBERS = st.floats(-100, 100, width=32)
WORDS = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=6)
TABLES = st.integers(2, 5).flatmap(
    lambda dim: st.dictionaries(WORDS, st.lists(NUMBERS, min_size=dim, max_size=dim), min_size=1, max_size=8)
)
SOME = {"the": [0.5, -1.25], "new york": [1.0, 0.0], "é中": [-0.0, 3e-9]}


def text(table, header=True, end="\n"):
    rows = [f"{word} {' '.join(map(repr, row))}{end}" for word, row in table.items()]
    first = [f"{len(table)} {len(next(iter(table.values())))}\n"] if header else []
    return "".join(first + rows).encode()


def binary(table, end=b"\n"):
    rows = [word.encode() + b" " + np.array(row, "<f4").tobytes() + end for word, row in table.items()]
    return b"%d %d\n" % (len(table), len(next(iter(table.values())))) + b"".join(rows)


def wink(table):
    entries = {word: [*row, float(np.linalg.norm(row)), i] for i, (word, row) in enumerate(table.items())}
    content = {"precision": 8, "words": list(table), "vectors": entries, "unkVector": [0, 0, 0, -1]}
    return json.dumps(content, separators=(",", ":")).encode()


def zipped(**members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_", "."), content)
    return file.getvalue()


def tarred(**members):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo("package/" + name.replace("_", "."))
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


def arrays(table):
    file = io.BytesIO()
    np.savez_compressed(file, words=np.array(list(table)), vectors=np.array(list(table.values()), np.float32))
    return file.getvalue()


def read_or_complaint(path):
    """The words, or the message of the one error that damage may cause."""
    try:
        return datasets.read_words(path)
    except FormatError as error:
        return str(error)


# Name of the file -> its content.
FORMATS = {
    "a.txt": text,
    "a.vec": lambda table: text(table, end=" \r\n"),
    "glove": lambda table: text(table, header=False),
    "a.txt.gz": lambda table: gzip.compress(text(table)),
    "a.bin": binary,
    "vectors": binary,
    "a.bin.gz": lambda table: gzip.compress(binary(table, end=b"")),
    "a.zip": lambda table: zipped(readme_md=b"", a_txt=text(table)),
    "b.zip": lambda table: zipped(a_bin=binary(table), b_txt=b""),
    "a.json": wink,
    "unnamed": wink,
    "a.tgz": lambda table: tarred(package_json=b"{}", a_json=wink(table)),
    "a.npz": arrays,
}


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=25)
@example(table={"0": [float(np.float32(0.08)), 0.0]})  # whose first byte is a line's end
@given(table=TABLES)
def test_there_and_back(tmp_path_factory, name, table):
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(FORMATS[name](table))
    found = datasets.read_words(path)
    assert found.words.tolist() == list(table)
    np.testing.assert_array_equal(found.vectors, np.array(list(table.values()), np.float32))
    assert found.vectors.dtype == np.float32


@pytest.mark.parametrize("name", set(FORMATS) - {"unnamed", "vectors"})
def test_words_with_spaces_and_names(tmp_path, name):
    table = {word.replace(" ", "_") if "bin" in name or name == "b.zip" else word: row for word, row in SOME.items()}
    path = tmp_path / name
    path.write_bytes(FORMATS[name](table))
    found = datasets.read_words(path)
    assert found.words.tolist() == list(table)
    np.testing.assert_array_equal(found.vectors, np.array(list(SOME.values()), np.float32))
    assert found.name == name.partition(".")[0].replace("b", "a")


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=60)
@given(data=st.data())
def test_damage_is_named_or_harmless(tmp_path_factory, name, data):
    content = bytearray(FORMATS[name]({f"word{i}": [i + 0.5, -i] for i in range(30)}))
    kind = data.draw(st.sampled_from(["cut", "flip", "insert"]))
    at = data.draw(st.integers(0, len(content) - 1))
    if kind == "cut":
        del content[at:]
    elif kind == "flip":
        content[at] ^= data.draw(st.integers(1, 255))
    else:
        content[at:at] = data.draw(st.binary(min_size=1, max_size=9))
    path = tmp_path_factory.getbasetemp() / f"damaged-{name}"
    path.write_bytes(content)
    found = read_or_complaint(path)
    if isinstance(found, str):
        assert path.name in found
    else:
        assert found.vectors.shape == (len(found), found.vectors.shape[1])
        assert np.isfinite(found.vectors).all()


@pytest.mark.parametrize("name", ["a.txt.gz", "a.bin", "a.bin.gz", "a.zip", "a.json", "a.tgz", "a.npz"])
def test_cut_files_are_noticed(tmp_path, name):
    table = {f"word{i}": [i + 0.5, -i] for i in range(300)}
    content = FORMATS[name](table)
    path = tmp_path / name
    for size in range(1, len(content) - 40, 97):
        path.write_bytes(content[:size])
        with pytest.raises(FormatError, match=rf"{name}"):
            datasets.read_words(path)


@given(content=st.binary(max_size=200), name=st.sampled_from(["a.txt", "a.bin", "a.json", "a.npy", "a.zip", "a"]))
def test_any_bytes(tmp_path_factory, content, name):
    magic = {"a.npy": b"\x93NUMPY\x01\x00", "a.zip": b"PK\x03\x04", "a.json": b'{"vectors":{'}.get(name, b"")
    path = tmp_path_factory.getbasetemp() / f"any-{name}"
    path.write_bytes(magic + content)
    found = read_or_complaint(path)
    assert path.name in found if isinstance(found, str) else len(found)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"2 2\na 1 2\n", "a.txt is cut short: its first line promises 2 words, 1 are there"),
        ("a.txt", b"1 2\na 1 2\nb 1 2\n", "a.txt, line 3: the first line promises 1 words, more follow"),
        ("a.txt", b"1 0\na\n", "line 1: expected 1 to 65536 numbers per word, got 0"),
        ("a.txt", b"1 3\na 1 2\n", "line 2: expected a word and 3 numbers"),
        ("a.txt", b"a 1 2\nb 1 1e99\n", "line 2: expected a word and 2 numbers, got a number that is not finite"),
        ("a.txt", b"a 1 2\n 1 2\n", "line 2: expected a word"),
        ("a.bin", b"", "expected a first line with two integers"),
        ("a.bin", b"no\n", "expected a first line with two integers .words, numbers per word., got b'no"),
        ("a.bin", b"1 99999999\na ", "line 1: expected 1 to 65536 numbers per word, got 99999999"),
        ("a.bin", b"1 1\n\xff 1234", "word 1: b'\\xff' is not UTF-8"),
        ("a.bin", b"1 1\n 1234", "word 1: it has no characters"),
        ("a.bin", b"2 1\na \0\0\0\0\nbc \0\0\xc0\x7f\n", "word 2 ('bc'): a number that is not finite"),
        ("a.bin", b"1 1\na 1234\nb", "promises 1 words, more follow"),
        ("a.bin", b"9 1\na 1234\nb", "a.bin is cut short: its first line promises 9 words, 1 are there"),
        ("a.bin", b"1 1\n" + b"a" * 20_000, "word 1: longer than 16,384 bytes"),
        ("a.bin", (793712314).to_bytes(4, "little") + b"\0" * 90, "a model of fastText; its vectors are in the .vec"),
        ("a.json", b'{"words":[]}', "holds no words: expected JSON with an object named vectors"),
        ("a.json", b'{"vectors":{}}', "holds no words"),
        ("a.json", b'{"vectors":{"a":[1,2,3,0]', "damaged or cut short behind word 1"),
        ("a.json", b'{"vectors":{"a":[1,2]}', "entry 0 has 2 numbers, expected at least 3"),
        ("a.json", b'{"vectors":{"a":[1,2,0],"b":[1,2,3,1]}', "entry 1 has 4 numbers, expected 3"),
        ("a.json", b'{"vectors":{"a":[1,x,0]}', "entries 0 to 0: could not convert"),
        ("a.json", b'{"vectors":{"a":[1,2,3]}', "entry 0 says it is 3"),
        ("a.json", b'{"vectors":{"a":[1e99,2,0]}', "entries 0 to 0: a number that is not finite"),
        ("a.zip", zipped(readme_md=b""), "holds no file that ends in .txt, .vec, .bin, .json: 'readme.md'"),
        ("a.zip", zipped(), "holds no file that ends in .txt, .vec, .bin, .json: it is empty"),
        ("a.tgz", tarred(package_json=b""), "holds no file that ends in .txt"),
        ("a.npz", zipped(words_npy=b""), "words is no array of numbers or strings"),
        ("a.npy", b"\x93NUMPY\x01\x00", "is no array of NumPy's"),
        ("a.npy", b"\x93NUMPY\x01\x00\x20\x00{'descr': '<f4', 'shape': (3, 2\n\n", "is no array of NumPy's"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FormatError) as caught:
        datasets.read_words(tmp_path / name)
    assert name in str(caught.value)
    assert message in str(caught.value).replace("(words, ", ".words, ").replace("per word)", "per word.")


def test_members(tmp_path):
    path = tmp_path / "glove.6B.zip"
    path.write_bytes(zipped(glove_50d_txt=b"a 1\n", glove_100d_txt=b"a 1 2\n"))
    assert datasets.read_words(path).vectors.shape == (1, 1)
    found = datasets.glove(path, member="glove.100d.txt")
    assert repr(found) == "WordVectors(glove.100d: 1 words, 2 numbers each)"
    with pytest.raises(
        ValueError, match=r"member must be one of the files in glove.6B.zip \('glove.50d.txt', .*'c.txt'"
    ):
        datasets.read_words(path, member="c.txt")
    path = tmp_path / "a.tgz"
    path.write_bytes(tarred(a_txt=b"a 1\n", b_txt=b"b 1 2\n"))
    for member in ("b.txt", "package/b.txt"):
        assert datasets.read_words(path, member=member).words.tolist() == ["b"]
    with pytest.raises(ValueError, match=r"member must be one of the files in a.tgz \('package/a.txt'.*got 'c'"):
        datasets.read_words(path, member="c")
    for name, content in (("a.txt", b"a 1\n"), ("a.txt.gz", gzip.compress(b"a 1\n"))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf"member must be None, {name} is no archive, got 'c'"):
            datasets.read_words(tmp_path / name, member="c")
    with pytest.raises(ValueError, match="member must be None without a path"):
        datasets.glove(member="c")


def test_damage_inside_an_archive_names_the_member(tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped(b_txt=b"a 1\nb x\n"))
    with pytest.raises(FormatError, match=r"a\.zip, b\.txt, line 2: expected a word and 1 numbers"):
        datasets.read_words(tmp_path / "a.zip")


def test_encrypted_archives_are_refused(tmp_path):
    content = bytearray(zipped(a_txt=b"a 1\n"))
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + flags] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(FormatError, match=r"a\.zip is damaged or cut short: .*password"):
        datasets.read_words(tmp_path / "a.zip")


@pytest.mark.parametrize(
    ("suffix", "content"),
    [(".txt", "the\r\nnew york\né\n"), (".vocab", "the 12\nnew york 7\né\t1\n"), (".vocab", "the\nnew york\né")],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64])
def test_npy_with_words_beside(tmp_path, suffix, content, dtype):
    vectors = np.arange(6, dtype=dtype).reshape(3, 2)
    np.save(tmp_path / "a.npy", vectors)
    (tmp_path / f"a{suffix}").write_bytes(content.encode())
    found = datasets.read_words(tmp_path / "a.npy")
    assert found.words.tolist() == ["the", "new york", "é"]
    np.testing.assert_array_equal(found.vectors, vectors)
    assert found.vectors.dtype == np.float32
    assert found.vectors.flags.writeable == (dtype != np.float32)  # else mapped from the file
    assert found.name == "a"


@pytest.mark.parametrize(
    ("array", "words", "message"),
    [
        (np.zeros((2, 2)), b"a\n", "1 words for 2 vectors"),
        (np.zeros((2, 2)), b"a\n\n", "line 2: a word without characters"),
        (np.zeros((1, 2)), b"\xff\n", "a.txt is not UTF-8"),
        (np.zeros(2), b"a\nb\n", "must have shape"),
        (np.full((1, 2), np.nan, np.float32), b"a\n", "must be finite"),
        (np.array([["x"]]), b"a\n", "must be a matrix of numbers"),
        (np.array([{}]), b"a\n", "is no array of NumPy's"),
    ],
)
def test_wrong_arrays(tmp_path, array, words, message):
    np.save(tmp_path / "a.npy", array)
    (tmp_path / "a.txt").write_bytes(words)
    with pytest.raises(FormatError, match=message):
        datasets.read_words(tmp_path / "a.npy")


def test_npy_without_words(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((1, 2)))
    with pytest.raises(FileNotFoundError, match=r"a\.npy needs its words, one per line, in .*a\.txt or .*a\.vocab"):
        datasets.read_words(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (np.array([1.5, 2]), "words must be a row of strings, got float64"),
        (np.array([["a"], ["b"]]), "words must be a row of strings, got <U1"),
        (np.array(["a"]), "1 words for 2 vectors"),
        (np.array([b"\xff", b"b"]), "words must be UTF-8"),
        (np.array([{}, {}]), "words is no array of numbers or strings"),
    ],
)
def test_wrong_words_in_npz(tmp_path, words, message):
    np.savez(tmp_path / "a.npz", words=words, vectors=np.zeros((2, 2), np.float32))
    with pytest.raises(FormatError, match=message):
        datasets.read_words(tmp_path / "a.npz")


def test_words_in_npz_as_bytes(tmp_path):
    for words in (np.array([b"a", "é".encode()]), np.frombuffer("a\né".encode(), np.uint8)):
        np.savez(tmp_path / "a.npz", words=words, vectors=np.zeros((2, 2)))
        assert datasets.read_words(tmp_path / "a.npz").words.tolist() == ["a", "é"]
    np.savez(tmp_path / "b.npz", words=words)
    with pytest.raises(FormatError, match=r"must hold the arrays words and vectors, it holds words"):
        datasets.read_words(tmp_path / "b.npz")


def test_promises_take_no_memory(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**12, 100)})
    (tmp_path / "a.npy").write_bytes(header.getvalue())
    (tmp_path / "a.npz").write_bytes(zipped(words_npy=header.getvalue(), vectors_npy=header.getvalue()))
    (tmp_path / "a.bin").write_bytes(b"1000000000000 100\na ")
    (tmp_path / "a.txt").write_bytes(b"1000000000000 100\na ")
    for name in ("a.npy", "a.npz", "a.bin", "a.txt"):
        with pytest.raises(FormatError):
            datasets.read_words(tmp_path / name)


@pytest.mark.parametrize("block", [1, 7, 64])
def test_blocks_of_any_size_give_the_same(tmp_path, monkeypatch, block):
    table = {f"word{i}": [i / 7, -i] for i in range(50)} | {"two words": [1, 2]}
    monkeypatch.setattr(text_lines, "_BLOCK", block)
    monkeypatch.setattr(word2vec_binary, "_BLOCK", block)
    monkeypatch.setattr("simskip.datasets.words.wink_json._BLOCK", block)
    for name in ("a.txt", "a.json", "a.bin"):
        written = {word.replace(" ", "_"): row for word, row in table.items()} if name == "a.bin" else table
        (tmp_path / name).write_bytes(FORMATS[name](written))
        found = datasets.read_words(tmp_path / name)
        assert found.words.tolist() == list(written)
        np.testing.assert_array_equal(found.vectors, np.array(list(table.values()), np.float32))


def test_endless_lines_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(text_lines, "_BLOCK", 10)
    monkeypatch.setattr(text_lines, "_MAX_LINE", 100)
    (tmp_path / "a.txt").write_bytes(b"a 1\n" + b"b" * 200)
    with pytest.raises(FormatError, match=r"a\.txt, line 2: more than 100 bytes long"):
        datasets.read_words(tmp_path / "a.txt")


def test_a_long_word_does_not_widen_the_others(tmp_path):
    (tmp_path / "a.txt").write_text(f"{'x' * 10_000} 1\n" + "".join(f"w{i} 1\n" for i in range(1000)))
    found = datasets.read_words(tmp_path / "a.txt")
    assert found.words.nbytes < 10_000
    assert found.row_of("w999") == 1000
    assert word_table.MAX_WORD >= 10_000
