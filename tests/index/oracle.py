"""What the tests of Hamming indexes compare with: codes, and the plainest searches there are."""

import numpy as np

import simskip

NO_DISTANCE = 2**31 - 1


def random_codes(n, n_bits, seed):
    return simskip.pack(np.random.default_rng(seed).integers(0, 2, (n, n_bits)))


def clustered_codes(n, n_bits, seed):
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 2, (3, n_bits))
    return simskip.pack(centres[rng.integers(0, 3, n)] ^ (rng.random((n, n_bits)) < 0.08))


def all_distances(queries, codes):
    return np.bitwise_count(queries.data[:, None] ^ codes.data[None]).sum(axis=2, dtype=np.int64)


def oracle(queries, codes, ids, k, allowed=None, max_distance=None):
    """Every (distance, id), sorted, cut at k and padded."""
    distances = np.full((len(queries), k), NO_DISTANCE, np.int32)
    found = np.full((len(queries), k), -1, np.int64)
    every = all_distances(queries, codes)
    for q, row in enumerate(every):
        hits = sorted(
            (d, i)
            for d, i in zip(row.tolist(), ids.tolist(), strict=True)
            if (allowed is None or i in allowed) and (max_distance is None or d <= max_distance)
        )[:k]
        for place, (d, i) in enumerate(hits):
            distances[q, place], found[q, place] = d, i
    return distances, found


def assert_same(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
