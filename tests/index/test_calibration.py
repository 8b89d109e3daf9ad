"""Search to a target recall: new queries reach it, with fewer reads than a fixed depth; files, copies, changes."""

import copy
import json
import os
import pickle

import numpy as np
import pytest

import simskip
from simskip.index import calibration as calibration_module
from simskip.index.depth import SAMPLE, DepthRule, depth_grid, landmarks, learn

DIM, K, N = 24, 10, 3000
TARGETS = (0.9, 0.95, 0.99)


def clusters(n, seed):
    """Points around 60 centres, some groups tight and some wide: their queries need very different depths."""
    rng = np.random.default_rng(0)
    centres, widths = rng.normal(size=(60, DIM)), rng.uniform(0.1, 0.9, 60)
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 60, n)
    return (centres[group] + widths[group, None] * rng.normal(size=(n, DIM))).astype(np.float32)


@pytest.fixture(scope="module")
def hasher():
    return simskip.PCAHash(32, random_state=0).fit(clusters(N, 1))


@pytest.fixture(scope="module")
def index(hasher):
    index = simskip.SimilarityIndex(hasher, "l2")
    index.add(clusters(N, 1), np.arange(N) * 3)
    index.calibrate(K)
    return index


@pytest.fixture(scope="module")
def queries():
    return clusters(2000, 2)


@pytest.fixture(scope="module")
def truth(index, queries):
    exact = simskip.VectorIndex(DIM, "l2")
    exact.add(index.vectors(), index.ids)
    return exact.search(queries, K)[1]


def recalls(ids, truth):
    return np.array([len(np.intersect1d(a, b)) for a, b in zip(ids, truth, strict=True)]) / truth.shape[1]


def samples_that_reach(target, recall):
    rng = np.random.default_rng(3)
    draws = [rng.choice(len(recall), SAMPLE, replace=False) for _ in range(100)]
    return sum(recall[draw].mean() >= target for draw in draws)


def search_counting(index, queries, **options):
    before = index.stats()["vectors_read"]
    ids = index.search(queries, K, **options)[1]
    return ids, (index.stats()["vectors_read"] - before) / len(queries)


@pytest.mark.parametrize("scoring", ["codes", "asymmetric"])
def test_new_queries_reach_the_target_with_fewer_reads_than_any_fixed_depth(index, queries, truth, scoring):
    listed = index.search(queries, N, scoring=scoring)[1]
    places = np.array([np.flatnonzero(np.isin(a, b)) for a, b in zip(listed, truth, strict=True)])
    for target in TARGETS:
        ids, reads = search_counting(index, queries, recall=target, scoring=scoring)
        assert samples_that_reach(target, recalls(ids, truth)) >= 95
        # The best fixed depth in hindsight: chosen on the very queries that judge it.
        fixed = next(d for d in range(K, N + 1) if samples_that_reach(target, (places < d).mean(axis=1)) >= 95)
        assert reads < fixed


def test_unless_told_the_cheaper_scoring_is_taken(index, queries, truth):
    for target in TARGETS:
        ids, reads = search_counting(index, queries[:300], recall=target)
        costs = {s: search_counting(index, queries[:300], recall=target, scoring=s) for s in ("codes", "asymmetric")}
        assert reads == min(r for _, r in costs.values())
        assert any(np.array_equal(ids, other) for other, _ in costs.values())


def test_a_higher_target_reads_more(index, queries):
    targets = (0.0, 0.5, 0.8, 0.9, 0.95, 0.99, 0.999, 1.0)
    reads = [search_counting(index, queries[:300], recall=r, scoring="asymmetric")[1] for r in targets]
    assert reads == sorted(reads)
    assert reads[0] < 2 * K
    assert reads[-1] == N


def test_the_answer_does_not_depend_on_the_batch_or_the_threads(index, queries, monkeypatch):
    whole = index.search(queries[:90], K, recall=0.95)
    for threads in (1, 2):
        parts = [index.search(queries[i : i + 9], K, recall=0.95, threads=threads) for i in range(0, 90, 9)]
        for a, b in zip(whole, zip(*parts, strict=True), strict=True):
            np.testing.assert_array_equal(a, np.concatenate(b))
    monkeypatch.setattr(calibration_module, "_BLOCK", 1)
    for a, b in zip(whole, index.search(queries[:90], K, recall=0.95), strict=True):
        np.testing.assert_array_equal(a, b)


def test_distances_are_those_of_the_metric(index, queries):
    distances, ids = index.search(queries[:20], K, recall=0.95)
    exact = index._vectors.rerank(queries[:20], ids, K)
    np.testing.assert_array_equal(distances, exact[0])
    np.testing.assert_array_equal(ids, exact[1])


def test_queries_of_ones_own_are_learned_from(hasher, queries, truth):
    index = simskip.SimilarityIndex(hasher, "l2")
    index.add(clusters(N, 1), np.arange(N) * 3)
    index.calibrate(K, queries=clusters(900, 4))
    ids, reads = search_counting(index, queries, recall=0.95)
    assert samples_that_reach(0.95, recalls(ids, truth)) >= 95
    assert reads < N / 4
    # Queries from elsewhere need more: what is learned comes from the queries.
    far = simskip.SimilarityIndex(hasher, "l2")
    far.add(clusters(N, 1))
    far.calibrate(K, queries=np.random.default_rng(5).normal(size=(900, DIM)))
    assert search_counting(far, queries, recall=0.95)[1] > 1.5 * reads


def test_the_first_search_calibrates_and_the_state_is_reproducible(hasher, index, queries):
    again = simskip.SimilarityIndex(hasher, "l2")
    again.add(clusters(N, 1), np.arange(N) * 3)
    assert again.stats()["calibrated"] == []
    for a, b in zip(again.search(queries, K, recall=0.9), index.search(queries, K, recall=0.9), strict=True):
        np.testing.assert_array_equal(a, b)
    assert again.stats()["calibrated"] == [K]


def test_what_is_learned_does_not_depend_on_the_instruction_set(hasher, queries):
    isa, answers = simskip.cpu.isa, []
    try:
        for name in simskip.cpu.available:
            simskip.cpu.force(name)
            index = simskip.SimilarityIndex(hasher, "l2")
            index.add(clusters(1000, 1))
            distances, ids = index.search(queries[:200], K, recall=0.95)
            answers.append(distances.tobytes() + ids.tobytes())
    finally:
        simskip.cpu.force(isa)
    assert len(set(answers)) == 1


def test_a_fifth_of_changes_makes_it_stale(hasher, queries):
    index = simskip.SimilarityIndex(hasher, "l2")
    index.add(clusters(2000, 1))
    index.calibrate(K, random_state=4)
    first = index._calibrations[K]
    index.remove(np.arange(200))
    index.upsert(clusters(100, 6), np.arange(200, 300))
    index.add(clusters(100, 7))
    index.search(queries[:2], K, recall=0.9)
    assert index._calibrations[K] is first
    index.add(clusters(1, 8))
    index.search(queries[:2], K, recall=0.9)
    assert index._calibrations[K] is not first
    assert (index._calibrations[K].n, index._calibrations[K].random_state) == (1901, 4)


@pytest.mark.parametrize(
    ("way", "own"),
    [
        ("save", False),
        ("mmap", True),
        (copy.copy, True),
        (copy.deepcopy, False),
        (lambda i: pickle.loads(pickle.dumps(i)), True),
    ],
)
def test_calibrations_are_kept(tmp_path, hasher, queries, way, own):
    index = simskip.SimilarityIndex(hasher, "l2", dtype="float16")
    index.add(clusters(1500, 1))
    index.calibrate(K, queries=clusters(200, 9) if own else None)
    index.calibrate(5)
    index.remove(np.arange(250))
    path = tmp_path / "s.index"
    if way in ("save", "mmap"):
        index.save(path)
        other = simskip.SimilarityIndex.load(path, mmap=way == "mmap")
    else:
        other = way(index)
    assert other.stats()["calibrated"] == [5, K]
    assert other.dtype == "float16"
    kept = other._calibrations[K]
    for a, b in zip(index.search(queries, K, recall=0.95), other.search(queries, K, recall=0.95), strict=True):
        np.testing.assert_array_equal(a, b)
    assert other._calibrations[K] is kept
    other.remove(np.arange(250, 301))  # 301 of 1500 have changed, counting those before
    other.search(queries[:1], K, recall=0.95)
    assert other._calibrations[K] is not kept
    assert (other._calibrations[K].queries is not None) == own
    assert index.stats()["n_items"] == 1250


def test_files_without_calibrations_still_load(tmp_path, index):
    path = os.fspath(tmp_path / "s.index")
    index.save(path)
    sections = simskip._core.read_sections(path, "similarity")
    for name, key in (("similarity", "calibrations"), ("header", "dtype")):
        values = json.loads(sections[name].tobytes())
        del values[key]
        sections[name] = np.frombuffer(json.dumps(values).encode(), np.uint8)
    simskip._core.write_sections(path, "similarity", list(sections.items()))
    loaded = simskip.SimilarityIndex.load(path)
    assert loaded.stats()["calibrated"] == []
    np.testing.assert_array_equal(loaded.vectors(), index.vectors())


@pytest.mark.parametrize(
    "damage",
    [
        lambda c: c.update(k="ten"),
        lambda c: c.pop("n"),
        lambda c: c["rules"].update(other=c["rules"]["codes"]),
        lambda c: c["rules"]["codes"].update(grid=[]),
        lambda c: c["rules"]["codes"].update(grid=c["rules"]["codes"]["grid"][::-1]),
        lambda c: c["rules"]["codes"].update(bias=[1.0]),
        lambda c: c["rules"]["codes"].update(levels=[float("nan")]),
        lambda c: c["rules"]["codes"].pop("reads"),
    ],
)
def test_damaged_calibrations_are_refused(tmp_path, index, damage):
    path = os.fspath(tmp_path / "s.index")
    index.save(path)
    sections = simskip._core.read_sections(path, "similarity")
    header = json.loads(sections["similarity"].tobytes())
    damage(header["calibrations"][0])
    sections["similarity"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    simskip._core.write_sections(path, "similarity", list(sections.items()))
    with pytest.raises(simskip.FormatError, match="not a valid similarity index"):
        simskip.SimilarityIndex.load(path)


def test_where_nothing_is_known_all_vectors_are_compared(index, queries):
    exact = simskip.VectorIndex(DIM, "l2")
    exact.add(index.vectors(), index.ids)
    where = index.ids[::7]
    cases = [
        (index, {"recall": 1.0}, {}, N),
        (index, {"recall": 0.5, "where": where}, {"where": where}, len(where)),
        (index, {"recall": 0.5, "where": lambda ids: ids % 7 == 0}, {"where": where}, len(where)),
        (index, {"recall": 0.5, "k": N // 2}, {"k": N // 2}, N),
    ]
    for searched, options, same, reads in cases:
        before = searched.stats()["vectors_read"]
        found = searched.search(queries[:10], **{"k": K, **options})
        for a, b in zip(found, exact.search(queries[:10], **{"k": K, **same}), strict=True):
            np.testing.assert_array_equal(a, b)
        assert searched.stats()["vectors_read"] - before == 10 * reads
    few = simskip.SimilarityIndex(index.hasher, "l2")
    few.add(clusters(50, 1))
    assert search_counting(few, queries[:4], recall=0.9)[1] == 50


def test_equal_items_and_equal_codes(hasher):
    """All distances tie: no depth is better than another, and the target is reached all the same."""
    index = simskip.SimilarityIndex(hasher, "l2")
    index.add(np.ones((1200, DIM)))
    ids = index.search(np.ones((3, DIM)), K, recall=0.9)[1]
    np.testing.assert_array_equal(ids, np.tile(np.arange(K), (3, 1)))


def test_stats_count_what_searches_read(hasher):
    index = simskip.SimilarityIndex(hasher)
    index.add(clusters(200, 1))
    index.search(clusters(4, 2), K)
    assert index.stats()["vectors_read"] == 0
    index.search(clusters(4, 2), K, rerank=3)
    index.search(clusters(4, 2), K, rerank=3, where=np.arange(12))
    stats = index.stats()
    assert (stats["queries"], stats["vectors_read"]) == (12, 4 * 30 + 4 * 12)
    assert stats["vectors_read_per_query"] == 14
    assert (stats["n_items"], stats["dim"], stats["n_bits"], stats["dtype"]) == (200, DIM, 32, "float32")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda i: i.search(clusters(1, 0), recall=1.5), r"recall must lie in \[0, 1\]"),
        (lambda i: i.search(clusters(1, 0), recall=-0.1), r"recall must lie in \[0, 1\]"),
        (lambda i: i.search(clusters(1, 0), recall="high"), r"recall must lie in \[0, 1\]"),
        (lambda i: i.search(clusters(1, 0), recall=0.9, rerank=2), "recall must not be given beside rerank"),
        (lambda i: i.search(clusters(1, 0), recall=0.9, scoring="exact"), "scoring must be one of"),
        (lambda i: i.search(clusters(1, 0), recall=0.9, where=[1]), "id 1 is not in the index"),
        (lambda i: i.calibrate(0), "k must be"),
        (lambda i: i.calibrate(5, random_state=-1), "random_state must be"),
        (lambda i: i.calibrate(5, queries=clusters(99, 0)), "queries must have at least 100 rows"),
        (lambda i: i.calibrate(5, queries=clusters(100, 0)[:, :3]), f"queries must have {DIM} columns"),
        (lambda i: simskip.SimilarityIndex(i.hasher).calibrate(), "the index is empty"),
        (lambda i: simskip.SimilarityIndex(i.hasher, dtype="int8"), "dtype must be one of"),
    ],
)
def test_errors_name_the_argument(index, call, message):
    with pytest.raises(ValueError, match=message):
        call(index)


def test_an_empty_batch(index):
    distances, ids = index.search(np.empty((0, DIM), np.float32), K, recall=0.9)
    assert distances.shape == ids.shape == (0, K)


def test_the_grid_goes_from_k_to_the_deepest():
    for k, deepest in ((1, 1), (1, 2), (25, 25), (25, 4096), (10, 12345)):
        grid = depth_grid(k, deepest)
        assert grid[0] == k
        assert grid[-1] == deepest
        steps = np.diff(grid)
        assert (steps >= 1).all()
        assert (steps <= 0.05 * grid[:-1] + 1).all()
        assert (landmarks(k, deepest) <= deepest).all()


def learned_rule(places, slope):
    """A rule for k = 5 from queries with true neighbours at ``places`` and code distances that rise by ``slope``."""
    grid = depth_grid(5, 1000)
    found = (np.sort(places, axis=1)[:, :, None] < grid).sum(axis=1)
    return learn(slope[:, None] * grid, slope[:, None] * landmarks(5, 1000), found, grid, n=10_000)


def test_a_rule_tells_crowded_queries_from_lonely_ones():
    """Odds fall with the code distance, which rises twenty times as fast where few items are near."""
    slope = np.resize([0.01, 0.2], 900)
    rule = learned_rule(np.random.default_rng(0).exponential(size=(900, 5)) / slope[:, None], slope)
    distances, place = slope[:, None] * np.arange(1, 1001), rule.level_for(0.9)
    depths = rule.depths(distances, place)
    assert depths[0] > 5 * depths[1]
    assert (rule.depths(distances, rule.level_for(1.1)) == -1).all()
    copied = DepthRule.from_dict(json.loads(json.dumps(rule.to_dict())))
    np.testing.assert_array_equal(copied.depths(distances, place), depths)


def test_where_distances_tell_nothing_a_rule_is_a_depth():
    slope = np.ones(600)
    rule = learned_rule(300 * np.random.default_rng(0).random((600, 5)), slope)
    depths = rule.depths(slope[:, None] * np.arange(1, 1001), rule.level_for(0.95))
    assert len(set(depths)) == 1
    assert 285 <= depths[0] <= 320


def test_queries_that_no_list_can_help_are_searched_exactly():
    slope = np.resize([1.0, 1.0, 0.001], 600)
    rule = learned_rule(100 * np.random.default_rng(0).random((600, 5)) / slope[:, None], slope)
    depths = rule.depths(slope[:, None] * np.arange(1, 1001), rule.level_for(0.99))
    assert (depths[2::3] == -1).all()
    assert (depths[::3] > 0).all()
