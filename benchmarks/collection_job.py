"""Jobs of ``benchmarks.collection`` in a process of their own, which may be killed.

python -m benchmarks.collection_job sync MODEL FOLDER DATABASE    prints how many are embedded, all the time
python -m benchmarks.collection_job words DATABASE N              prints the seconds of every step as JSON
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

import numpy as np

import simskip
from simskip.embedding.lite_engine import LiteEngine

__all__ = ["count_images", "words"]

QUERIES = 1000
RECALL_QUERIES = 200
K = 25


def count_images() -> None:
    """From now on, say how many images have gone through the network, before anybody else hears of them."""
    lock, count, run = threading.Lock(), 0, LiteEngine.run

    def counted(self: LiteEngine, pixels: Any, cancellation: Any) -> Any:
        nonlocal count
        found = run(self, pixels, cancellation)
        with lock:
            count += len(pixels)
            print(count, flush=True)
        return found

    LiteEngine.run = counted  # type: ignore[method-assign]


def words(database: str, n: int) -> dict[str, Any]:
    """Seconds of all steps for n words (0: all), and whether the answers make sense."""
    steps, start = {}, time.perf_counter()

    def done(step: str) -> None:
        nonlocal start
        steps[step], start = time.perf_counter() - start, time.perf_counter()

    embedder = simskip.embedding.text("glove")
    chosen = None if n == 0 else list(embedder.vocabulary)[:n]
    done("load")
    with simskip.Collection.open(database) as collection:
        collection.sync(chosen, embedder, progress=False)
        done("sync")
        hasher = collection.train("neighbors", n_bits=128, progress=False)
        done("train and encode")
        ids, vectors = collection.vectors()
        start = time.perf_counter()
        hasher.encode(vectors)
        done("encode alone")
        held_out = collection.held_out[:QUERIES]
        queries = vectors[np.searchsorted(ids, held_out)]
        start = time.perf_counter()
        collection.search_many(vectors=queries[:1], k=K)
        done("read the index")
        found = collection.search_many(vectors=queries, k=K)[1]
        done(f"{len(queries):,} queries")
        exact = collection.search_many(vectors=queries[:RECALL_QUERIES], k=K, exact=True)[1]
        return {
            "n": len(collection),
            "steps": steps,
            "recall": float(simskip.metrics.recall_at_k(found[: len(exact)], exact)),
            "paris": collection.search(text="paris", k=10).keys,
        }


if __name__ == "__main__":
    if sys.argv[1] == "sync":
        count_images()
        _, _, model, folder, path = sys.argv
        with simskip.Collection.open(path) as collection:
            collection.sync(folder, model, progress=False)
    else:
        print(json.dumps(words(sys.argv[2], int(sys.argv[3]))))
