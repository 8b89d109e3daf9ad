"""The benchmark of cross-modal search on data small enough for a test."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.cross_modal import measure, table_of


def test_one_row_per_method_with_chance_and_what_is_learned():
    rng = np.random.default_rng(0)
    meaning = rng.normal(size=(700, 5))
    first = np.tanh(meaning @ rng.normal(size=(5, 20))).astype(np.float32)
    second = np.exp(0.5 * meaning @ rng.normal(size=(5, 16))).astype(np.float32)
    rows = measure("views", (first[:500], second[:500]), (first[500:], second[500:]), 16, 1)
    figures = {row["method"]: row for row in rows}
    assert figures["chance"]["1>2 recall@10"] == pytest.approx(10 / 200)
    assert figures["chance"]["2>1 mrr"] == pytest.approx(sum(1 / r for r in range(1, 201)) / 200)
    for side in ("1>2", "2>1"):
        assert figures["CrossModalHash"][f"{side} mrr"] > figures["CCA-ITQ"][f"{side} mrr"]
        assert figures["CCA-ITQ"][f"{side} mrr"] > 2 * figures["chance"][f"{side} mrr"]
    assert table_of(rows).row_count == len(rows) == 6
