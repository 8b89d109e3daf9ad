"""``evaluate()``: hashers and indexes against exact float search on the same data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ..validation import choice, fraction, matrix, positive_int
from .judge import Judge
from .pictures import Album
from .provenance import environment, fingerprint, rows_in_database
from .relevance import Relevance
from .report import Report
from .rows import Row, columns
from .searchers import Data, exact_searcher, prepare
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
    min_speedup: float = 1.1,
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
        ``search(Q, k=...) -> (distances, ids)`` that holds exactly the database, its ids the row numbers; a
        ``BucketSearch``, which is filled if it holds nothing; or a tuple of one of these and a dict of search
        arguments, ``(hasher, {"rerank": 10})``.
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
        Pictures of the database and of the queries, for the report: a callable of a row number, or a
        sequence. Each gives a uint8 array (h, w) or (h, w, 3), a PIL image, or a file path.
    picture_rows : int
        How many queries are shown with pictures.
    min_recall, min_speedup : float
        What the lower end of the Recall@k interval and the speed relative to exact search must reach for
        codes to replace the vectors; see ``simskip.evaluation.verdict`` for the whole rule.
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

    mAP is computed where a row ranks the whole database: exact search, Hamming order and asymmetric order.
    Reranked rows, buckets and foreign indexes order a few candidates only and have none.

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
    fraction(min_speedup, "min_speedup", high=float("inf"))
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
    judge = Judge(exact, ks, k, recall_ties, level, random_state, labels, query_labels, relevance)
    rows = [judge.exact_row(), *(judge.row(searcher) for searcher in prepared)]
    everyone = [exact, *prepared]
    timings = measure(
        {searcher.name: partial(searcher.raw, k=k) for searcher in everyone},
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

    verdict = decide(rows, k, min_recall, min_speedup)
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
        "min_speedup": min_speedup,
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


def _warnings(
    rows: Sequence[Row],
    judge: Judge,
    repeated: npt.NDArray[np.int64],
    n_queries: int,
    overlap: str,
    k: int,
) -> list[str]:
    found = [f"{row.name}: {flag}" for row in rows for flag in row.flags]
    if len(repeated) and overlap == "warn":
        found.append(
            f"{len(repeated)} of {n_queries} queries are rows of the database: they find themselves, which"
            " raises recall and precision; hold queries out"
        )
    if judge.share_of_ties > 0.01 and judge.recall_ties == "ids":
        found.append(
            f"{judge.share_of_ties:.0%} of the queries have several items at the distance of their"
            f" {k}-th neighbour: recall counts only the ones with the smallest ids; recall_ties='distances'"
            " counts all"
        )
    if n_queries < 100:
        found.append(f"only {n_queries} queries: intervals are wide and may be too narrow nevertheless")
    return found
