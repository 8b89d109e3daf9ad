"""Neighbour graphs and groups of duplicates of a Hamming index against NumPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import simskip

from .oracle import NO_DISTANCE, all_distances, assert_same, clustered_codes, oracle, random_codes


def several_segments(codes, ids, method="auto"):
    """An index with these codes that was changed until it has more than one segment, and removed codes."""
    index = simskip.HammingIndex(codes.n_bits, method=method)
    order = np.argsort(ids)
    half = order[::2]
    index.add(codes[half], ids[half])
    index.build() if method != "scan" else None  # sealed: others go elsewhere
    rest = order[1::2]
    index.add(codes[rest], ids[rest])
    index.add(codes[:1], [10**6])
    index.remove([10**6])
    return index


@settings(deadline=None, max_examples=25)
@given(
    n=st.integers(1, 90),
    n_bits=st.sampled_from([2, 9, 64, 100]),
    k=st.integers(1, 100),
    seed=st.integers(0, 2**32),
    kind=st.sampled_from([random_codes, clustered_codes]),
    method=st.sampled_from(["auto", "scan", "multi-index"]),
)
def test_knn_graph_equals_numpy(n, n_bits, k, seed, kind, method):
    codes = kind(n, n_bits, seed)
    ids = np.random.default_rng(seed).permutation(5 * n)[:n]
    distances, found = several_segments(codes, ids, method).knn_graph(k)
    order = np.argsort(ids)
    for row, own in enumerate(order):
        others = set(ids.tolist()) - {int(ids[own])}
        expected = oracle(codes[[own]], codes, ids, k, others)
        assert_same((distances[row : row + 1], found[row : row + 1]), expected)


def test_knn_graph_of_equal_codes_is_never_oneself():
    index = simskip.HammingIndex(8)
    index.add(simskip.pack(np.zeros((60, 8))))
    distances, ids = index.knn_graph(3)
    assert (distances == 0).all()
    assert ids[0].tolist() == [1, 2, 3]
    assert ids[1].tolist() == [0, 2, 3]
    assert (ids[4:] == [0, 1, 2]).all()


def test_knn_graph_is_the_same_for_any_threads_and_blocks():
    codes = clustered_codes(9000, 64, 0)  # more than one block of rows
    index = simskip.HammingIndex(64)
    index.add(codes)
    graph = index.knn_graph(5, threads=1)
    assert_same(index.knn_graph(5, threads=3), graph)
    found = index.search(codes[4090:4100], 6)
    for row, distances, ids in zip(range(4090, 4100), *found, strict=True):
        others = ids != row
        assert graph[1][row].tolist() == ids[others][:5].tolist()
        assert graph[0][row].tolist() == distances[others][:5].tolist()


def groups_by_numpy(codes, ids, radius):
    near = all_distances(codes, codes) <= radius
    groups, left = [], set(range(len(ids)))
    while left:
        group, new = set(), {left.pop()}
        while new:
            group |= new
            new = set(np.flatnonzero(near[list(new)].any(axis=0)).tolist()) - group
        left -= group
        if len(group) > 1:
            groups.append(sorted(ids[list(group)].tolist()))
    return sorted(groups)


@settings(deadline=None, max_examples=25)
@given(
    n=st.integers(1, 90),
    n_bits=st.sampled_from([2, 9, 64, 100]),
    radius=st.integers(0, 30),
    seed=st.integers(0, 2**32),
    kind=st.sampled_from([random_codes, clustered_codes]),
)
def test_duplicates_equal_numpy(n, n_bits, radius, seed, kind):
    codes = kind(n, n_bits, seed)
    ids = np.random.default_rng(seed).permutation(5 * n)[:n]
    groups = several_segments(codes, ids).duplicates(radius)
    assert [group.tolist() for group in groups] == groups_by_numpy(codes, ids, radius)
    assert all(group.dtype == np.int64 for group in groups)


def test_duplicates_of_very_many_equal_codes():
    """10^10 pairs, none of which is looked at."""
    index = simskip.HammingIndex(64)
    index.add(simskip.pack(np.zeros((100_000, 64))))
    index.add(simskip.pack(np.ones((2, 64))))
    groups = index.duplicates(3)
    assert [len(group) for group in groups] == [100_000, 2]
    assert index.duplicates(64)[0].tolist() == list(range(100_002))


def test_duplicates_of_nothing():
    index = simskip.HammingIndex(8)
    assert index.duplicates(3) == []
    index.add(random_codes(1, 8, 0))
    assert index.duplicates(8) == []


def test_what_cannot_be():
    index = simskip.HammingIndex(8)
    with pytest.raises(ValueError, match="the index is empty"):
        index.knn_graph(1)
    index.add(random_codes(3, 8, 0))
    with pytest.raises(ValueError, match="k must be an integer"):
        index.knn_graph(0)
    with pytest.raises(ValueError, match="radius must be an integer"):
        index.duplicates(-1)
    with pytest.raises(ValueError, match="threads must be an integer"):
        index.duplicates(1, threads=0)
    distances, ids = index.knn_graph(5)
    assert (distances[:, 2:] == NO_DISTANCE).all()
    assert (ids[:, 2:] == -1).all()
