"""Health of epochs, and the watch: real little trainings that collapse for a known cause, and some that do not."""

from __future__ import annotations

import dataclasses
import json
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import simskip
from simskip.hashing import code_health
from simskip.hashing.collapse_cause import TrainingFacts, collapse_causes, dead_units, input_facts, margin_capacity
from simskip.hashing.network import DenseNetwork
from simskip.hashing.training_health import CollapseWatch, epoch_health, shown_health

pytestmark = pytest.mark.filterwarnings("ignore::simskip.CollapseWarning")

# The origin's network in small: eight hidden layers, leaky ReLU, no batch-norm, Adam.
ORIGIN = {
    "objective": "dtsh",
    "hidden": (64, 64, 64, 32, 32, 32, 32, 32),
    "activation": "leaky_relu",
    "dropout": 0.5,
    "batch_norm": False,
    "residual": False,
    "optimizer": "adam",
    "schedule": "constant",
    "learning_rate": 1e-3,
    "weight_decay": 0.0,
    "batch_size": 32,
    "steps_per_epoch": 60,
    "epochs": 6,
    "metric": "l2",
}
SHALLOW = {**ORIGIN, "hidden": (64,), "dropout": 0.0}


@pytest.fixture(scope="module")
def classes():
    """(1500, 20) rows of 10 classes that a small network separates well, and their labels."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 10, 1500)
    X = rng.normal(size=(10, 20))[y] + 0.35 * rng.normal(size=(1500, 20))
    return X.astype(np.float32), y


@pytest.fixture(scope="module")
def families():
    """(3000, 20) rows of 10 classes in 3 families of similar ones, as shoes, tops and bags are."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 10, 3000)
    centres = 2 * rng.normal(size=(3, 20))[np.arange(10) % 3] + 0.8 * rng.normal(size=(10, 20))
    return (centres[y] + 0.35 * rng.normal(size=(3000, 20))).astype(np.float32), y


class Training:
    """A DeepHash's training, and what its watch answered."""

    def __init__(self, monkeypatch, X, y, n_bits, on_collapse="warn", **parameters):
        self.answers = answers = []
        update = CollapseWatch.update

        def noted(watch, record):
            answers.append(update(watch, record))
            return answers[-1]

        monkeypatch.setattr(CollapseWatch, "update", noted)
        hasher = simskip.DeepHash(n_bits, threads=1, on_collapse=on_collapse, **parameters)
        self.hasher = hasher.fit(X, y, progress=False)
        monkeypatch.undo()
        self.watch = hasher._watch
        self.facts = self.watch.facts
        self.records = hasher.history_

    @property
    def causes(self):
        return [cause.name for cause in self.watch.causes]


# Figures


@given(n=st.integers(1, 50), n_bits=st.integers(1, 70), seed=st.integers(0, 2**32), labelled=st.booleans())
def test_figures_are_those_of_code_health_and_plain_numbers(n, n_bits, seed, labelled):
    rng = np.random.default_rng(seed)
    outputs = np.tanh(3 * rng.normal(size=(n, n_bits))).astype(np.float32)
    labels = rng.integers(0, 4, n) if labelled else None
    figures = epoch_health(outputs, labels)
    health = code_health(simskip.pack(outputs), labels)
    assert figures["codes"] == health.n_codes
    for name in ("largest_bucket", "bit_entropy", "collapsed"):
        assert figures[name] == getattr(health, name)
    for name in ("coverage", "computation_ratio", "distinct_class_codes"):
        assert figures.get(name) == getattr(health, name)
        assert (name in figures) == labelled
    assert figures["bit_correlation"] == (None if np.isnan(health.bit_correlation) else health.bit_correlation)
    assert figures["saturation"] == pytest.approx((abs(outputs) > 0.99).mean())
    assert figures["spread"] == pytest.approx(outputs.std(axis=0).mean(), abs=1e-5)
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures  # hashers are saved with their history
    assert 2 <= len(shown_health(figures)) <= 3


def test_of_many_rows_the_last_count():
    outputs = np.ones((9000, 3), np.float32)
    outputs[:5000] = np.random.default_rng(0).normal(size=(5000, 3))
    assert epoch_health(outputs, np.arange(9000) % 2)["codes"] == 1
    assert epoch_health(outputs[:5000])["codes"] == 8


# The watch


def record(collapsed, **figures):
    plain = {"loss": 1.0, "codes": 9, "largest_bucket": 0.5, "saturation": 0.5, "spread": 0.5, "coverage": 0.5}
    return {**plain, "distinct_class_codes": 2, "collapsed": collapsed, **figures}


def facts(**known):
    return TrainingFacts(**{"objective": "csq", "n_bits": 8, "n_classes": 10, "epochs": 5, **known})


@given(history=st.lists(st.booleans(), max_size=30), patience=st.integers(1, 5))
def test_it_tells_once_and_only_after_so_many_collapsed_epochs_in_a_row(history, patience):
    watch = CollapseWatch(facts(), "warn", patience)
    answers = [watch.update(record(collapsed)) for collapsed in history]
    runs = [i for i in range(len(history)) if i + 1 >= patience and all(history[i + 1 - patience : i + 1])]
    assert answers == ["warn" if runs and i == runs[0] else None for i in range(len(history))]
    assert bool(watch.causes) == bool(runs)
    if len(history) >= patience:
        assert watch.collapsed == all(history[-patience:])


@pytest.mark.parametrize(
    "better",
    [
        {"loss": lambda i: 0.97**i},
        {"loss": lambda i: -1 - 0.03 * i},
        {"largest_bucket": lambda i: 0.9**i},
        {"distinct_class_codes": lambda i: 1 + i // 3},
    ],
)
def test_a_collapse_that_gets_better_has_time_until_half_of_the_epochs(better):
    def told(change):
        watch = CollapseWatch(facts(epochs=20))
        answers = [watch.update(record(True, **{k: f(i) for k, f in change.items()})) for i in range(20)]
        return answers.index("warn") + 1

    assert told(better) == 10
    assert told({name: lambda i, f=f: f(max(0, 3 - i)) for name, f in better.items()}) == 4  # worse, not better
    assert told({}) == 4


@pytest.mark.parametrize(("epochs", "patience"), [(1, 3), (12, 3), (15, 3), (16, 4), (30, 6), (100, 20)])
def test_patience_grows_with_the_plan(epochs, patience):
    assert CollapseWatch(facts(epochs=epochs)).patience == patience


def test_a_short_training_that_never_was_healthy_counts_as_collapsed():
    watch = CollapseWatch(facts())
    assert not watch.collapsed
    watch.update(record(True))
    assert watch.collapsed
    assert (
        "codes have been collapsed (different codes: 9; in the largest bucket: 50% of the rows; different class"
        in watch.message
    )
    watch.update(record(False))
    assert not watch.collapsed


def test_ignore_says_nothing_but_knows():
    watch = CollapseWatch(facts(), "ignore", 1)
    assert watch.update(record(True)) is None
    assert watch.collapsed
    assert watch.causes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_collapse": "raise"}, "on_collapse must be one of 'warn', 'stop', 'ignore', got 'raise'"),
        ({"patience": 0}, "patience must be an integer >= 1, got 0"),
    ],
)
def test_parameters_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        CollapseWatch(facts(), **options)


# Healthy trainings: not a word


@pytest.mark.parametrize(
    ("n_bits", "parameters"),
    [
        (16, {"objective": "csq", "epochs": 6}),
        (8, {"objective": "csq", "epochs": 6}),
        (16, {"objective": "dtsh", "epochs": 6}),
        (8, {**SHALLOW, "batch_norm": True, "objective_options": {"alpha": 2.0}}),
        (16, {"objective": "neighbors", "epochs": 3, "steps_per_epoch": 10, "hidden": (64,), "batch_size": 200}),
        (8, {"objective": "neighbors", "epochs": 3, "steps_per_epoch": 10, "hidden": (64,), "batch_size": 200}),
    ],
)
def test_healthy_trainings_are_left_alone(monkeypatch, classes, n_bits, parameters):
    training = Training(monkeypatch, *classes, n_bits, **parameters)
    assert training.answers == [None] * len(training.answers)
    assert not training.watch.collapsed
    assert not training.records[-1]["collapsed"]


def test_a_slow_start_is_forgiven(monkeypatch, classes):
    """csq through eight layers with dropout looks collapsed at first and finds its way."""
    training = Training(monkeypatch, *classes, 8, **{**ORIGIN, "objective": "csq", "dropout": 0.2, "epochs": 20})
    assert training.records[0]["collapsed"]
    assert not training.records[-1]["collapsed"]
    assert training.answers == [None] * 20


# Each cause, in a training that has it


def test_the_origins_configuration_is_told_and_stopped(monkeypatch, classes):
    training = Training(monkeypatch, *classes, 7, "stop", **{**ORIGIN, "epochs": 10})
    assert training.answers == [None] * (len(training.answers) - 1) + ["stop"]
    assert len(training.answers) <= 5  # of 10
    assert training.records[-1]["coverage"] > 0.9  # coverage alone would call it a success
    assert training.records[-1]["distinct_class_codes"] <= 3
    assert training.causes == ["margin", "dropout", "depth"]
    message = training.watch.message
    assert f"codes have been collapsed for {len(training.answers)} epochs" in message
    assert "no more than 2 codes can be (Plotkin's bound), fewer than the 10 classes" in message
    assert "objective_options={'alpha': 3}" in message
    assert "dropout 0.5 in 8 hidden layers leaves 0.0039 of the paths" in message


def test_a_resumed_training_remembers_the_collapse(classes, tmp_path):
    """Interrupted an epoch before the stop, or after it: the same end as without."""
    X, y = classes
    parameters = {**ORIGIN, "epochs": 10, "on_collapse": "stop"}

    def trained(checkpoint, until=10):
        hasher = simskip.DeepHash(7, **parameters)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            stop = [lambda record: record["epoch"] == until]
            hasher.fit(X, y, progress=False, checkpoint=tmp_path / checkpoint, callbacks=stop)
        return hasher, [warning.filename for warning in told if warning.category is simskip.CollapseWarning]

    whole, told = trained("whole")
    stopped = len(whole.history_)
    assert stopped < 10
    assert told == [__file__]
    trained("parts", until=stopped - 1)
    for _ in range(2):
        resumed, told = trained("parts")
        assert len(resumed.history_) == stopped
        assert resumed.fingerprint == whole.fingerprint
        assert told == [__file__]


def test_margin(monkeypatch, families):
    wide = Training(monkeypatch, *families, 8, **{**SHALLOW, "objective_options": {"alpha": 5.0}})
    assert "warn" in wide.answers
    assert wide.causes == ["margin"]
    assert wide.records[-1]["distinct_class_codes"] <= 5  # Plotkin: 4
    narrow = Training(monkeypatch, *families, 8, **{**SHALLOW, "objective_options": {"alpha": 2.0}})
    assert narrow.records[-1]["distinct_class_codes"] >= 7
    assert narrow.answers == [None] * 6


def test_depth(monkeypatch, classes):
    deep = {**ORIGIN, "dropout": 0.0, "hidden": (32,) * 12}
    plain = Training(monkeypatch, *classes, 16, **deep)
    assert "warn" in plain.answers
    assert plain.causes == ["depth"]
    normalised = Training(monkeypatch, *classes, 16, **{**deep, "batch_norm": True})
    assert normalised.answers == [None] * 6
    assert normalised.records[-1]["distinct_class_codes"] >= 7


def test_dropout_too_high_for_the_depth(monkeypatch, classes):
    noisy = Training(monkeypatch, *classes, 16, **{**ORIGIN, "objective": "csq", "dropout": 0.7})
    assert "warn" in noisy.answers
    assert noisy.causes[0] == "dropout"
    assert "use less dropout" in noisy.watch.message


def test_learning_rate(monkeypatch, classes):
    fast = Training(
        monkeypatch, *classes, 16, **{**SHALLOW, "objective": "csq", "hidden": (64, 64), "learning_rate": 10.0}
    )
    assert "warn" in fast.answers
    assert fast.causes[0] == "learning rate"
    assert "learning_rate=10 is too large. Remedy: use a learning_rate of 1 or less" in fast.watch.message


def test_dead_units(monkeypatch, classes):
    X, y = classes
    dead = {**SHALLOW, "objective": "csq", "hidden": (32, 32, 32), "activation": "relu", "learning_rate": 0.3}
    training = Training(monkeypatch, X, y, 16, output="none", **dead)
    assert "warn" in training.answers
    assert training.causes == ["dead units"]  # seen in the outputs alone
    network, z = training.hasher.network_, training.hasher.preparation_.apply(X[:300])
    share = max(dead_units(network, z))
    assert share >= 0.9
    known = dataclasses.replace(training.facts, dead=share)
    assert collapse_causes(training.records, known)[0].name == "dead units"


def test_class_imbalance(monkeypatch):
    rng = np.random.default_rng(0)
    y = np.where(rng.random(4000) < 0.1, rng.integers(1, 6, 4000), 0)
    X = 0.3 * rng.normal(size=(6, 20))[y] + rng.normal(size=(4000, 20))
    skewed = {**SHALLOW, "objective": "csq", "epochs": 4}
    training = Training(monkeypatch, X.astype(np.float32), y, 16, **skewed)
    assert "warn" in training.answers
    assert training.causes == ["imbalance"]
    assert "90% of the rows are of one class" in training.watch.message


def test_constant_inputs(monkeypatch):
    rng = np.random.default_rng(0)
    X = (rng.normal(size=20) + 1e-7 * rng.normal(size=(1000, 20))).astype(np.float32)
    y = rng.integers(0, 4, 1000)
    training = Training(monkeypatch, X, y, 8, objective="csq", epochs=4, hidden=(32,))
    assert training.causes[0] in ("constant inputs", "repeated inputs")
    assert training.facts.input_variation < 1e-6


def test_repeated_inputs(monkeypatch, classes):
    X = classes[0][np.arange(1000) % 3]
    training = Training(
        monkeypatch, X, None, 8, epochs=4, steps_per_epoch=10, hidden=(32,), batch_size=200, residual=False
    )
    assert training.causes[0] == "repeated inputs"
    assert "equal with probability 0.33" in training.watch.message


# Rules


@pytest.mark.parametrize("n_bits", range(1, 9))
@pytest.mark.parametrize("margin", [1, 2, 3, 4, 4.5, 5, 6, 9])
def test_no_code_is_larger_than_the_capacity(n_bits, margin):
    """Greedy codes (lexicodes) with the wanted distances never exceed the bound, and reach it for some."""
    chosen = []
    for word in range(2**n_bits):
        if all(bin(word ^ other).count("1") >= margin for other in chosen):
            chosen.append(word)
    assert len(chosen) <= margin_capacity(n_bits, margin)
    if margin == 5 or margin > n_bits:
        assert len(chosen) == margin_capacity(n_bits, margin)


def test_inputs_far_from_the_origin_are_not_constant():
    rng = np.random.default_rng(0)
    rows = (30 + rng.normal(size=(5000, 8))).astype(np.float32)
    known = input_facts(rows)
    assert known["input_variation"] == pytest.approx(1 / 901, rel=0.1)
    assert known["repeated_inputs"] == pytest.approx(1 / 2000)
    assert input_facts(np.zeros((3, 2))) == {"input_variation": 0.0, "repeated_inputs": 1.0}
    assert collapse_causes([record(True)], facts(**known))[0].name == "unknown"


def test_dead_units_are_those_that_do_not_vary():
    weight = np.array([[1, 0], [0, 0], [-1, -1]], np.float32)
    layers = ((weight, np.array([0, 2, -1], np.float32)), (np.ones((1, 3), np.float32), np.zeros(1, np.float32)))
    z = np.random.default_rng(0).random((50, 2), np.float32)
    assert dead_units(DenseNetwork(layers, None, "relu", "tanh"), z) == [pytest.approx(2 / 3)]
    assert dead_units(DenseNetwork(layers, None, "leaky_relu", "tanh"), z) == [pytest.approx(1 / 3)]


def test_a_large_class_is_no_cause_where_it_is_not_together_itself():
    skewed = facts(majority=0.9)
    assert [c.name for c in collapse_causes([record(True, largest_bucket=0.95)], skewed)] == ["imbalance"]
    assert [c.name for c in collapse_causes([record(True, largest_bucket=0.3)], skewed)] == ["unknown"]
