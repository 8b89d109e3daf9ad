"""Three ways to answer "what looks like this photograph?", as a fashion search had them, and ours; on real photographs.

    python -m benchmarks.three_versions                    10,000 and 60,000 photographs: some minutes of one core
    python -m benchmarks.three_versions --items 3000 --quick   to see that it runs
    python -m benchmarks.three_versions --write-readme     the tables into README.md (--saved: those of last time)

V1  the features of all photographs are computed for each query. Embedding 128 photographs one by one is measured and
    multiplied by n (it is the same work n times), and an exact search is added. The fair reading of V1, which embeds
    the query alone, is V2 and one embedding: it is there too.
V2  stored features, all compared for each query: scikit-learn's cosine_similarity and a full sort, as such searches
    are usually written; NumPy over unit vectors; faiss; and a Collection's exact search. "In a batch": 1,000 queries
    in one call.
V3  the 25 nearest of every photograph are computed beforehand: ``Collection.knn_table``, in memory and from SQLite.
ours  256-bit codes, alone and with an exact rerank.

All answer the same question: the 25 nearest of photographs that are in the collection, themselves left out (V3 can
answer no other). The hasher was trained on other photographs than those that are asked for. Recall@25 is against exact
search in double precision. One thread, processor time, least of several rounds in which all take turns.
Results: benchmarks/results/three_versions.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sqlite3
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from threadpoolctl import threadpool_limits

import simskip

from . import results, three_versions_tables
from .features import embedded_photographs
from .timing import Work, time_alternating
from .zoo import fitted

__all__ = ["Photographs", "embedding_costs", "main", "measure"]

Row = dict[str, Any]
Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

README = Path(__file__).parent.parent / "README.md"
K = 25
QUERIES = 1000
BITS = 256  # with an exact rerank of 10 * K these find 95 % of the true neighbours among 60,000; 64 bits 75 %
TRAINING_ROWS = 20_000
RERANK = 10
# From here up to the largest of --items it is measured when the table has paid for itself.
SIZES = (1000, 3000, 10_000, 30_000, 60_000)
EMBEDDED_ONE_BY_ONE = 128


@dataclass(frozen=True)
class Photographs:
    """Images (n, h, w, 3) uint8 and their vectors (n, d) float32."""

    images: npt.NDArray[np.uint8]
    vectors: Floats


@dataclass(frozen=True)
class Way:
    """One way to answer: its time is taken of ``one`` question or of a ``batch``, its recall of the batch."""

    version: str
    name: str
    run: Callable[[list[int]], Ids | None]  # row numbers -> (q, k) ids; None: nothing to compare
    batch: bool = False


def measure(data: Photographs, n: int, hasher: simskip.Hasher, repeats: int, seconds: float) -> Row:
    """All ways on the first n photographs, and what the table of V3 costs."""
    X = np.ascontiguousarray(data.vectors[:n])
    with (
        tempfile.TemporaryDirectory() as folder,
        simskip.Collection.open(Path(folder) / "photographs.db") as collection,
    ):
        keys = [f"photograph {i}" for i in range(n)]
        step = 8192
        for start in range(0, n, step):
            collection.add(keys[start : start + step], X[start : start + step])
        collection.train(hasher)
        before = collection.info()["bytes"]
        exact, exact_cpu_s = _table(collection, exact=True)
        file_bytes = collection.info()["bytes"] - before
        by_codes, codes_cpu_s = _table(collection, exact=False)
        rows = list(range(min(QUERIES, n)))
        connection = sqlite3.connect(collection.path)
        try:
            ways = [*_stored_features(X, exact.ids, collection, keys), *_ours(collection, keys)]
            ways += _precomputed(collection, exact, connection)
            answers = _timed(ways, rows, exact.neighbors[: len(rows)], repeats, seconds)
        finally:
            connection.close()
        shared = simskip.metrics.recall_at_k(by_codes.neighbors, exact.neighbors)
    return {
        "n": n,
        "dim": X.shape[1],
        "answers": answers,
        "table": {
            "exact_cpu_s": exact_cpu_s,
            "codes_cpu_s": codes_cpu_s,
            "codes_recall": float(shared),
            "file_bytes": file_bytes,
            "memory_bytes": exact.nbytes,
            "stale_share": stale_share(exact),
        },
    }


def _table(collection: simskip.Collection, exact: bool) -> tuple[Any, float]:
    before = time.process_time()
    return collection.knn_table(K, exact=exact, progress=False), time.process_time() - before


def stale_share(table: Any, new: float = 0.01) -> float:
    """The share of lists that become wrong when so many of the items are new: those that one of the last stands in."""
    old = int(len(table) * (1 - new))
    return float((table.neighbors[:old] > table.ids[old - 1]).any(axis=1).mean())


def _stored_features(X: Floats, ids: Ids, collection: simskip.Collection, keys: list[str]) -> list[Way]:
    import faiss
    from sklearn.metrics.pairwise import cosine_similarity

    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    flat = faiss.IndexFlatIP(X.shape[1])
    flat.add(unit)

    def usual(rows: list[int]) -> Ids:
        found = np.argsort(-cosine_similarity(X[rows], X), axis=1)
        return _others(ids[found[:, : K + 1]], ids[rows])

    def numpy(rows: list[int]) -> Ids:
        (row,) = rows
        similarities = unit @ unit[row]
        near = np.argpartition(-similarities, K)[: K + 1]
        return _others(ids[near[np.argsort(-similarities[near])]][None], ids[rows])

    def faiss_flat(rows: list[int]) -> Ids:
        return _others(ids[flat.search(unit[rows], K + 1)[1]], ids[rows])

    def ours(rows: list[int]) -> Ids:
        return collection.search_many(keys=[keys[row] for row in rows], k=K, exact=True, threads=1)[1]

    return [
        Way("V2", "scikit-learn's cosine_similarity, full sort", usual),
        Way("V2", "NumPy, unit vectors", numpy),
        Way("V2", "faiss IndexFlatIP", faiss_flat),
        Way("V2", "Collection, exact", ours),
        Way("V2", "faiss IndexFlatIP, in a batch", faiss_flat, batch=True),
        Way("V2", "Collection, exact, in a batch", ours, batch=True),
    ]


def _ours(collection: simskip.Collection, keys: list[str]) -> list[Way]:
    options: dict[str, dict[str, Any]] = {
        f"{BITS}-bit codes": {"rerank": None},
        f"codes + rerank x{RERANK}": {"rerank": RERANK},
        "codes + rerank, recall=0.95": {"recall": 0.95},
    }

    def way(name: str, batch: bool) -> Way:
        def run(rows: list[int]) -> Ids:
            chosen = [keys[row] for row in rows]
            return collection.search_many(keys=chosen, k=K, threads=1, **options[name])[1]

        return Way("ours", f"{name}{', in a batch' * batch}", run, batch)

    return [way(name, batch) for batch in (False, True) for name in options]


def _precomputed(collection: simskip.Collection, table: Any, connection: sqlite3.Connection) -> list[Way]:
    ids = table.ids.tolist()
    query = "SELECT neighbor, distance FROM neighbors WHERE id = ? ORDER BY rank"

    def memory(rows: list[int]) -> None:
        for row in rows:
            table.lookup(ids[row])

    def sql(rows: list[int]) -> None:
        for row in rows:
            connection.execute(query, (ids[row],)).fetchall()

    def hits(rows: list[int]) -> None:
        for row in rows:
            collection.neighbors(table.keys[row], K)

    return [
        Way("V3", "table in memory", memory, batch=True),
        Way("V3", "table in SQLite", sql, batch=True),
        Way("V3", "Collection.neighbors: with keys, labels, attributes", hits, batch=True),
    ]


def _others(found: Ids, own: Ids) -> Ids:
    """Lists of one more than K without the item itself, or without the last where it is missing."""
    is_own = found == own[:, None]
    is_own[~is_own.any(axis=1), -1] = True
    return found[~is_own].reshape(len(found), -1)


def _timed(ways: list[Way], rows: list[int], truth: Ids, repeats: int, seconds: float) -> list[Row]:
    """A row for each way: microseconds of processor time per question, and recall."""
    work, answers = {}, []
    for way in ways:
        asked = itertools.cycle(rows)
        if way.batch:
            work[way.name] = Work(lambda way=way: way.run(rows), len(rows))
        else:
            work[way.name] = Work(lambda way=way, asked=asked: way.run([next(asked)]), 1)
    times = time_alternating(work, repeats, seconds)
    for way in ways:
        recall = 1.0 if way.version == "V3" else _recall(way, rows, truth)
        answers.append(
            {"version": way.version, "name": way.name, "batch": way.batch, "recall": recall, **times[way.name].row()}
        )
    return answers


def _recall(way: Way, rows: list[int], truth: Ids) -> float:
    asked = rows if way.batch else rows[: min(200, len(rows))]
    found = [way.run(rows)] if way.batch else [way.run([row]) for row in asked]
    return float(
        simskip.metrics.recall_at_k(np.concatenate([ids for ids in found if ids is not None]), truth[: len(asked)])
    )


def embedding_costs(embedder: Any, images: npt.NDArray[np.uint8]) -> Row:
    """Processor seconds of one photograph: one by one (least of the quarters), and in one call."""
    embedder.embed(images[:1])
    times = []
    for part in np.array_split(images, 4):
        before = time.process_time()
        for image in part:
            embedder.embed(image[None])
        times.append((time.process_time() - before) / len(part))
    before = time.process_time()
    embedder.embed(images)
    return {"one_by_one_s": min(times), "in_one_call_s": (time.process_time() - before) / len(images)}


def run(sizes: list[int], quick: bool, repeats: int, console: Console) -> Row:
    """Everything, with one hasher for all sizes."""
    simskip.set_threads(1)
    with threadpool_limits(1):
        import faiss

        faiss.omp_set_num_threads(1)
        data = Photographs(*embedded_photographs(max(*sizes, QUERIES + 4000)))
        embedder = simskip.embedding.images("efficientnet-lite0", threads=1)
        embedding = embedding_costs(embedder, data.images[: 16 if quick else EMBEDDED_ONE_BY_ONE])
        shown = data.vectors[QUERIES : QUERIES + TRAINING_ROWS]
        hasher, training = fitted("itq" if quick else "neighbors", BITS, 0, np.ascontiguousarray(shown), None, 120.0)
        console.print(f"{hasher} trained on {len(shown):,} other photographs in {training['cpu_s']:.0f} s")
        found = []
        for n in sizes:
            found.append(measure(data, n, hasher, repeats, 0.02 if quick else 0.2))
            console.print(f"{n:,} photographs measured")
    return {"hasher": repr(hasher), "training": training, "embedding": embedding, "sizes": found}


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, save; on request write the README's block."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=_numbers, default=[10_000, 60_000], help="tables for so many photographs")
    parser.add_argument("--quick", action="store_true", help="ITQ instead of a trained network, one short round")
    parser.add_argument("--repeats", type=int, help="rounds (default: 7)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--saved", action="store_true", help="measure nothing: tables of the last run")
    parser.add_argument("--write-readme", action="store_true", help="put the tables into README.md")
    options = parser.parse_args(arguments)
    console = Console(stderr=True)
    path = results.FOLDER / "three_versions.json"
    if options.saved:
        if not path.exists():
            parser.error(f"--saved: there is no {path.name} in benchmarks/results")
    else:
        most = max(options.items)
        if not 1000 <= min(options.items) <= most <= 60_000:
            parser.error(f"--items: from 1,000 to 60,000, got {options.items}")
        sizes = sorted({*options.items, *(size for size in SIZES if size <= most)})
        found = run(sizes, options.quick, options.repeats or (2 if options.quick else 7), console)
        results.save("three_versions", {"shown": sorted(options.items), **found})
    result = json.loads(path.read_text(encoding="utf-8"))
    print(json.dumps(result, indent=1) if options.json else three_versions_tables.document(result))
    if options.write_readme:
        README.write_text(three_versions_tables.written(README.read_text(encoding="utf-8"), result), encoding="utf-8")
        console.print("wrote the tables into README.md")


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


if __name__ == "__main__":
    main()
