import json
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import simskip
from simskip.hashing import CodeHealth, code_health, computation_ratio, coverage


def make(bits: np.ndarray) -> simskip.Codes:
    return simskip.pack(np.asarray(bits, bool))


@st.composite
def labelled_bits(draw: st.DrawFn) -> tuple[np.ndarray, list]:
    n, n_bits = draw(st.integers(1, 40)), draw(st.sampled_from([1, 2, 3, 8, 64, 65, 130]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    # Few different rows, so that buckets hold something.
    rows = rng.random((draw(st.integers(1, 6)), n_bits)) < draw(st.sampled_from([0.1, 0.5, 1.0]))
    label = st.integers(-3, 3) if draw(st.booleans()) else st.sampled_from(["a", "b", "", "été"])
    return rows[rng.integers(len(rows), size=n)], draw(st.lists(label, min_size=n, max_size=n))


@given(labelled_bits())
def test_against_the_definitions(data: tuple[np.ndarray, list]) -> None:
    bits, labels = data
    n, n_bits = bits.shape
    codes = make(bits)
    health = code_health(codes, labels)
    keys = [row.tobytes() for row in bits]
    buckets = Counter(keys)
    assert (health.n_items, health.n_bits, health.n_codes) == (n, n_bits, len(buckets))
    assert health.largest_bucket == pytest.approx(max(buckets.values()) / n)
    assert health.computation == pytest.approx(sum(size**2 for size in buckets.values()) / n**2)

    classes = {label: Counter(k for k, lab in zip(keys, labels, strict=True) if lab == label) for label in labels}
    expected = np.mean([max(c.values()) / sum(c.values()) for c in classes.values()])
    assert health.coverage == pytest.approx(expected)
    assert coverage(codes, labels) == health.coverage
    ratio = sum(size**2 for size in buckets.values()) / sum(labels.count(label) ** 2 for label in classes)
    assert health.computation_ratio == pytest.approx(ratio)
    assert computation_ratio(codes, labels) == health.computation_ratio
    assert health.n_classes == len(classes)
    # With ties the most common code is a choice: between the fewest and the most that choices can give.
    candidates = [{k for k, size in c.items() if size == max(c.values())} for c in classes.values()]
    assert 1 <= health.distinct_class_codes <= min(len(classes), len(set().union(*candidates)))
    if all(len(c) == 1 for c in candidates):
        assert health.distinct_class_codes == len(set().union(*candidates))

    ones = bits.mean(axis=0)
    balance = np.minimum(ones, 1 - ones)
    assert health.bit_balance == pytest.approx(balance.mean())
    assert health.worst_bit_balance == pytest.approx(balance.min())
    assert health.constant_bits == sum(len(set(column)) == 1 for column in bits.T)
    entropy = [-sum(p * math.log2(p) for p in (q, 1 - q) if p > 0) for q in ones]
    assert health.bit_entropy == pytest.approx(np.mean(entropy), abs=1e-12)
    varying = bits[:, (ones > 0) & (ones < 1)].astype(float)
    if varying.shape[1] < 2:
        assert math.isnan(health.bit_correlation)
    else:
        corr = np.abs(np.corrcoef(varying, rowvar=False))
        off = corr[~np.eye(len(corr), dtype=bool)]
        assert health.bit_correlation == pytest.approx(off.mean(), abs=1e-5)

    plain = code_health(codes)
    assert plain.coverage is plain.computation_ratio is plain.n_classes is plain.distinct_class_codes is None
    assert plain.n_codes == health.n_codes


def test_random_codes_are_healthy() -> None:
    rng = np.random.default_rng(0)
    for n_bits in (1, 2, 8, 64, 200):
        health = code_health(make(rng.random((3000, n_bits)) < 0.5), rng.integers(0, 10, 3000))
        assert not code_health(make(rng.random((3000, n_bits)) < 0.5)).collapsed
        if n_bits >= 64:
            assert not health.collapsed
            assert health.diagnosis.startswith("healthy")
            assert health.bit_correlation < 0.05


def class_codes(assignment: list[int], n_bits: int = 16, per_class: int = 30) -> tuple[simskip.Codes, np.ndarray]:
    centres = np.random.default_rng(1).random((16, n_bits)) < 0.5
    labels = np.repeat(np.arange(len(assignment)), per_class)
    return make(centres[np.asarray(assignment)[labels]]), labels


def test_ideal_class_codes() -> None:
    health = code_health(*class_codes(list(range(10))))
    assert (health.coverage, health.computation_ratio, health.distinct_class_codes) == (1, 1, 10)
    assert not health.collapsed


@pytest.mark.parametrize(
    "assignment",
    [[0] * 10, [0] * 5 + [1] * 5, [0] * 9 + [1], [0, 1, 2, 3] * 2 + [0, 1], [0, 1, 2, 3, 4] * 2, [0, 0]],
)
def test_collapse_is_named_whatever_the_coverage(assignment: list[int]) -> None:
    health = code_health(*class_codes(assignment))
    assert health.coverage == 1
    assert health.collapsed
    assert health.diagnosis.startswith("collapsed: ")


def test_seven_of_ten_class_codes_are_no_collapse() -> None:
    assert not code_health(*class_codes([0, 1, 2, 3, 4, 5, 6, 0, 1, 2])).collapsed


def test_everything_in_one_bucket_costs_as_many_times_as_there_are_classes() -> None:
    health = code_health(*class_codes([0] * 10))
    assert health.computation_ratio == pytest.approx(10)
    assert health.distinct_class_codes == 1


def test_collapse_without_labels() -> None:
    bits = np.zeros((1000, 64), bool)
    assert code_health(make(bits)).collapsed
    bits[:490] = np.random.default_rng(0).random((490, 64)) < 0.5
    health = code_health(make(bits))
    assert health.collapsed
    assert "51.0% of them share one" in health.diagnosis
    bits[:600] = np.random.default_rng(0).random((600, 64)) < 0.5
    assert not code_health(make(bits)).collapsed


def test_imbalanced_classes_are_no_collapse() -> None:
    labels = np.array([0] * 900 + [1] * 50 + [2] * 50)
    centres = np.random.default_rng(0).random((3, 32)) < 0.5
    assert not code_health(make(centres[labels]), labels).collapsed
    assert code_health(make(centres[labels])).collapsed  # without labels nobody can know


def test_few_items_are_not_judged() -> None:
    health = code_health(make(np.zeros((7, 8))))
    assert not health.collapsed
    assert "too few" in health.diagnosis
    assert code_health(make(np.zeros((8, 8)))).collapsed


def test_constant_and_unbalanced_bits_are_named() -> None:
    bits = np.random.default_rng(0).random((1000, 40)) < 0.5
    bits[:, :3] = True
    assert "3 bits are the same" in code_health(make(bits)).diagnosis
    bits[:, :3] = np.random.default_rng(1).random((1000, 3)) < 0.01
    assert "at least one bit" in code_health(make(bits)).diagnosis


def test_forms() -> None:
    health = code_health(*class_codes([0, 1, 2]))
    assert "distinct class codes" in repr(health)
    assert "<table>" in health._repr_html_()
    values = json.loads(json.dumps(health.as_dict()))
    assert values["collapsed"] is False
    assert CodeHealth.from_dict(values) == health


def test_big_tables_are_sampled() -> None:
    bits = np.random.default_rng(0).random((9000, 4)) < 0.5
    bits = np.concatenate([bits, bits], axis=1)
    health = code_health(make(bits))
    assert health.bit_correlation == pytest.approx(1 / 7, abs=0.03)  # each bit has one twin among seven others


@pytest.mark.parametrize("function", [code_health, coverage, computation_ratio])
def test_bad_input(function) -> None:
    codes = make(np.ones((3, 8)))
    with pytest.raises(ValueError, match=r"codes must be simskip\.Codes"):
        function(codes.data, [1, 2, 3])
    with pytest.raises(ValueError, match="at least one code"):
        function(codes[:0], [])
    with pytest.raises(ValueError, match="one label for each of the 3"):
        function(codes, [1, 2])
    with pytest.raises(ValueError, match="all integers or all strings, got NoneType, int, str"):
        function(codes, np.array([1, "a", None], object))
