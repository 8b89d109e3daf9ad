import json

import numpy as np
import pytest

from simskip.evaluation.provenance import Origin
from simskip.evaluation.rows import Row, bytes_text, columns, number, speed_text
from simskip.evaluation.scores import Score

ORIGIN = Origin("Engine", "hamming", n=1000, dim=8, k=25, database="a", queries="b")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.00123, "0.00123"), (0.5, "0.500"), (12.34, "12.3"), (45_600.4, "45,600"), (999.6, "1,000")],
)
def test_numbers_have_three_digits(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(8, "8 B"), (999, "999 B"), (5120, "5.12 kB"), (1_280_000, "1.28 MB"), (3e12, "3,000 GB")],
)
def test_bytes_have_units(value, text):
    assert bytes_text(value) == text


@pytest.mark.parametrize(("value", "text"), [(31.4, "31x"), (9.96, "10x"), (1.44, "1.4x"), (0.823, "0.82x")])
def test_ratios(value, text):
    assert speed_text(value) == text


def test_a_score_is_stored_with_its_interval_and_written():
    row = Row("a", "codes", "codes", ORIGIN)
    row.set_score("recall@25", Score(np.tile([0.25, 0.75], 50)), 0.95, 0)
    column = columns([25], 25, labelled=False)[0]
    assert column.text(row) == "0.500"
    low, high = row.get("recall@25 low"), row.get("recall@25 high")
    assert column.interval_text(row) == f"[{low:.3f}, {high:.3f}]"
    assert 0.4 < low < 0.5 < high < 0.6


def test_what_was_not_measured_is_a_dash_and_null():
    row = Row("a", "codes", "codes", ORIGIN, {"map": float("nan")})
    for column in columns([1], 25, labelled=True):
        assert column.text(row) == "–"
        assert column.interval_text(row) == ""
    assert json.loads(json.dumps(row.as_dict(), allow_nan=False))["values"] == {"map": None}


def test_every_column_is_explained_and_keys_are_unique():
    result = columns([1, 10, 25], 25, labelled=True)
    assert len({column.key for column in result}) == len(result)
    assert all(column.title and column.explanation.endswith(".") and column.group for column in result)
    assert "90%" in columns([1], 1, labelled=False, level=0.9)[0].explanation
    assert not any(column.key == "map" for column in columns([1], 1, labelled=False))
