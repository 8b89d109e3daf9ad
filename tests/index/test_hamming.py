"""The exact Hamming index against NumPy, a dictionary, damaged files, other threads and kill -9."""

import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import simskip

from .oracle import NO_DISTANCE, all_distances, assert_same, clustered_codes, oracle, random_codes


@pytest.fixture(params=simskip.cpu.available)
def isa(request):
    before = simskip.cpu.isa
    simskip.cpu.force(request.param)
    yield request.param
    simskip.cpu.force(before)


@settings(deadline=None, max_examples=30)
@given(
    n=st.integers(1, 300),
    n_bits=st.one_of(st.integers(1, 200), st.sampled_from([256, 1984, 1985, 4096])),
    k=st.integers(1, 320),
    seed=st.integers(0, 2**32),
    kind=st.sampled_from([random_codes, clustered_codes]),
    max_distance=st.none() | st.integers(0, 120),
)
def test_search_equals_numpy_on_every_instruction_set(n, n_bits, k, seed, kind, max_distance):
    codes, queries = kind(n, n_bits, seed), kind(3, n_bits, seed)
    rng = np.random.default_rng(seed)
    ids = rng.permutation(5 * n)[:n]
    index = simskip.HammingIndex(n_bits)
    index.add(codes, ids)
    where = rng.permutation(ids)[: rng.integers(0, n + 1)]
    before = simskip.cpu.isa
    try:
        for isa in simskip.cpu.available:
            simskip.cpu.force(isa)
            assert_same(
                index.search(queries, k, max_distance=max_distance),
                oracle(queries, codes, ids, k, max_distance=max_distance),
            )
            assert_same(index.search(queries, k, where=where), oracle(queries, codes, ids, k, set(where.tolist())))
    finally:
        simskip.cpu.force(before)


def test_same_bytes_for_any_threads_and_batches(isa):
    codes, queries = clustered_codes(150_000, 64, 1), clustered_codes(40, 64, 1)
    index = simskip.HammingIndex(64)
    index.add(codes)
    expected = index.search(queries, 25, threads=1)
    for threads in (2, 3):
        assert_same(index.search(queries, 25, threads=threads), expected)
        for size in (1, 7):
            parts = [index.search(queries[i : i + size], 25, threads=threads) for i in range(0, 40, size)]
            assert_same(tuple(map(np.concatenate, zip(*parts, strict=True))), expected)


def test_range_search_equals_numpy(isa):
    codes, queries = clustered_codes(500, 40, 2), clustered_codes(8, 40, 2)
    ids = np.random.default_rng(2).permutation(2000)[:500]
    index = simskip.HammingIndex(40)
    index.add(codes, ids)
    every = all_distances(queries, codes)
    for radius in (0, 5, 40, 10**6):
        for where in (None, ids[::3]):
            limits, distances, found = index.range_search(queries, radius, where=where)
            assert limits[0] == 0
            for q in range(8):
                hits = sorted(
                    (d, i)
                    for d, i in zip(every[q].tolist(), ids.tolist(), strict=True)
                    if d <= radius and (where is None or i in where)
                )
                part = slice(limits[q], limits[q + 1])
                assert list(zip(distances[part].tolist(), found[part].tolist(), strict=True)) == hits


def test_filters_mean_the_same_and_k_means_k():
    codes = clustered_codes(3000, 64, 3)
    ids = np.sort(np.random.default_rng(3).permutation(10_000)[:3000])
    index = simskip.HammingIndex(64)
    index.add(codes, ids)
    for modulus in (1, 2, 50, 1000, 20_000):
        mask = ids % modulus == 0
        expected = oracle(codes[:5], codes, ids, 25, set(ids[mask].tolist()))
        for where in (ids[mask], ids[mask][::-1].copy(), mask, lambda i, m=modulus: i % m == 0):
            assert_same(index.search(codes[:5], 25, where=where), expected)
        assert (expected[1] >= 0).sum() == 5 * min(25, mask.sum())
    found = index.search(codes[:5], 25, where=[])
    assert (found[0] == NO_DISTANCE).all()
    assert (found[1] == -1).all()


def test_no_queries():
    index = simskip.HammingIndex(9)
    index.add(random_codes(5, 9, 0))
    assert index.search(random_codes(0, 9, 0), 3)[1].shape == (0, 3)
    assert index.range_search(random_codes(0, 9, 0), 3)[0].tolist() == [0]


def test_ids_are_not_given_twice():
    index = simskip.HammingIndex(8)
    index.add(random_codes(3, 8, 0))
    index.remove([2])
    copied = pickle.loads(pickle.dumps(index))
    for each in (index, copied):
        each.add(random_codes(1, 8, 1))
        assert each.ids.tolist() == [0, 1, 3]


def test_largest_ids():
    index = simskip.HammingIndex(8)
    index.add(random_codes(2, 8, 0), [3, 2**63 - 2])
    with pytest.raises(ValueError, match="no ids are left"):
        index.add(random_codes(4, 8, 0))
    assert index.ids.tolist() == [3, 2**63 - 2]
    assert 2**63 - 2 in index
    assert 2**63 - 1 not in index
    assert 2**70 not in index
    assert "3" not in index


def filled(n=300, n_bits=70):
    index = simskip.HammingIndex(n_bits)
    index.add(random_codes(n, n_bits, 4), np.arange(n) * 3)
    return index


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda i, c: i.add(random_codes(2, 69, 0)), "codes must have 70 bits, got 69"),
        (lambda i, c: i.add(c.data), "codes must be simskip.Codes, got ndarray"),
        (lambda i, c: i.add(c, [1]), "ids must hold one id for each of the 2 rows, got 1"),
        (lambda i, c: i.add(c, [1, 1]), "ids must be distinct"),
        (lambda i, c: i.add(c, [1, -1]), "ids must be non-negative"),
        (lambda i, c: i.add(c, [1.5, 2]), "ids must be"),
        (lambda i, c: i.add(c, [1, 3]), "id 3 is in the index already"),
        (lambda i, c: i.upsert(c, [1, 1]), "ids must be distinct"),
        (lambda i, c: i.upsert(c, [1, 2**63 - 1]), "ids must be at most"),
        (lambda i, c: i.remove([0, 1]), "id 1 is not in the index"),
        (lambda i, c: i.remove([0, 0]), "ids must be distinct"),
        (lambda i, c: i.codes([1]), "id 1 is not in the index"),
        (lambda i, c: i.search(random_codes(2, 71, 0)), "codes must have 70 bits"),
        (lambda i, c: i.search(c, 0), "k must be an integer"),
        (lambda i, c: i.search(c, 2.0), "k must be an integer"),
        (lambda i, c: i.search(c, 2**31), "k must be an integer"),
        (lambda i, c: i.search(c, 2, max_distance=-1), "max_distance must be"),
        (lambda i, c: i.search(c, 2, threads=0), "threads must be"),
        (lambda i, c: i.search(c, 2, where=[1]), "id 1 is not in the index"),
        (lambda i, c: i.search(c, 2, where=[True]), "where must be a boolean mask of 300"),
        (lambda i, c: i.range_search(c, -1), "radius must be"),
        (lambda i, c: i.range_search(c, 1, threads=9999), "threads must be"),
        (lambda i, c: simskip.HammingIndex(70).search(c), "the index is empty"),
        (lambda i, c: simskip.HammingIndex(70).range_search(c, 1), "the index is empty"),
        (lambda i, c: simskip.HammingIndex(0), "n_bits must be"),
        (lambda i, c: simskip.HammingIndex(8, method="magic"), "method must be one of"),
    ],
)
def test_errors_name_the_argument_and_change_nothing(call, message):
    index = filled()
    before = pickle.dumps(index)
    with pytest.raises(ValueError, match=message):
        call(index, random_codes(2, 70, 5))
    assert pickle.dumps(index) == before


@pytest.mark.parametrize("mmap", [False, True])
def test_save_and_load(tmp_path, mmap):
    index, queries = filled(), random_codes(4, 70, 6)
    index.save(tmp_path / "a.index")
    loaded = simskip.HammingIndex.load(tmp_path / "a.index", mmap=mmap)
    assert_same(loaded.search(queries, 9), index.search(queries, 9))
    loaded.upsert(random_codes(1, 70, 7), [1])
    loaded.save(tmp_path / "a.index")
    assert len(simskip.HammingIndex.load(str(tmp_path / "a.index"))) == 301
    assert os.listdir(tmp_path) == ["a.index"]


def test_missing_and_damaged_files(tmp_path):
    path = tmp_path / "a.index"
    with pytest.raises(FileNotFoundError, match=r"a\.index"):
        simskip.HammingIndex.load(path)
    with pytest.raises(FileNotFoundError):
        filled().save(tmp_path / "none" / "a.index")
    with pytest.raises(IsADirectoryError):
        filled().save(tmp_path)
    with pytest.raises(ValueError, match="path must be"):
        filled().save(f"{path}\0b")
    filled(20, 8).save(path)
    good = path.read_bytes()
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 4]) + good[at + 1 :])
        with pytest.raises(simskip.FormatError, match=r"a\.index: "):
            simskip.HammingIndex.load(path)
    for size in range(0, len(good), 7):
        path.write_bytes(good[:size])
        with pytest.raises(simskip.FormatError):
            simskip.HammingIndex.load(path)
    vectors = simskip.VectorIndex(2)
    vectors.add([[1, 2]])
    vectors.save(path)
    with pytest.raises(simskip.FormatError, match="holds a 'vectors', expected a 'hamming'"):
        simskip.HammingIndex.load(path)


def test_killed_while_saving_never_loses_the_old_file(tmp_path):
    path = tmp_path / "a.index"
    code = (
        "import numpy as np, simskip, sys\n"
        "index = simskip.HammingIndex(64)\n"
        "index.add(simskip.pack(np.random.default_rng(0).integers(0, 2, (20000, 64))))\n"
        "index.save(sys.argv[1]); print('saved', flush=True)\n"
        "while True: index.save(sys.argv[1])\n"
    )
    rng = np.random.default_rng(1)
    for _ in range(4):
        process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
        with process:
            assert process.stdout.readline() == b"saved\n"
            threading.Event().wait(rng.uniform(0, 0.05))  # anywhere in a save
            process.kill()
        assert process.returncode == -signal.SIGKILL
        assert len(simskip.HammingIndex.load(path)) == 20_000


def beside_a_writer(search, change, undo, rounds=60):
    """Distinct answers of ``search`` while another thread changes and undoes."""
    stop, answers, errors = threading.Event(), [], []

    def read():
        try:
            while not stop.is_set():
                answers.append(search())
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(rounds):
        change()
        undo()
    stop.set()
    for thread in threads:
        thread.join()
    assert not errors, errors[0]
    assert answers
    return answers


def slow_filter(ids):
    """Lets a writer in between the look at the ids and the search, if anything does."""
    time.sleep(0.001)
    return ids >= 0


@pytest.mark.parametrize("where", [None, slow_filter, lambda ids: ids % 2 == 0])
def test_searches_beside_a_writer_see_before_or_after(where):
    index = simskip.HammingIndex(64)
    index.add(random_codes(5000, 64, 8))
    queries, extra = random_codes(2, 64, 9), random_codes(2, 64, 9)
    ids = [10_000, 10_001]

    def search():
        return [a.tobytes() for a in index.search(queries, 10, where=where, threads=1)]

    before = search()
    index.add(extra, ids)
    after = search()
    index.remove(ids)
    assert before != after
    answers = beside_a_writer(search, lambda: index.add(extra, ids), lambda: index.remove(ids))
    assert all(answer in (before, after) for answer in answers)


def test_pickles_beside_a_writer_are_whole():
    index = simskip.HammingIndex(64)
    index.add(random_codes(2000, 64, 8))
    extra = random_codes(2, 64, 9)
    answers = beside_a_writer(
        lambda: len(pickle.loads(pickle.dumps(index))),
        lambda: index.add(extra, [9000, 9001]),
        lambda: index.remove([9000, 9001]),
    )
    assert set(answers) <= {2000, 2002}


def test_repr_and_stats():
    index = filled()
    assert repr(index) == f"HammingIndex(300 codes x 70 bits, {index.nbytes:,} bytes)"
    stats = index.stats()
    assert stats["n_codes"] == 300
    assert stats["queries"] == stats["codes_seen_per_query"] == 0
    index.search(random_codes(4, 70, 0))
    assert index.stats()["queries_by_scan"] == index.stats()["queries"] == 4
    assert index.stats()["codes_seen_per_query"] == 300
    assert stats["isa"] == simskip.cpu.isa
    assert stats["nbytes"] == index.nbytes == 320 * 2 * 8 + 300 * 8
    assert index.method == "auto"
