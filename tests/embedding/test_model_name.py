"""Options in a name, and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simskip.embedding.model_name import joined, split

NUMBERS = st.integers(-1000, 1000) | st.floats(-1e6, 1e6)


@given(options=st.dictionaries(st.from_regex(r"[a-z_]+", fullmatch=True), NUMBERS | st.lists(NUMBERS, min_size=2)))
def test_what_was_joined_is_split_again(options):
    assert split(joined("onnx:/a/b?c.onnx", options)) == ("onnx:/a/b?c.onnx", options)


@pytest.mark.parametrize("value", ["pool", "a&b=c?d/e%20", "ä ö", "x/1:0", "https://x.y?z=1"])
def test_text_survives(value):
    assert split(joined("name", {"output": value, "pooling": None})) == ("name", {"output": value})


@pytest.mark.parametrize("name", ["a", "a?", "a?b", "a?b=c/d.onnx", "a?B=1", "a?b=1&", "?"])
def test_other_question_marks_are_part_of_the_name(name):
    assert split(name) == (name, {})
    assert joined(name, {"size": None}) == name
