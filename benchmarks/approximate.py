"""simskip's exact search beside approximate indexes that are tuned to Recall@25 >= 0.95, one thread.

Each approximate index is built once with its usual parameters; its search parameter is the first of a growing series
that reaches the recall. A neighbour counts as found if its distance is at most that of the true 25th: with ties nobody
is blamed for the other choice.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from .cases import Case, K
from .competitors import Simskip, methods
from .timing import Work, time_alternating

__all__ = ["TARGET", "measure", "recall"]

TARGET = 0.95

Bytes = npt.NDArray[np.uint8]
Search = Callable[[Bytes], npt.NDArray[Any]]


@dataclass(frozen=True)
class Approximate:
    """A built index: ``tuned(parameter)`` is a search that returns distances."""

    name: str
    parameter: str
    values: list[int]
    tuned: Callable[[int], Search]
    build_cpu_s: float
    megabytes: float


def measure(case: dict[str, Any], database: str, queries: str, repeats: int, seconds: float) -> list[dict[str, Any]]:
    """Rows of one case: first those tried on the way to the recall (no times), then the tuned ones and simskip's."""
    the_case = Case(**case)
    data, asked = np.ascontiguousarray(np.load(database)), np.load(queries)
    exact, build_cpu = {}, {}
    for method in methods():
        start = time.process_time()
        exact[method] = Simskip(the_case, data, method)
        build_cpu[method] = time.process_time() - start
    truth = exact["scan"].search(asked, 1)
    searches: dict[str, Search] = {f"simskip {method}": partial(i.search, threads=1) for method, i in exact.items()}
    about: dict[str, dict[str, Any]] = {}
    for method, index in exact.items():
        name = f"simskip {method}"
        about[name] = {
            "recall": recall(searches[name](asked), truth),
            "parameter": "",
            "build_cpu_s": build_cpu[method],
            "megabytes": (index.index.nbytes - the_case.nbytes) / 1e6,
        }
    curve = []
    for peer in peers(the_case, data):
        for value in peer.values:
            search = peer.tuned(value)
            start = time.process_time()
            reached = recall(search(asked), truth)
            cpu_us = (time.process_time() - start) / len(asked) * 1e6
            curve.append(
                {"who": peer.name, "parameter": f"{peer.parameter} {value}", "recall": reached, "cpu_us": cpu_us}
            )
            if reached >= TARGET:
                break
        searches[peer.name] = partial(set_and_search, peer, value)
        about[peer.name] = {
            "recall": reached,
            "parameter": f"{peer.parameter} {value}",
            "build_cpu_s": peer.build_cpu_s,
            "megabytes": peer.megabytes,
        }
    work = {name: Work(partial(search, asked), len(asked)) for name, search in searches.items()}
    times = time_alternating(work, repeats, seconds)
    best = min(times[name].row()["cpu_us"] for name in times if name.startswith("simskip"))
    rows = [{"tuned": False, **case, **point} for point in curve]
    for name, timing in times.items():
        row = timing.row()
        slower = row["cpu_us"] / best
        rows.append({"tuned": True, **case, "k": K, "who": name, **about[name], **row, "times_slower": slower})
    return rows


def set_and_search(peer: Approximate, value: int, queries: Bytes) -> npt.NDArray[Any]:
    """The parameter is the index's: set again, in case another search has changed it."""
    return peer.tuned(value)(queries)


def recall(distances: npt.NDArray[Any], truth: npt.NDArray[Any]) -> float:
    """Share of the k slots that hold a distance no larger than the true k-th."""
    return float((distances <= truth[:, -1:]).mean())


def growing(first: int, last: int) -> list[int]:
    """From first to last in steps of about 1.4: nobody is charged for much more recall than was asked for."""
    return list(itertools.takewhile(lambda v: v <= last, (round(first * 2 ** (i / 2)) for i in itertools.count())))


def peers(case: Case, data: Bytes) -> Iterator[Approximate]:
    """Builds one approximate index after another."""
    import faiss
    from usearch.index import Index

    faiss.omp_set_num_threads(1)
    codes_mb = data.nbytes / 1e6

    def built(make: Callable[[], Any]) -> tuple[Any, float]:
        start = time.process_time()
        index = make()
        return index, time.process_time() - start

    def ivf() -> Any:
        # About 4 sqrt(n) lists, trained on at most 64 codes for each.
        n_lists = int(2 ** round(np.log2(4 * np.sqrt(case.n))))
        index = faiss.IndexBinaryIVF(faiss.IndexBinaryFlat(case.n_bits), case.n_bits, n_lists)
        index.cp.max_points_per_centroid = 64
        index.train(data)
        index.add(data)
        return index

    def hnsw() -> Any:
        index = faiss.IndexBinaryHNSW(case.n_bits, 16)
        index.hnsw.efConstruction = 40
        index.add(data)
        return index

    def usearch_hnsw() -> Any:
        index = Index(ndim=case.n_bits, metric="hamming", dtype="b1", connectivity=16)
        index.add(np.arange(case.n), data, threads=1)
        return index

    def found_by_faiss(index: Any) -> Search:
        return lambda queries: np.where((found := index.search(queries, K))[1] < 0, 2**30, found[0])

    def found_by_usearch(index: Any) -> Search:
        return lambda queries: index.search(queries, K, threads=1).distances

    def set_probes(index: Any, value: int) -> Search:
        index.nprobe = value
        return found_by_faiss(index)

    def set_ef(index: Any, value: int) -> Search:
        index.hnsw.efSearch = value
        return found_by_faiss(index)

    def set_expansion(index: Any, value: int) -> Search:
        index.expansion_search = value
        return found_by_usearch(index)

    for name, parameter, values, make, tune in (
        ("faiss IVF", "nprobe", growing(4, 1024), ivf, set_probes),
        ("faiss HNSW", "efSearch", growing(32, 4096), hnsw, set_ef),
        ("usearch HNSW", "expansion", growing(32, 4096), usearch_hnsw, set_expansion),
    ):
        index, cpu = built(make)
        if name.startswith("faiss"):
            size = len(faiss.serialize_index_binary(index)) / 1e6
        else:
            size = index.serialized_length / 1e6
        yield Approximate(name, parameter, values, partial(tune, index), cpu, size - codes_mb)
