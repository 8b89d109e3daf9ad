import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import simskip
from simskip.collection.items import RESERVED_NAMES


def keys(collection, where, parameters=()):
    return set(collection.search(vector=np.ones(8), k=40, where=where, parameters=parameters).keys)


@pytest.mark.parametrize(
    ("where", "parameters", "chosen"),
    [
        ("label = 'mountain' AND year > 2021", (), {"item32", "item36"}),
        ("year = ?", (1993,), {"item3"}),
        ("year = :year AND by = :by", {"year": 1993, "by": "Ada"}, {"item3"}),
        ("by = 'O''Neil' AND year < 1992", (), {"item0"}),
        ("key LIKE 'item1_' AND (year - 1990) % 5 = 0", (), {"item10", "item15"}),
        ("json_extract(attributes, '$.year') = 1990", (), {"item0"}),
        ("label = ? AND year < 1995", ("mountain'; DROP TABLE items; --",), set()),
        ("YEAR = 1990", (), {"item0"}),
        ("\"year\" = 1990", (), {"item0"}),
        ("id IN (SELECT id FROM items WHERE key = 'item5')", (), {"item5"}),
        ("key IN (SELECT value FROM json_each(?))", ('["item5", "item6"]',), {"item5", "item6"}),
        ("nothing_has_it IS NULL OR 1", (), None),
    ],
)  # fmt: skip
def test_conditions(filled, where, parameters, chosen):
    if chosen is None:
        with pytest.raises(ValueError, match="no such column: nothing_has_it"):
            keys(filled, where, parameters)
    else:
        assert keys(filled, where, parameters) == chosen


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("label = 'x'; DROP TABLE items", "one condition without ';'"),
        ("1 = 1 --", "one condition without '--'"),
        ("1 /* all */", r"one condition without '/\*'"),
        ("1) UNION SELECT id FROM vectors WHERE (1", "brackets that do not match"),
        ("1) OR (1", "brackets that do not match"),
        ("((1)", "brackets that do not match"),
        ("label = 'mountain", "string that does not end"),
        ("lable = 'x'", r"no such column: lable \(did you mean label\?\)"),
        ('label = "mountain"', "strings stand in 'single quotes'"),
        ("wholly_unknown = 1", "there are id, key, label, attributes, by, year"),
        ("id IN (SELECT id FROM vectors)", "may read nothing else"),
        ("EXISTS (SELECT 1 FROM sqlite_schema)", "may read nothing else"),
        ("(SELECT content FROM models) IS NOT NULL", "may read nothing else"),
        ("load_extension('x')", "not authorized"),
        ("length(randomblob(1000000000)) > 0", "not authorized"),
        ("(WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x FROM c) SELECT 1 FROM c)", "may read nothing else"),
        ("DELETE FROM items", "near|syntax"),
        ("id = (DELETE FROM items)", "syntax"),
        ("label = ?", "bindings|binding"),
        ("", "must be an SQL condition"),
        (3, "must be an SQL condition"),
        ("label LIKE", "syntax|incomplete"),
        ("label = '\0'", "null|string|token|embedded"),
    ],
)  # fmt: skip
def test_anything_but_a_condition_is_an_error(filled, where, message):
    with pytest.raises(ValueError, match=message):
        filled.search(vector=np.ones(8), k=1, where=where)
    assert len(filled) == 40


@pytest.mark.parametrize("parameters", ["mountain", 3, None])
def test_parameters_are_values(filled, parameters):
    with pytest.raises(ValueError, match="parameters must be a sequence or a mapping"):
        filled.search(vector=np.ones(8), where="label = ?", parameters=parameters)


def test_a_value_that_sqlite_does_not_know(filled):
    with pytest.raises(ValueError, match="where"):
        filled.search(vector=np.ones(8), where="label = ?", parameters=(object(),))
    with pytest.raises(ValueError, match="where"):
        filled.search(vector=np.ones(8), where="year = ?", parameters=(2**70,))


def test_answers_follow_changes(filled):
    assert keys(filled, "label = 'lake'") == set()
    filled.set_labels({"item9": "lake"})
    assert keys(filled, "label = 'lake'") == {"item9"}
    filled.remove(["item9"])
    assert keys(filled, "label = 'lake'") == set()


def test_no_statement_gets_through(filled):
    """The last defence, behind the checks of the text: the connection itself cannot write."""
    connection = filled._searcher.filters()._connection
    with pytest.raises(Exception, match="readonly"):
        connection.execute("DELETE FROM items")


names = st.text(min_size=1, max_size=8).filter(
    lambda name: '"' not in name and name.isprintable() and name.lower() not in RESERVED_NAMES
)
values = st.integers(-(2**40), 2**40) | st.text(max_size=5).filter(str.isprintable)


@pytest.fixture(scope="module")
def two_items(tmp_path_factory):
    with simskip.Collection.open(tmp_path_factory.mktemp("filters") / "two.db") as collection:
        collection.add(["a", "b"], np.eye(2))
        yield collection


@given(name=names, value=values)
def test_attributes_of_any_name_can_be_asked_for(two_items, name, value):
    two_items.set_attributes({"a": {name: value}})
    hits = two_items.search(vector=[1.0, 1.0], k=2, where=f'"{name}" = ?', parameters=(value,))
    two_items.set_attributes({"a": {name: None}})
    assert hits.keys == ["a"]


@given(text=st.text(max_size=30))
def test_no_text_does_harm(two_items, text):
    with contextlib.suppress(ValueError):
        two_items.search(vector=[1.0, 1.0], k=2, where=text)
    assert len(two_items) == 2
