"""Recall@k and reciprocal rank of partners: against all orders of ties, and what is refused."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import simskip
from simskip.evaluation.metrics import pair_retrieval


def by_enumeration(distances, relevant, k):
    """Mean recall@k and reciprocal rank of one query over all orders of its ties."""
    hits, reciprocals = [], []
    groups = [np.flatnonzero(distances == d) for d in np.unique(distances)]
    for orders in itertools.product(*(list(itertools.permutations(group)) for group in groups)):
        ranking = relevant[list(itertools.chain(*orders))]
        first = int(np.flatnonzero(ranking)[0])
        hits.append(first < k)
        reciprocals.append(1 / (first + 1))
    return np.mean(hits), np.mean(reciprocals)


@given(st.data())
def test_expected_values_are_means_over_all_orders_of_ties(data):
    n = data.draw(st.integers(1, 4))
    whole = st.integers(0, 2)
    distances = np.array([[data.draw(whole) for _ in range(n)] for _ in range(n)])
    shows, items = (np.array([data.draw(st.integers(0, 3)) for _ in range(n)]) for _ in range(2))
    k = data.draw(st.integers(1, 6))
    found = pair_retrieval(distances=distances, k=(k,), query_items=shows, items=items)
    for i in range(n):
        relevant = (shows == shows[i]) | (items == items[i])
        hit, reciprocal = by_enumeration(distances[i], relevant, k)
        assert found[f"recall@{k}"].values[i] == pytest.approx(hit)
        assert found["mrr"].values[i] == pytest.approx(reciprocal)


def test_codes_outputs_and_distances_agree():
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(70, 72)).astype(np.float32)
    items = outputs + 0.9 * rng.normal(size=outputs.shape).astype(np.float32)
    bits = items > 0
    hamming = ((outputs > 0)[:, None] != bits).sum(axis=2)
    weighted = (np.abs(outputs)[:, None] * ((outputs > 0)[:, None] != bits)).sum(axis=2, dtype=np.float64)
    codes = simskip.pack(items)
    for queries, distances in ((simskip.pack(outputs), hamming), (outputs, weighted)):
        for name, score in pair_retrieval(queries, codes).items():
            np.testing.assert_allclose(score.values, pair_retrieval(distances=distances)[name].values, atol=1e-9)
    assert pair_retrieval(outputs, codes)["mrr"] > pair_retrieval(simskip.pack(outputs), codes)["mrr"]


def test_equal_codes_tie_under_real_outputs():
    rng = np.random.default_rng(1)
    outputs = rng.normal(size=(300, 48)).astype(np.float32)
    codes = simskip.pack(np.repeat(rng.normal(size=(3, 48)), 100, axis=0))
    ties = pair_retrieval(outputs, codes, k=(100,))["recall@100"].values
    assert set(np.round(ties, 6)) == {0.0, 1.0}  # a third of the items is at one distance exactly


def test_blocks_do_not_show(monkeypatch):
    rng = np.random.default_rng(2)
    queries, codes = (simskip.pack(rng.normal(size=(90, 12))) for _ in range(2))
    whole = pair_retrieval(queries, codes)
    monkeypatch.setattr("simskip.evaluation.pair_retrieval._BLOCK_VALUES", 900)
    assert {name: score.values.tolist() for name, score in pair_retrieval(queries, codes).items()} == {
        name: score.values.tolist() for name, score in whole.items()
    }


def test_one_code_for_all_is_chance():
    codes = simskip.pack(np.ones((40, 8)))
    found = pair_retrieval(codes, codes, k=(1, 10, 40, 99))
    assert [float(found[f"recall@{k}"]) for k in (1, 10, 40, 99)] == pytest.approx([1 / 40, 1 / 4, 1, 1])
    assert float(found["mrr"]) == pytest.approx(sum(1 / r for r in range(1, 41)) / 40)


def test_rows_that_show_the_same_are_right_for_each_other():
    distances = 1 - np.roll(np.eye(4), 1, axis=1)  # each finds the next one
    assert pair_retrieval(distances=distances, k=(1,))["recall@1"] == 0
    names = np.array(["a", "a", "b", "b"])
    assert pair_retrieval(distances=distances, k=(1,), items=names)["recall@1"] == 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "queries and codes"),
        ({"queries": simskip.pack(np.ones((3, 8)))}, "queries and codes"),
        (
            {"queries": simskip.pack(np.ones((3, 8))), "codes": simskip.pack(np.ones((4, 8)))},
            "one row for each of the 4",
        ),
        ({"queries": simskip.pack(np.ones((3, 8))), "codes": simskip.pack(np.ones((3, 16)))}, "queries must"),
        ({"queries": np.ones((3, 7)), "codes": simskip.pack(np.ones((3, 8)))}, "queries must have 8 columns"),
        ({"queries": np.full((3, 8), np.nan), "codes": simskip.pack(np.ones((3, 8)))}, "queries must be finite"),
        ({"distances": np.ones((3, 4))}, r"shape \(n, n\)"),
        ({"distances": np.full((3, 3), np.nan)}, "NaN"),
        ({"distances": np.ones((0, 0))}, "at least one pair"),
        ({"distances": np.ones((3, 3)), "codes": simskip.pack(np.ones((3, 8)))}, "together"),
        ({"distances": np.ones((3, 3)), "k": (0,)}, "k must"),
        ({"distances": np.ones((3, 3)), "items": [1, 2]}, "items must be 3"),
        ({"distances": np.ones((3, 3)), "query_items": [1.0, 2.0, 3.0]}, "query_items must be 3"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        pair_retrieval(**arguments)
