"""Collections from a folder of photographs and from all words of GloVe, as people make them: by the command line.

    python -m benchmarks.collection            10,000 JPEGs, 341,479 words: some minutes of all cores
    python -m benchmarks.collection --quick    1,000 JPEGs, 20,000 words
    python -m benchmarks.collection --parts embed,kill,words

embed  ``simskip embed`` on a folder of JPEGs (CIFAR-10's photographs enlarged to 500 x 375 pixels, bicubic, quality 90)
       in a process of its own: images per second by the clock (start of the program included) and by processor time,
       the most memory it had (ru_maxrss); again with nothing changed, and with 1 % of the files changed. Beside it, on
       some of the files: one image at a time, one thread, as the origin worked, by torch and by ONNX Runtime.
kill   kill -9 at random moments of a sync: images that had gone through the network and are not in the file (a batch of
       256, and those that the threads have begun to embed while it is being written), SQLite's integrity check, and
       whether resuming ends with the collection that an undisturbed sync makes.
words  sync, train, encode, 1,000 Top-25 queries; what stands near "paris".

Wall time is what was asked about here (images per second of a machine), so run it where nothing else does.
Results: benchmarks/results/collection.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

import simskip

from . import results
from .one_by_one import one_by_one

__all__ = ["changed", "embed", "kill", "main", "photographs_in", "words"]

Row = dict[str, Any]
PIXELS = (500, 375)
QUALITY = 90
MODEL = "efficientnet-lite0"
KILLS = 5
AHEAD = 16  # images that a thread may have embedded of the next batch
BATCH = 256  # images of one commit, as sync chooses it
GOALS = {"images_per_s": 120.0, "peak_mb": 1500.0, "changed_share": 0.05, "words_s": 300.0}


def photographs_in(folder: Path, n: int, first: int = 0) -> Row:
    """Write n photographs as JPEGs, in a folder for each class; how large they are."""
    from PIL import Image

    source = simskip.datasets.cifar10("train")
    sizes = []
    for i in range(first, first + n):
        path = folder / source.label_names[source.labels[i]] / f"{i:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(source.images[i]).resize(PIXELS, Image.Resampling.BICUBIC)
        picture.save(path, quality=QUALITY)
        sizes.append(path.stat().st_size)
    return {"n": n, "pixels": PIXELS, "quality": QUALITY, "mean_kb": float(np.mean(sizes)) / 1e3}


def changed(folder: Path, n: int) -> None:
    """Put other content into n of the files: each is turned upside down."""
    from PIL import Image

    for path in sorted(folder.rglob("*.jpg"))[:: max(1, sum(1 for _ in folder.rglob("*.jpg")) // n)][:n]:
        with Image.open(path) as picture:
            turned = picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        turned.save(path, quality=QUALITY)


# A process begins with the memory of the one that it was forked from, and ru_maxrss counts that. This one is small.
_LAUNCHER = """
import json, os, subprocess, sys, time
start = time.perf_counter()
child = subprocess.Popen(sys.argv[2:])
_, status, usage = os.wait4(child.pid, 0)
row = {"wall_s": time.perf_counter() - start, "cpu_s": usage.ru_utime + usage.ru_stime}
with open(sys.argv[1], "w") as file:
    json.dump({**row, "peak_mb": usage.ru_maxrss / 1024, "code": os.waitstatus_to_exitcode(status)}, file)
"""


def process(command: Sequence[str | Path]) -> tuple[Row, str]:
    """Run a command: seconds by the clock and of the processor, most memory, and what it printed.

    Raises ``RuntimeError`` if it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        launcher = [sys.executable, "-S", "-c", _LAUNCHER, f"{folder}/usage", *map(str, command)]
        done = subprocess.run(launcher, capture_output=True, text=True, check=True)
        row: Row = json.loads(Path(folder, "usage").read_text())
    if code := row.pop("code"):
        raise RuntimeError(f"{command} ended with {code}: {done.stderr}")
    return row, done.stdout


def embed(folder: Path, n: int, model: str = MODEL) -> Row:
    """First, second and third run of ``simskip embed``, and one image at a time."""
    files = photographs_in(folder / "photographs", n)
    command = [sys.executable, "-m", "simskip", "embed", "-d", folder / "photographs.db", "-i", folder / "photographs"]
    runs: Row = {}
    for name in ("first", "unchanged", "changed"):
        if name == "changed":
            changed(folder / "photographs", max(1, n // 100))
        usage, printed = process([*command, "-m", model, "--json", "--quiet"])
        runs[name] = usage | {key: value for key, value in json.loads(printed).items() if key != "unreadable"}
    first = runs["first"]
    paths = sorted((folder / "photographs").rglob("*.jpg"))[:: max(1, n // 64)][:64]
    return {
        "files": files,
        "runs": runs,
        "images_per_s": n / first["wall_s"],
        "images_per_cpu_s": n / first["cpu_s"],
        "peak_mb": first["peak_mb"],
        "changed_share": runs["changed"]["wall_s"] / first["wall_s"],
        "one_by_one": one_by_one(paths) if model == MODEL else {},
    }


def kill(folder: Path, model: str = MODEL, kills: int = KILLS, seed: int = 0) -> Row:
    """Kill syncs of ``folder / "photographs"`` and resume, until there was one undisturbed."""
    rng = random.Random(seed)
    total = sum(1 for _ in (folder / "photographs").rglob("*.jpg"))
    job = [sys.executable, "-m", "benchmarks.collection_job", "sync", model, str(folder / "photographs")]
    path = folder / "killed.db"
    rows: list[Row] = []
    for i in range(kills):
        before = _count(path)
        # The rest is shared out: each run is killed somewhere in its part of it.
        until = int((total - before) * rng.random() / (kills - i))
        embedded = _killed([*job, str(path)], until, 2 * rng.random())
        committed = _count(path) - before
        rows.append(
            {"embedded": embedded, "committed": committed, "lost": embedded - committed, "check": _integrity(path)}
        )
    process([*job, str(path)])
    process([*job, str(folder / "whole.db")])
    return {
        "kills": rows,
        "most_lost": max(row["lost"] for row in rows),
        "batch": BATCH,
        "in_hand": AHEAD * (os.cpu_count() or 1),
        "integrity": {row["check"] for row in rows} == {"ok"} and _integrity(path) == "ok",
        "resumed_is_equal": content(path) == content(folder / "whole.db") and _count(path) == total,
    }


def _killed(command: list[str], until: int, delay: float) -> int:
    """Start a job, kill it some time after so many were embedded; how many were."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
        assert child.stdout is not None
        embedded = 0
        for line in child.stdout:
            embedded = int(line)
            if embedded >= until:
                break
        time.sleep(delay)
        child.send_signal(signal.SIGKILL)
        for line in child.stdout:
            embedded = int(line) if line.endswith("\n") else embedded
    return embedded


def _count(path: Path) -> int:
    if not path.exists():
        return 0
    connection = sqlite3.connect(path)
    try:
        there = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'vectors'").fetchone()
        return int(connection.execute("SELECT count(*) FROM vectors").fetchone()[0]) if there else 0
    finally:
        connection.close()


def _integrity(path: Path) -> str:
    if not path.exists():
        return "ok"
    connection = sqlite3.connect(path)
    try:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
    finally:
        connection.close()


def content(path: Path) -> dict[str, tuple[str | None, str]]:
    """Label and a digest of the vector by key: ids depend on the order of arrival."""
    connection = sqlite3.connect(path)
    try:
        rows = connection.execute("SELECT key, label, vector FROM items JOIN vectors USING (id)")
        return {key: (label, hashlib.sha256(vector).hexdigest()) for key, label, vector in rows}
    finally:
        connection.close()


def words(folder: Path, n: int | None) -> Row:
    """All steps for words; n of them, or all."""
    command = [sys.executable, "-m", "benchmarks.collection_job", "words", str(folder / "words.db"), str(n or 0)]
    usage, printed = process(command)
    found: Row = json.loads(printed)
    return {**usage, **found}


def lines(result: Row) -> list[str]:
    """What was measured, in words."""
    found = []
    if "embed" in result:
        part, runs = result["embed"], result["embed"]["runs"]
        found += [
            f"{part['files']['n']:,} JPEGs of {part['files']['mean_kb']:.0f} kB: {part['images_per_s']:.0f} images/s by"
            f" the clock, {part['images_per_cpu_s']:.0f} per second of processor time,"
            f" {runs['first']['wall_s']:.1f} s, at most {part['peak_mb']:,.0f} MB",
            f"again, nothing changed: {runs['unchanged']['wall_s']:.1f} s; 1 % changed"
            f" ({runs['changed']['embedded']} embedded): {runs['changed']['wall_s']:.1f} s,"
            f" {part['changed_share']:.1%} of the first",
        ]
        found += [
            f"one image at a time, one thread, {name}: {rate:.1f} images/s" for name, rate in part["one_by_one"].items()
        ]
    if "kill" in result:
        part = result["kill"]
        lost = ", ".join(f"{row['lost']} of {row['embedded']}" for row in part["kills"])
        found.append(
            f"kill -9: lost of the images embedded so far: {lost} (batches of {part['batch']}); integrity check"
            f" {'ok' if part['integrity'] else 'FAILED'}; resumed is {'' if part['resumed_is_equal'] else 'NOT '}equal"
        )
    if "words" in result:
        part = result["words"]
        steps = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in part["steps"].items())
        found.append(
            f"{part['n']:,} words: {steps}; {part['wall_s']:.1f} s in all, at most {part['peak_mb']:,.0f} MB; recall"
            f" {part['recall']:.3f}; near 'paris': {', '.join(part['paris'])}"
        )
    return found


def goals(result: Row) -> dict[str, bool]:
    """Which goals were reached."""
    reached = {}
    if "embed" in result:
        part = result["embed"]
        reached = {
            "at least 120 images/s": part["images_per_s"] >= GOALS["images_per_s"],
            "under 1.5 GB": part["peak_mb"] < GOALS["peak_mb"],
            "1 % changed in under 5 % of the time": part["changed_share"] < GOALS["changed_share"],
        }
    if "kill" in result:
        part = result["kill"]
        reached["kill -9 loses at most one batch"] = (
            part["most_lost"] <= part["batch"] + part["in_hand"] and part["integrity"] and part["resumed_is_equal"]
        )
    if "words" in result:
        reached["words in under 5 minutes"] = result["words"]["wall_s"] < GOALS["words_s"]
    return reached


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="1,000 JPEGs, 20,000 words")
    parser.add_argument("--images", type=int, help="how many JPEGs (default: 10,000)")
    parser.add_argument("--parts", default="embed,kill,words", help="of embed, kill, words")
    parser.add_argument("--json", action="store_true", help="print JSON instead of sentences")
    options = parser.parse_args(arguments)
    n = options.images or (1000 if options.quick else 10_000)
    parts = options.parts.split(",")
    if unknown := set(parts) - {"embed", "kill", "words"}:
        parser.error(f"--parts: {', '.join(sorted(unknown))} unknown; there are embed, kill, words")
    result: Row = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        work: dict[str, Callable[[], Row]] = {
            "embed": lambda: embed(folder, n),
            "kill": lambda: kill(_with_photographs(folder, min(n, 2000))),
            "words": lambda: words(folder, 20_000 if options.quick else None),
        }
        for part in (part for part in work if part in parts):
            result[part] = work[part]()
    result["goals"] = goals(result)
    path = results.save("collection", result)
    if options.json:
        print(json.dumps(result, indent=1))
        return
    console = Console(width=120)
    for line in lines(result):
        console.print(line, markup=False, highlight=False)
    for goal, reached in result["goals"].items():
        console.print(f"{goal}: {'reached' if reached else 'missed'}", markup=False, highlight=False)
    console.print(f"saved to {path}")


def _with_photographs(folder: Path, n: int) -> Path:
    """A folder of its own for the kills, so that they take as long for 10,000 photographs as for 2,000."""
    inner = folder / "kill"
    photographs_in(inner / "photographs", n)
    return inner


if __name__ == "__main__":
    main()
