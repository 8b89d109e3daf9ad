"""``evaluate()``: hashers and indexes against exact float search on the same data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import numpy as np
import numpy.typing as npt

from ..hashing.health import code_health
from ..index import HammingIndex
from ..validation import choice, fraction, matrix, positive_int
from .exact import distances_to, exact_distance_blocks
from .metrics import mean_average_precision, precision_at_k, recall_at_k
from .pictures import Album
from .provenance import FoundList, environment, fingerprint, refuse_self_comparison, rows_in_database
from .relevance import Relevance
from .report import Report
from .rows import Row, columns
from .scores import Score
from .searchers import Data, Searcher, exact_searcher, prepare
from .timing import measure
from .verdict import decide

__all__ = ["evaluate"]

METRICS = ("cosine", "l2", "dot")


def evaluate(
    searchers: Mapping[str, Any],
    *,
    database: npt.ArrayLike,
    queries: npt.ArrayLike,
    k: int = 25,
    labels: npt.ArrayLike | None = None,
    query_labels: npt.ArrayLike | None = None,
    metric: str = "cosine",
    pictures: Any = None,
    query_pictures: Any = None,
    picture_rows: int = 6,
    min_recall: float = 0.9,
    level: float = 0.95,
    recall_ties: str = "ids",
    overlap: str = "warn",
    latency_queries: int = 100,
    repetitions: int = 3,
    time_budget: float = 5.0,
    threads: int | None = None,
    random_state: int = 0,
) -> Report:
    """Judge searchers against exact float search: recall, label metrics, memory, speed, and a verdict.

    Parameters
    ----------
    searchers : dict
        Name to one of: a fitted hasher (the database is encoded, codes alone are searched); an index with
        ``search(Q, k=...) -> (distances, ids)`` that holds exactly the database, its ids the row numbers; or
        a tuple of either and a dict of search arguments, ``(hasher, {"rerank": 10})``.
    database, queries : (n, d) and (q, d) arrays of finite numbers
        Queries should not be rows of the database (see ``overlap``).
    k : int
        Neighbours, at most n. Recall is also measured at 1, 10 and 100 where the database is large enough,
        each from a search for so many.
    labels, query_labels : (n,) and (q,) arrays, or (n, c) and (q, c) indicator matrices, optional
        For mAP and precision@k; coverage and computation ratio need one label each.
    metric : {"cosine", "l2", "dot"}
        Of exact search and of every rerank.
    pictures, query_pictures : optional
        Pictures of the database and of the queries, for the report: a callable of a row number, or a sequence.
        Each gives a uint8 array (h, w) or (h, w, 3), a PIL image, or a file path.
    picture_rows : int
        How many queries are shown with pictures.
    min_recall : float
        What the lower end of the Recall@k interval must reach for codes to replace the vectors; see
        ``simskip.evaluation.verdict`` for the whole rule.
    level : float
        Level of the bootstrap intervals.
    recall_ties : {"ids", "distances"}
        Whether a found item at the very distance of the k-th exact one is a miss (ids differ) or a hit.
    overlap : {"warn", "refuse", "allow"}
        What to do if queries are rows of the database: they find themselves, which raises recall.
    latency_queries, repetitions, time_budget
        Queries timed alone; rounds of timing at most; seconds for each row after which no round is begun.
    threads : int, optional
        For every search (exact search too); default ``simskip.set_threads``'s.
    random_state : int
        Seed of the control and of the intervals.

    Returns
    -------
    Report
        ``table``, ``verdict``, ``plot()``, ``save("report.html")``.

    Raises
    ------
    ValueError
        For bad input, a searcher that is exact search by the same metric, or one that returns its arrays.

    Notes
    -----
    The first row is always exact search; the last is a control whose codes are shuffled. It must score about
    k/n. If it does not, the data or the evaluation is broken and there is no verdict.

    mAP is computed where a row ranks the whole database: exact search and Hamming order. Reranked, asymmetric
    and foreign rows order a few candidates only and have none.

    Examples
    --------
    >>> import numpy as np, simskip
    >>> rng = np.random.default_rng(0)
    >>> X, Q = rng.normal(size=(300, 32)), rng.normal(size=(20, 32))
    >>> hasher = simskip.RandomHash(64).fit(X)
    >>> report = simskip.evaluate({"random": hasher}, database=X, queries=Q, k=10)
    >>> [row.name for row in report.rows]
    ['exact', 'random', 'control']
    """
    X = matrix(database, "database")
    Q = matrix(queries, "queries", dim=X.shape[1])
    n = len(X)
    k = positive_int(k, "k")
    if k > n:
        raise ValueError(f"k must be at most the {n} rows of database, got {k}")
    choice(metric, "metric", METRICS)
    choice(recall_ties, "recall_ties", ("ids", "distances"))
    choice(overlap, "overlap", ("warn", "refuse", "allow"))
    fraction(min_recall, "min_recall")
    if not 0.0 < fraction(level, "level") < 1.0:
        raise ValueError(f"level must lie inside (0, 1), got {level!r}")
    for value, name in ((latency_queries, "latency_queries"), (repetitions, "repetitions")):
        positive_int(value, name)
    fraction(time_budget, "time_budget", high=float("inf"))
    positive_int(random_state, "random_state", minimum=0)
    positive_int(picture_rows, "picture_rows")
    if threads is not None:
        positive_int(threads, "threads")
    if (labels is None) != (query_labels is None):
        raise ValueError("labels and query_labels must be given together")
    relevance = None
    if labels is not None and query_labels is not None:
        relevance = Relevance(query_labels, labels, n_queries=len(Q), n_items=n)
    album = Album.of(pictures, query_pictures, n, len(Q))

    data = Data(X, Q, metric, fingerprint(X), fingerprint(Q))
    repeated = rows_in_database(Q, X)
    if len(repeated) and overlap == "refuse":
        raise ValueError(
            f"queries must not be rows of database, but {len(repeated)} of {len(Q)} are (the first: query"
            f" {repeated[0]}); they find themselves"
        )
    prepared = prepare(searchers, data, threads)
    exact = exact_searcher(data, threads)

    ks = sorted({j for j in (1, 10, k, 100) if j <= n})
    judge = _Judge(exact, ks, k, recall_ties, level, random_state, labels, query_labels, relevance)
    rows = [judge.exact_row(), *(judge.row(searcher) for searcher in prepared)]
    everyone = [exact, *prepared]
    timings = measure(
        {searcher.name: (lambda q, searcher=searcher: searcher.raw(q, k)) for searcher in everyone},
        Q,
        single_queries=latency_queries,
        repetitions=repetitions,
        budget=time_budget,
    )
    for row in rows:
        timing, reference = timings[row.name], timings["exact"]
        row.latencies_ms = timing.latencies_ms
        row.values["latency_p50_ms"] = timing.percentile(50)
        row.values["latency_p95_ms"] = timing.percentile(95)
        row.values["queries_per_second"] = timing.queries_per_second
        row.values["queries_per_second_median"] = timing.queries_per_second_median
        row.values["speedup_single"] = reference.percentile(50) / timing.percentile(50)
        row.values["speedup_batch"] = timing.queries_per_second / reference.queries_per_second
        row.values["speedup"] = min(row.values["speedup_single"], row.values["speedup_batch"])
    rows.append(judge.control_row(prepared))

    verdict = decide(rows, k, min_recall)
    warnings = _warnings(rows, judge, repeated, len(Q), overlap, k)
    provenance = {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "metric": metric,
        "k": k,
        "database": {"rows": n, "dim": X.shape[1], "sha256": data.database_sha256},
        "queries": {"rows": len(Q), "dim": X.shape[1], "sha256": data.queries_sha256},
        "queries_in_database": len(repeated),
        "recall_ties": recall_ties,
        "min_recall": min_recall,
        "level": level,
        "random_state": random_state,
        "search_threads": threads,
        "environment": environment(),
    }
    shown = None
    if album is not None:
        shown = album.page(judge.found_at_k, judge.recall_per_query, verdict.row, k, picture_rows)
    return Report(
        rows=rows,
        columns=columns(ks, k, labelled=labels is not None, level=level),
        k=k,
        verdict=verdict,
        warnings=warnings,
        provenance=provenance,
        pictures=shown,
    )


class _Judge:
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
        self._ties, self._level, self._random_state = recall_ties, level, random_state
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
        if self._labels is not None and self._query_labels is not None:
            values: list[float] = []
            for start, block in exact_distance_blocks(
                self.data.queries, self.data.database, self.data.metric
            ):
                part = np.asarray(self._query_labels)[start : start + len(block)]
                values += mean_average_precision(part, self._labels, distances=block).values.tolist()
            row.set_score("map", Score(values), self._level, self._random_state)
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
            row.flags.append(
                f"the rerank of {searcher.options['rerank']} x {self.k} covers all"
                f" {len(self.data.database)} items: this is exact search by another name"
            )
        elif identical and searcher.kind == "index":
            row.disqualified = True
            row.flags.append(
                "every list equals the exact list, id for id: probably exact search itself, which says nothing"
            )
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
        if searcher.kind == "codes" and self._labels is not None and self._query_labels is not None:
            score = mean_average_precision(
                self._query_labels,
                self._labels,
                codes=searcher.codes,
                query_codes=searcher.hasher.encode(self.data.queries),
            )
            row.set_score("map", score, self._level, self._random_state)


def chance_recall(k: int, n: int, n_queries: int) -> tuple[float, float]:
    """Recall@k of a random list, and how far the control may lie from it.

    A query's hits are hypergeometric: mean k*k/n, so recall has the mean k/n and the variance
    (1 - k/n)**2 / (n - 1). Queries that share neighbours are not independent, so four standard errors of the
    mean are not enough by themselves: a hundredth, or the expected value itself up to a tenth, is always allowed.
    """
    expected = k / n
    error = (1.0 - expected) / np.sqrt(max(n - 1, 1) * n_queries)
    return expected, float(max(0.01, min(expected, 0.1), 4.0 * error))


def _warnings(
    rows: Sequence[Row],
    judge: _Judge,
    repeated: npt.NDArray[np.int64],
    n_queries: int,
    overlap: str,
    k: int,
) -> list[str]:
    found = [f"{row.name}: {flag}" for row in rows for flag in row.flags]
    if len(repeated) and overlap == "warn":
        found.append(
            f"{len(repeated)} of {n_queries} queries are rows of the database: they find themselves, which raises"
            " recall and precision; hold queries out"
        )
    if judge.share_of_ties > 0.01 and judge._ties == "ids":
        found.append(
            f"{judge.share_of_ties:.0%} of the queries have several items at the distance of their"
            f" {k}-th neighbour: recall counts only the ones with the smallest ids; recall_ties='distances'"
            " counts all"
        )
    if n_queries < 100:
        found.append(f"only {n_queries} queries: intervals are wide and may be too narrow nevertheless")
    return found
