"""YAML with places: what is read, and what is said of a file that cannot be."""

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simskip.pipeline.document import ConfigurationError, Place, Problem, read_document


def read(tmp_path, text):
    path = tmp_path / "a.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_document(path)


def refused(tmp_path, text):
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, text)
    return caught.value


def test_values_are_those_of_yaml_1_2(tmp_path):
    document = read(tmp_path, "a: {b: 1e-3, c: no, d: 010, e: , f: -.inf, g: .nan, h: ~, i: TRUE}\nj: [1, 2.5, '3']\n")
    a = document.value["a"]
    assert math.isnan(a.pop("g"))
    assert a == {"b": 0.001, "c": "no", "d": 10, "e": None, "f": -math.inf, "h": None, "i": True}
    assert document.value["j"] == [1, 2.5, "3"]
    assert not document.problems


def test_places(tmp_path):
    document = read(tmp_path, "data:\n  images: photos\n  list: [a,\n    bcd]\n")
    assert document.place(("data", "images")) == Place(2, 11, 6)
    assert document.place(("data", "images"), key=True) == Place(2, 3, 6)
    assert document.place(("data", "list", 1)) == Place(4, 5, 3)
    # Unknown locations: the value that stands there instead of a section, or the name of the section.
    assert document.place(("data", "images", "name")) == Place(2, 11, 6)
    assert document.place(("data", "missing")) == Place(1, 1, 4)
    assert document.place(("nothing",)) is None


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("a: 1\nb:\n\tc: 2\n", (3, 1), "a tab: YAML is indented with spaces"),
        ("a: b: c\n", (1, 5), "a second ':'"),
        ("a: *b\n", (1, 4), "anchors and aliases"),
        ("a: &b [1]\nc: *b\n", (1, 4), "anchors and aliases"),
        ("a: @x\n", (1, 4), "'@'"),
        ("a: [1, 2\n", (2, 1), "not valid YAML"),
        ("a: 1\n---\nb: 2\n", (2, 1), "another document"),
        ("- 1\n", (1, 1), "must be a mapping"),
        ("a: \x01\n", (1, 4), "not allowed"),
        (b"a: 1\nb: \xff\n", (2, 1), "UTF-8"),
    ],
)
def test_what_is_no_yaml_is_said_with_its_place(tmp_path, text, place, words):
    error = refused(tmp_path, text)
    problem = error.problems[0]
    assert (problem.place.line, problem.place.column) == place
    assert words in problem.message
    assert f"line {place[0]}, column {place[1]}" in str(error)


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "is empty"), ("# nothing\n", "is empty"), ("[" * 1500, "a.yaml"), ("#" * (1 << 21), "at most 1 MiB")],
)
def test_what_has_no_place(tmp_path, text, words):
    assert words in str(refused(tmp_path, text))


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(ConfigurationError, match="got a folder"):
        read_document(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_document(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("text", "words", "line"),
    [
        ("a: 1\nb: 2\na: 3\n", "'a' appears twice (first in line 1)", 3),
        ("x:\n  a: 1\n  a: 3\n", "'a' appears twice (first in line 2)", 3),
        ("a: 1\n? [b]\n: 2\n", "a name must be text", 2),
        ("a: !!python/object:os.system x\n", "is not supported", 1),
    ],
)
def test_what_can_be_read_nevertheless_is_a_problem_to_report_with_others(tmp_path, text, words, line):
    document = read(tmp_path, text)
    (problem,) = document.problems
    assert words in problem.message
    assert problem.place.line == line


def test_the_message_shows_the_line_and_marks_the_text():
    error = ConfigurationError("a.yaml", [Problem("b", Place(2, 4, 2)), Problem("a", Place(1, 1, 3))], "abc\n\tx yz\n")
    assert str(error) == (
        "a.yaml: 2 problems\n"
        "  line 1, column 1: a\n"
        "    1 | abc\n"
        "      | ^^^\n"
        "  line 2, column 4: b\n"
        "    2 | \tx yz\n"
        "      | \t  ^^"
    )


@given(st.text(alphabet="ab:-[]{}#&*!|>'\"%@`,? \t\n\\0.1~", max_size=40))
def test_any_text_is_read_or_refused(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("any") / "a.yaml"
    path.write_text(text)
    with contextlib.suppress(ConfigurationError):  # nothing else, and an end
        assert isinstance(read_document(path).value, dict)
