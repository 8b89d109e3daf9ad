import os
from pathlib import Path

import numpy as np
import pytest

import simskip

PIL = pytest.importorskip("PIL.Image")


class Colours:
    """A small real embedder of images: the mean colours of the four quarters. Counts what it embeds."""

    name, dim, fingerprint, kind = "colours", 12, "colours 1", "images"

    def __init__(self) -> None:
        self.seen: list[Path] = []

    def embed(self, batch, progress=False):
        rows = []
        for thing in batch:
            image = PIL.open(thing) if isinstance(thing, (str, os.PathLike)) else thing
            pixels = np.asarray(image if isinstance(image, np.ndarray) else image.convert("RGB"), np.float32)
            h, w = pixels.shape[0] // 2, pixels.shape[1] // 2
            quarters = (pixels[:h, :w], pixels[:h, w:], pixels[h:, :w], pixels[h:, w:])
            rows.append(np.concatenate([quarter.mean((0, 1)) for quarter in quarters]))
            self.seen.append(thing)
        return np.array(rows, np.float32).reshape(len(rows), self.dim)


class Letters:
    """A small real embedder of texts: how often each letter occurs."""

    name, dim, fingerprint, kind = "letters", 26, "letters 1", "text"

    def embed(self, batch, progress=False):
        rows = [[text.lower().count(chr(ord("a") + i)) for i in range(26)] for text in batch]
        for text, row in zip(batch, rows, strict=True):
            if not any(row):
                raise ValueError(f"no letters in {text!r}")
        return np.array(rows, np.float32).reshape(len(rows), self.dim)


@pytest.fixture
def colours():
    return Colours()


@pytest.fixture
def letters():
    return Letters()


@pytest.fixture
def collection(tmp_path):
    with simskip.Collection.open(tmp_path / "items.db") as collection:
        yield collection


@pytest.fixture
def filled(collection):
    """Forty items with vectors, two labels and attributes."""
    rng = np.random.default_rng(1)
    keys = [f"item{i}" for i in range(40)]
    labels = ["sea" if i % 4 else "mountain" for i in range(40)]
    attributes = [{"year": 1990 + i, "by": "Ada" if i % 2 else "O'Neil"} for i in range(40)]
    collection.add(keys, rng.normal(size=(40, 8)), labels=labels, attributes=attributes)
    return collection


@pytest.fixture
def photos(tmp_path):
    """A folder with six photos in two classes and one file that only looks like a photo."""
    folder = tmp_path / "photos"
    for i in range(6):
        save_photo(folder / ("red" if i % 2 else "blue") / f"{i}.png", i)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no photo")
    settle(folder)
    return folder


def save_photo(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.fromarray(np.random.default_rng(seed).integers(0, 255, (8, 8, 3)).astype(np.uint8)).save(path)


def settle(folder: Path) -> None:
    """Make files old enough for their time of modification to be trusted."""
    for path in folder.rglob("*"):
        if path.is_file() and path.stat().st_mtime > 2e9 - 1e9:
            os.utime(path, (1e9, 1e9 + path.stat().st_size))
