"""Trainings on the same rows search their neighbours once."""

import numpy as np
import pytest

from simskip.hashing import neighbor_graph as graph

X = np.random.default_rng(0).normal(size=(80, 6)).astype(np.float32)
ROWS = np.arange(80, dtype=np.int32)


@pytest.fixture
def searches(monkeypatch):
    """Counts what is really searched."""
    found = []
    for name in ("_searched", "_two_stage"):
        search = getattr(graph, name)
        monkeypatch.setattr(graph, name, lambda *a, search=search: (found.append(1), search(*a))[1])
    return found


def nearest(X=X, metric="cosine", queries=ROWS, database=ROWS, k=5, exclude_self=True):
    return graph.nearest(X, metric, queries, database, k, exclude_self=exclude_self)


def test_the_same_question_is_searched_once(searches):
    expected = nearest()
    with graph.remembered():
        first = nearest()
        first[0][:] = -1  # the caller's own
        again = nearest(X.copy())
    assert len(searches) == 2
    for one, other in zip(expected, again, strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize(
    "other",
    [
        {"X": X * np.float32(1.5)},
        {"metric": "l2"},
        {"queries": ROWS[:40]},
        {"database": ROWS[10:], "queries": ROWS[10:]},
        {"k": 6},
        {"exclude_self": False},
    ],
)
def test_another_question_is_another_search(searches, other):
    with graph.remembered():
        nearest()
        answer = nearest(**other)
    assert len(searches) == 2
    assert np.array_equal(answer[0], nearest(**other)[0])


def test_nothing_is_kept_outside(searches):
    with graph.remembered():
        nearest()
    nearest()
    nearest()
    assert len(searches) == 3


def test_graphs_of_a_sample_are_kept_too(searches, monkeypatch):
    monkeypatch.setattr(graph, "_EXACT_ROWS", 70)
    both = (X, "cosine", ROWS)
    with graph.remembered():
        first = graph.neighbor_graph(both, both, seed=0)
        again = graph.neighbor_graph(both, both, seed=0)
        graph.neighbor_graph(both, both, seed=1)
    assert len(searches) == 2
    for one, other in zip(first, again, strict=True):
        assert np.array_equal(one, other)
