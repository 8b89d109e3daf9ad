"""Times of searchers: single queries and batches, warmed up, repeated in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Timing", "measure"]


@dataclass
class Timing:
    """Times of one searcher.

    Attributes
    ----------
    latencies_ms : (m,) float64 array
        One search each for m single queries: the fastest of the repetitions, in milliseconds.
    batch_seconds : list of float
        Each repetition of the search for all queries at once.
    n_queries : int
        Queries in the batch.
    """

    latencies_ms: npt.NDArray[np.float64]
    n_queries: int
    batch_seconds: list[float] = field(default_factory=list)

    @property
    def queries_per_second(self) -> float:
        """Batch throughput of the fastest repetition: what the machine does when nothing else disturbs it."""
        return self.n_queries / min(self.batch_seconds)

    @property
    def queries_per_second_median(self) -> float:
        """Batch throughput of the median repetition."""
        return self.n_queries / float(np.median(self.batch_seconds))

    def percentile(self, q: float) -> float:
        """Percentile of the single-query latency, in milliseconds."""
        return float(np.percentile(self.latencies_ms, q))


def measure(
    searches: Mapping[str, Callable[[npt.NDArray[np.float32]], Any]],
    queries: npt.NDArray[np.float32],
    *,
    single_queries: int = 100,
    repetitions: int = 3,
    budget: float = 5.0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Time searches side by side.

    Every search runs once untimed. Then the repetitions go round all searchers, so that a slow moment of the
    machine does not hit one of them alone.

    Parameters
    ----------
    searches : mapping of name to function of a (q, d) matrix
        What to time.
    queries : (q, d) float32 array
        The batch; single queries are evenly spaced rows of it.
    single_queries : int
        How many queries are timed alone.
    repetitions : int
        At most so many rounds.
    budget : float
        Seconds for each searcher: once they are spent it gets no further round (it always gets one).
    clock : function
        Seconds; for tests.

    Returns
    -------
    dict of name to Timing
    """
    rows = np.unique(np.linspace(0, len(queries) - 1, min(single_queries, len(queries))).astype(int))
    singles = [np.ascontiguousarray(queries[i : i + 1]) for i in rows]
    timings = {name: Timing(np.full(len(singles), np.inf), len(queries)) for name in searches}
    spent = dict.fromkeys(searches, 0.0)
    for repetition in range(repetitions):
        for name, search in searches.items():
            if repetition and spent[name] >= budget:
                continue
            timing = timings[name]
            search(singles[0])
            begin = clock()
            search(queries)
            timing.batch_seconds.append(clock() - begin)
            spent[name] += timing.batch_seconds[-1]
            for i, query in enumerate(singles):
                begin = clock()
                search(query)
                elapsed = clock() - begin
                timing.latencies_ms[i] = min(timing.latencies_ms[i], 1000.0 * elapsed)
                spent[name] += elapsed
    return timings
