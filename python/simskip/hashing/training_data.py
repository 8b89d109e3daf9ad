"""What the native trainer is given: prepared rows, the truth to learn from, the start of the weights, a judge."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import cpu
from .distillation import soft_targets
from .held_out import HeldOutMap, HeldOutRecall
from .linear import PCAHash
from .neighbor_graph import half_squares, neighbor_graph, temperature
from .preparation import Preparation, standardisation, start_sample
from .recipes import Recipe

__all__ = ["Problem", "TrainingData", "prepare", "split"]

FloatMatrix = npt.NDArray[np.float32]
RowNumbers = npt.NDArray[np.int32]
Judge = HeldOutRecall | HeldOutMap

_HEALTH_ROWS = 4000
_MAX_HELD_OUT = {"recall": 2000, "map": 5000}
# Projected copies of the rows take at most 2 GiB: of more rows a random sample is trained on.
_MAX_COPIED_VALUES = 1 << 29


@dataclasses.dataclass(frozen=True)
class Problem:
    """What is to be learnt, checked.

    Attributes
    ----------
    X : (n, d) float32 or float16 array
        May be a memory-mapped file.
    metric : {"cosine", "l2", "dot"}
    n_bits : int
    recipe : Recipe
    labels : (n,) int32 array or None
        Class numbers from 0; -1: not trained on.
    targets : (n, n_classes) float32 array or None
        Several classes per row, in place of ``labels``.
    n_classes : int
    prefixes : tuple of int
    watch : {"recall", "map"}
    validation_fraction : float
    seed : int
    threads : int or None
    progress : bool
        Show a progress bar where preparing takes long.
    """

    X: FloatMatrix
    metric: str
    n_bits: int
    recipe: Recipe
    labels: RowNumbers | None
    targets: FloatMatrix | None
    n_classes: int
    prefixes: tuple[int, ...]
    watch: str
    validation_fraction: float
    seed: int
    threads: int | None
    progress: bool = False

    @property
    def classes(self) -> npt.NDArray[Any] | None:
        """Labels or targets, whichever there are."""
        return self.labels if self.targets is None else self.targets


@dataclasses.dataclass
class TrainingData:
    """Arguments of ``_learn.train`` and what judges its epochs.

    Attributes
    ----------
    preparation : Preparation
    tower : dict
        Inputs of the network and the start of its weights.
    rows : (m,) int32 array
        Rows of ``tower["inputs"]`` to train on.
    arrays : dict
        Further arguments.
    judge : HeldOutRecall, HeldOutMap or None
    looked_at : (k,) int32 array
        Rows of ``X`` whose outputs are the last k of the evaluation rows: for the codes' health.
    """

    preparation: Preparation
    tower: dict[str, Any]
    rows: RowNumbers
    arrays: dict[str, Any]
    judge: Judge | None
    looked_at: RowNumbers


def split(problem: Problem) -> tuple[RowNumbers, RowNumbers]:
    """(held-out rows, training rows): both sorted, disjoint; rows without a class are in neither.

    At least two rows are trained on.
    """
    n = len(problem.X)
    usable = np.arange(n, dtype=np.int32)
    if problem.labels is not None and problem.recipe.supervised:
        usable = np.flatnonzero(problem.labels >= 0).astype(np.int32)
    most = _MAX_HELD_OUT[problem.watch]
    count = min(int(len(usable) * problem.validation_fraction), most, len(usable) - 2)
    order = usable[np.random.default_rng(problem.seed).permutation(len(usable))]
    return np.sort(order[:count]), np.sort(order[count:])


def prepare(problem: Problem, preparation: Preparation | None = None) -> TrainingData:
    """Everything but settings; ``preparation`` continues an earlier training's."""
    held_out, rows = split(problem)
    if preparation is None:
        fit = _standardised if problem.recipe.supervised else _projected
        preparation = fit(problem, rows)
    rows = _sampled(problem, preparation, rows)
    judge = _judge(problem, held_out, rows)
    # Without held-out rows some training rows are looked at: only to see whether codes fall together.
    evaluated = judge.evaluation_rows if judge is not None else rows[:_HEALTH_ROWS]
    # Numbers in X; below, numbers in the trainer's inputs, which are X itself or a copy of the rows it needs.
    used = np.unique(np.concatenate([rows, evaluated])) if preparation.copies else None
    inputs, row_scale = preparation.training_inputs(problem.X, used)

    def number(of: RowNumbers) -> RowNumbers:
        return of if used is None else np.searchsorted(used, of).astype(np.int32)

    tower: dict[str, Any] = {"inputs": inputs, "row_scale": row_scale}
    trained = number(rows)
    arrays: dict[str, Any] = {"evaluation_rows": number(evaluated)}
    if problem.recipe.supervised:
        arrays.update(_classes(problem, used))
        if problem.recipe.distilled:
            arrays["targets"] = _soft_targets(problem, preparation, rows)
            arrays.pop("labels", None)
    elif problem.recipe.graph:
        arrays.update(_neighbors(problem, rows, trained, inputs, row_scale))
    return TrainingData(preparation, tower, trained, arrays, judge, evaluated[-_HEALTH_ROWS:])


def start_of(problem: Problem, data: TrainingData) -> None:
    """Add to ``data.tower`` what a new network starts from: scaling of its input, noise, the linear path."""
    sample = start_sample(data.tower["inputs"], data.tower["row_scale"], data.rows)
    width = sample.shape[1]
    recipe = problem.recipe
    if recipe.supervised:
        data.tower["centre"], data.tower["gain"] = standardisation(sample)
    else:
        data.tower["gain"] = np.full(width, math.sqrt(width), np.float32)
    if recipe.input_noise > 0:
        data.tower["noise"] = (recipe.input_noise * sample.std(axis=0)).astype(np.float32)
    if recipe.residual:
        weight, bias = linear_start(sample, problem.n_bits, problem.prefixes, problem.seed)
        data.tower["residual_weight"], data.tower["residual_bias"] = weight, bias


def linear_start(
    sample: FloatMatrix, n_bits: int, prefixes: tuple[int, ...], seed: int
) -> tuple[FloatMatrix, FloatMatrix]:
    """(n_bits, m) weight and (n_bits,) bias of ITQ, its outputs scaled to standard deviation 1.

    With prefixes every stretch of bits between them is an ITQ of its own, of the leading directions that are left:
    the first bits then hold what varies most.
    """
    if not prefixes or n_bits > min(sample.shape):
        return _scaled(PCAHash(n_bits, rotation="itq", random_state=seed), sample)
    axes = PCAHash(n_bits, rotation=None, random_state=seed)
    axes._fit(sample, None, False, ())
    components = axes._project(sample)
    weights, biases = [], []
    for low, high in zip((0, *prefixes), (*prefixes, n_bits), strict=True):
        part = PCAHash(high - low, rotation="itq", random_state=seed)
        weight, bias = _scaled(part, np.ascontiguousarray(components[:, low:high]))
        weights.append(weight @ axes.weights_[:, low:high].T)
        biases.append(bias)
    weight = np.ascontiguousarray(np.concatenate(weights), dtype=np.float32)
    return weight, (np.concatenate(biases) - weight @ axes.mean_).astype(np.float32)


def _scaled(linear: PCAHash, sample: FloatMatrix) -> tuple[FloatMatrix, FloatMatrix]:
    linear._fit(sample, None, False, ())
    factor = np.float32(1 / max(float(linear._project(sample).std()), 1e-12))
    weight = np.ascontiguousarray((linear.weights_ * factor).T, dtype=np.float32)
    return weight, (-weight @ linear.mean_).astype(np.float32)


def _projected(problem: Problem, rows: RowNumbers) -> Preparation:
    width = max(256 if problem.n_bits < 256 else 512, problem.n_bits)
    return Preparation.fitted(problem.X, rows, problem.metric, width, problem.seed)


def _standardised(problem: Problem, rows: RowNumbers) -> Preparation:
    # All columns: what separates classes need not be what varies most.
    return Preparation("dot" if problem.metric == "l2" else problem.metric, None, 1.0, None)


def _sampled(problem: Problem, preparation: Preparation, rows: RowNumbers) -> RowNumbers:
    most = max(2, _MAX_COPIED_VALUES // preparation.width(problem.X.shape[1]))
    if not preparation.copies or len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(problem.seed).permutation(rows)[:most])


def _judge(problem: Problem, held_out: RowNumbers, rows: RowNumbers) -> Judge | None:
    if not len(held_out):
        return None
    if problem.watch == "recall":
        return HeldOutRecall(problem.X, problem.metric, held_out, rows, problem.seed, problem.threads)
    assert problem.classes is not None
    known = held_out if problem.labels is None else held_out[problem.labels[held_out] >= 0]
    judge = HeldOutMap(known, problem.classes)
    return judge if judge.possible else None


def _classes(problem: Problem, used: RowNumbers | None) -> dict[str, Any]:
    arrays: dict[str, Any] = {"n_classes": problem.n_classes}
    for name in ("labels", "targets"):
        values = getattr(problem, name)
        if values is not None:
            arrays[name] = np.ascontiguousarray(values if used is None else values[used])
    return arrays


def _soft_targets(problem: Problem, preparation: Preparation, rows: RowNumbers) -> FloatMatrix:
    """(n, n_classes), of training rows; such preparations do not copy, so rows keep their numbers."""
    truth = np.eye(problem.n_classes, dtype=np.float32)[problem.labels[rows]] if problem.labels is not None else None
    if problem.targets is not None:
        truth = problem.targets[rows]
    assert truth is not None
    targets = np.zeros((len(problem.X), problem.n_classes), np.float32)
    targets[rows] = soft_targets(
        problem.X,
        preparation,
        rows,
        truth,
        labels=problem.labels if problem.targets is None else None,
        seed=problem.seed,
        threads=problem.threads or cpu.threads(),
        progress=problem.progress,
    )
    return targets


def _neighbors(
    problem: Problem, rows: RowNumbers, trained: RowNumbers, inputs: FloatMatrix, row_scale: FloatMatrix | None
) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    if problem.metric == "l2":
        arrays["row_bias"] = half_squares(inputs)
    # What the network is shown, and under which metric: projected rows of length 1 have lost some of it.
    shown = "dot" if problem.metric == "cosine" and row_scale is None else problem.metric
    graph = neighbor_graph(
        exact=(problem.X, problem.metric, rows),
        shown=(inputs, shown, trained),
        seed=problem.seed,
        threads=problem.threads,
    )
    arrays["anchors"], arrays["neighbors"] = graph
    arrays["tau"] = temperature(inputs, shown, trained, problem.seed, problem.threads)
    return arrays
