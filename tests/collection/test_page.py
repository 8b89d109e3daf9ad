"""The page of hits: whole, escaped, with the pictures inside."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from simskip.collection import Hit
from simskip.collection.page import hits_page

VOID = {"meta", "link", "img", "br"}


class Checker(HTMLParser):
    """Every tag that is opened is closed; notes what a browser would fetch and what is shown."""

    def __init__(self):
        super().__init__()
        self.open, self.sources, self.words = [], [], []

    def handle_starttag(self, tag, attributes):
        self.sources += [value for name, value in attributes if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def checked(page):
    checker = Checker()
    checker.feed(page)
    assert not checker.open
    assert all(source.startswith("data:") for source in checker.sources)
    return checker


def hit(key, label="a", distance=0.5, **attributes):
    return Hit(key, label, distance, 1, attributes)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(np.full((300, 200, 3), 90, np.uint8)).save(path)
    return path


def test_pictures_are_inside(photo):
    page = checked(hits_page([hit("a.jpg"), hit("b.jpg")], query="q", query_picture=photo, picture_of=lambda _: photo))
    assert sum(source.startswith("data:image/jpeg;base64,") for source in page.sources) == 3


def test_words_are_shown_as_written():
    evil = "<script>alert('&')</script>\""
    page = hits_page([hit(evil, evil, **{evil: evil})], query=evil, setting=evil)
    assert "<script" not in page
    words = "".join(checked(page).words)
    assert words.count(evil) == 7  # title, heading, setting, key, label, attribute and its value


def test_a_picture_that_is_gone_is_left_out(photo):
    gone = photo.with_name("gone.jpg")
    damaged = photo.with_name("damaged.jpg")
    damaged.write_bytes(b"no picture")
    paths = {"a": gone, "b": damaged, "c": photo, "d": None}
    page = hits_page([hit(key) for key in paths], query="q", picture_of=lambda hit: paths[hit.key])
    assert len(re.findall("<img", page)) == 1
    assert all(f'<span class="key">{key}</span>' in page for key in paths)


def test_no_hits():
    assert "Nothing was found" in hits_page([], query="q")


def test_a_hit_without_label():
    assert 'class="label"' not in hits_page([hit("a", None)], query="q")


def test_a_hit_is_shown_with_its_file(photo):
    hits = [Hit("a", None, 0.5, 1, {}, photo), Hit("b", None, 0.5, 1, {}, photo.with_name("gone.jpg"))]
    assert hits_page(hits, query="q").count("<img") == 1
