"""Judges searchers: each against the same exact lists, and the control that must fail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from ..codes import unpack
from ..hashing.health import code_health
from ..index import HammingIndex
from .exact import distances_to, exact_distance_blocks
from .metrics import mean_average_precision, precision_at_k, recall_at_k
from .provenance import FoundList, refuse_self_comparison
from .relevance import Relevance
from .rows import Row
from .scores import Score
from .searchers import Searcher

__all__ = ["Judge", "chance_recall"]


class Judge:
    """Turns searchers into rows, all against one exact list."""

    def __init__(
        self,
        exact: Searcher,
        ks: Sequence[int],
        k: int,
        recall_ties: str,
        level: float,
        random_state: int,
        labels: npt.ArrayLike | None,
        query_labels: npt.ArrayLike | None,
        relevance: Relevance | None,
    ) -> None:
        self.exact, self.ks, self.k = exact, ks, k
        self.data = exact.data
        self.recall_ties, self._level, self._random_state = recall_ties, level, random_state
        self._labels, self._query_labels, self._relevance = labels, query_labels, relevance
        # One more than needed: a k-th and a (k+1)-th neighbour at equal distance are a tie at the cut.
        deepest = min(max(ks) + 1, len(self.data.database))
        self._list = exact.search(self.data.queries, deepest)
        self._distances = self._true_distances(self._list.ids) if recall_ties == "distances" else None
        self.found_at_k: dict[str, npt.NDArray[np.int64]] = {"exact": self._list.ids[:, :k]}
        self.recall_per_query: dict[str, npt.NDArray[np.float64]] = {}

    @property
    def share_of_ties(self) -> float:
        """Share of the queries whose k-th and (k+1)-th exact neighbours are equally far."""
        if self._list.distances.shape[1] <= self.k:
            return 0.0
        return float((self._list.distances[:, self.k - 1] == self._list.distances[:, self.k]).mean())

    def exact_row(self) -> Row:
        row = self._described(self.exact)
        for j in self.ks:
            row.values[f"recall@{j}"] = 1.0  # by definition; there is nothing to estimate
        self._label_scores(row, self._list.ids[:, : self.k])
        if self._labels is not None:
            self._set_map(row, exact_distance_blocks(self.data.queries, self.data.database, self.data.metric))
        return row

    def row(self, searcher: Searcher) -> Row:
        row = self._described(searcher)
        identical = True
        for j in self.ks:
            found = searcher.search(self.data.queries, j)
            refuse_self_comparison(searcher.name, found, self._list)
            row.set_score(f"recall@{j}", self._recall(found, j), self._level, self._random_state)
            identical &= np.array_equal(found.ids, self._list.ids[:, :j])
            if j == self.k:
                self.found_at_k[searcher.name] = found.ids
                self.recall_per_query[searcher.name] = self._recall(found, j).values
                self._label_scores(row, found.ids)
        if searcher.covers_everything(self.k):
            row.disqualified = True
            what = "every query's buckets cover"
            if searcher.kind == "reranked":
                what = f"the rerank ({searcher.description.rsplit(' + ', 1)[-1]}) covers"
            row.flags.append(
                f"{what} all {len(self.data.database)} items at k = {self.k}: this is exact search by another name"
            )
        elif identical and searcher.kind == "index":
            row.disqualified = True
            row.flags.append("every list equals the exact list, id for id: probably exact search itself")
        if searcher.codes is not None:
            self._code_scores(row, searcher)
        return row

    def control_row(self, prepared: Sequence[Searcher]) -> Row:
        """Search with the mapping from codes to items shuffled: recall must fall to about k/n.

        The codes of the first searcher that has any are permuted and searched by Hamming distance; without
        codes the first searcher's ids are permuted instead.
        """
        n = len(self.data.database)
        shuffle = np.random.default_rng(self._random_state).permutation(n)
        source = next((s for s in prepared if s.codes is not None), prepared[0])
        origin = source.origin(self.k)
        row = Row("control", f"codes of {source.name!r}, shuffled", "control", origin)
        if source.codes is not None:
            index = HammingIndex(source.codes.n_bits)
            index.add(source.codes[shuffle])
            query_codes = source.hasher.encode(self.data.queries)
        for j in self.ks:
            if source.codes is not None:
                distances, ids = index.search(query_codes, k=j)
                found = FoundList(np.asarray(ids), np.asarray(distances), origin, index)
            else:
                plain = source.search(self.data.queries, j)
                ids = np.where(plain.ids >= 0, shuffle[plain.ids], -1)
                found = FoundList(ids, plain.distances, origin, source.index)
            row.set_score(f"recall@{j}", self._recall(found, j), self._level, self._random_state)
        expected, allowed = chance_recall(self.k, n, len(self.data.queries))
        row.values["expected"] = expected
        measured = row.get(f"recall@{self.k}")
        if abs(measured - expected) > allowed:
            row.flags.append(
                f"the control with shuffled codes scores Recall@{self.k} {measured:.3f} where chance gives"
                f" {expected:.3f}: the data is degenerate (equal rows, a few items near every query) or"
                " the evaluation leaks"
            )
        return row

    def _described(self, searcher: Searcher) -> Row:
        row = Row(searcher.name, searcher.description, searcher.kind, searcher.origin(self.k))
        row.values["bytes_per_item"] = searcher.bytes_per_item
        row.values["vector_bytes"] = searcher.vector_bytes_read(self.k)
        row.values["memory_ratio"] = self.exact.bytes_per_item / searcher.bytes_per_item
        row.values["build_seconds"] = searcher.build_seconds
        return row

    def _recall(self, found: FoundList, j: int) -> Score:
        exact = self._list.ids[:, :j]
        if self._distances is None:
            return recall_at_k(found.ids, exact, j)
        return recall_at_k(
            found.ids,
            exact,
            j,
            found_distances=self._true_distances(found.ids),
            exact_distances=self._distances[:, :j],
            tolerance=1e-9 * (1.0 + float(np.abs(self._distances).max())),
        )

    def _true_distances(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        return distances_to(self.data.queries, self.data.database, ids, self.data.metric)

    def _set_map(self, row: Row, blocks: Iterator[tuple[int, npt.NDArray[np.float32]]]) -> None:
        assert self._labels is not None
        values: list[float] = []
        for start, block in blocks:
            part = np.asarray(self._query_labels)[start : start + len(block)]
            values += mean_average_precision(part, self._labels, distances=block).values.tolist()
        row.set_score("map", Score(values), self._level, self._random_state)

    def _label_scores(self, row: Row, ids: npt.NDArray[np.int64]) -> None:
        if self._labels is None or self._query_labels is None:
            return
        score = precision_at_k(ids, self._query_labels, self._labels)
        row.set_score(f"precision@{self.k}", score, self._level, self._random_state)

    def _code_scores(self, row: Row, searcher: Searcher) -> None:
        assert searcher.codes is not None
        single = self._labels if self._relevance is not None and not self._relevance.multi_label else None
        health = code_health(searcher.codes, single)
        row.values["n_codes"] = float(health.n_codes)
        row.values["largest_bucket"] = health.largest_bucket
        for key in ("coverage", "computation_ratio"):
            value = getattr(health, key)
            if value is not None:
                row.values[key] = float(value)
        if health.collapsed:
            row.flags.append(health.diagnosis)
        if self._labels is None or self._query_labels is None:
            return
        if searcher.kind == "codes":
            query_codes = searcher.hasher.encode(self.data.queries)
            score = mean_average_precision(
                self._query_labels, self._labels, codes=searcher.codes, query_codes=query_codes
            )
            row.set_score("map", score, self._level, self._random_state)
        elif searcher.kind == "asymmetric":
            outputs = searcher.hasher.project(self.data.queries)
            signs = unpack(searcher.codes).astype(np.float32) * 2 - 1
            self._set_map(row, exact_distance_blocks(outputs, signs, "dot"))


def chance_recall(k: int, n: int, n_queries: int) -> tuple[float, float]:
    """Recall@k of a random list, and how far the control may lie from it.

    A query's hits are hypergeometric: mean k*k/n, so recall has the mean k/n and the variance
    (1 - k/n)**2 / (n - 1). Queries that share neighbours are not independent, so four standard errors of the
    mean are not enough by themselves: a hundredth, or the expected value itself up to a tenth, is always
    allowed.
    """
    expected = k / n
    error = (1.0 - expected) / np.sqrt(max(n - 1, 1) * n_queries)
    return expected, float(max(0.01, min(expected, 0.1), 4.0 * error))
