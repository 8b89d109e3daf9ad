"""The main job from end to end: photographs -> vectors -> codes -> search -> report."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import cache, datasets, embedding
from .datasets import LabelledImages
from .extras import require
from .validation import positive_int

__all__ = ["Answer", "DemoResult", "run_demo"]

N_BITS = 64
K = 25
DATABASE, QUERIES = 30_000, 1_000
FULL_DATABASE, FULL_QUERIES = 60_000, 10_000
RERANK, DEEP_RERANK = 10, 20  # the second stage looks at so many times K vectors
MIN_RECALL = 0.95  # what codes must reach to replace the vectors in the verdict

REPORT, HASHER, INDEX = "report.html", "hasher.safetensors", "index.simskip"


@dataclass(frozen=True)
class Answer:
    """One query after everything was loaded back from disk.

    Attributes
    ----------
    query : int
        Row of the queries.
    label : str
        What the query shows.
    neighbours : list of (id, label, distance)
        The nearest first; the distance is 1 - cosine.
    """

    query: int
    label: str
    neighbours: list[tuple[int, str, float]]


@dataclass(frozen=True)
class DemoResult:
    """What the demo made.

    Attributes
    ----------
    report : Report
    answer : Answer
    folder : Path
        Holds ``report.html``, ``hasher.safetensors`` and ``index.simskip``.
    vectors_reused : bool
        Whether all vectors came from the cache.
    seconds : dict of str to float
        By step, in order.
    """

    report: Any
    answer: Answer
    folder: Path
    vectors_reused: bool
    seconds: dict[str, float]


def run_demo(
    folder: str | os.PathLike[str] = "simskip-demo",
    *,
    database: int | None = None,
    queries: int | None = None,
    full: bool = False,
    threads: int | None = None,
    progress: bool = True,
    say: Callable[[str], None] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> DemoResult:
    """Run the main job on Fashion-MNIST and leave a report, a hasher and an index behind.

    The database is taken from the training split and the queries from the test split, so no query was seen
    before. ``"learned"`` is trained on the database's vectors alone, ``"learned with labels"`` on their
    labels too: its label scores hold for a database that was labelled before.

    Parameters
    ----------
    folder : path
        Where results go; made if it is missing, files of an earlier run are replaced.
    database, queries : int, optional
        Images to use: 30,000 and 1,000; with ``full`` 60,000 and 10,000.
    full : bool
        All 70,000 images.
    threads : int, optional
        Threads for embedding; default ``simskip.set_threads``'s.
    progress : bool
        Show bars.
    say : callable, optional
        Gets a line when a step begins.
    cache_dir : path, optional
        See ``simskip.cache.cache_dir``. Vectors are kept there, so that a second run computes none.

    Returns
    -------
    DemoResult

    Raises
    ------
    ValueError
        For more images than there are, or too few for a rerank of ``K * DEEP_RERANK`` to be a shortcut.
    ImportError
        If the extra ``images``, ``train`` or ``report`` is missing.
    OSError
        If the images can be had nowhere, or ``folder`` cannot be written.
    """
    default_n, default_q = (FULL_DATABASE, FULL_QUERIES) if full else (DATABASE, QUERIES)
    n, q = default_n if database is None else database, default_q if queries is None else queries
    n = positive_int(n, "database", minimum=2 * K * DEEP_RERANK, maximum=FULL_DATABASE)
    q = positive_int(q, "queries", maximum=FULL_QUERIES)
    for module, extra, purpose in (
        ("torch", "train", "Training"),
        ("onnxruntime", "images", "Embedding images"),
        ("matplotlib", "report", "The report"),
    ):
        require(module, extra, f"The demo: {purpose.lower()}")
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    clock = _Clock(say or (lambda line: None))

    with clock.step("photographs", f"{n + q:,} photographs of clothes (Fashion-MNIST)"):
        items = datasets.fashion_mnist("train", cache_dir=cache_dir)[:n]
        unseen = datasets.fashion_mnist("test", cache_dir=cache_dir)[:q]
    with clock.step("vectors", "vectors: EfficientNet-Lite0, 1280 numbers each"):
        embedder = embedding.images("efficientnet-lite0", threads=threads, cache_dir=cache_dir)
        computed = _Counter()
        X = _vectors(embedder, items, computed, progress, cache_dir)
        Q = _vectors(embedder, unseen, computed, progress, cache_dir)
    hashers = _trained(X, items.labels, clock, progress)
    with clock.step("evaluation", f"evaluation: {q:,} unseen queries against exact search, K = {K}"):
        report = _evaluate(hashers, X, Q, items, unseen)
    with clock.step("files", f"files: {REPORT}, {HASHER}, {INDEX} in {target}"):
        expected = _save(target, report, hashers["learned"], X, Q[:1])
    with clock.step("reload", "hasher and index loaded back, one query answered"):
        answer = _answer(target, items, unseen, Q, expected)
    return DemoResult(report, answer, target, computed.calls == 0, clock.seconds)


class _Clock:
    """Announces steps and keeps their times."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def step(self, name: str, line: str) -> Iterator[None]:
        self._say(line)
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start


class _Counter:
    calls = 0


def _vectors(
    embedder: Any, images: LabelledImages, computed: _Counter, progress: bool, cache_dir: Any
) -> npt.NDArray[np.float32]:
    def compute() -> npt.NDArray[np.float32]:
        computed.calls += 1
        return embedder.embed(images.images, progress=progress)  # type: ignore[no-any-return]

    return cache.cached_vectors(embedder, cache.array_fingerprint(images.images), compute, cache_dir)


def _trained(
    X: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], clock: _Clock, progress: bool
) -> dict[str, Any]:
    """The hashers to compare, by the name in the report."""
    from .hashing import PCAHash, RandomHash
    from .hashing.deep import DeepHash

    with clock.step("linear hashers", f"{N_BITS}-bit codes: random hyperplanes, PCA, ITQ"):
        hashers: dict[str, Any] = {
            "random": RandomHash(N_BITS).fit(X),
            "pca": PCAHash(N_BITS, rotation="random").fit(X),
            "itq": PCAHash(N_BITS, rotation="itq").fit(X),
        }
    with clock.step("learned", f"{N_BITS}-bit codes: learned from the vectors alone"):
        hashers["learned"] = DeepHash(N_BITS, "neighbors").fit(X, progress=progress)
    with clock.step("learned with labels", f"{N_BITS}-bit codes: learned with labels"):
        hashers["learned with labels"] = DeepHash(N_BITS, "csq").fit(X, labels, progress=progress)
    return hashers


def _evaluate(
    hashers: dict[str, Any],
    X: npt.NDArray[np.float32],
    Q: npt.NDArray[np.float32],
    items: LabelledImages,
    unseen: LabelledImages,
) -> Any:
    from .evaluation import evaluate

    searchers: dict[str, Any] = {}
    for name, hasher in hashers.items():
        searchers[name] = hasher
        searchers[f"{name} + rerank"] = (hasher, {"rerank": RERANK})
    learned = hashers["learned"]
    searchers["learned + deep rerank"] = (learned, {"rerank": DEEP_RERANK})
    searchers["learned, asymmetric"] = (learned, {"scoring": "asymmetric"})
    searchers["learned, asymmetric + rerank"] = (learned, {"scoring": "asymmetric", "rerank": RERANK})
    return evaluate(
        searchers,
        database=X,
        queries=Q,
        k=K,
        labels=items.labels,
        query_labels=unseen.labels,
        pictures=items.images,
        query_pictures=unseen.images,
        min_recall=MIN_RECALL,
    )


def _save(
    folder: Path, report: Any, hasher: Any, X: npt.NDArray[np.float32], query: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Write the three files; returns the answer that they must give again."""
    from .index import SimilarityIndex

    report.save(folder / REPORT)
    hasher.save(folder / HASHER)
    index = SimilarityIndex(hasher)
    index.add(X)
    index.save(folder / INDEX)
    return index.search(query, k=K, rerank=RERANK)  # type: ignore[no-any-return]


def _answer(
    folder: Path,
    items: LabelledImages,
    unseen: LabelledImages,
    Q: npt.NDArray[np.float32],
    expected: tuple[npt.NDArray[Any], npt.NDArray[np.int64]],
) -> Answer:
    """Load hasher and index and ask the first query.

    Raises
    ------
    RuntimeError
        If what was loaded answers differently from what was saved.
    """
    from .hashing import load_hasher
    from .index import SimilarityIndex

    hasher, index = load_hasher(folder / HASHER), SimilarityIndex.load(folder / INDEX)
    distances, ids = index.search(Q[:1], k=K, rerank=RERANK)
    if not np.array_equal(ids, expected[1]) or hasher.encode(Q[:1]) != index.hasher.encode(Q[:1]):
        raise RuntimeError(f"the index loaded from {folder} answers differently from the one that was saved")
    names = items.label_names
    neighbours = [
        (int(id), names[items.labels[id]], float(distance))
        for id, distance in zip(ids[0, :10], distances[0, :10], strict=True)
    ]
    return Answer(0, names[unseen.labels[0]], neighbours)
