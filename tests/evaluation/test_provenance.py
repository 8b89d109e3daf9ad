import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simskip.evaluation.provenance import (
    FoundList,
    Origin,
    environment,
    fingerprint,
    refuse_self_comparison,
    rows_in_database,
)


def found(engine, ids, name="Engine", metric="cosine"):
    origin = Origin(name, metric, n=10, dim=2, k=3, database="a", queries="b")
    return FoundList(ids, np.zeros(ids.shape), origin, engine)


def test_fingerprint_depends_on_values_shape_and_dtype():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    prints = {fingerprint(a) for a in (array, array.T, array.reshape(3, 2), array.view(np.int32), array + 1)}
    assert len(prints) == 5
    assert fingerprint(array) == fingerprint(np.asfortranarray(array))


def test_lists_of_different_engines_may_be_compared():
    refuse_self_comparison(
        "a", found(object(), np.zeros((2, 3), int), "Mine"), found(object(), np.zeros((2, 3), int), "Exact")
    )


def test_lists_of_one_object_may_not():
    engine = object()
    one, other = found(engine, np.zeros((2, 3), int), "Mine"), found(engine, np.zeros((2, 3), int), "Exact")
    with pytest.raises(ValueError, match=r"searchers\['a'\] is the exact search of this evaluation"):
        refuse_self_comparison("a", one, other)


def test_lists_of_one_kind_of_exact_search_may_not():
    one, other = (found(object(), np.zeros((2, 3), int)) for _ in range(2))
    with pytest.raises(ValueError, match="exact float search by cosine"):
        refuse_self_comparison("a", one, other)


def test_lists_that_share_memory_may_not():
    ids = np.zeros((2, 6), int)
    with pytest.raises(ValueError, match="the exact search's own array"):
        refuse_self_comparison("a", found(1, ids[:, ::2], "Mine"), found(2, ids[:, :3], "Exact"))


@given(st.integers(0, 2**32 - 1))
def test_rows_in_database_is_its_definition(seed):
    rng = np.random.default_rng(seed)
    # Few values, so that rows repeat and row sums are equal where rows are not.
    database = rng.integers(-1, 2, (30, 4)).astype(np.float32)
    queries = rng.integers(-1, 2, (8, 4)).astype(np.float32)
    expected = [i for i, q in enumerate(queries) if (database == q).all(axis=1).any()]
    assert rows_in_database(queries, database).tolist() == expected


def test_rows_are_found_across_blocks_and_whatever_the_sign_of_zero():
    rng = np.random.default_rng(0)
    database = rng.normal(size=(70_000, 3)).astype(np.float32) * 1e4
    database[69_000, 1] = 0.0
    database[5, 0] = -0.0
    queries = database[[5, 69_000, 66_000]].copy()
    queries[0, 0] = 0.0
    queries[1, 1] = -0.0
    queries[2, 2] = np.nextafter(queries[2, 2], np.float32(np.inf))
    assert rows_in_database(queries, database).tolist() == [0, 1]


def test_environment_names_versions_and_the_processor():
    about = environment()
    assert about["numpy"] == np.__version__
    assert about["processor"]
    assert about["threads"] >= 1
