"""What is searched: kinds, sizes and widths of codes, made the same way every time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Case", "K", "make_codes"]

K = 25
N_CENTRES = 10_000
# A bit of a clustered code is flipped with probability 41/512, about 0.08: binary digits of it, highest first.
FLIP_DIGITS = (0, 0, 0, 1, 0, 1, 0, 0, 1)
_BLOCK = 1 << 20

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Case:
    """One database: ``n`` codes of ``n_bits``.

    "clustered": 10,000 random centres, each bit flipped with probability 0.08; queries are fresh members (codes of
    trained hashers look like this). "random": uniform bits, the worst case.
    """

    kind: str
    n: int
    n_bits: int

    @property
    def nbytes(self) -> int:
        """Bytes of its codes."""
        return self.n * (self.n_bits // 8)

    @property
    def n_queries(self) -> int:
        """Queries of a batch."""
        return 1000 if self.n <= 1_000_000 else 400 if self.n <= 10_000_000 else 100

    def __str__(self) -> str:
        size = f"{self.n // 10**6} M" if self.n >= 10**6 else f"{self.n // 1000} k" if self.n >= 1000 else str(self.n)
        return f"{size} x {self.n_bits} {self.kind}"


def make_codes(case: Case, seed: int = 0) -> tuple[Bytes, Bytes]:
    """Database and query codes, packed rows (n, n_bits / 8) and (n_queries, n_bits / 8)."""
    rng = np.random.default_rng(seed)
    words = case.n_bits // 64
    if case.n_bits % 64 or words < 1:
        raise ValueError(f"n_bits must be a multiple of 64, got {case.n_bits}")
    total = case.n + case.n_queries
    centres = _random(rng, N_CENTRES, words)
    codes = np.empty((total, words), np.uint64)
    for start in range(0, total, _BLOCK):
        block = codes[start : start + _BLOCK]
        if case.kind == "random":
            block[:] = _random(rng, len(block), words)
        else:
            block[:] = centres[rng.integers(0, N_CENTRES, len(block))] ^ _flips(rng, len(block), words)
    rows = codes.view(np.uint8)
    return rows[case.n_queries :], rows[: case.n_queries]


def _random(rng: np.random.Generator, n: int, words: int) -> npt.NDArray[np.uint64]:
    return rng.integers(0, 2**64, (n, words), dtype=np.uint64)


def _flips(rng: np.random.Generator, n: int, words: int) -> npt.NDArray[np.uint64]:
    """Bits that are 1 with the probability of FLIP_DIGITS: from the lowest digit, 1 is "or", 0 is "and"."""
    flips = np.zeros((n, words), np.uint64)
    for digit in reversed(FLIP_DIGITS):
        coin = _random(rng, n, words)
        flips = flips | coin if digit else flips & coin
    return flips
