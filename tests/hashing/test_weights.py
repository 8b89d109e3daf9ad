import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from simskip import FormatError
from simskip.hashing import weights

DTYPES = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?"]

arrays = hnp.arrays(
    st.sampled_from(DTYPES).map(np.dtype), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5)
)
tables = st.dictionaries(st.text(max_size=6).filter(lambda name: name != "__metadata__"), arrays, max_size=4)
texts = st.dictionaries(st.text(max_size=6).filter(lambda key: "simskip" not in key), st.text(max_size=9), max_size=3)


def equal(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(
        a[name].dtype == b[name].dtype and a[name].shape == b[name].shape and a[name].tobytes() == b[name].tobytes()
        for name in a
    )


def raw(header: object, data: bytes = b"") -> bytes:
    """A file without checksums, as other writers make it."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype: str = "F32", shape: object = (1,), offsets: object = (0, 4)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@given(tables, texts)
def test_round_trip(tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    back, texts_back = weights.from_bytes(weights.to_bytes(tensors, metadata))
    assert equal(back, tensors)
    assert texts_back == metadata
    assert all(array.flags.writeable for array in back.values())


@given(tables, texts)
def test_the_safetensors_package_reads_ours(tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    assert equal(safetensors.numpy.load(weights.to_bytes(tensors, metadata)), tensors)


@given(tables, texts)
def test_we_read_the_safetensors_package(tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    content = safetensors.numpy.save(tensors, metadata or None)
    back, texts_back = weights.from_bytes(content, checksums=False)
    assert equal(back, tensors)
    assert texts_back == metadata
    with pytest.raises(FormatError, match="no checksum"):
        weights.from_bytes(content)


def test_files_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    tensors = {"b": np.arange(3.0), "a": np.eye(2, dtype=np.float32)}
    weights.write_weights(path, tensors, {"k": "v"})
    back, metadata = weights.read_weights(path)
    assert equal(back, tensors)
    assert metadata == {"k": "v"}
    with safetensors.safe_open(path, "numpy") as file:
        assert file.metadata()["k"] == "v"
    assert weights.to_bytes(tensors, {"k": "v"}) == weights.to_bytes(dict(reversed(tensors.items())), {"k": "v"})


def test_other_byte_orders_are_converted() -> None:
    back, _ = weights.from_bytes(weights.to_bytes({"a": np.arange(4, dtype=">i4")}))
    assert back["a"].tolist() == [0, 1, 2, 3]
    assert back["a"].dtype == np.int32


def test_tensors_begin_on_a_cache_line() -> None:
    content = weights.to_bytes({"a": np.ones(3, np.float32), "b": np.ones(5)})
    assert (8 + int.from_bytes(content[:8], "little")) % 64 == 0


SMALL = weights.to_bytes(
    {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "flag": np.array([True, False])},
    {"class": "Toy", "n": "1"},
)


def test_every_flipped_bit_is_detected() -> None:
    for at in range(len(SMALL)):
        for bit in range(8):
            damaged = bytearray(SMALL)
            damaged[at] ^= 1 << bit
            with pytest.raises(FormatError, match=r"^here: "):
                weights.from_bytes(bytes(damaged), "here")


@given(st.integers(0, len(SMALL) - 1), st.integers(1, 255))
def test_every_changed_byte_is_detected(at: int, change: int) -> None:
    damaged = bytearray(SMALL)
    damaged[at] ^= change
    with pytest.raises(FormatError):
        weights.from_bytes(bytes(damaged))


def test_every_truncation_and_any_tail_is_detected() -> None:
    for length in range(len(SMALL)):
        with pytest.raises(FormatError):
            weights.from_bytes(SMALL[:length])
    with pytest.raises(FormatError, match="cut short or damaged"):
        weights.from_bytes(SMALL + b"\0")


def test_damage_is_located() -> None:
    damaged = bytearray(SMALL)
    damaged[-1] ^= 1
    with pytest.raises(FormatError, match=r"tensor 'flag' \(bytes \d+ to \d+\) is damaged"):
        weights.from_bytes(bytes(damaged))
    damaged = bytearray(SMALL)
    damaged[60] ^= 1
    with pytest.raises(FormatError, match="damaged header"):
        weights.from_bytes(bytes(damaged))


@given(st.binary(max_size=200))
def test_noise_is_a_format_error(content: bytes) -> None:
    for checksums in (True, False):
        with pytest.raises(FormatError):
            weights.from_bytes(content, checksums=checksums)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cut short"),
        ((2**63).to_bytes(8, "little") + b"{}", "a header of"),
        (raw(b"{"), "not JSON"),
        (raw(b"\xff\xfe"), "not JSON"),
        (raw(b"[" * 5000), "not JSON"),
        (raw([]), "not a JSON object"),
        (raw(b'{"a":1,"a":2}'), "occurs twice"),
        (raw({"__metadata__": {"a": 1}}), "strings to strings"),
        (raw({"__metadata__": []}), "strings to strings"),
        (raw({"a": 1}), "lacks dtype"),
        (raw({"a": {"dtype": "F32", "shape": []}}), "lacks dtype"),
        (raw({"a": entry(offsets=[0])}, b"0000"), "lacks dtype"),
        (raw({"a": entry("F33")}, b"0000"), "unknown type"),
        (raw({"a": entry(["F32"])}, b"0000"), "unknown type"),  # type: ignore[arg-type]
        (raw({"a": entry(shape=[-1])}, b"0000"), "not sizes"),
        (raw({"a": entry(shape=[1.0])}, b"0000"), "not sizes"),
        (raw({"a": entry(shape=[True])}, b"0000"), "not sizes"),
        (raw({"a": entry(shape="1")}, b"0000"), "not sizes"),
        (raw({"a": entry(shape=[1] * 65)}, b"0000"), "not sizes"),
        (raw({"a": entry(shape=[2**40])}, b"0000"), "offsets 0 to 4 but shape"),
        (raw({"a": entry(shape=[2**40], offsets=[0, 2**42])}, b"0000"), "the header describes"),
        (raw({"a": entry(shape=[2**62, 0, 2**62], offsets=[0, 0])}), "impossible shape"),
        (raw({"a": entry(offsets=[4, 8])}, b"00000000"), "expected 0"),
        (raw({"a": entry(), "b": entry()}, b"0000"), "expected 4"),
        (raw({"a": entry(), "b": entry(offsets=[2, 6])}, b"000000"), "expected 4"),
        (raw({"a": entry()}, b"00000"), "cut short or damaged"),
        (raw({"a": entry("BOOL", [1], [0, 1])}, b"\x02"), "booleans"),
    ],
)
def test_hostile_files(content: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        weights.from_bytes(content, checksums=False)


def test_a_hostile_header_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    for content in (
        (2**62).to_bytes(8, "little") + b"{" + b" " * 100,
        raw({"a": entry(shape=[2**40], offsets=[0, 2**42])}, b"0000"),
        # A header that is really there, but longer than any of ours.
        (2**21).to_bytes(8, "little") + b"[" * 2**21,
    ):
        path.write_bytes(content)
        tracemalloc.start()
        try:
            with pytest.raises(FormatError):
                weights.read_weights(path, checksums=False)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 200_000


@pytest.mark.parametrize(
    ("tensors", "metadata", "message"),
    [
        ({"a": np.ones(2, complex)}, {}, "plain number"),
        ({"a": np.array(["x"])}, {}, "plain number"),
        ({"a": np.array([None])}, {}, "plain number"),
        ({"__metadata__": np.ones(2)}, {}, "named"),
        ({1: np.ones(2)}, {}, "named"),
        ({}, {"a": 1}, "strings to strings"),
        ({}, {"simskip.checksum": "0"}, "checksums"),
        ({}, {"simskip.crc32.a": "0"}, "checksums"),
        ({}, {"a": "x" * 2**20}, "fit into"),
    ],
)
def test_what_cannot_be_written(tensors: dict, metadata: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        weights.to_bytes(tensors, metadata)


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        weights.read_weights(tmp_path / "missing")
