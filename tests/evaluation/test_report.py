import csv
import io
import json
import math
import pickle
import re
import sys
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pytest

import simskip
from simskip.evaluation import evaluate, plots
from simskip.evaluation.provenance import Origin
from simskip.evaluation.rows import Row

VOID = {"meta", "link", "img", "br", "input", "hr"}


class Page(HTMLParser):
    """Tags, their attributes, and whether they nest as they must."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.texts, self.errors = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.errors.append(tag)

    def handle_data(self, data):
        self.texts.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def html(report):
    return report.to_html()


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_the_page_is_well_formed(page):
    assert page.errors == []
    assert page.open == []


def test_the_page_needs_nothing_from_outside(html, page):
    assert not re.search(r"https?:|[\"'(=]\s*//|@import|<script|<iframe|<object|<base", html)
    for _, attrs in page.tags:
        for name in ("src", "href", "xlink:href", "data", "poster", "action", "srcset"):
            assert attrs.get(name, "#").startswith(("#", "data:"))
    for target in re.findall(r"url\(([^)]*)\)", html):
        assert target.startswith("#")


def test_the_page_is_readable_by_machines_and_people(html, page):
    assert page.all("html")[0]["lang"] == "en"
    assert "width=device-width" in html
    assert "prefers-color-scheme: dark" in html
    assert all(attrs.get("alt") for attrs in page.all("img"))
    assert len(page.all("img")) == 6 * (1 + 4 * 10)
    assert all(attrs.get("aria-label") for attrs in page.all("svg"))
    assert len(page.all("svg")) == 3
    assert all(attrs.get("scope") for attrs in page.all("th"))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1


def test_identifiers_on_the_page_are_unique_and_found(html, page):
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    pointed = set(re.findall(r'(?:href="|url\()#([^")]+)', html))
    pointed |= {attrs["aria-labelledby"] for _, attrs in page.tags if "aria-labelledby" in attrs}
    assert pointed <= set(ids)
    assert pointed


def test_the_page_says_what_the_report_says(report, page):
    text = " ".join(page.texts)
    assert report.verdict.partition(":")[2] in text
    for column in report.columns:
        assert column.title in page.texts
        assert column.explanation in text
    for warning in report.warnings:
        assert warning in text
    for row in report.rows:
        assert row.name in page.texts
    assert report.provenance["database"]["sha256"] in text
    recall = report.row("codes").get("recall@10")
    assert f"{recall:.3f}" in text


def test_text_of_users_is_escaped(clusters, hasher):
    X, Q, _, _ = clusters
    name = "<script>alert('x')</script> & \"q\" $\\alpha$ _"
    report = evaluate(
        {name: hasher, "_hidden": (hasher, {"rerank": 2})},
        database=X,
        queries=Q,
        pictures=lambda i: np.zeros((2, 2), np.uint8),
        latency_queries=2,
        repetitions=1,
    )
    for text in (report.to_html(), report._repr_html_()):
        page = Page(text)
        assert page.errors == []
        assert not page.all("script")
        assert name in page.texts
    assert name in repr(report)


def test_the_notebook_form_styles_nothing_but_itself(report):
    fragment = report._repr_html_()
    style = fragment.split("<style>")[1].split("</style>")[0]
    style = re.sub(r"@media[^{]*\{", "", style)
    selectors = [part.strip() for rule in re.findall(r"([^{}]+)\{", style) for part in rule.split(",")]
    assert selectors
    assert all(".simskip-report" in selector for selector in selectors)
    page = Page(fragment)
    assert page.errors == []
    assert len(page.all("table")) == 2


def test_repr_is_a_table(report):
    lines = repr(report).splitlines()
    assert lines[0] == report.verdict
    names = [row.name for row in report.rows]
    assert [line.split("  ")[0] for line in lines[3 : 3 + len(names)]] == names
    assert f"Recall@{report.k}" in lines[2]


def test_table_is_a_data_frame_of_plain_numbers(report):
    table = report.table
    assert list(table.index) == [row.name for row in report.rows]
    assert table.loc["codes", "recall@10"] == report.row("codes").get("recall@10")
    assert table.loc["codes", "recall@10 low"] < table.loc["codes", "recall@10 high"]
    assert table["recall@10"].dtype == np.float64
    assert math.isnan(table.loc["control", "latency_p50_ms"])


def test_csv_is_the_table(report, tmp_path):
    path = report.save(tmp_path / "r.csv")
    lines = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    assert [line["name"] for line in lines] == [row.name for row in report.rows]
    assert float(lines[1]["recall@10"]) == report.row("codes").get("recall@10")
    assert lines[-1]["latency_p50_ms"] == ""


def test_json_holds_everything(report, tmp_path):
    content = json.loads(report.save(tmp_path / "r.json").read_text(encoding="utf-8"))
    assert content["format"] == "simskip-report"
    assert content["format_version"] == 1
    assert content["verdict"]["sentence"] == report.verdict
    assert content["rows"][1]["values"]["recall@10"] == report.row("codes").get("recall@10")
    assert content["rows"][1]["values"]["build_seconds"] > 0
    assert "map" not in content["rows"][3]["values"]
    assert len(content["rows"][1]["latencies_ms"]) == 5
    assert content["provenance"]["database"]["sha256"] == report.row("codes").origin.database


def test_saving(report, html, tmp_path):
    assert report.save(str(tmp_path / "R.HTML")).read_text(encoding="utf-8") == html
    assert [path.name for path in tmp_path.iterdir()] == ["R.HTML"]  # no temporary file stays
    for name in ("r.pdf", "r"):
        with pytest.raises(ValueError, match=r"path must end in \.html, \.json or \.csv"):
            report.save(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        report.save(tmp_path / "nowhere" / "r.json")


def test_rows_are_found_by_name(report):
    assert report.row("control") is report.rows[-1]
    with pytest.raises(ValueError, match=r"name must be one of 'exact', 'codes'.*got 'nobody'"):
        report.row("nobody")


def test_a_report_pickles(report):
    again = pickle.loads(pickle.dumps(report))
    assert repr(again) == repr(report)


def test_drawing_leaves_pyplot_and_the_settings_alone(report):
    # The backend is left out: to ask for it is what chooses one.
    settings = [key for key in matplotlib.rcParams if key != "backend"]
    before = {key: matplotlib.rcParams[key] for key in settings}
    pyplot = "matplotlib.pyplot" in sys.modules
    figure = report.plot()
    report.to_html()
    assert len(figure.axes) == 3
    assert {key: matplotlib.rcParams[key] for key in settings} == before
    assert ("matplotlib.pyplot" in sys.modules) == pyplot


@pytest.mark.parametrize("kind", plots.KINDS)
def test_drawings_show_every_row_but_the_control(report, kind):
    figure = report.plot(kind)
    assert isinstance(figure, matplotlib.figure.Figure)
    (axes,) = figure.axes
    labels = axes.get_legend_handles_labels()[1]
    assert labels == ["exact", "codes", "asymmetric", "rerank x4"]
    assert axes.get_xlabel()
    assert axes.get_ylabel()
    assert axes.get_xscale() == "log"


def test_points_are_where_the_numbers_are(report):
    (axes,) = report.plot("recall-bytes").axes
    points = {container.get_label(): container.lines[0].get_xydata()[0].tolist() for container in axes.containers}
    assert points["codes"] == [3.0, report.row("codes").get("recall@10")]
    assert points["exact"] == [96.0, 1.0]


def test_drawings_know_no_other_kind(report):
    with pytest.raises(ValueError, match="kind must be one of 'recall-time'"):
        report.plot("pie")


def test_drawings_survive_rows_with_little_in_them():
    origin = Origin("Engine", "hamming", n=10, dim=2, k=3, database="a", queries="b")
    rows = [Row("_a", "codes", "codes", origin), Row("b$x^$", "codes", "index", origin, {"recall@3": 0.5})]
    for kind in plots.KINDS:
        text = plots.svg(plots.draw(rows, 3, kind), "x", 'a "quoted" <label>')
        root = ElementTree.fromstring(text)
        assert root.get("aria-label") == 'a "quoted" <label>'


def test_colours_are_one_per_searcher(report):
    shades = [plots.colour(report.rows, row) for row in report.rows]
    assert shades[0] == shades[-1]
    assert len(set(shades)) == 4


def test_missing_packages_name_the_extra(report, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r'pip install "simskip\[report\]"'):
        _ = report.table
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "simskip\[report\]"'):
        report.plot()


def test_importing_the_room_imports_nothing_heavy():
    import subprocess

    heavy = ("pandas", "matplotlib", "PIL", "torch")
    code = f"import sys, simskip.evaluation; sys.exit(sum(name in sys.modules for name in {heavy!r}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_metrics_are_reachable():
    assert simskip.evaluation.metrics.code_health is simskip.hashing.code_health
