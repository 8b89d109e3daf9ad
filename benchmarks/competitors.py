"""Exact searches that are compared: simskip's methods, faiss, usearch, NumPy. Each is set up to do its best."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

import simskip

from .cases import Case, K

__all__ = ["FAISS_LEVELS", "Faiss", "Simskip", "methods", "numpy_search", "usearch_exact"]

Bytes = npt.NDArray[np.uint8]

# The level of faiss's own dispatch that belongs to each of simskip's instruction sets ("": its own choice). Newer
# releases read FAISS_SIMD_LEVEL, older ones FAISS_OPT_LEVEL.
FAISS_LEVELS = {"avx512vpopcntdq": "", "avx512bw": "AVX512", "avx2": "AVX2", "baseline": "NONE", "neon": ""}


def methods() -> list[str]:
    """What ``simskip.HammingIndex(method=...)`` offers, the scan first."""
    offered = []
    for method in ("scan", "auto", "multi-index"):
        try:
            simskip.HammingIndex(8, method=method)
        except ValueError:
            continue
        offered.append(method)
    return offered


class Simskip:
    """One index of simskip, with its tables: ``"auto"`` would build them after some thousand queries, and so is timed
    as it is in the long run. build.py says what they cost."""

    def __init__(self, case: Case, database: Bytes, method: str, built: bool = True) -> None:
        self._n_bits = case.n_bits
        self.index = simskip.HammingIndex(case.n_bits, method=method)
        self.index.add(simskip.Codes(database, case.n_bits))
        if built:
            self.build()

    def build(self) -> None:
        """Build the tables; a scan has none."""
        if self.index.method != "scan":
            self.index.build()

    def search(self, queries: Bytes, threads: int) -> npt.NDArray[np.int32]:
        """Distances of a batch."""
        return self.index.search(simskip.Codes(queries, self._n_bits), K, threads=threads)[0]

    def search_each(self, queries: Bytes, threads: int) -> None:
        """One call for each query."""
        for row in range(len(queries)):
            self.search(queries[row : row + 1], threads)


class Faiss:
    """An ``IndexBinaryFlat``, with either of its two ways to keep the nearest."""

    def __init__(self, case: Case, database: Bytes) -> None:
        import faiss

        self._faiss = faiss
        self.index = faiss.IndexBinaryFlat(case.n_bits)
        self.index.add(database)

    @staticmethod
    def level() -> str:
        """The instruction set it works with."""
        import faiss

        config: Any = getattr(faiss, "SIMDConfig", None)
        return str(config.get_level_name()) if config else "chosen at import"

    def search(self, queries: Bytes, threads: int, heap: bool) -> npt.NDArray[np.int32]:
        """Distances of a batch."""
        self._faiss.omp_set_num_threads(threads)
        self.index.use_heap = heap
        return self.index.search(queries, K)[0]

    def search_each(self, queries: Bytes, heap: bool) -> None:
        """One call for each query; faiss does not thread one."""
        for row in range(len(queries)):
            self.search(queries[row : row + 1], 1, heap)


def usearch_exact(database: Bytes) -> Callable[[Bytes], Any]:
    """usearch's exact search, one thread."""
    from usearch.index import MetricKind, search

    return lambda queries: search(database, queries, K, MetricKind.Hamming, exact=True, threads=1).distances


def numpy_search(database: Bytes, queries: Bytes) -> npt.NDArray[np.int64]:
    """What one would write with NumPy: popcount and partition."""
    words = database.view(np.uint64)
    found = np.empty((len(queries), K), np.int64)
    for row, query in enumerate(queries.view(np.uint64)):
        distances = np.bitwise_count(words ^ query).sum(axis=1, dtype=np.int32)
        nearest = np.argpartition(distances, K)[:K]
        found[row] = np.sort(distances[nearest])
    return found
