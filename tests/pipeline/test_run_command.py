"""``simskip run``: words, streams, exit statuses."""

import json

import pytest
from typer.testing import CliRunner

from simskip.cli import app

runner = CliRunner()


def run(*words):
    result = runner.invoke(app, ["run", *map(str, words)])
    assert "Traceback" not in result.output
    return result


def edit(folder, old, new):
    path = folder / "application.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_stages_metrics_and_verdict_are_printed(folder):
    edit(folder, "k: 5", "k: 3, metrics: [recall, precision]")
    result = run(folder / "application.yaml")
    assert result.exit_code == 0, result.output
    words = " ".join(result.stdout.split())
    for expected in (
        "sync skipped nothing has changed",
        "evaluate ran",
        "Recall@3 Precision@3",
        "control",
        "stay with",
    ):
        assert expected in words
    assert "Bytes/item" not in words
    assert "> evaluate: evaluation.k: 5 -> 3" in result.stderr
    again = run(folder / "application.yaml", "--quiet")
    assert again.stderr == ""
    assert "Recall@3" in again.stdout  # of the last time


def test_json(folder):
    content = json.loads(run(folder / "application.yaml", "--json", "-q", "--force", "evaluate").stdout)
    stages = {stage["stage"]: stage for stage in content["stages"]}
    assert stages["evaluate"]["reason"] == "forced"
    assert stages["train"]["status"] == "skipped"
    assert stages["evaluate"]["rows"][0]["recall@5"] == 1.0


def test_dry_run(new_folder):
    result = run(new_folder / "application.yaml", "--dry-run")
    assert result.exit_code == 0
    assert "has not run yet" in result.stdout
    assert result.stderr == ""
    assert not (new_folder / "out").exists()


def test_check(new_folder):
    result = run(new_folder / "application.yaml", "--check")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "no mistakes" in result.stdout
    assert not (new_folder / "out").exists()
    edit(new_folder, "hasher: {name: pca", "hahser: 1\nhasher: {name: pc")
    result = run(new_folder / "application.yaml", "--check")
    assert result.exit_code == 2
    assert result.stdout == ""
    for expected in (
        "line 4, column 1: 'hahser' is not known here; did you mean 'hasher'?",
        "4 | hahser: 1",
        "  | ^^^^^^",
        "line 5, column 16: there is no hasher 'pc'; did you mean 'pca'?",
    ):
        assert expected in result.stderr
    result = run(new_folder / "application.yaml", "--check", "--json")
    assert result.exit_code == 2
    assert [problem["line"] for problem in json.loads(result.stdout)["problems"]] == [4, 5]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["no-such-file.yaml"], "there is no file 'no-such-file.yaml'"),
        (["{folder}"], "got a folder"),
        (["{folder}/application.yaml", "--force", "training"], "force must be one of 'sync'"),
    ],
)
def test_wrong_use(folder, words, told):
    result = run(*(word.format(folder=folder) for word in words))
    assert result.exit_code == 2
    assert told in result.stderr
    assert result.stdout == ""


def test_a_stage_that_fails_leaves_the_others_done(folder):
    edit(folder, "k: 5", "k: 1000")
    result = run(folder / "application.yaml")
    assert result.exit_code == 2
    assert "k must be at most the 180 rows" in result.stderr
    edit(folder, "k: 1000", "k: 5")
    assert json.loads(run(folder / "application.yaml", "--json", "-q").stdout)["stages"][1]["status"] == "skipped"
