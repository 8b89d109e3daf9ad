import pytest

from simskip.collection.labels import read_labels


def table(tmp_path, content):
    path = tmp_path / "labels.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_columns(tmp_path, delimiter):
    lines = ["\ufeffPath,Label,year,height,note", 'a/b.jpg,sea,2001,1.5,"x y"', "c.jpg,,,,nan", "", "d.jpg,hill,007,,"]
    path = table(tmp_path, "\n".join(line.replace(",", delimiter) for line in lines))
    assert read_labels(path) == {
        "a/b.jpg": ("sea", {"year": 2001, "height": 1.5, "note": "x y"}),
        "c.jpg": (None, {"note": "nan"}),
        "d.jpg": ("hill", {"year": 7}),
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n", "line 1: expected a column named key"),
        ("", "line 1: expected a column named key"),
        ("key,label\nx\n", "line 2: expected 2 cells, got 1"),
        ("key,label\nx,1\nx,2\n", "line 3: 'x' stands here a second time"),
        ("key,label\n,2\n", "line 2: the column 'key' is empty"),
        (b"key,label\ncaf\xe9,2\n", "CSV file in UTF-8"),
        ('key,label\n"x,2\n', "CSV file"),
    ],
)
def test_mistakes_are_told_with_their_line(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        read_labels(table(tmp_path, content))


def test_no_file(tmp_path):
    with pytest.raises(ValueError, match="there is nothing at"):
        read_labels(tmp_path / "none.csv")
