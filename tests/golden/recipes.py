"""What the golden files hold, and how they were made: ``python tests/golden/recipes.py`` writes the missing ones.

A golden file is never written again: simskip reads every file it ever wrote. A new version of the format, or a new
field in a header, gets new files beside the old ones, named ``KIND-PARAMETERS-vVERSION.simskip``; the old ones are then
no longer what is written (``written=False``). Contents are made of SHAKE-128 of the file's
name and of small dyadic fractions, so they do not depend on a random generator, a processor or a library.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import simskip

FOLDER = Path(__file__).parent
HASHER = FOLDER.parent / "hashing" / "golden" / "randomhash-12-center-v1.safetensors"


def golden_codes(name: str, n: int, n_bits: int) -> simskip.Codes:
    """n codes that the name determines."""
    stream = hashlib.shake_128(f"codes of {name}".encode()).digest(n * n_bits)
    return simskip.pack(np.frombuffer(stream, np.uint8).reshape(n, n_bits) & 1)


def golden_vectors(name: str, n: int, dim: int) -> np.ndarray:
    """(n, dim) float32 multiples of 1/8 from -16 to 15.875: their squares and sums are exact. No row is zero."""
    stream = hashlib.shake_128(f"vectors of {name}".encode()).digest(n * dim)
    vectors = np.frombuffer(stream, np.int8).reshape(n, dim) / np.float32(8)
    vectors[:, 0] = np.where((vectors == 0).all(axis=1), 1, vectors[:, 0])
    return vectors


def golden_ids(n: int) -> np.ndarray:
    """Ids with gaps, in no order, some beyond 32 bits."""
    ids = (np.arange(n, dtype=np.int64) * 7919) % 10_007
    ids[::5] += 2**40
    return ids


@dataclass(frozen=True)
class Recipe:
    """One golden file: how to make what it holds, and what loads it."""

    name: str
    make: Callable[[], Any]
    load: Callable[..., Any]
    written: bool = True  # the same content is written to the same bytes today

    @property
    def path(self) -> Path:
        """Where it lies."""
        return FOLDER / self.name


def hamming(n: int, n_bits: int, ids: str, method: str = "auto") -> Recipe:
    """A Hamming index; "removed": the last two of its codes are gone, so their ids are not to be given again."""
    name = f"hamming-{n}x{n_bits}-{ids}{'' if method == 'auto' else '-' + method}-v1.simskip"

    def make() -> simskip.HammingIndex:
        index = simskip.HammingIndex(n_bits, method)
        index.add(golden_codes(name, n, n_bits), golden_ids(n) if ids == "explicit" else None)
        if ids == "removed":
            index.remove([n - 2, n - 1])
        return index

    return Recipe(name, make, simskip.HammingIndex.load)


def vectors(n: int, dim: int, metric: str, ids: str, dtype: str = "") -> Recipe:
    """A vector index; without a dtype as files were before they named it."""
    name = f"vectors-{n}x{dim}-{metric}-{ids}{dtype and '-' + dtype}-v1.simskip"

    def make() -> simskip.VectorIndex:
        index = simskip.VectorIndex(dim, metric, dtype=dtype or "float32")
        index.add(golden_vectors(name, n, dim), golden_ids(n) if ids == "explicit" else None)
        return index

    return Recipe(name, make, simskip.VectorIndex.load, written=bool(dtype))


def similarity(n: int, metric: str, ids: str, dtype: str = "") -> Recipe:
    """A similarity index of 12 bits over 6 floats; its hasher is a golden file too. The dtype is as for vectors."""
    name = f"similarity-{n}x12-{metric}-{ids}{dtype and '-' + dtype}-v1.simskip"

    def make() -> simskip.SimilarityIndex:
        index = simskip.SimilarityIndex(simskip.load_hasher(HASHER), metric, dtype=dtype or "float32")
        index.add(golden_vectors(name, n, index.dim), golden_ids(n) if ids == "explicit" else None)
        return index

    return Recipe(name, make, simskip.SimilarityIndex.load, written=bool(dtype))


RECIPES = [
    hamming(0, 64, "implicit"),
    *(hamming(20, n_bits, "implicit") for n_bits in (1, 13, 64, 256, 300)),
    hamming(70, 64, "explicit"),
    hamming(20, 300, "explicit"),
    hamming(20, 13, "removed"),
    hamming(20, 64, "explicit", "scan"),
    hamming(20, 64, "explicit", "multi-index"),
    vectors(0, 3, "l2", "implicit"),
    vectors(20, 5, "cosine", "implicit"),
    vectors(20, 5, "l2", "explicit"),
    vectors(20, 5, "dot", "explicit"),
    vectors(0, 3, "l2", "implicit", "float32"),
    vectors(20, 5, "cosine", "implicit", "float32"),
    vectors(20, 5, "dot", "explicit", "float32"),
    vectors(20, 5, "l2", "explicit", "float16"),
    similarity(20, "cosine", "implicit"),
    similarity(20, "l2", "explicit"),
    similarity(20, "cosine", "implicit", "float32"),
    similarity(20, "l2", "explicit", "float16"),
]


def main() -> None:
    """Write the missing files."""
    for recipe in RECIPES:
        if not recipe.path.exists():
            recipe.make().save(recipe.path)
            print("made", recipe.name)


if __name__ == "__main__":
    main()
