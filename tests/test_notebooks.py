"""The notebooks run from top to bottom in a fresh kernel, and the outputs that they are kept with are their own."""

import html
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parent.parent
NAMES = ("01_feature_extraction", "02_train_and_search")
PATHS = {name: ROOT / "notebooks" / f"{name}.ipynb" for name in NAMES}

# The bar that simskip shows while it embeds belongs on stderr; nothing else does.
BAR = re.compile(r"\s*(embedding: +100%\|[^|]*\| (\d+)/\2 \[[^\]]*\]\s*)?")


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(cell):
    return "".join(output.text for output in cell.outputs if output.output_type == "stream" and output.name == "stdout")


def shown(cell):
    """Everything that a reader can read in a cell's outputs, tags removed."""
    texts = [printed(cell)]
    for output in cell.outputs:
        data = output.get("data", {})
        if "text/html" in data:
            texts.append(html.unescape(re.sub(r"<style.*?</style>|<[^>]+>", " ", data["text/html"], flags=re.S)))
        else:
            texts.append(data.get("text/plain", ""))
    return "\n".join(texts)


def text_of(notebook):
    return "\n".join(shown(cell) for cell in code_cells(notebook))


def assert_sound(notebook):
    """What holds for a notebook as kept and as just executed."""
    cells = code_cells(notebook)
    nbformat.validate(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error", cell.source
            if output.output_type == "stream" and output.name == "stderr":
                assert BAR.fullmatch(output.text), output.text
            # A widget's state is not in the file: readers would see nothing, or a bar at 0 %.
            assert "application/vnd.jupyter.widget-view+json" not in output.get("data", {}), cell.source
    assert "Traceback" not in text_of(notebook)


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """Both notebooks, run one after the other in one folder, as a reader would."""
    folder = tmp_path_factory.mktemp("notebooks")
    notebooks = {}
    for name, path in PATHS.items():
        output = folder / path.name
        command = [sys.executable, ROOT / "scripts" / "execute_notebook.py", path, "--output", output]
        result = subprocess.run([*command, "--folder", folder], capture_output=True, text=True, timeout=600)
        assert result.returncode == 0, result.stderr
        notebooks[name] = nbformat.read(output, as_version=4)
    return folder, notebooks


@pytest.mark.parametrize("name", NAMES)
def test_runs_without_errors_and_warnings(executed, name):
    assert_sound(executed[1][name])


def outline(cell):
    """What a cell shows, without its numbers: they move from machine to machine."""
    text = re.sub(r"\b[0-9a-f]{16}\b|[\d.,]*\d", "#", shown(cell))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    # Training may stop an epoch earlier or later.
    return [line for line, before in zip(lines, ["", *lines], strict=False) if line != before]


@pytest.mark.parametrize("name", NAMES)
def test_kept_outputs_are_those_of_the_code(executed, name):
    kept, fresh = (code_cells(nbformat.read(PATHS[name], as_version=4)), code_cells(executed[1][name]))
    for before, now in zip(kept, fresh, strict=True):
        if "verdict" not in now.source:  # its words depend on the machine's speed
            assert outline(before) == outline(now), now.source
        pictures = [["image/png" in output.get("data", {}) for output in cell.outputs] for cell in (before, now)]
        assert pictures[0] == pictures[1], now.source


def test_feature_extraction_shows_what_it_promises(executed):
    folder, notebooks = executed
    text = text_of(notebooks["01_feature_extraction"])
    assert re.search(r"\(6000, 1280\) float32: \d+ images/s", text)
    nearest = re.search(r"nearest picture has the query's label: +([\d.]+)%", text)
    assert float(nearest[1]) > 70
    vectors, pixels = map(float, re.search(r"mirrored and moved +([\d.]+)% +([\d.]+)%", text).groups())
    assert vectors > 60 > pixels
    assert "ImageFolder(14 files" in text
    assert "EmbeddedFiles(12 x 1280, 2 skipped)" in text
    assert re.search(r"cut short\.jpg: .*truncated", text)
    assert re.search(r"no image\.jpg: cannot identify", text)
    assert (folder / "out" / "vectors.npy").stat().st_size > 6000 * 1280 * 4


def test_train_and_search_shows_what_it_promises(executed):
    folder, notebooks = executed
    cells = code_cells(notebooks["02_train_and_search"])
    (table,) = (shown(cell) for cell in cells if cell.source.endswith("report.table[columns].round(3)"))
    table = re.sub(r"\s+", " ", table)

    def recall(name):
        found = re.search(rf" {re.escape(name)} ([01]\.\d+) ([01]\.\d+) ([01]\.\d+) ", table)
        assert found, (name, table)
        return tuple(map(float, found.groups()))

    learned = recall("learned")
    for linear in ("random", "PCA", "ITQ"):
        assert learned[1] > recall(linear)[2], f"the intervals of learned and {linear} overlap"
    assert recall("learned, asymmetric")[0] > learned[0]
    assert recall("learned + rerank")[0] > 0.95
    assert recall("control")[2] < 0.02
    text = text_of(notebooks["02_train_and_search"])
    assert re.search(r"healthy: 6,000 items have [\d,]+ different 64-bit codes", text)
    assert "10 of 10 classes" in text
    assert re.search(r"(faster|stay with float)", text)
    for name in ("report.html", "hasher.safetensors", "index.simskip"):
        assert (folder / "out" / name).stat().st_size > 0


@pytest.mark.parametrize("name", NAMES)
def test_pictures_are_kept(name):
    kept = code_cells(nbformat.read(PATHS[name], as_version=4))
    pictures = [output for cell in kept for output in cell.outputs if "image/png" in output.get("data", {})]
    assert len(pictures) >= 3
    assert PATHS[name].stat().st_size < 2_000_000


@pytest.mark.parametrize("name", NAMES)
def test_kept_file_is_sound(name):
    assert_sound(nbformat.read(PATHS[name], as_version=4))


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_the_machine_is_kept(name):
    notebook = nbformat.read(PATHS[name], as_version=4)
    assert notebook.metadata.kernelspec.name == "python3"
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert all(not cell.metadata for cell in notebook.cells)
    everything = "\n".join([text_of(notebook), *(cell.source for cell in notebook.cells)])
    assert not re.findall(r"(?<![\w.])/(?:home|root|tmp|work|usr|opt|var|Users|etc|mnt)\b[^\s]*", everything)
    assert not re.findall(r"[A-Z]:\\", everything)
    assert str(Path.home()) not in everything
    assert platform.node() not in re.findall(r"[\w-]+", everything)
    assert os.fspath(ROOT) not in everything
