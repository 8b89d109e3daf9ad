"""An application's file: what it may say, and what is said of mistakes in it."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from simskip.pipeline import ConfigurationError, read_configuration

COMPLETE = """\
collection: out/photos.db
data:
  images: photos
  labels: folder
embedder:
  name: efficientnet-lite0
  options: {framing: centre}
classifier:
hasher:
  name: neighbors
  bits: 32
  hold_out: 50
  retrain: 0.3
  parameters: {epochs: 2, learning_rate: 1e-3}
index: {rerank: 4, scoring: asymmetric}
evaluation: {k: 5, queries: 20, metrics: [recall, memory]}
exports:
  parquet: out/photos.parquet
  report: [out/report.html, out/report.json]
  hasher: out/hasher.safetensors
  codes: out/codes.npy
  knn: {k: 7, path: out/neighbors.npz}
threads: 1
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "words.txt").write_text("paris\nrome\n")
    (tmp_path / "labels.csv").write_text("key,label\na,b\n")
    return tmp_path


def read(folder, text):
    path = folder / "application.yaml"
    path.write_text(text)
    return read_configuration(path)


def problems(folder, text):
    """(line, message) of each."""
    with pytest.raises(ConfigurationError) as caught:
        read(folder, text)
    return [(p.place.line if p.place else None, p.message) for p in caught.value.problems]


def test_a_complete_file(folder):
    configuration = read(folder, COMPLETE)
    assert configuration.collection == folder / "out" / "photos.db"
    assert configuration.data.images == folder / "photos"
    assert configuration.data.label_from == "folder"
    assert configuration.embedder.options == {"framing": "centre"}
    assert configuration.classifier is not None
    assert configuration.hasher.retrain == 0.3
    assert configuration.hasher.parameters["learning_rate"] == 0.001
    assert configuration.exports.knn.k == 7
    assert [path.name for path in configuration.exports.report] == ["report.html", "report.json"]
    assert configuration.folder == folder


def test_what_is_left_out(folder):
    configuration = read(folder, "data: {images: photos}\n")
    assert configuration.collection == folder / "application.db"
    assert configuration.embedder.name == "efficientnet-lite0"
    assert (configuration.hasher.name, configuration.hasher.bits, configuration.hasher.retrain) == (
        "neighbors",
        64,
        0.2,
    )
    assert configuration.index.rerank == 10
    assert configuration.evaluation is None
    assert configuration.classifier is None


def test_short_forms(folder):
    text = "data: {images: photos, labels: none}\nhasher: pca\nembedder: efficientnet-lite0\nevaluation:\nexports:\n"
    configuration = read(folder, text)
    assert configuration.hasher.name == "pca"
    assert configuration.evaluation.k == 25
    assert configuration.data.label_from is None
    configuration = read(
        folder, "data: {images: photos, labels: labels.csv}\nhasher: false\nexports: {knn: 5, report: }\n"
    )
    assert configuration.hasher is None
    assert configuration.exports.knn.k == 5
    assert configuration.data.label_from == str(folder / "labels.csv")


def test_relative_paths_begin_at_the_file(folder, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert read(folder, COMPLETE).data.images == folder / "photos"


def test_all_mistakes_are_said_at_once_in_the_order_of_their_lines(folder):
    text = (
        COMPLETE.replace("hasher:\n  name: neighbors", "hahser: 3\nhasher:\n  name: neighbours")
        .replace("bits: 32", "bits: '32'")
        .replace("images: photos", "images: photoz")
        .replace("k: 5", "k: 0")
        .replace("out/photos.parquet", "out/photos.csv")
    )
    found = problems(folder, text)
    assert [line for line, _ in found] == sorted(line for line, _ in found)
    expected = {
        3: "images must be a folder, got 'photoz', which does not exist",
        9: "'hahser' is not known here; did you mean 'hasher'?",
        11: "there is no hasher 'neighbours'; did you mean 'neighbors'?",
        12: "bits must be an integer, got '32'",
        17: "k must be at least 1, got 0",
        19: "parquet must end in .parquet",
    }
    assert {line for line, _ in found} == set(expected)
    for line, message in found:
        assert expected[line] in message


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("hasher: {bits: 8}\n", None, "the file needs 'data'"),
        ("data:\n", 1, "data must be a mapping"),
        ("data: {}\n", 1, "one of images, texts, words, got none"),
        ("data: {images: photos, words: words.txt}\n", 1, "got images, words"),
        ("data: {images: words.txt}\n", 1, "which is no folder"),
        ("data: {images: ''}\n", 1, "images must be a path"),
        ("data: {images: photos, limit: 3}\n", 1, "not with a folder"),
        ("data: {words: words.txt, labels: folder}\nembedder: glove\n", 1, "needs a folder"),
        ("data: {words: vocabularies}\nembedder: glove\n", 1, "words must be 'vocabulary' or a file"),
        ("data: {images: photos}\nembedder: efficientnet-lite\n", 2, "did you mean 'efficientnet-lite"),
        ("data: {images: photos}\nembedder: words:no.txt\n", 2, "there is no model 'no.txt'"),
        ("data: {images: photos}\nembedder: glove\n", 2, "glove embeds text, but data has images"),
        ("data: {words: words.txt}\nembedder: efficientnet-lite0\n", 2, "embeds images, but data has words"),
        ("data: {images: photos}\nhasher:\n  parameters: {epoch: 3}\n", 3, "did you mean 'epochs'?"),
        ("data: {images: photos}\nhasher:\n  parameters: {dropout: 3}\n", 3, "dropout must lie in [0, 1)"),
        ("data: {images: photos}\nhasher:\n  parameters: {n_bits: 3}\n", 3, "is set by 'bits'"),
        ("data: {images: photos}\nhasher:\n  retrain: 2\n", 3, "share of changed items"),
        ("data: {images: photos, labels: none}\nhasher: csq\n", 2, "learns from labels"),
        ("data: {images: photos, labels: none}\nclassifier: true\n", 2, "learns from labels"),
        ("data: {images: photos}\nexports:\n  report: a.html\n", 3, "needs the section 'evaluation'"),
        (
            "data: {images: photos}\nexports: {report: [a.html, a.pdf]}\nevaluation: true\n",
            2,
            "report must end in .html",
        ),
        ("data: {images: photos}\nhasher: false\nevaluation: true\n", 3, "evaluation needs a hasher"),
        ("data: {images: photos}\nhasher: {hold_out: 0}\nevaluation: true\n", 3, "hold_out is 0"),
        ("data: {images: photos}\nevaluation: {metrics: [recal]}\n", 2, "metrics must be one of"),
        ("data: {images: photos}\nindex: {scoring: fast}\n", 2, "scoring must be one of"),
        ("data: {images: photos}\nthreads: true\n", 2, "threads must be an integer"),
        ("data: {images: photos}\ndata: {images: photos}\n", 2, "appears twice"),
        ("data: {images: photos}\ncollection: photos\n", 2, "which is a folder"),
    ],
)
def test_a_mistake_is_said_with_its_line(folder, text, line, words):
    found = problems(folder, text)
    assert len(found) == 1, found
    assert found[0][0] == line
    assert words in found[0][1]


SECTIONS = {
    "data": ["images", "words", "texts", "labels", "limit"],
    "collection": [],
    "embedder": ["name", "options"],
    "classifier": ["hidden", "epochs", "validation_fraction", "random_state"],
    "hasher": ["name", "bits", "hold_out", "retrain", "parameters"],
    "index": ["rerank", "scoring"],
    "evaluation": ["k", "queries", "metrics", "baselines", "min_recall"],
    "exports": ["report", "knn", "parquet", "codes", "hasher"],
    "threads": [],
    "path": [],
}
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 10**12),
    st.floats(),
    st.sampled_from(["photos", "words.txt", "vocabulary", "csq", "pca", "glove", "onnx:", "a.html", "", "\0", "~x"]),
)


ANYTHING = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["k", "path", "epochs"]), inner),
    max_leaves=4,
)
MAPPINGS = st.fixed_dictionaries(
    {},
    optional={
        name: st.fixed_dictionaries({}, optional=dict.fromkeys(keys, ANYTHING)) | ANYTHING
        for name, keys in SECTIONS.items()
    },
)


@given(MAPPINGS, st.booleans())
def test_any_mapping_is_read_or_refused_with_places(tmp_path_factory, content, with_data):
    folder = tmp_path_factory.mktemp("any")
    (folder / "photos").mkdir()
    (folder / "words.txt").write_text("a\n")
    path = folder / "application.yaml"
    path.write_text(yaml.safe_dump({**content, "data": {"images": "photos"}} if with_data else content))
    try:
        configuration = read_configuration(path)
    except ConfigurationError as error:
        messages = [problem.message for problem in error.problems]
        placed = [problem for problem in error.problems if problem.place is not None]
        assert all(messages)
        assert len(placed) + sum("the file needs" in m or m == "is empty" for m in messages) >= len(messages) - 1
    else:
        assert configuration.data.kind in ("images", "texts", "words")
