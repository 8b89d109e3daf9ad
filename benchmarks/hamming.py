"""Exact Hamming Top-25 beside faiss, usearch and NumPy, one thread, in one run.

    python -m benchmarks.hamming            100 k and 1 M codes
    python -m benchmarks.hamming --full     10 M codes too

"clustered": 10,000 random centres, each bit flipped with probability 0.08, queries are fresh members (codes of trained
hashers look like this); "random": uniform bits, the worst case.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

import simskip

from .timing import save, time_alternating

K = 25
N_CENTRES = 10_000
FLIP = 0.08


def make_codes(
    kind: str, n: int, n_bits: int, n_queries: int, seed: int = 0
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Database and query codes, packed rows."""
    rng = np.random.default_rng(seed)
    total, width = n + n_queries, n_bits // 8
    if kind == "random":
        codes = rng.integers(0, 256, (total, width), dtype=np.uint8)
    else:
        centres = rng.integers(0, 256, (N_CENTRES, width), dtype=np.uint8)
        codes = centres[rng.integers(0, N_CENTRES, total)]
        for start in range(0, total, 1 << 18):
            block = codes[start : start + (1 << 18)]
            flips = rng.random((len(block), n_bits), dtype=np.float32) < FLIP
            block ^= np.packbits(flips, axis=1, bitorder="little")
    return codes[n_queries:], codes[:n_queries]


def numpy_search(database: npt.NDArray[np.uint8], queries: npt.NDArray[np.uint8]) -> None:
    """What one would write with NumPy: popcount and partition."""
    width = 8 if database.shape[1] % 8 == 0 else 1
    a, b = (x.view(np.uint64) if width == 8 else x for x in (database, queries))
    for query in b:
        distances = np.bitwise_count(a ^ query).sum(axis=1, dtype=np.int32)
        nearest = np.argpartition(distances, K)[:K]
        nearest[np.argsort(distances[nearest], kind="stable")]


def measure(kind: str, n: int, n_bits: int, repeats: int) -> list[dict[str, Any]]:
    """One row per competitor and instruction set."""
    import faiss
    from usearch.index import MetricKind, search

    n_queries = 1000 if n <= 1_000_000 else 400
    database, queries = make_codes(kind, n, n_bits, n_queries)
    index = simskip.HammingIndex(n_bits)
    index.add(simskip.Codes(database, n_bits))
    query_codes = simskip.Codes(queries, n_bits)
    faiss.omp_set_num_threads(1)
    flat = faiss.IndexBinaryFlat(n_bits)
    flat.add(database)
    few = max(4, min(200, 20_000_000 // n))  # slow ones answer fewer queries

    def run_simskip(isa: str) -> None:
        simskip.cpu.force(isa)
        index.search(query_codes, K, threads=1)

    def run_faiss(heap: bool) -> None:
        flat.use_heap = heap
        flat.search(queries[:few], K)

    work = {f"simskip {isa}": (lambda isa=isa: run_simskip(isa)) for isa in simskip.cpu.available}
    units = dict.fromkeys(work, n_queries)
    work |= {
        "faiss heap": lambda: run_faiss(True),
        "faiss counter": lambda: run_faiss(False),
        "numpy": lambda: numpy_search(database, queries[:2]),
    }
    units |= {"faiss heap": few, "faiss counter": few, "numpy": 2}
    if n <= 1_000_000:
        work["usearch exact"] = lambda: search(database, queries[:4], K, MetricKind.Hamming, exact=True, threads=1)
        units["usearch exact"] = 4
    times = time_alternating(work, units, repeats)
    simskip.cpu.force(simskip.cpu.available[0])

    exact, _ = flat.search(queries[:few], K)
    ours, _ = index.search(query_codes[:few], K)
    if not np.array_equal(exact, ours):
        raise AssertionError("simskip and faiss disagree")
    faiss_best = min(times["faiss heap"].best_cpu, times["faiss counter"].best_cpu)
    return [
        {
            "codes": kind,
            "n": n,
            "n_bits": n_bits,
            "who": name,
            "us_per_query": t.best * 1e6,
            "us_per_query_median": t.median * 1e6,
            "cpu_us_per_query": t.best_cpu * 1e6,
            "times_faster_than_faiss": faiss_best / t.best_cpu,  # CPU time: less disturbed than wall
        }
        for name, t in times.items()
    ]


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="10 M codes too")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    cases = [("clustered", 100_000, 64), ("clustered", 1_000_000, 64), ("random", 1_000_000, 64)]
    cases += [("clustered", 1_000_000, 128), ("clustered", 1_000_000, 256)]
    if arguments.full:
        cases += [("clustered", 10_000_000, 64), ("random", 10_000_000, 64), ("clustered", 10_000_000, 256)]
    console = Console()
    rows: list[dict[str, Any]] = []
    for kind, n, n_bits in cases:
        found = measure(kind, n, n_bits, arguments.repeats)
        rows += found
        table = Table(title=f"{n:,} x {n_bits} bits, {kind}, K={K}, batch, one thread")
        for heading in ("", "us / query", "median", "CPU us / query", "CPU: times faster than faiss's best"):
            table.add_column(heading, justify="left" if not heading else "right")
        for row in found:
            table.add_row(
                row["who"],
                f"{row['us_per_query']:,.0f}",
                f"{row['us_per_query_median']:,.0f}",
                f"{row['cpu_us_per_query']:,.0f}",
                f"{row['times_faster_than_faiss']:.2f}",
            )
        console.print(table)
    console.print(f"saved {save('hamming', rows)}")


if __name__ == "__main__":
    main()
