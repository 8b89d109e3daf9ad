"""Classes of vectors: probabilities that are honest, the same for any batch, and come back from a file."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from simskip import FormatError
from simskip.collection.hierarchy.class_labels import class_numbers
from simskip.collection.hierarchy.classifier_calibration import (
    FEW_ROWS,
    calibrated,
    calibration_error,
    held_out_turns,
    log_loss,
)
from simskip.collection.hierarchy.vector_classifier import VectorClassifier
from simskip.hashing.softmax_network import best_temperature, class_probabilities

NAMES = np.array(["city", "forest", "sea"])


def drawn(n, seed=0, dim=6):
    """Rows of three overlapping classes of known density, the classes, and their true probabilities."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    centres = 1.5 * np.eye(3, dim)
    X = (centres[y] + rng.normal(size=(n, dim))).astype(np.float32)
    z = X @ centres.T
    return X, y, class_probabilities(z, 1.0)


@pytest.fixture(scope="module")
def fitted():
    X, y, _ = drawn(2500)
    return VectorClassifier(threads=1).fit(X, NAMES[y], progress=False)


def test_probabilities_are_close_to_those_of_the_densities(fitted):
    X, y, true = drawn(1000, seed=1)
    p = fitted.predict_proba(X)
    assert p.shape == (1000, 3)
    assert p.dtype == np.float64
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert np.abs(p - true).mean() < 0.03
    assert fitted.classes_.tolist() == NAMES.tolist()
    assert (fitted.predict(X) == NAMES[p.argmax(axis=1)]).all()
    assert fitted.score(X, NAMES[y]) == np.mean(p.argmax(axis=1) == y)


def test_calibration_says_what_new_rows_say(fitted):
    X, y, _ = drawn(4000, seed=2)
    p, told = fitted.predict_proba(X), fitted.calibration_
    assert told.rows == pytest.approx(250, abs=2)  # a tenth
    assert len(fitted.trained_) == 2500 - told.rows
    assert told.accuracy == pytest.approx(fitted.score(X, NAMES[y]), abs=0.06)
    assert told.log_loss == pytest.approx(log_loss(p, y), abs=0.1)
    assert calibration_error(p, y) < 0.04


def test_one_temperature_corrects_a_classifier_that_is_too_sure():
    _, y, true = drawn(4000, seed=3)
    temperature, told = calibrated((3 * np.log(true)).astype(np.float32), y.astype(np.int32))
    assert temperature == pytest.approx(3, rel=0.1)
    assert told.error < 0.3 * told.error_before
    assert told.log_loss < told.log_loss_before
    assert told.accuracy == np.mean(true.argmax(axis=1) == y)


def test_few_labels_are_held_out_in_turns():
    X, y, _ = drawn(60, seed=4)
    few = VectorClassifier(threads=1).fit(X, y, progress=False)
    assert few.calibration_.rows == 60
    assert few.trained_.tolist() == list(range(60))
    more_X, more_y, _ = drawn(2000, seed=5)
    assert few.calibration_.accuracy == pytest.approx(few.score(more_X, more_y), abs=0.15)
    assert few.classes_.dtype == np.int64


@given(st.lists(st.integers(-1, 4), min_size=1, max_size=3000), st.floats(0, 0.5), st.integers(0, 9))
def test_turns_leave_every_class_in_training(numbers, share, seed):
    numbers = np.array(numbers * (7 if seed > 5 else 1), np.int32)
    turns, trained = held_out_turns(numbers, share, seed)
    assert (numbers[trained] >= 0).all()
    labelled = np.flatnonzero(numbers >= 0)
    together = np.concatenate([*turns, np.empty(0, np.int64)])
    assert len(np.unique(together)) == len(together)
    if len(turns) == 1 and len(turns[0]) >= FEW_ROWS:
        assert sorted([*turns[0], *trained]) == labelled.tolist()
    else:
        assert trained.tolist() == labelled.tolist()
    classes = set(numbers[labelled].tolist())
    for turn in turns:
        left = np.setdiff1d(labelled, turn) if len(turns) > 1 else trained
        assert set(numbers[left].tolist()) == classes or len(turns) == 1


def test_nothing_held_out():
    X, y, _ = drawn(200)
    bare = VectorClassifier(validation_fraction=0, epochs=3, threads=1).fit(X, y, progress=False)
    assert bare.calibration_ is None
    assert bare.temperature_ == 1
    assert len(bare.trained_) == 200


@given(st.integers(0, 40), st.integers(0, 40))
def test_any_batch_gives_the_same_bytes(fitted, start, length):
    X = drawn(80, seed=6)[0]
    whole = fitted.predict_proba(X)
    assert fitted.predict_proba(X[start : start + length]).tobytes() == whole[start : start + length].tobytes()


def test_the_same_seed_gives_the_same_bits():
    X, y, _ = drawn(300)
    first, second, other = (
        VectorClassifier((8,), epochs=3, random_state=seed, threads=1).fit(X, y, progress=False) for seed in (0, 0, 1)
    )
    assert first.fingerprint == second.fingerprint
    assert first.predict_proba(X).tobytes() == second.predict_proba(X).tobytes()
    assert first.fingerprint != other.fingerprint


@pytest.mark.parametrize("none", [None, -1])
def test_rows_without_a_label_take_no_part(none):
    X, y, _ = drawn(300)
    labels = y.tolist()
    gaps = [none if i % 3 == 0 else label for i, label in enumerate(labels)]
    kept = np.arange(300) % 3 != 0
    a = VectorClassifier(epochs=2, threads=1).fit(X, gaps, progress=False)
    assert set(a.trained_.tolist()) == set(np.flatnonzero(kept).tolist())
    assert a.score(X, gaps) == a.score(X[kept], y[kept])
    X[~kept] = 1e6  # what they are does not matter
    assert VectorClassifier(epochs=2, threads=1).fit(X, gaps, progress=False).fingerprint == a.fingerprint


@pytest.mark.parametrize("hidden", [(), (5,)])
@pytest.mark.parametrize("n", [2, 3, 7])
def test_a_handful_of_rows(hidden, n):
    X = np.eye(n, 4, dtype=np.float32)
    tiny = VectorClassifier(hidden, epochs=2, threads=1).fit(X, [f"class {i % 2}" for i in range(n)], progress=False)
    assert np.isfinite(tiny.predict_proba(X)).all()


def test_it_comes_back_from_bytes_files_and_pickles(fitted, tmp_path):
    X = drawn(50, seed=7)[0]
    fitted.save(tmp_path / "c.safetensors")
    for again in (
        VectorClassifier.load(tmp_path / "c.safetensors"),
        VectorClassifier.from_bytes(fitted.to_bytes()),
        pickle.loads(pickle.dumps(fitted)),
    ):
        assert again.predict_proba(X).tobytes() == fitted.predict_proba(X).tobytes()
        assert again.fingerprint == fitted.fingerprint
        assert again.calibration_ == fitted.calibration_
        assert again.classes_.tolist() == fitted.classes_.tolist()
        assert again.get_params() == {**fitted.get_params(), "threads": None}
    unfitted = pickle.loads(pickle.dumps(VectorClassifier((3,), epochs=7)))
    assert unfitted.get_params() == VectorClassifier((3,), epochs=7).get_params()


def test_prediction_needs_no_torch(fitted, tmp_path):
    fitted.save(tmp_path / "c.safetensors")
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import numpy as np\n"
        "from simskip.collection.hierarchy.vector_classifier import VectorClassifier\n"
        f"p = VectorClassifier.load({str(tmp_path / 'c.safetensors')!r}).predict_proba(np.ones((1, 6)))\n"
        "assert 'simskip._learn' not in sys.modules; print(p.tolist())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    np.testing.assert_array_equal(eval(run.stdout), fitted.predict_proba(np.ones((1, 6))))


@pytest.mark.parametrize("place", [0, 9, 40, -3])
def test_damage_is_told(fitted, place):
    content = bytearray(fitted.to_bytes())
    content[place] ^= 1
    with pytest.raises(FormatError, match=r"^here: "):
        VectorClassifier.from_bytes(bytes(content), "here")


def test_other_files_are_refused(fitted):
    from simskip import RandomHash

    hasher = RandomHash(8).fit(np.eye(4, dtype=np.float32))
    with pytest.raises(FormatError, match="here: not a classifier: its metadata say format 'simskip-hasher'"):
        VectorClassifier.from_bytes(hasher.to_bytes(), "here")


@pytest.mark.parametrize(
    ("parameters", "y", "message"),
    [
        ({}, [1, 1, 1], "y must hold at least two classes, got only 1"),
        ({}, [None, None, -1], "y must hold at least two classes, got none"),
        ({}, [1, 2], "y must hold one label for each of the 3 rows"),
        ({}, [1, "a", 2.5], "y must be all integers or all strings"),
        ({"epochs": 0}, [0, 1, 1], "epochs must be an integer >= 1, got 0"),
        ({"hidden": 5}, [0, 1, 1], "hidden must be a sequence of widths"),
        ({"validation_fraction": 0.6}, [0, 1, 1], r"validation_fraction must lie in \[0, 0.5\], got 0.6"),
        ({"random_state": -1}, [0, 1, 1], "random_state must be an integer >= 0"),
    ],
)
def test_wrong_input_is_told(parameters, y, message):
    with pytest.raises(ValueError, match=message):
        VectorClassifier(**parameters).fit(np.eye(3, dtype=np.float32), y, progress=False)


def test_wrong_queries_are_told(fitted):
    with pytest.raises(ValueError, match="X must have 6 columns"):
        fitted.predict(np.zeros((1, 5)))
    with pytest.raises(ValueError, match="X must be finite"):
        fitted.predict_proba(np.full((1, 6), np.nan))
    with pytest.raises(ValueError, match="call fit"):
        VectorClassifier().predict(np.zeros((1, 5)))
    with pytest.raises(ValueError, match="y must be among 'city', 'forest', 'sea', got 'lake'"):
        fitted.score(np.zeros((1, 6)), ["lake"])
    assert fitted.predict_proba(np.empty((0, 6))).shape == (0, 3)


@given(hnp.arrays(np.int64, st.integers(0, 20), elements=st.integers(-1, 5)))
def test_class_numbers_are_places_of_the_labels(labels):
    numbers, classes = class_numbers(labels, "y", len(labels))
    assert classes == sorted(set(labels.tolist()) - {-1})
    assert [None if i < 0 else classes[i] for i in numbers] == [None if v < 0 else v for v in labels.tolist()]
    again, _ = class_numbers([None if v < 0 else f"{v}" for v in labels.tolist()], "y", len(labels))
    assert again.tolist() == numbers.tolist()


def test_temperature_stays_in_its_range():
    right = np.eye(2)[[0, 1, 0]]
    assert best_temperature(9 * right, right) == pytest.approx(0.2, rel=1e-3)
    assert best_temperature(9 * right, right[:, ::-1]) == pytest.approx(20, rel=1e-3)
