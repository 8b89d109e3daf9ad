"""The IDX parser: round trips, damaged files."""

import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from simskip import FormatError, datasets


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return header + array.tobytes()


@given(arrays(np.uint8, st.lists(st.integers(0, 5), min_size=1, max_size=4).map(tuple)), st.booleans())
def test_idx_round_trip(tmp_path_factory, array, packed):
    path = tmp_path_factory.getbasetemp() / "round-trip"
    path.write_bytes(gzip.compress(idx(array)) if packed else idx(array))
    np.testing.assert_array_equal(datasets.read_idx(path), array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "two zero bytes"),
        (b"\x89PNG\r\n", "two zero bytes"),
        (b"\0\0\x0d\x01\0\0\0\0", "type 13, 1"),
        (b"\0\0\x08\0", "type 8, 0"),
        (b"\0\0\x08\x02\0\0\0\x01\0", "ends in its header, after 9 bytes"),
        (b"\0\0\x08\x01\0\0\0\x03ab", r"must hold 3 bytes for shape \(3,\), got 2"),
        (b"\0\0\x08\x01\0\0\0\x03abcd", r"must hold 3 bytes for shape \(3,\), got 4"),
        (b"\0\0\x08\x02" + b"\xff" * 8, r"must hold 18446744065119617025 bytes"),
        (gzip.compress(b"\0\0\x08\x01\0\0\0\x03abc")[:-4], "cannot be unpacked"),
        (b"\x1f\x8bnonsense", "cannot be unpacked"),
    ],
)
def test_damaged_idx(tmp_path, content, message):
    path = tmp_path / "some.idx"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=rf"some\.idx.*{message}"):
        datasets.read_idx(path)
