"""The checks of what users pass: right values go through unchanged, wrong ones are named."""

import numpy as np
import pytest

from simskip import validation as v


def test_matrix_copies_only_if_it_must():
    X = np.ones((3, 2), np.float32)
    assert v.matrix(X, "X") is X
    for other in (X.tolist(), X.astype(np.float64), X.astype(int), X.astype(bool), np.asfortranarray(X), X[::-1]):
        converted = v.matrix(other, "X", dim=2)
        assert converted.dtype == np.float32
        assert converted.flags.c_contiguous
        np.testing.assert_array_equal(converted, X)
    assert v.matrix(np.empty((0, 2)), "X", min_rows=0).shape == (0, 2)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1.0, 2.0], r"X must have shape \(n, d\), got \(2,\); for one vector pass X\[None, :\]"),
        (3.0, r"X must have shape \(n, d\), got \(\)"),
        (np.zeros((1, 2, 3)), r"got \(1, 2, 3\)"),
        ([["a", "b"]], "X must be a matrix of numbers"),
        ([[1j, 2]], "X must be a matrix of numbers"),
        ([[None, 2]], "X must be a matrix of numbers"),
        ([[1, 2], [3]], "X must be an array"),
        (np.zeros((2, 3)), "X must have 2 columns"),
        (np.zeros((0, 2)), "X must have at least 1 row"),
        (np.zeros((2, 0)), "X must have at least one column"),
        ([[1, np.nan]], "got nan at row 0, column 1"),
        ([[1, np.inf], [-np.inf, 1]], r"got inf at row 0, column 1 \(2 such values\)"),
        ([[1, 1e39]], "X must be finite float32 numbers, got inf"),
    ],
)
def test_matrix_refuses(value, message):
    with pytest.raises(ValueError, match=message):
        v.matrix(value, "X", dim=2)


def test_sums_that_overflow_float32_are_finite():
    big = np.full((100, 2), 3e38, np.float32)
    assert v.matrix(big, "X") is big


@pytest.mark.parametrize("value", [1.0, "1", None, True, np.True_, 0, -1, 11, [1]])
def test_positive_int_refuses(value):
    with pytest.raises(ValueError, match="k must be an integer from 1 to 10, got"):
        v.positive_int(value, "k", maximum=10)


def test_positive_int_takes_any_integer():
    assert [v.positive_int(x, "k") for x in (1, np.uint8(2), np.int64(3), 2**70)] == [1, 2, 3, 2**70]
    assert v.positive_int(0, "k", minimum=0) == 0
    assert v.bit_count(4096) == 4096
    assert v.thread_count(None) == 0
    assert v.thread_count(4) == 4


@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan, "x", None])
def test_fraction_refuses(value):
    with pytest.raises(ValueError, match=r"p must lie in \[0, 1\]"):
        v.fraction(value, "p")


def test_fraction():
    assert v.fraction("0.5", "p") == 0.5
    assert v.fraction(1, "p") == 1.0
    with pytest.raises(ValueError, match=r"p must lie in \[0, 1\)"):
        v.fraction(1, "p", open_high=True)


def test_choice_takes_no_lookalikes():
    assert v.choice("a", "c", ("a", None)) == "a"
    assert v.choice(None, "c", ("a", None)) is None
    for value in ("b", 1, np.array(["a"]), ["a"]):
        with pytest.raises(ValueError, match=r"c must be one of 'a', 1\.0"):
            v.choice(value, "c", ("a", 1.0))


def test_labels():
    assert v.labels(["a", "b"], "y", 2).tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="y must hold one label for each of the 3 rows"):
        v.labels([1, 2], "y", 3)
    with pytest.raises(ValueError, match="y must be integers or strings"):
        v.labels([1.5, 2.5], "y", 2)


@pytest.mark.parametrize("value", [5, [5], np.array([5], np.uint8), np.array([5], ">i8")])
def test_unique_ids(value):
    ids = v.unique_ids(value, "ids")
    assert ids.dtype == np.int64
    assert ids.tolist() == [5]


def test_no_ids_are_ids():
    assert v.unique_ids([], "ids").shape == (0,)
    assert v.unique_ids([2**63 - 2], "ids").tolist() == [2**63 - 2]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1, 2, 1], "ids must be distinct, got 1 more than once"),
        ([1, -2], "ids must be non-negative, got -2"),
        ([1.0], "ids must be a one-dimensional array of integers"),
        ([True], "ids must be a one-dimensional array of integers"),
        (["1"], "ids must be a one-dimensional array of integers"),
        ([[1], [2]], "ids must be a one-dimensional array of integers"),
        ([[1], [2, 3]], "ids must be an array"),
        ([2**63 - 1], "ids must be at most"),
        (np.array([2**64 - 1], np.uint64), "ids must be at most"),
        ([2**70], "ids must be a one-dimensional array of integers"),
    ],
)
def test_unique_ids_refuses(value, message):
    with pytest.raises(ValueError, match=message):
        v.unique_ids(value, "ids")


def test_unique_ids_counts():
    with pytest.raises(ValueError, match="ids must hold one id for each of the 3 rows, got 2"):
        v.unique_ids([1, 2], "ids", 3)
