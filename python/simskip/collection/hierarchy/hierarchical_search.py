"""HierarchicalSearch: first which classes, then which items."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ...hashing import Hasher
from ...hashing.hasher import checked_codes, require_fitted
from ...index import HammingIndex
from ...index.ids import IdArray, Where, allowed_ids
from ...index.vector import METRICS, VectorIndex
from ...validation import FloatMatrix, choice, fraction, matrix, positive_int, thread_count, unique_ids
from .cell_gate import Plan
from .cell_scan import CellScan
from .class_cells import class_cells
from .class_gate import ClassGate, GateOptions, least_probability
from .class_labels import class_array, class_numbers
from .gate_report import GateRecall, GateReport
from .vector_classifier import VectorClassifier

__all__ = ["HierarchicalSearch"]

SCORINGS = ("codes", "asymmetric")
PROBABILITY = 0.9

_LEAST_CELL = 32  # rows of a cell on average; smaller ones cost more to rank than to scan
_FITTED_QUERIES = 300
_FITTED_NEIGHBORS = 25
_QUERY_BLOCK = 512

Doubles = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


class HierarchicalSearch:
    """Nearest items, sought where they are likely to be: in the classes that a classifier gives the query.

    Items are grouped by class, and each class is cut into cells of items that are near each other. A search ranks the
    cells of each query and reads them from the most likely one, until enough probability is covered. So it is exact
    among what it reads, and what it reads is a fraction of the items.

    Parameters
    ----------
    ids : (n,) integers
        Distinct, non-negative.
    vectors : (n, d) array
        Finite; copied.
    labels : (n,) sequence of int or of str
        Classes of the items. Items without one (None or -1) are filed under the class that the classifier predicts.
    hasher : fitted hasher, optional
        Compare codes instead of vectors, and vectors only to rerank.
    metric : {"cosine", "l2", "dot"}
        See ``VectorIndex``.
    classifier : VectorClassifier, optional
        Fitted, or anything with ``classes_`` and ``predict_proba``; must know all classes of the items. Default: one is
        trained on the labelled items (see ``VectorClassifier``; needs torch, and at least two classes: with one there
        is nothing to tell apart).
    rows_per_cell : int, "auto" or None
        Items of a cell on average. ``"auto"``: half the square root of n, at least 32. None: classes are not cut; then
        the gate is the classifier alone.
    random_state : int
        Seed >= 0 of the classifier, the cells and the sample.

    Attributes
    ----------
    classes_ : array of int64 or str
        Classes that have items.
    classifier_ : VectorClassifier or None
    probability_ : float
        What searches cover unless they are told: 0.9, or what ``tune_gate`` chose.
    weights_ : (3,) float64 array
        Of class probability, closeness and size in the gate; see Notes.
    scanned_ : (q,) int64 array
        Rows that each query of the latest search was compared with.

    Notes
    -----
    With cut classes, a cell's probability is a conditional logit of three numbers: the logarithm of its class's
    probability, the query's closeness to its centre, and the logarithm of its size. Its weights are fitted to where the
    true neighbours of 300 items lie (items that the classifier was not trained on, if it was trained here and there are
    any), or of the queries given to ``tune_gate``. ``probability=0.9`` so means: cells that should hold nine tenths of
    the neighbours. The classifier counts for as much as it helps.

    With whole classes (``rows_per_cell=None``) it means: classes that should hold the query's own in nine of ten cases.

    On 40,000 EfficientNet-Lite0 vectors of CIFAR-10, with a classifier that is right for 69 % of the queries, the hard
    gate of one class reads 10 % of the items and finds 67 % of the 25 nearest; cells find 98 % in as many. Whole
    classes by probability find more than two or three fixed ones (85 and 84 %, 93 and 90 %). What cells gain is due to
    closeness: without the classifier they find as many within .002 (``benchmarks/hierarchical.py``).

    Answers are the same bytes for any number of threads and however queries are put into batches (a hasher's outputs
    within rounding of 0 aside, see ``Hasher.encode``). Objects do not change after they are made (but ``tune_gate``
    sets the gate), and several threads may search at once (``scanned_`` is then that of any of them). Codes are scanned
    so fast that gating pays only with vectors, or millions of codes.

    Examples
    --------
    >>> import numpy as np
    >>> from simskip.collection.hierarchy.hierarchical_search import HierarchicalSearch
    >>> rng = np.random.default_rng(0)
    >>> y = np.arange(2000) % 4
    >>> X = (2 * rng.normal(size=(4, 8))[y] + rng.normal(size=(2000, 8))).astype(np.float32)
    >>> names = np.array(["city", "forest", "mountain", "sea"])[y]
    >>> search = HierarchicalSearch(np.arange(1900), X[:1900], names[:1900])
    >>> distances, ids = search.search(X[1900:], k=5)
    >>> bool((search.scanned_ < 1000).all()), search.gate_recall(X[1900:], k=5).recall > 0.8
    (True, True)
    >>> distances, ids = search.search(X[1900:1901], k=3, labels="sea")
    >>> names[ids[0]].tolist()
    ['sea', 'sea', 'sea']
    """

    def __init__(
        self,
        ids: npt.ArrayLike,
        vectors: npt.ArrayLike,
        labels: Any,
        hasher: Hasher | None = None,
        metric: str = "cosine",
        classifier: Any = None,
        *,
        rows_per_cell: int | str | None = "auto",
        random_state: int = 0,
        threads: int | None = None,
    ) -> None:
        choice(metric, "metric", METRICS)
        seed = positive_int(random_state, "random_state", minimum=0)
        thread_count(threads)
        X = matrix(vectors, "vectors")
        if hasher is not None and require_fitted(hasher, ("encode", "project")) != X.shape[1]:
            raise ValueError(f"hasher must be fitted to {X.shape[1]} columns, as the vectors, got {hasher!r}")
        own_ids = unique_ids(ids, "ids", len(X))
        VectorIndex(X.shape[1], metric)._norms(X, "vectors")
        size = _rows_per_cell(rows_per_cell, len(X))
        numbers, classes = class_numbers(labels, "labels", len(X))
        if not classes:
            raise ValueError("labels must hold at least one class, got none")
        unseen = np.ones(len(X), bool)
        if classifier is None and len(classes) > 1:
            classifier = VectorClassifier(random_state=seed, threads=threads)
            classifier.fit(X, labels, progress=False)
            unseen[classifier.trained_] = False
        self.classifier_ = classifier
        self._gate = ClassGate(classifier, classes)
        self.classes_ = class_array(classes)
        missing = np.flatnonzero(numbers < 0)
        self.predicted_ = np.sort(own_ids[missing])
        numbers[missing] = self._gate.probabilities(X[missing]).argmax(axis=1)
        cells = class_cells(X, numbers, metric, size, seed)
        self._scan = CellScan(X, own_ids, cells)
        self._gate.take(cells)
        self._codes: HammingIndex | None = None
        self._hasher = hasher
        if hasher is not None:
            self._codes = HammingIndex(hasher.n_bits)
            self._codes.add(checked_codes(hasher, X, hasher.n_bits), own_ids)
        self.probability_ = PROBABILITY
        self.scanned_ = np.empty(0, np.int64)
        if self._gate.cell_gate.split:
            chosen = np.flatnonzero(unseen) if unseen.sum() >= min(_FITTED_QUERIES, len(X) // 2) else np.arange(len(X))
            chosen = np.sort(np.random.default_rng(seed).permutation(chosen)[:_FITTED_QUERIES])
            self._fit(X[chosen], _FITTED_NEIGHBORS, own_ids[chosen], threads)

    @property
    def metric(self) -> str:
        """How vectors are compared."""
        return self._scan.cells.metric

    @property
    def dim(self) -> int:
        """Columns of the vectors."""
        return self._scan.dim

    @property
    def hasher(self) -> Hasher | None:
        """What turns vectors into codes, if anything does."""
        return self._hasher

    @property
    def weights_(self) -> Doubles:
        """Of class probability, closeness and size in the gate."""
        return self._gate.cell_gate.weights.copy()

    def __len__(self) -> int:
        return len(self._scan)

    def __repr__(self) -> str:
        return (
            f"HierarchicalSearch({len(self):,} items x {self.dim}, {len(self.classes_)} classes in"
            f" {len(self._scan.cells):,} cells, metric={self.metric!r})"
        )

    def labels(self, ids: npt.ArrayLike) -> npt.NDArray[Any]:
        """The class that each id is filed under; ``predicted_`` holds the ids whose class is a prediction."""
        cells = self._scan.cells_of(unique_ids(ids, "ids"))
        return np.asarray(self.classes_[self._scan.cells.classes[cells]])

    def search(
        self,
        X: npt.ArrayLike,
        k: int = 25,
        *,
        gate: str = "soft",
        probability: float | None = None,
        budget: int | None = None,
        top: int = 1,
        widen: bool = True,
        labels: Any = None,
        where: Where = None,
        scoring: str | None = None,
        rerank: int | None = None,
        threads: int | None = None,
    ) -> tuple[npt.NDArray[Any], IdArray]:
        """The k nearest of the items that the gate lets through.

        Parameters
        ----------
        X : (q, d) array
            Queries.
        k : int
            Neighbours per query.
        gate : {"soft", "hard"}
            ``"soft"``: cells of falling probability until ``probability`` is covered. ``"hard"``: the ``top`` most
            probable classes as a whole, whatever their probability.
        probability : float, optional
            For the soft gate, in [0, 1]; 1: everything. Default: ``probability_``, or 1 with ``labels``.
        budget : int, optional
            Most rows that a query is compared with. It goes before all else, but the best cell is always read: if the
            budget ends before k items are found, fewer come back.
        top : int
            For the hard gate.
        widen : bool
            Read on in the next likely cells until there are k items. False: of a gate with fewer, fewer come back.
        labels : class or sequence of classes, optional
            Only items of these classes (those whose class is a prediction too).
        where : ids, mask or callable, optional
            Only these items; as for ``HammingIndex.search``.
        scoring : {"codes", "asymmetric"}, optional
            How codes are compared; as for ``SimilarityIndex.search``. Needs a hasher.
        rerank : int, optional
            Order the ``rerank * k`` nearest codes by the exact metric. Needs a hasher; without one the metric is exact.
        threads : int, optional
            For the native parts; BLAS has its own setting.

        Returns
        -------
        distances : (q, k) array
            float32 distances (or inner products) of the metric; codes without reranking: as ``SimilarityIndex.search``.
            In the order of (distance, id).
        ids : (q, k) int64
            -1 in empty slots, whose distance is +inf (dot: -inf; Hamming distances: 2**31 - 1).

        Raises
        ------
        ValueError
            For a wrong shape, NaN or infinity, ``k < 1``, a class without items, an unknown id in ``where``,
            ``scoring`` or ``rerank`` without a hasher.
        """
        queries, k = self._queries(X), positive_int(k, "k", maximum=2**31 - 1)
        n_threads = thread_count(threads)
        if self._codes is None and (scoring is not None or rerank is not None):
            name = "rerank" if scoring is None else "scoring"
            raise ValueError(f"{name} must be None without a hasher: vectors are compared exactly")
        choice(scoring, "scoring", (None, *SCORINGS))
        depth = 1 if rerank is None else positive_int(rerank, "rerank")
        options = GateOptions.checked(gate, probability, budget, top, widen, self._covered(labels))
        allowed = None if labels is None else self._gate.allowed(labels)
        available, passed = self._passing(where)
        found, scanned = [], []
        for block in _blocks(queries):
            plan = self._gate.plan(block, k, options, available, allowed)
            scanned.append(plan.rows)
            if self._codes is None:
                found.append(self._scan.nearest(block, plan, k, passed, n_threads))
            else:
                wanted = k if rerank is None else min(k * depth, len(self))
                near = self._nearest_codes(block, plan, wanted, passed, scoring or "codes", threads)
                found.append(near if rerank is None else self._scan.reranked(block, near[1], k, n_threads))
        self.scanned_ = np.concatenate([*scanned, np.empty(0, np.int64)])
        if not found:
            hamming = self._codes is not None and rerank is None and scoring != "asymmetric"
            return np.empty((0, k), np.int32 if hamming else np.float32), np.empty((0, k), np.int64)
        return np.concatenate([one[0] for one in found]), np.concatenate([one[1] for one in found])

    def gate(
        self,
        X: npt.ArrayLike,
        k: int = 25,
        *,
        gate: str = "soft",
        probability: float | None = None,
        budget: int | None = None,
        top: int = 1,
        widen: bool = True,
        labels: Any = None,
        where: Where = None,
    ) -> GateReport:
        """What ``search`` would compare each query with; parameters as there. Reads no vectors."""
        queries, k = self._queries(X), positive_int(k, "k", maximum=2**31 - 1)
        options = GateOptions.checked(gate, probability, budget, top, widen, self._covered(labels))
        allowed = None if labels is None else self._gate.allowed(labels)
        available, _ = self._passing(where)
        plans = [self._gate.plan(block, k, options, available, allowed) for block in _blocks(queries)]
        return GateReport.of(plans, self._scan.cells)

    def gate_recall(
        self,
        queries: npt.ArrayLike,
        k: int = 25,
        *,
        gate: str = "soft",
        probability: float | None = None,
        budget: int | None = None,
        top: int = 1,
        widen: bool = True,
        random_state: int = 0,
        threads: int | None = None,
    ) -> GateRecall:
        """Which share of each query's true k nearest items lies in what the gate lets through.

        Parameters
        ----------
        queries : (q, d) array
            At least one; not in the search, and not those that the gate was tuned on.
        k : int
            At most the number of items counts.
        gate, probability, budget, top, widen
            As for ``search``.
        random_state : int
            Of the bootstrap interval.
        threads : int, optional

        Returns
        -------
        GateRecall
        """
        rows, k = matrix(queries, "queries", dim=self.dim), positive_int(k, "k", maximum=2**31 - 1)
        options = GateOptions.checked(gate, probability, budget, top, widen, self._covered(None))
        plans, values = [], []
        for block in _blocks(self._queries(rows)):
            plan = self._gate.plan(block, k, options, self._scan.cells.sizes, None)
            truth = self._scan.cells_of_nearest(block, min(k, len(self)), thread_count(threads))
            opened = np.zeros((len(block), len(self._scan.cells)), bool)
            opened[plan.queries, plan.cells] = True
            values.append(np.take_along_axis(opened, truth, axis=1).mean(axis=1))
            plans.append(plan)
        covered = options.probability if gate == "soft" else None
        report = GateReport.of(plans, self._scan.cells)
        return _gate_recall(np.concatenate(values), k, covered, report, random_state)

    def tune_gate(
        self, queries: npt.ArrayLike, recall: float = 0.95, k: int = 25, *, threads: int | None = None
    ) -> GateRecall:
        """Choose ``probability_``: the least one whose gate recall reaches the target.

        With cut classes the gate's weights are fitted again, to every other query; the others choose the probability,
        so that the lower end of a one-sided 95 % interval of their mean reaches the target.

        Parameters
        ----------
        queries : (m, d) array
            At least 20 vectors like those to come, not among the items; hundreds waste less.
        recall : float
            In [0, 1].
        k : int
            Neighbours that count.
        threads : int, optional

        Returns
        -------
        GateRecall
            Of the choosing queries; judge the gate by ``gate_recall`` of others.
        """
        rows = self._queries(matrix(queries, "queries", dim=self.dim, min_rows=20))
        target = fraction(recall, "recall")
        k = positive_int(k, "k", maximum=len(self))
        if self._gate.cell_gate.split:
            self._fit(np.ascontiguousarray(rows[::2]), k, None, threads)
            rows = np.ascontiguousarray(rows[1::2])
        needed = []
        for block in _blocks(rows):
            truth = self._scan.cells_of_nearest(block, k, thread_count(threads))
            needed.append(self._gate.needed(block, k, truth))
        self.probability_ = least_probability(np.concatenate(needed), target)
        return self.gate_recall(rows, k, threads=threads)

    # Machinery.

    def _queries(self, X: npt.ArrayLike) -> FloatMatrix:
        rows = matrix(X, "X", dim=self.dim, min_rows=0)
        VectorIndex(self.dim, self.metric)._norms(rows, "X")
        return rows

    def _covered(self, labels: Any) -> float:
        return self.probability_ if labels is None else 1.0

    def _fit(self, X: FloatMatrix, k: int, own_ids: IdArray | None, threads: int | None) -> None:
        """Fit the gate to where the neighbours of these rows (not the items that they are themselves) lie."""
        k = min(k, len(self) - (own_ids is not None))
        parts = [slice(start, start + _QUERY_BLOCK) for start in range(0, len(X), _QUERY_BLOCK)]
        own = [None if own_ids is None else own_ids[part] for part in parts]
        near = [
            self._scan.cells_of_nearest(X[part], k, thread_count(threads), one)
            for part, one in zip(parts, own, strict=True)
        ]
        self._gate.fit(X, np.concatenate(near))

    def _passing(self, where: Where) -> tuple[IdArray, Mask | None]:
        """Rows of each cell that pass a filter, and which places do (None: all)."""
        passing = allowed_ids(where, lambda: np.sort(self._scan.ids))
        if passing is None:
            return self._scan.cells.sizes, None
        passed = np.zeros(len(self), bool)
        passed[self._scan.places_of(passing)] = True
        return np.add.reduceat(passed.astype(np.int64), self._scan.cells.limits[:-1]), passed

    def _nearest_codes(
        self, X: FloatMatrix, plan: Plan, k: int, passed: Mask | None, scoring: str, threads: int | None
    ) -> tuple[npt.NDArray[Any], IdArray]:
        assert self._codes is not None
        assert self._hasher is not None
        where: Any = self._scan.ids_of(plan, passed)
        if plan.rows.min(initial=len(self)) == len(self):
            where = None
        if scoring == "codes":
            return self._codes.search(checked_codes(self._hasher, X, self._codes.n_bits), k, where, threads=threads)
        outputs = matrix(self._hasher.project(X), "hasher.project(X)", dim=self._codes.n_bits, min_rows=0)
        return self._codes.search_asymmetric(outputs, k, where, threads=threads)


def _rows_per_cell(value: Any, n: int) -> int | None:
    if value is None:
        return None
    if isinstance(value, str):
        choice(value, "rows_per_cell", ("auto",))
        return max(_LEAST_CELL, round(math.sqrt(n) / 2))
    return positive_int(value, "rows_per_cell")


def _blocks(queries: FloatMatrix) -> Iterator[FloatMatrix]:
    return (queries[start : start + _QUERY_BLOCK] for start in range(0, len(queries), _QUERY_BLOCK))


def _gate_recall(
    values: Doubles, k: int, probability: float | None, report: GateReport, random_state: int
) -> GateRecall:
    from ...evaluation.scores import bootstrap_interval  # matplotlib and pandas stay out, but it is a large room

    low, high = bootstrap_interval(values, random_state=random_state)
    return GateRecall(float(values.mean()), low, high, values, k, probability, report)
