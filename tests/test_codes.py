"""Packed codes: round trips, other tools' layouts, thresholds, errors."""

import pickle

import faiss
import numpy as np
import pgvector
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import usearch.index as usearch
from hypothesis import given, settings
from hypothesis import strategies as st

import simskip

FORMATS = ["faiss", "numpy-big", "uint64", "sentence-transformers", "elasticsearch", "postgres", "arrow", "hex"]


def random_bits(n: int, n_bits: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, (n, n_bits), dtype=np.uint8)


@settings(deadline=None)
@given(n=st.integers(0, 40), n_bits=st.one_of(st.integers(1, 300), st.sampled_from([4095, 4096])), seed=st.integers(0))
def test_pack_equals_packbits_and_unpack_inverts_it(n, n_bits, seed):
    bits = random_bits(n, n_bits, seed)
    codes = simskip.pack(bits)
    assert (len(codes), codes.n_bits) == (n, n_bits)
    np.testing.assert_array_equal(codes.data, np.packbits(bits, axis=1, bitorder="little"))
    np.testing.assert_array_equal(simskip.unpack(codes), bits)
    for values in (bits.astype(bool), bits.astype(np.int8) * 2 - 1, bits.astype(np.float32) - 0.5):
        assert simskip.pack(values, threads=2) == codes


@pytest.mark.parametrize("name", FORMATS)
@settings(deadline=None)
@given(n=st.integers(0, 10), n_bits=st.integers(1, 200), seed=st.integers(0))
def test_formats_invert(name, n, n_bits, seed):
    if name == "faiss":
        n_bits = n_bits * 8
    codes = simskip.pack(random_bits(n, n_bits, seed))
    assert simskip.Codes.from_(codes.to(name), n_bits=n_bits, format=name) == codes


@settings(deadline=None)
@given(n=st.integers(0, 20), n_bits=st.integers(1, 300), data=st.data())
def test_a_prefix_is_the_first_bits(n, n_bits, data):
    first = data.draw(st.integers(1, n_bits))
    bits = random_bits(n, n_bits, n_bits)
    codes = simskip.pack(bits)
    prefix = codes.prefix(first)
    assert prefix == simskip.pack(bits[:, :first])  # padding zero included
    assert codes == simskip.pack(bits)  # the original is left alone
    shorter = data.draw(st.integers(1, first))
    assert prefix.prefix(shorter) == codes.prefix(shorter)
    assert prefix.data.flags.c_contiguous
    assert not np.shares_memory(prefix.data, codes.data)


def test_a_prefix_never_raises_a_distance():
    codes = simskip.pack(random_bits(50, 40, 2))

    def distances(some):
        index = simskip.HammingIndex(some.n_bits)
        index.add(some)
        distances, ids = index.search(some, k=50)
        return np.take_along_axis(distances, np.argsort(ids, axis=1), axis=1)

    before = distances(codes.prefix(3))
    for n_bits in (8, 13, 40):
        after = distances(codes.prefix(n_bits))
        assert (before <= after).all()
        before = after


@pytest.mark.parametrize("n_bits", [0, -1, 13, 2.0, True, None])
def test_a_prefix_has_one_bit_at_least_and_no_more_than_there_are(n_bits):
    with pytest.raises(ValueError, match=r"n_bits must be an integer from 1 to 12, got"):
        simskip.pack(np.zeros((2, 12))).prefix(n_bits)


def test_layouts_of_other_tools():
    bits = random_bits(5, 72, 1)
    codes = simskip.pack(bits)
    big = np.packbits(bits, axis=1)
    np.testing.assert_array_equal(codes.to("numpy-big"), big)
    np.testing.assert_array_equal(codes.to("elasticsearch"), big.view(np.int8))
    # sentence_transformers.util.quantize_embeddings: (packbits - 128).astype(int8)
    np.testing.assert_array_equal(codes.to("sentence-transformers"), (big.astype(np.int16) - 128).astype(np.int8))
    np.testing.assert_array_equal(codes.to("faiss"), np.packbits(bits, axis=1, bitorder="little"))
    assert codes.to("postgres")[0] == "".join(map(str, bits[0]))
    assert codes.to("hex")[0] == codes.data[0].tobytes().hex()
    words = codes.to("uint64")
    assert words.shape == (5, 2)
    assert int(words[0, 0]) == sum(int(b) << i for i, b in enumerate(bits[0, :64]))


def test_layouts_are_those_that_the_tools_make():
    values = np.random.default_rng(3).normal(size=(6, 72)).astype(np.float32)
    codes, bits = simskip.pack(values), values > 0
    np.testing.assert_array_equal(codes.to("numpy-big"), np.packbits(bits, axis=1))
    # faiss's own packing of real values
    binarised = np.empty((6, 9), np.uint8)
    faiss.fvecs2bitvecs(faiss.swig_ptr(values), faiss.swig_ptr(binarised), 72, 6)
    np.testing.assert_array_equal(codes.to("faiss"), binarised)
    assert codes.to("postgres") == [pgvector.Bit(row).to_text() for row in bits]
    theirs = pa.array([row.tobytes() for row in codes.data], pa.binary(9))
    assert codes.to("arrow").equals(theirs)
    assert codes.to("hex") == [f"{int.from_bytes(row.tobytes(), 'big'):018x}" for row in codes.data]
    # Elasticsearch: "the bits of a byte from the most significant to the least", bytes signed
    for row, signed in zip(bits, codes.to("elasticsearch"), strict=True):
        assert "".join(f"{byte & 255:08b}" for byte in signed) == "".join(map(str, row.astype(int)))


@pytest.mark.slow  # importing it takes six seconds
def test_sentence_transformers_makes_the_same_codes():
    quantize = pytest.importorskip("sentence_transformers.util").quantize_embeddings
    values = np.random.default_rng(4).normal(size=(6, 72)).astype(np.float32)
    codes = simskip.pack(values)
    np.testing.assert_array_equal(codes.to("sentence-transformers"), quantize(values, "binary"))
    np.testing.assert_array_equal(codes.to("numpy-big"), quantize(values, "ubinary"))
    theirs = quantize(values, "binary")
    assert simskip.Codes.from_(theirs, n_bits=72, format="sentence-transformers") == codes


def test_arrow_survives_files_slices_and_chunks(tmp_path):
    codes = simskip.pack(random_bits(10, 20, 5))
    path = tmp_path / "codes.parquet"
    pq.write_table(pa.table({"code": codes.to("arrow")}), path, row_group_size=3)
    column = pq.read_table(path)["code"]
    assert simskip.Codes.from_(column, n_bits=20, format="arrow") == codes
    assert simskip.Codes.from_(column.slice(2, 5), n_bits=20, format="arrow") == codes[2:7]
    with pytest.raises(ValueError, match="without nulls"):
        simskip.Codes.from_(pa.array([b"123", None], pa.binary(3)), n_bits=20, format="arrow")


def test_usearch_finds_the_same_distances():
    codes = simskip.pack(random_bits(200, 64, 6))
    theirs = usearch.search(codes.to("numpy-big"), codes.to("numpy-big")[:5], 7, usearch.MetricKind.Hamming, exact=True)
    ours = simskip.HammingIndex(64)
    ours.add(codes)
    np.testing.assert_array_equal(ours.search(codes[:5], k=7)[0], theirs.distances)


def test_faiss_finds_the_same_neighbours():
    codes = simskip.pack(random_bits(200, 64, 2))
    theirs = faiss.IndexBinaryFlat(64)
    theirs.add(codes.to("faiss"))
    ours = simskip.HammingIndex(64)
    ours.add(codes)
    distances, _ = theirs.search(codes.to("faiss")[:10], 7)
    np.testing.assert_array_equal(ours.search(codes[:10], k=7)[0], distances)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble, ">f4"])
@pytest.mark.parametrize(
    "threshold", [0, -0.0, 0.1, -0.1, 1e-300, -1e-300, 1e30, -1e30, 1e300, np.inf, -np.inf, np.float32(0.3)]
)
def test_thresholds_are_exact(dtype, threshold):
    dtype = np.dtype(dtype)
    near = dtype.type(0.1)
    values = np.array([[-np.inf, -near, -0.0, 0.0, near, np.nextafter(near, dtype.type(1)), 1.0, np.inf]], dtype)
    expected = [np.longdouble(v) > np.longdouble(threshold) for v in values[0]]
    assert simskip.unpack(simskip.pack(values, threshold))[0].tolist() == expected


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.uint64, bool])
def test_integers_and_booleans(dtype):
    values = np.array([[0, 1, 1, 0]], dtype)
    assert simskip.unpack(simskip.pack(values)).tolist() == [[0, 1, 1, 0]]
    assert simskip.unpack(simskip.pack(values, -1)).tolist() == [[1, 1, 1, 1]]
    assert simskip.unpack(simskip.pack(values, 0.5)).tolist() == [[0, 1, 1, 0]]


def test_tiny_float64_stays_above_zero():
    assert simskip.unpack(simskip.pack(np.array([[1e-300, -1e-300]]))).tolist() == [[1, 0]]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_nan_is_an_error_that_says_where(dtype):
    values = np.zeros((3, 4), dtype)
    values[0, 0], values[0, 1] = np.inf, -np.inf
    simskip.pack(values)
    values[2, 1] = np.nan
    with pytest.raises(ValueError, match="values must not hold NaN, got nan at row 2, column 1"):
        simskip.pack(values)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: simskip.pack(np.zeros(3)), r"values must have shape \(n, n_bits\)"),
        (lambda: simskip.pack(np.zeros((2, 0))), "number of columns of values"),
        (lambda: simskip.pack(np.zeros((2, 4097))), "number of columns of values"),
        (lambda: simskip.pack([["a"]]), "values must be numbers"),
        (lambda: simskip.pack([[1, 2], [3]]), "values must be an array"),
        (lambda: simskip.pack(np.zeros((1, 2), complex)), "values must be numbers"),
        (lambda: simskip.pack(np.zeros((1, 2)), np.nan), "threshold must be a number"),
        (lambda: simskip.pack(np.zeros((1, 2)), "0"), "threshold must be a number"),
        (lambda: simskip.pack(np.zeros((1, 2)), threads=0), "threads must be"),
        (lambda: simskip.pack(np.zeros((1, 2)), threads=10**6), "threads must be"),
        (lambda: simskip.unpack(np.zeros((1, 2), np.uint8)), "codes must be simskip.Codes"),
        (lambda: simskip.unpack(simskip.pack(np.zeros((1, 2))), threads=-1), "threads must be"),
        (lambda: simskip.Codes(np.zeros((1, 2)), 9), "data must be uint8"),
        (lambda: simskip.Codes(np.zeros((1, 2), np.uint8), 8), r"data must have shape \(n, 1\)"),
        (lambda: simskip.Codes(np.zeros(2, np.uint8), 8), "data must have shape"),
        (lambda: simskip.Codes(np.full((1, 1), 8, np.uint8), 3), "bits set past bit 3"),
        (lambda: simskip.Codes(np.zeros((1, 1), np.uint8), 0), "n_bits must be"),
        (lambda: simskip.Codes(np.zeros((1, 1), np.uint8), True), "n_bits must be"),
        (lambda: simskip.pack(np.zeros((1, 9))).to("faiss"), "faiss takes multiples of 8"),
        (lambda: simskip.pack(np.zeros((1, 9))).to("fais"), "format must be one of"),
        (lambda: simskip.Codes.from_(["0102"], n_bits=16, format="xml"), "format must be one of"),
        (lambda: simskip.Codes.from_(["01"], n_bits=16, format="hex"), "4 hexadecimal digits"),
        (lambda: simskip.Codes.from_(["01zz"], n_bits=16, format="hex"), "hex"),
        (lambda: simskip.Codes.from_(["012"], n_bits=3, format="postgres"), "3 characters 0 and 1"),
        (lambda: simskip.Codes.from_([[1, 300]], n_bits=16, format="elasticsearch"), "signed bytes"),
        (lambda: simskip.Codes.from_([[1], [2, 3]], n_bits=8, format="elasticsearch"), "signed bytes"),
        (lambda: simskip.Codes.from_([[1, 2]], n_bits=8, format="elasticsearch"), "array must be int8"),
        (lambda: simskip.Codes.from_(np.array([[8]], np.uint64), n_bits=3, format="uint64"), "past bit 3"),
        (lambda: simskip.Codes.from_(np.array([[8]]), n_bits=3, format="uint64"), "array must be uint64"),
        (lambda: simskip.Codes.from_(np.array([[8]]), n_bits=8, format="numpy-big"), "array must be uint8"),
        (lambda: simskip.Codes.from_(np.array([[8]]), n_bits=8, format="arrow"), "fixed-size binary"),
    ],
)
def test_errors_name_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_arrow_refuses_other_types_of_the_same_width():
    with pytest.raises(ValueError, match="fixed-size binary of 8 bytes"):
        simskip.Codes.from_(pa.array([1, 2]), n_bits=64, format="arrow")


def test_codes_behave_like_a_sequence():
    codes = simskip.pack(random_bits(6, 12, 3))
    assert codes[-1] == codes[5] == codes[np.int64(5)]
    assert codes[1:3] == codes[[1, 2]] == codes[np.array([False, True, True, False, False, False])]
    assert [len(c) for c in codes] == [1] * 6
    assert codes != codes[:5]
    assert codes != "codes"
    with pytest.raises(IndexError, match="row 6 is out of range for 6 codes"):
        codes[6]
    with pytest.raises(IndexError):
        codes[-7]
    with pytest.raises(TypeError):
        hash(codes)
    assert pickle.loads(pickle.dumps(codes)) == codes
    assert repr(codes) == "Codes(6 x 12 bits, 12 bytes)"
    assert codes.nbytes == 12


def test_codes_take_a_contiguous_array_as_it_is():
    data = np.zeros((4, 2), np.uint8)
    assert simskip.Codes(data, 16).data is data
    assert simskip.Codes(np.asfortranarray(np.ones((4, 2), np.uint8)), 16).data.flags.c_contiguous
