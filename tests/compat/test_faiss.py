"""faiss's files against faiss itself, against hand-made bytes, and damaged in every way."""

import os
import struct

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import simskip
from simskip.compat.faiss import read_index, write_index

NUMBERS = struct.Struct("<q")


def random_rows(n, n_bits, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, n_bits // 8), dtype=np.uint8)


def written_by_faiss(path, rows, n_bits, ids=None, kind=faiss.IndexBinaryIDMap2):
    flat = faiss.IndexBinaryFlat(n_bits)
    if ids is None:
        flat.add(rows)
        faiss.write_index_binary(flat, str(path))
    else:
        mapped = kind(flat)
        mapped.add_with_ids(rows, np.asarray(ids, np.int64))
        faiss.write_index_binary(mapped, str(path))
    return path.read_bytes()


def header(kind, n_bits, width, n, trained=1):
    return struct.pack("<4siiqBi", kind, n_bits, width, n, trained, 1)


def flat_file(rows, n_bits):
    n, width = rows.shape
    return header(b"IBxF", n_bits, width, n) + struct.pack("<Q", rows.size) + rows.tobytes()


def map_file(rows, n_bits, ids, kind=b"IBM2"):
    n, width = rows.shape
    inner = flat_file(rows, n_bits)
    return header(kind, n_bits, width, n) + inner + struct.pack(f"<Q{len(ids)}q", len(ids), *ids)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.faiss"


ID_CHOICES = {
    "none": lambda n: None,
    "ascending": lambda n: np.arange(n) * 3 + 1,
    "shuffled": lambda n: np.random.default_rng(1).permutation(10 * n + 1)[:n],
    "largest": lambda n: 2**63 - 2 - np.arange(n),
    "permutation": lambda n: np.arange(n)[::-1].copy(),
}


@pytest.mark.parametrize("ids", ID_CHOICES)
@pytest.mark.parametrize("kind", [faiss.IndexBinaryIDMap, faiss.IndexBinaryIDMap2])
@pytest.mark.parametrize(("n", "n_bits"), [(0, 8), (1, 8), (200, 24), (200, 64), (70, 256), (5, 4096)])
def test_reads_what_faiss_writes(path, ids, kind, n, n_bits):
    rows, ids = random_rows(n, n_bits), ID_CHOICES[ids](n)
    written_by_faiss(path, rows, n_bits, ids, kind)
    index = read_index(path)
    assert (len(index), index.n_bits) == (n, n_bits)
    ids = np.arange(n) if ids is None else ids
    assert index.ids.tolist() == sorted(ids.tolist())
    np.testing.assert_array_equal(index.codes(ids).data, rows)


@pytest.mark.parametrize("ids", ID_CHOICES)
@pytest.mark.parametrize(("n", "n_bits"), [(0, 8), (1, 8), (200, 24), (200, 64), (70, 256)])
def test_faiss_reads_what_is_written(path, ids, n, n_bits):
    rows, ids = random_rows(n, n_bits), ID_CHOICES[ids](n)
    index = simskip.HammingIndex(n_bits)
    index.add(simskip.Codes(rows, n_bits), ids)
    write_index(index, path)
    theirs = faiss.read_index_binary(str(path))
    assert (theirs.ntotal, theirs.d, theirs.is_trained) == (n, n_bits, True)
    if n:
        k = min(n, 9)
        distances, found = theirs.search(rows[:7], k)
        ours, _ = index.search(simskip.Codes(rows[:7], n_bits), k)
        np.testing.assert_array_equal(distances, ours)
        for query, row in zip(rows[:7], found, strict=True):
            expected = np.bitwise_count(index.codes(row).data ^ query).sum(axis=1)
            assert expected.tolist() == sorted(expected.tolist())


def test_same_bytes_as_faiss(path):
    rows = random_rows(50, 64)
    for ids in (None, np.arange(50) * 2):
        theirs = written_by_faiss(path, rows, 64, ids)
        write_index(read_index(path), path)
        assert path.read_bytes() == theirs


def test_bytes_made_by_hand(path):
    """The format as documented, so that a change of the installed faiss is not mistaken for ours."""
    rows = np.array([[1, 2], [3, 4], [5, 6]], np.uint8)
    path.write_bytes(flat_file(rows, 16))
    assert read_index(path).codes().data.tolist() == rows.tolist()
    for kind in (b"IBMp", b"IBM2"):
        path.write_bytes(map_file(rows, 16, [9, 0, 4], kind))
        index = read_index(path, method="scan")
        assert index.method == "scan"
        assert dict(zip(index.ids.tolist(), index.codes().data.tolist(), strict=True)) == {
            9: [1, 2],
            0: [3, 4],
            4: [5, 6],
        }
    write_index(index, path)
    assert path.read_bytes() == map_file(rows[[1, 2, 0]], 16, [0, 4, 9])


def test_large_files_are_read_in_blocks(path, monkeypatch):
    monkeypatch.setattr("simskip.compat.faiss._BLOCK_BYTES", 100)
    rows = random_rows(1000, 24)
    for ids in (None, np.arange(1000) + 5, np.arange(1000)[::-1].copy()):
        written_by_faiss(path, rows, 24, ids)
        np.testing.assert_array_equal(read_index(path).codes(ids).data, rows)


ROWS = np.arange(6, dtype=np.uint8).reshape(3, 2)
FLAT = flat_file(ROWS, 16)
MAP = map_file(ROWS, 16, [7, 3, 9])


def with_number(content, at, layout, value):
    packed = struct.pack(layout, value)
    return content[:at] + packed + content[at + len(packed) :]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"cut short before its header: 0 bytes in all \(offset 0\)"),
        (FLAT[:24], r"cut short before its header: 24 bytes"),
        (flat_file(ROWS[:1], 16)[:30], r"cut short before its number of codes.*\(offset 25\)"),
        (FLAT[:-1], r"cut short in its codes: 38 bytes in all \(offset 33\)"),
        (FLAT + b"x", r"1 bytes follow the end of the index \(offset 39\)"),
        (b"IxF2" + FLAT[4:], r"kind b'IxF2', not a binary index of faiss"),
        (b"IBHf" + FLAT[4:], r"holds an IndexBinaryHNSW; only IndexBinaryFlat and IDMaps"),
        (b"IBwF" + FLAT[4:], r"holds an IndexBinaryIVF; only"),
        (MAP[:25] + b"IBM2" + MAP[29:], r"the map is of kind b'IBM2'.*\(offset 25\)"),
        (with_number(FLAT, 4, "<i", 12), r"bits per code must be a multiple of 8 from 8 to 4096, got 12 \(offset 4\)"),
        (with_number(FLAT, 4, "<i", -8), r"bits per code must be .*, got -8"),
        (with_number(FLAT, 4, "<i", 2**30), r"bits per code must be .*, got 1073741824"),
        (with_number(FLAT, 8, "<i", 3), r"bytes per code must be 2 for 16 bits, got 3 \(offset 8\)"),
        (with_number(FLAT, 12, "<q", -1), r"-1 codes of 2 bytes cannot be in a file of 39 bytes \(offset 12\)"),
        (with_number(FLAT, 12, "<q", 2**62), r"4611686018427387904 codes of 2 bytes cannot be"),
        (with_number(FLAT, 12, "<q", 2), r"codes must take 4 items, got 6 \(offset 25\)"),
        (with_number(FLAT, 20, "<B", 7), r"'trained' must be 0 or 1, got 7 \(offset 20\)"),
        (with_number(FLAT, 25, "<Q", 2**64 - 1), r"codes must take 6 items, got 18446744073709551615"),
        (with_number(MAP, 12, "<q", 2), r"the map says 2 codes of 16 bits, its index 3 of 16"),
        (with_number(MAP, 64, "<Q", 2), r"ids must take 3 items, got 2 \(offset 64\)"),
        (MAP[:-3], r"cut short in its ids"),
        (map_file(ROWS, 16, [7, 3, 7]), r"id 7 appears more than once, again for code 2 \(offset 88\)"),
        (map_file(ROWS, 16, [7, -1, 9]), r"id -1 of code 1 is negative \(offset 80\)"),
        (map_file(ROWS, 16, [7, 2**63 - 1, 9]), r"id 9223372036854775807 of code 1 is larger than 2\*\*63 - 2"),
    ],
)
def test_damaged_files_say_what_and_where(path, content, message):
    path.write_bytes(content)
    with pytest.raises(simskip.FormatError, match=r"a\.faiss: .*" + message):
        read_index(path)


def test_duplicate_ids_of_faiss_are_refused(path):
    written_by_faiss(path, random_rows(2, 8), 8, [5, 5])
    with pytest.raises(simskip.FormatError, match="id 5 appears more than once"):
        read_index(path)


def test_simskips_own_files_are_named(path):
    index = simskip.HammingIndex(8)
    index.save(path)
    with pytest.raises(simskip.FormatError, match=r"simskip's own \(HammingIndex\.load"):
        read_index(path)


@given(data=st.data(), mapped=st.booleans())
def test_mutated_files_give_an_index_or_a_format_error(tmp_path_factory, data, mapped):
    content = bytearray(MAP if mapped else FLAT)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content)))
        change = data.draw(st.sampled_from(["byte", "number", "cut", "insert"]))
        if change == "byte" and at < len(content):
            content[at] = data.draw(st.integers(0, 255))
        elif change == "number":
            interesting = [0, 1, -1, 2**31 - 1, 2**31, 2**32, 2**62, 2**63 - 1, -(2**63)]
            content[at : at + 8] = NUMBERS.pack(data.draw(st.sampled_from(interesting)))
        elif change == "cut":
            del content[at:]
        else:
            content[at:at] = data.draw(st.binary(min_size=1, max_size=9))
    path = tmp_path_factory.getbasetemp() / "mutated.faiss"
    path.write_bytes(content)
    try:
        index = read_index(path)
    except simskip.FormatError:
        return
    # What was taken is all of the file: it says the same again. 'trained' and the metric mean nothing here.
    assert len(index) * index.n_bits // 8 < len(content)
    write_index(index, path)
    again = read_index(path)
    assert again.ids.tolist() == index.ids.tolist()
    assert again.codes() == index.codes()


@given(content=st.binary(max_size=200))
def test_random_bytes_are_a_format_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "random.faiss"
    path.write_bytes(content)
    with pytest.raises(simskip.FormatError):
        read_index(path)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda path: write_index(simskip.HammingIndex(13), path), "multiple of 8 bits, got 13.*pad the codes to 16"),
        (lambda path: write_index(simskip.VectorIndex(8), path), "index must be a HammingIndex, got VectorIndex"),
    ],
)
def test_errors_name_the_argument_and_write_nothing(path, call, message):
    with pytest.raises(ValueError, match=message):
        call(path)
    assert not path.exists()


def test_the_suggested_padding_works(path):
    codes = simskip.pack(np.random.default_rng(0).integers(0, 2, (40, 13)))
    ours, padded = simskip.HammingIndex(13), simskip.HammingIndex(16)
    ours.add(codes)
    padded.add(simskip.Codes(codes.data, 16))
    write_index(padded, path)
    distances, _ = faiss.read_index_binary(str(path)).search(codes.data[:5], 9)
    np.testing.assert_array_equal(distances, ours.search(codes[:5], 9)[0])


def test_missing_files_and_folders(path):
    with pytest.raises(FileNotFoundError):
        read_index(path)
    with pytest.raises(FileNotFoundError):
        write_index(simskip.HammingIndex(8), path / "none")
    with pytest.raises(IsADirectoryError):
        read_index(path.parent)


def test_an_error_while_writing_keeps_the_old_file(path, monkeypatch):
    index = simskip.HammingIndex(8)
    write_index(index, path)
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("simskip.compat.faiss._write_array", fail)
    with pytest.raises(OSError, match="disk full"):
        write_index(index, path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]
