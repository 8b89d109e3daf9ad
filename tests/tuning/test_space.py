"""The language of search spaces."""

import json
import math
import string

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simskip import DeepHash
from simskip.hashing.recipes import RECIPES, resolved
from simskip.tuning import Space, default_space, read_space
from simskip.tuning.parameter import parsed

optuna.logging.set_verbosity(optuna.logging.ERROR)


def drawn(space, seeds=range(20)):
    """Values of random trials, as the space gives them and as it reads them back."""
    for seed in seeds:
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
        trial = study.ask()
        values = space.suggest(trial)
        assert space.decoded(study.get_trials(deepcopy=False)[0].params) == values
        yield values


@pytest.mark.parametrize(
    ("description", "kind", "extremes"),
    [
        ((0.0, 0.5), "float", [0.0, 0.5]),
        ((0, 0.5), "float", [0.0, 0.5]),
        ((1, 4), "int", [1, 4]),
        ((1, 1), "fixed", [1]),
        ((1e-4, 1e-2, "log"), "float", [1e-4, 1e-2]),
        ([8, 16], "choice", [8, 16]),
        ([8], "fixed", [8]),
        (8, "fixed", [8]),
        (None, "fixed", [None]),
        ({"low": 8, "high": 33, "step": 8}, "int", [8, 32]),
        ({"low": "1e-4", "high": 1e-2, "log": True}, "float", [1e-4, 1e-2]),
        ({"choices": ["a", None, True]}, "choice", ["a", None, True]),
        ({"choices": [[8, 8], []]}, "choice", [[8, 8], []]),
        ({"value": [1, 2]}, "fixed", [[1, 2]]),
        (optuna.distributions.FloatDistribution(1e-4, 1e-2, log=True), "float", [1e-4, 1e-2]),
        (optuna.distributions.IntDistribution(1, 9, step=4), "int", [1, 9]),
        (optuna.distributions.CategoricalDistribution(["a", "b"]), "choice", ["a", "b"]),
    ],
)
def test_descriptions(description, kind, extremes):
    parameter = parsed("x", description)
    assert (parameter.kind, parameter.extremes()) == (kind, extremes)
    assert parsed("x", json.loads(json.dumps(parameter.as_dict()))) == parameter
    assert str(parameter)


@pytest.mark.parametrize(
    ("description", "words"),
    [
        ((1, 2, 3), "a tuple must be"),
        ((1,), "a tuple must be"),
        ((2, 1), "low must not be above high, got 2 and 1"),
        ((0, 1, "log"), "a logarithmic range must start above 0"),
        ((0, math.inf), "high must be a finite number, got inf"),
        (("a", 1), "low must be a finite number, got 'a'"),
        ((True, 2), "low must be a finite number, got True"),
        ([], "choices must be a list of at least one value"),
        ([1, 1], "choices must differ, got 1 twice"),
        ([1, True], "choices must differ, got True twice"),
        ([{}], "a choice must be None, a boolean"),
        ({}, "a mapping must have"),
        ({"low": 1}, "a mapping must have"),
        ({"low": 1, "high": 2, "choices": [1]}, "a mapping must have"),
        ({"choices": [1, 2], "log": True}, "a mapping must have"),
        ({"low": 1, "high": 2, "log": "yes"}, "log must be true or false"),
        ({"low": 1, "high": 2, "step": 0}, "step must be"),
        ({"low": 1, "high": 2, "step": 0.5}, "step must be"),
        ({"low": 1, "high": 2, "when": 3}, "when must map"),
        (len, "a fixed value must be None, a boolean"),
    ],
)
def test_bad_descriptions(description, words):
    with pytest.raises(ValueError, match=r"^space\['x'\]: ") as caught:
        parsed("x", description)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ([], "space must be a mapping"),
        ({"widht": [1, 2]}, "got 'widht'"),
        ({"metric": ["l2"]}, "tune(distance=...)"),
        ({"random_state": (0, 9)}, "tune(random_state=...)"),
        ({"threads": [1, 2]}, "tune(threads=...)"),
        ({"objective_options": [{}]}, "name the option itself"),
        ({"objective": ["neighbors", "nothing"]}, "space['objective']: objective must be one of"),
        ({"dropout": (0.0, 1.0)}, "space['dropout']: dropout must lie in [0, 1)"),
        ({"n_bits": [32, 5000]}, "space['n_bits']: n_bits must be an integer from 1 to 4096, got 5000"),
        ({"activation": ["relu", "softplus"]}, "space['activation']: activation must be one of"),
        ({"width": (0, 8)}, "space['width']: a width in hidden"),
        ({"width": 8, "depth": (-1, 2)}, "space['depth']: expected integers from 0 to 64, got -1"),
        ({"depth": (0, 2)}, "space must hold width beside depth"),
        ({"hidden": [[8], [16]], "width": 8}, "space must hold hidden, or width and depth"),
        ({"alpha": (1.0, 5.0)}, "none of the objectives ['neighbors'] has this option"),
        ({"tau": (-1.0, 5.0)}, "space['tau']: expected numbers >= 0, got -1.0"),
        ({"tau": 1.0, "temperature": 2.0}, "space must name 'tau' once"),
        ({"dropout": {"value": 0.1, "when": {"widht": 1}}}, "when must name another parameter of the space"),
        (
            {
                "dropout": {"choices": [0.1, 0.2], "when": {"residual": True}},
                "residual": {"choices": [True, False], "when": {"dropout": 0.1}},
            },
            "the conditions of dropout, residual wait for each other",
        ),
    ],
)
def test_bad_spaces(space, words):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        Space(space)
    assert words in str(caught.value)


def test_width_and_depth_make_the_layers():
    space = Space({"width": [8, 16], "depth": (0, 2)})
    seen = set()
    for values in drawn(space):
        hidden = space.hasher_parameters(values)["hidden"]
        assert len(hidden) == values["depth"]
        assert set(hidden) <= {8, 16}
        assert ("width" in values) == (values["depth"] > 0)
        seen.add(hidden)
    assert {(), (8,), (16, 16)} <= seen


def test_width_alone_is_one_layer():
    assert Space({"width": 8}).hasher_parameters({"width": 8})["hidden"] == (8,)


def test_hidden_may_be_chosen_whole():
    space = Space({"hidden": [[8, 4], [], None]})
    assert {str(space.hasher_parameters(values)["hidden"]) for values in drawn(space)} == {"(8, 4)", "()", "None"}


def test_a_tuple_of_widths_is_no_range():
    space = Space({"hidden": (16, 8), "dropout": [0.1, 0.2]})
    assert [space.hasher_parameters(values)["hidden"] for values in drawn(space, [0])] == [(16, 8)]


def test_options_belong_to_their_objective():
    space = Space({"objective": ["csq", "dtsh", "neighbors"], "temperature": (0.01, 0.1, "log"), "alpha": [1.0, 5.0]})
    assert space.supervised
    for values in drawn(space):
        options = space.hasher_parameters(values).get("objective_options", {})
        assert sorted(options) == {"csq": [], "dtsh": ["alpha"], "neighbors": ["tau"]}[values["objective"]]


def test_own_conditions_narrow_those_that_follow_from_the_names():
    space = Space(
        {
            "objective": ["csq", "dtsh", "neighbors"],
            "quantization": {"low": 0.0, "high": 1.0, "when": {"objective": ["dtsh", "neighbors"]}},
            "dropout": {"choices": [0.1, 0.2], "when": {"quantization": [0.5]}},
        }
    )
    for values in drawn(space):
        assert ("quantization" in values) == (values["objective"] == "dtsh")
        assert "dropout" not in values  # what it waits for is never exactly so


def test_defaults_are_left_where_something_was_tuned():
    space = Space({"width": [8, 16], "epochs": 3, "n_bits": [16, 32], "objective": ["csq", "dtsh"]})
    values = next(drawn(space))
    assert space.without(values) == {k: v for k, v in values.items() if k != "width"}


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("many_bits", [False, True])
@pytest.mark.parametrize("distance", ["cosine", "l2"])
def test_default_spaces_are_sound(labels, many_bits, distance):
    space = Space(default_space(labels, many_bits=many_bits, distance=distance))
    assert space.supervised == labels
    assert ("n_bits" in space.tuned) == many_bits
    assert ("tau" in space.tuned) == (not labels and distance == "cosine")
    for values in drawn(space):
        resolved(DeepHash(**space.hasher_parameters(values)))
    if labels:
        assert set(space.parameters["objective"].extremes()) == {n for n, r in RECIPES.items() if r.supervised}
        several = Space(default_space(True, multi_label=True)).parameters["objective"].extremes()
        assert set(several) == {n for n, r in RECIPES.items() if r.supervised and r.multi_label}
    assert all(name in repr(space) for name in space.tuned)


NAMES = st.sampled_from(["learning_rate", "dropout", "input_noise", "weight_decay", "validation_fraction"])
NUMBERS = st.floats(1e-6, 0.9)
RANGES = st.tuples(NUMBERS, NUMBERS).map(sorted).map(tuple)
DESCRIPTIONS = st.one_of(RANGES, RANGES.map(lambda r: (*r, "log")), st.lists(NUMBERS, min_size=1, unique=True), NUMBERS)


@given(given_space=st.dictionaries(NAMES, DESCRIPTIONS), seed=st.integers(0, 2**32 - 1))
def test_any_space_gives_values_inside_it_and_survives_json(given_space, seed):
    space = Space(given_space)
    again = Space(json.loads(json.dumps(space.as_dict())))
    assert again.as_dict() == space.as_dict()
    (values,) = drawn(space, [seed])
    assert list(drawn(again, [seed])) == [values]
    for name, description in given_space.items():
        if isinstance(description, tuple):
            assert description[0] <= values[name] <= description[1]
        else:
            assert values[name] in (description if isinstance(description, list) else [description])


@pytest.mark.parametrize(
    ("text", "suffix"),
    [
        ('{"width": [8, 16], "tau": {"low": 0.01, "high": 0.1}}', ".json"),
        ("width: [8, 16]\ntau: {low: 1e-2, high: 0.1}", ".yaml"),
    ],
)
def test_spaces_in_files(text, suffix):
    assert Space(read_space(text, suffix)).tuned == ["tau", "width"]


@pytest.mark.parametrize(
    ("text", "suffix", "words"),
    [
        ("{", ".json", "space must be valid JSON"),
        ("a: [", ".yaml", "space must be valid YAML"),
        ("[1]", ".json", "space must be a mapping"),
        ("", ".yaml", "space must be a mapping"),
    ],
)
def test_bad_files(text, suffix, words):
    with pytest.raises(ValueError, match=words):
        read_space(text, suffix)


@given(st.text(string.printable, max_size=30))
def test_any_text_is_a_space_or_a_clear_error(text):
    for suffix in (".json", ".yaml"):
        try:
            Space(read_space(text, suffix))
        except ValueError as error:
            assert "space" in str(error)  # noqa: PT017
