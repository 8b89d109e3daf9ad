"""Search to a target recall: what was learned from held-out queries, and the search that uses it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from .depth import DepthRule, depth_grid, landmarks, learn
from .ids import IdArray
from .vector import VectorIndex

__all__ = ["MIN_QUERIES", "Calibration", "Calibrations", "Candidates", "calibrate", "search_to_target"]

Floats = npt.NDArray[np.float32]
Found = tuple[npt.NDArray[Any], IdArray]
# (queries, depth, scoring) -> code distances, ascending, and ids
Candidates = Callable[[Floats, int, str], Found]

# Queries drawn from the index, and how few of one's own still tell something.
N_QUERIES = 3000
MIN_QUERIES = 100
# Below this many items exact search is the cheaper one.
_FEWEST_ITEMS = 1000
# Reading a larger part of many vectors here and there costs more than multiplying all of them in order.
_LARGEST_PART = 16
_SHORTEST_LIST = 8192
# Candidates of all queries of a block, to bound memory.
_BLOCK = 1 << 21
# After this share of the items has changed, what was learned no longer holds.
_STALE = 0.2
# Nanoseconds of one core, to compare ways of scoring: per word of code, per place of a list, and per vector read. They
# are rough and the same on every machine, because the choice must not change the answers from one to another.
_SCAN = {"codes": 0.06, "asymmetric": 0.08}
_LIST = {"codes": 10.0, "asymmetric": 30.0}
_READ, _READ_DIM = 100.0, 0.25


@dataclass(frozen=True)
class Calibration:
    """What held-out queries taught about an index, for one k.

    ``rules`` holds a rule per scoring, none if exact search is cheaper anyway; ``n`` and ``changes`` the size of the
    index and how many changes it had seen; ``queries`` the caller's own ones.
    """

    k: int
    n: int
    changes: int
    random_state: int
    queries: Floats | None = None
    rules: Mapping[str, DepthRule] = field(default_factory=dict)

    def stale(self, changes: int) -> bool:
        """Whether too much of the index has changed."""
        return changes - self.changes > _STALE * self.n

    def choose(self, recall: float, scoring: str | None, n: int, words: int, dim: int) -> tuple[str, int] | None:
        """The cheaper scoring (or the given one) and the place of its level; ``None`` for exact search."""
        costs = {}
        for name, rule in self.rules.items():
            place = rule.level_for(recall)
            if scoring in (None, name):
                reading = rule.reads[place] * (_READ + _READ_DIM * dim)
                costs[name, place] = n * words * _SCAN[name] + rule.first_depth(place) * _LIST[name] + reading
        return min(costs, key=lambda way: costs[way]) if costs else None

    def to_dict(self, changes: int) -> dict[str, Any]:
        """Everything but the queries as plain numbers and lists; ``changes`` is the index's count now."""
        rules = {name: rule.to_dict() for name, rule in self.rules.items()}
        changed = changes - self.changes
        return {"k": self.k, "n": self.n, "changed": changed, "random_state": self.random_state, "rules": rules}

    @classmethod
    def from_dict(cls, values: dict[str, Any], queries: Floats | None) -> Calibration:
        """The inverse of ``to_dict``, for an index that starts to count its changes at 0."""
        rules = {name: DepthRule.from_dict(rule) for name, rule in values["rules"].items()}
        if not set(rules) <= set(_SCAN):
            raise ValueError(f"there is no scoring {(set(rules) - set(_SCAN)).pop()!r}")
        numbers = (int(values["k"]), int(values["n"]), -int(values["changed"]), int(values["random_state"]))
        return cls(*numbers, queries, rules)


class Calibrations:
    """The calibrations of an index by k, safe to use from several threads.

    Parameters
    ----------
    stored : iterable of (dict, queries)
        What ``stored`` gave.
    """

    def __init__(self, stored: Iterable[tuple[dict[str, Any], Floats | None]] = ()) -> None:
        self._lock = threading.Lock()
        self._by_k = {c.k: c for c in (Calibration.from_dict(*each) for each in stored)}

    @property
    def learned(self) -> list[int]:
        """Every k there is a calibration for, ascending."""
        return sorted(self._by_k)

    def __getitem__(self, k: int) -> Calibration:
        return self._by_k[k]

    def learn(self, k: int, make: Callable[[], Calibration]) -> None:
        """Make and keep one; others that need it wait."""
        with self._lock:
            self._by_k[k] = make()

    def get(self, k: int, changes: int, make: Callable[[Floats | None, int], Calibration]) -> Calibration:
        """The one for k: ``make(queries, random_state)`` is called if there is none or it is stale."""
        with self._lock:
            known = self._by_k.get(k)
            if known is None:
                known = make(None, 0)
            elif known.stale(changes):
                known = make(known.queries, known.random_state)
            self._by_k[k] = known
            return known

    def stored(self, changes: int) -> list[tuple[dict[str, Any], Floats | None]]:
        """Plain numbers and the caller's own queries, in ascending order of k."""
        by_k = dict(self._by_k)
        return [(by_k[k].to_dict(changes), by_k[k].queries) for k in sorted(by_k)]


def calibrate(
    candidates: Candidates,
    vectors: VectorIndex,
    k: int,
    changes: int,
    queries: Floats | None = None,
    random_state: int = 0,
    threads: int | None = None,
) -> Calibration:
    """Learn depth rules from held-out queries.

    Parameters
    ----------
    candidates : callable
        Searches the codes.
    vectors : VectorIndex
        The same items; gives the true neighbours.
    queries : (m, dim) float32, optional
        Held-out queries; by default items of the index, each of which does not count as its own neighbour.
    """
    n = len(vectors)
    calibration = Calibration(k, n, changes, random_state, queries)
    others = n - (queries is None)
    deepest = min(others, max(_SHORTEST_LIST, n // _LARGEST_PART))
    if n < _FEWEST_ITEMS or k > deepest // 4:
        return calibration
    own: IdArray | None = None
    sample = queries
    if sample is None:
        rng = np.random.default_rng(random_state)
        own = rng.choice(vectors.ids, min(N_QUERIES, n // 2), replace=False)
        sample = vectors.vectors(own).astype(np.float32, copy=False)
    truth = vectors.search(sample, k + (own is not None), threads=threads)[1]
    if own is not None:
        truth = _without(truth, own)
    grid, marks = depth_grid(k, deepest), landmarks(k, deepest)
    rules = {}
    block = max(1, _BLOCK // deepest)
    for scoring in _SCAN:
        seen = []
        for i in range(0, len(sample), block):
            part = slice(i, i + block)
            distances, ids = candidates(sample[part], deepest + (own is not None), scoring)
            if own is not None:
                distances, ids = _without(distances, own[part], ids), _without(ids, own[part])
            true = np.cumsum(_among(ids, truth[part]), axis=1)
            seen.append((distances[:, grid - 1], distances[:, marks - 1], true[:, grid - 1]))
        at_grid, at_landmarks, found = (np.concatenate(parts) for parts in zip(*seen, strict=True))
        rules[scoring] = learn(at_grid, at_landmarks, found, grid, n)
    return Calibration(k, n, changes, random_state, queries, rules)


def search_to_target(
    candidates: Candidates,
    vectors: VectorIndex,
    queries: Floats,
    rule: DepthRule,
    place: int,
    scoring: str,
    threads: int | None,
) -> tuple[Floats, IdArray, int]:
    """The k nearest items of each query, (q, k), at the recall of the rule's level; and how many vectors were read."""
    k, reads = rule.k, 0
    distances, ids = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
    depth = rule.first_depth(place)
    pending = np.arange(len(queries))
    while len(pending):
        beyond = []
        block = max(1, _BLOCK // depth)
        for rows in (pending[i : i + block] for i in range(0, len(pending), block)):
            codes, listed = candidates(queries[rows], depth, scoring)
            stops = rule.depths(codes, place)
            beyond.append(rows[stops < 0])
            rows, listed, stops = rows[stops > 0], listed[stops > 0], stops[stops > 0]
            if len(rows):
                width = stops.max()
                read = np.where(np.arange(width) < stops[:, None], listed[:, :width], -1)
                distances[rows], ids[rows] = vectors.rerank(queries[rows], read, k, threads)
                reads += int(stops.sum())
        pending = np.concatenate(beyond)
        if depth == rule.deepest and len(pending):
            distances[pending], ids[pending] = vectors.search(queries[pending], k, threads=threads)
            reads += len(pending) * len(vectors)
            break
        depth = min(4 * depth, rule.deepest)
    return distances, ids, reads


def _without(values: npt.NDArray[Any], own: IdArray, ids: IdArray | None = None) -> npt.NDArray[Any]:
    """Each row of ``values`` without the entry of its own id, or without its last one if that is not there."""
    kept = (values if ids is None else ids) != own[:, None]
    kept[kept.all(axis=1), -1] = False
    return values[kept].reshape(len(values), -1)


def _among(ids: IdArray, truth: IdArray) -> npt.NDArray[np.bool_]:
    """Which entries of each row of ``ids``, (q, d), are in the same row of ``truth``, (q, k)."""
    known = np.sort(truth, axis=1)
    hits = np.zeros(ids.shape, bool)
    for row, wanted, listed in zip(hits, known, ids, strict=True):
        row[:] = wanted[np.minimum(np.searchsorted(wanted, listed), len(wanted) - 1)] == listed
    return hits
