"""The rows of every batch of the native trainer, drawn in Python: a peer is then shown the same batches.

The trainer draws from the C++ standard's ``std::mt19937_64`` and takes the upper half of a 64 x 64 bit product as an
index, both of which are the same everywhere (``cpp/src/learn/sampler.cpp``).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

__all__ = ["Engine", "neighbor_batches", "pass_batches"]

Rows = npt.NDArray[np.int64]
_WORD = (1 << 64) - 1


class Engine:
    """``std::mt19937_64``: M. Matsumoto, T. Nishimura, "Mersenne twister", ACM TOMACS 8 (1998), 64-bit version."""

    _SIZE, _SHIFT = 312, 156

    def __init__(self, seed: int) -> None:
        self._state = [seed & _WORD]
        for i in range(1, self._SIZE):
            last = self._state[-1]
            self._state.append((6364136223846793005 * (last ^ (last >> 62)) + i) & _WORD)
        self._at = self._SIZE

    def draw(self) -> int:
        """The next 64 bits."""
        if self._at == self._SIZE:
            self._twist()
        x = self._state[self._at]
        self._at += 1
        x ^= (x >> 29) & 0x5555555555555555
        x ^= (x << 17) & 0x71D67FFFEDA60000
        x ^= (x << 37) & 0xFFF7EEE000000000
        return x ^ (x >> 43)

    def index(self, n: int) -> int:
        """A number in [0, n)."""
        return (self.draw() * n) >> 64

    def _twist(self) -> None:
        state, size = self._state, self._SIZE
        for i in range(size):
            x = (state[i] & 0xFFFFFFFF80000000) | (state[(i + 1) % size] & 0x7FFFFFFF)
            state[i] = state[(i + self._SHIFT) % size] ^ (x >> 1) ^ (0xB5026F5AA96619E9 if x & 1 else 0)
        self._at = 0


class _Shuffled:
    """0 .. n-1 in random order, shuffled again after every pass."""

    def __init__(self, n: int, engine: Engine) -> None:
        self._order, self._engine, self._at = list(range(n)), engine, 0

    def next(self) -> int:
        order = self._order
        if self._at == 0:
            for i in range(len(order), 1, -1):
                j = self._engine.index(i)
                order[i - 1], order[j] = order[j], order[i - 1]
        value = order[self._at]
        self._at = (self._at + 1) % len(order)
        return value

    def require(self, count: int) -> None:
        """Begin a new pass if fewer than ``count`` are left in this one."""
        if len(self._order) - self._at < count:
            self._at = 0


def pass_batches(n: int, batch: int, seed: int) -> Iterator[Rows]:
    """Batches of ``csq``: passes over rows 0 .. n-1 in random order; what is too short for a batch is left out."""
    order = _Shuffled(n, Engine(seed))
    while True:
        order.require(batch)
        yield np.array([order.next() for _ in range(batch)], np.int64)


def neighbor_batches(
    neighbors: npt.NDArray[np.int32], batch: int, anchors: int, per_anchor: int, seed: int
) -> Iterator[Rows]:
    """Batches of ``neighbors``: anchors, some neighbours of each, and rows drawn uniformly; none of them twice.

    ``neighbors`` is (n, m): every row is an anchor once a pass.
    """
    n, m = neighbors.shape
    engine = Engine(seed)
    order = _Shuffled(n, engine)
    while True:
        rows: dict[int, None] = {}  # an ordered set
        for _ in range(anchors):
            if len(rows) == batch:
                break
            anchor = order.next()
            rows.setdefault(anchor)
            picks = list(range(m))
            for k in range(min(per_anchor, m)):
                if len(rows) == batch:
                    break
                other = k + engine.index(m - k)
                picks[k], picks[other] = picks[other], picks[k]
                rows.setdefault(int(neighbors[anchor, picks[k]]))
        while len(rows) < batch:
            rows.setdefault(engine.index(n))
        yield np.fromiter(rows, np.int64)
