"""The asymmetric scan beside the Hamming scan and faiss's fast scan of product quantisers, one thread, in one run.

    python -m benchmarks.asymmetric                1 M codes of 64 bits, batches of 256 queries and single ones
    python -m benchmarks.asymmetric --bits 256     other lengths; --n for other sizes

All three look at 8 bytes per item (at 64 bits). faiss's ``IndexPQFastScan`` with 16 codebooks of 16 entries is the same
idea for another kind of code, and approximate in its sums; simskip's distances are exact. One row per instruction set.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import simskip

from .results import save
from .timing import Work, time_alternating

BATCH = 256


def measure(n: int, n_bits: int, k: int, repeats: int) -> list[dict[str, Any]]:
    """One row per competitor, instruction set and way of asking."""
    import faiss

    faiss.omp_set_num_threads(1)
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(BATCH, n_bits)).astype(np.float32)
    index = simskip.HammingIndex(n_bits, method="scan")
    index.add(simskip.Codes(rng.integers(0, 256, (n, n_bits // 8), dtype=np.uint8), n_bits))
    codes = simskip.pack(outputs)
    peer = faiss.IndexPQFastScan(n_bits, n_bits // 4, 4)
    sample = rng.normal(size=(20_000, n_bits)).astype(np.float32)
    peer.train(sample)
    for start in range(0, n, len(sample)):
        peer.add(rng.normal(size=(min(len(sample), n - start), n_bits)).astype(np.float32))
    rows = []
    for isa in simskip.cpu.available:
        simskip.cpu.force(isa)
        for n_queries in (BATCH, 1):
            some = np.ascontiguousarray(outputs[:n_queries])
            work = {
                "asymmetric": Work(lambda some=some: index._native.search_asymmetric(some, k, None, 1), n_queries),
                "hamming": Work(lambda some=codes[:n_queries]: index.search(some, k, threads=1), n_queries),
                "faiss PQ fast scan": Work(lambda some=some: peer.search(some, k), n_queries),
            }
            times = time_alternating(work, repeats)
            for name, timing in times.items():
                rows.append(
                    {
                        "isa": isa,
                        "queries": n_queries,
                        "name": name,
                        "n": n,
                        "bits": n_bits,
                        "k": k,
                        "codes_per_second": n / min(timing.cpu),
                        **timing.row(),
                    }
                )
    simskip.cpu.force(simskip.cpu.available[0])
    return rows


def table_of(rows: list[dict[str, Any]]) -> Table:
    """For people."""
    table = Table(
        title=f"{rows[0]['n']:,} codes x {rows[0]['bits']} bits, K={rows[0]['k']}, one thread, processor time"
    )
    for column in ("isa", "queries", "name", "us per query", "G codes/s"):
        table.add_column(column, justify="left" if column in ("isa", "name") else "right")
    for row in rows:
        speed = f"{row['codes_per_second'] / 1e9:.2f}"
        table.add_row(row["isa"], str(row["queries"]), row["name"], f"{row['cpu_us']:,.1f}", speed)
    return table


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--k", type=int, default=25)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    rows = measure(arguments.n, arguments.bits, arguments.k, arguments.repeats)
    console = Console(width=100)
    console.print(table_of(rows))
    console.print(f"saved to {save('asymmetric', {'rows': rows})}")


if __name__ == "__main__":
    main()
