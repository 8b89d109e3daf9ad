"""Long random histories of a Hamming index against a plain dictionary."""

import copy
import os
import pickle

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import simskip

from .oracle import NO_DISTANCE, all_distances, assert_same, oracle

METHODS = ("auto", "scan", "multi-index")


class AgainstADictionary(RuleBasedStateMachine):
    """Every change, search and way to make another of it, in any order, with every method."""

    def __init__(self):
        super().__init__()
        self.model = {}
        self.next_id = 0
        self.rng = np.random.default_rng(0)
        self.path = f"/tmp/simskip-state-{os.getpid()}"

    @initialize(method=st.sampled_from(METHODS), n_bits=st.sampled_from([3, 11, 70]))
    def start(self, method, n_bits):
        self.method, self.n_bits = method, n_bits
        self.index = simskip.HammingIndex(n_bits, method=method)

    def codes(self, n):
        return simskip.pack(self.rng.integers(0, 2, (n, self.n_bits)))

    def present(self):
        """The ids and codes that should be there, ascending by id."""
        ids = sorted(self.model)
        data = np.frombuffer(b"".join(self.model[i] for i in ids), np.uint8)
        return np.array(ids, np.int64), simskip.Codes(data.reshape(len(ids), (self.n_bits + 7) // 8), self.n_bits)

    def store(self, codes, ids):
        for i, id in enumerate(ids):
            self.model[id] = codes.data[i].tobytes()
            self.next_id = max(self.next_id, id + 1)

    @rule(n=st.integers(0, 4) | st.just(600))
    def add(self, n):
        codes = self.codes(n)
        self.index.add(codes)
        self.store(codes, list(range(self.next_id, self.next_id + n)))

    @rule(ids=st.lists(st.integers(0, 15), unique=True, max_size=5))
    def add_ids(self, ids):
        codes = self.codes(len(ids))
        taken = [id for id in ids if id in self.model]
        if taken:
            with pytest.raises(ValueError, match=f"id {taken[0]} is in the index already"):
                self.index.add(codes, ids)
        else:
            self.index.add(codes, ids)
            self.store(codes, ids)

    @rule(ids=st.lists(st.integers(0, 15), unique=True, max_size=5))
    def upsert(self, ids):
        codes = self.codes(len(ids))
        self.index.upsert(codes, ids)
        self.store(codes, ids)

    @rule(ids=st.lists(st.integers(0, 15), unique=True, max_size=3))
    def remove(self, ids):
        unknown = [id for id in ids if id not in self.model]
        if unknown:
            with pytest.raises(ValueError, match=f"id {unknown[0]} is not in the index"):
                self.index.remove(ids)
        else:
            self.index.remove(ids)
            for id in ids:
                del self.model[id]

    @rule(share=st.sampled_from([0.1, 0.5, 1.0]))
    def remove_many(self, share):
        gone = [id for id in self.model if self.rng.random() <= share]
        self.index.remove(gone)
        for id in gone:
            del self.model[id]

    @precondition(lambda self: self.method != "scan")
    @rule()
    def build(self):
        self.index.build()

    @rule(mmap=st.booleans())
    def save_and_load(self, mmap):
        self.index.save(self.path)
        with open(self.path, "rb") as file:
            saved = file.read()
        self.index = simskip.HammingIndex.load(self.path, mmap=mmap)
        # The same content, whatever its history, makes the same file.
        ids, codes = self.present()
        fresh = simskip.HammingIndex(self.n_bits, method=self.method)
        if self.next_id:  # once given and removed, the last id keeps its number
            fresh.add(self.codes(1), [self.next_id - 1])
            fresh.remove([self.next_id - 1])
        fresh.add(codes, ids)
        fresh.save(self.path + "-fresh")
        with open(self.path + "-fresh", "rb") as file:
            assert file.read() == saved

    @rule(way=st.sampled_from([copy.copy, copy.deepcopy, lambda i: pickle.loads(pickle.dumps(i))]))
    def copy(self, way):
        old, self.index = self.index, way(self.index)
        if self.model:
            old.remove(list(self.model))  # the copy is its own

    @precondition(lambda self: self.model)
    @rule(k=st.sampled_from([1, 4, 700]), kind=st.sampled_from(["ids", "mask", "callable"]), modulus=st.integers(1, 40))
    def filtered(self, k, kind, modulus):
        ids, codes = self.present()
        passes = ids % modulus == 0
        where = {"ids": ids[passes][::-1], "mask": passes, "callable": lambda i: i % modulus == 0}[kind]
        queries = self.codes(3)
        allowed = set(ids[passes].tolist())
        assert_same(self.index.search(queries, k, where=where), oracle(queries, codes, ids, k, allowed))
        found = self.index.search(queries, k, where=[where, None, [int(ids[0])]])
        for q, only in enumerate([allowed, None, {int(ids[0])}]):
            expected = oracle(queries[q : q + 1], codes, ids, k, only)
            assert_same((found[0][q : q + 1], found[1][q : q + 1]), expected)

    @precondition(lambda self: self.model)
    @rule(radius=st.integers(0, 6), modulus=st.integers(1, 3))
    def range_search(self, radius, modulus):
        ids, codes = self.present()
        queries = self.codes(2)
        limits, distances, found = self.index.range_search(queries, radius, where=ids % modulus == 0)
        every = all_distances(queries, codes)
        for q in range(2):
            hits = sorted(
                (d, i) for d, i in zip(every[q].tolist(), ids.tolist(), strict=True) if d <= radius and i % modulus == 0
            )
            part = slice(limits[q], limits[q + 1])
            assert list(zip(distances[part].tolist(), found[part].tolist(), strict=True)) == hits

    @precondition(lambda self: 0 < len(self.model) < 100)
    @rule(k=st.integers(1, 4))
    def knn_graph(self, k):
        ids, codes = self.present()
        distances, found = self.index.knn_graph(k)
        for row, id in enumerate(ids.tolist()):
            expected = oracle(codes[row : row + 1], codes, ids, k, set(ids.tolist()) - {id})
            assert_same((distances[row : row + 1], found[row : row + 1]), expected)

    @invariant()
    def equal(self):
        ids, codes = self.present()
        assert len(self.index) == len(ids)
        assert self.index.method == self.method
        assert self.index.ids.tolist() == ids.tolist()
        assert self.index.codes().data.tobytes() == codes.data.tobytes()
        assert all((id in self.index) == (id in self.model) for id in range(-1, 20))
        if len(ids):
            queries = self.codes(1)
            assert_same(self.index.search(queries, 4), oracle(queries, codes, ids, 4))

    def teardown(self):
        for path in (self.path, self.path + "-fresh"):
            if os.path.exists(path):
                os.remove(path)


AgainstADictionary.TestCase.settings = settings(deadline=None, max_examples=30, stateful_step_count=20)
TestAgainstADictionary = AgainstADictionary.TestCase


@pytest.mark.parametrize("method", METHODS)
def test_a_long_history_of_single_changes(method):
    """Thousands of single changes, so that segments of all sizes are merged, compacted and searched."""
    rng = np.random.default_rng(0)
    index, model = simskip.HammingIndex(33, method=method), {}
    for step in range(4000):
        id, code = int(rng.integers(0, 3000)), simskip.Codes(rng.integers(0, 2, (1, 5), dtype=np.uint8), 33)
        if id not in model:
            index.add(code, [id])
            model[id] = code.data[0].tobytes()
        elif rng.random() < 0.6:
            index.upsert(code, [id])
            model[id] = code.data[0].tobytes()
        else:
            index.remove([id])
            del model[id]
        if step % 400 == 399:
            ids = np.array(sorted(model))
            codes = simskip.Codes(np.frombuffer(b"".join(model[i] for i in ids), np.uint8).reshape(len(ids), -1), 33)
            assert_same(index.search(code, 30), oracle(code, codes, ids, 30))
            np.testing.assert_array_equal(index.ids, ids)
    stats = index.stats()
    assert stats["segments"] <= 4
    assert stats["tombstones"] <= len(model)
    assert (stats["queries_by_multi_index"] > 0) == (method == "multi-index")
    assert index.search(code, 5000)[0][0, len(model)] == NO_DISTANCE
