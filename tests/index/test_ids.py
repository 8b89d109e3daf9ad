"""Sorted ids, and the filters that choose among them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simskip.index.ids import SortedIds, allowed_ids, needs_ids


@settings(deadline=None)
@given(st.sets(st.integers(0, 60)), st.lists(st.integers(-3, 70)))
def test_sorted_ids_equal_a_list(present, asked):
    ordered = sorted(present)
    ids = SortedIds(len(ordered), np.array(ordered, np.int64))
    assert len(ids) == len(ordered)
    assert ids.array().tolist() == ordered
    assert (ids.values is None) == (ordered == list(range(len(ordered))))
    assert ids.found(np.array(asked, np.int64)).tolist() == [i in present for i in asked]
    known = [i for i in asked if i in present]
    assert ids.rows(np.array(known, np.int64)).tolist() == [ordered.index(i) for i in known]
    assert ids.rows(np.array([-1])).tolist() == [-1]
    ids.require(np.array(known, np.int64))
    for i in set(asked) - present:
        with pytest.raises(ValueError, match=f"id {i} is not in the index"):
            ids.require(np.array([*known, i], np.int64))


def test_filters():
    present = np.array([2, 3, 5, 8])

    def refuse():
        raise AssertionError("ids were asked for")

    assert allowed_ids(None, refuse) is None
    assert allowed_ids([8, 2], refuse).tolist() == [2, 8]
    assert allowed_ids([], refuse).tolist() == []
    assert allowed_ids(np.array([True, False, False, True]), lambda: present).tolist() == [2, 8]
    assert allowed_ids(lambda ids: ids % 2 == 1, lambda: present).tolist() == [3, 5]
    assert allowed_ids(lambda ids: ids > 0, lambda: present[:0]).tolist() == []
    assert [needs_ids(w) for w in (None, [1], [True], lambda ids: ids)] == [False, False, True, True]


def test_a_callable_sees_every_id_once_in_blocks():
    seen = []

    def odd(ids):
        seen.append(ids.copy())
        return ids % 2 == 1

    assert len(allowed_ids(odd, lambda: np.arange(200_001))) == 100_000
    assert len(seen) > 1
    np.testing.assert_array_equal(np.concatenate(seen), np.arange(200_001))


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (np.array([True, False]), r"where must be a boolean mask of 4 entries, got bool \(2,\)"),
        (lambda ids: ids, r"where\(ids\) must be a boolean mask of 4 entries, got int64"),
        (lambda ids: True, r"where\(ids\) must be a boolean mask"),
        ([1.5], "where must be a one-dimensional array of integers"),
        ([2, 2], "where must be distinct"),
        ("2", "where must be a one-dimensional array of integers"),
    ],
)
def test_filters_are_checked(where, message):
    with pytest.raises(ValueError, match=message):
        allowed_ids(where, lambda: np.arange(4))
