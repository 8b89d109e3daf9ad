"""The work of ``simskip tune``: files in, a study with what it means out."""

from __future__ import annotations

import csv
import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import FormatError
from ..validation import choice
from .importances import METHODS, Importances
from .page import as_json
from .report import TuningReport
from .space import read_space
from .study import Study
from .tune import tune

__all__ = ["Ended", "read_labels", "read_npy", "read_vectors", "run"]

_REPORTS = (".html", ".json", ".csv")


@dataclasses.dataclass
class Ended:
    """What there is to show.

    Attributes
    ----------
    study : Study
    importances : Importances or None
    report : TuningReport or None
        None with several metrics (nobody has chosen a trial) and after Ctrl-C.
    notes : list of str
        Why something is missing.
    written : list of Path
        Files.
    """

    study: Study
    importances: Importances | None = None
    report: TuningReport | None = None
    notes: list[str] = dataclasses.field(default_factory=list)
    written: list[Path] = dataclasses.field(default_factory=list)

    def json(self) -> str:
        """Everything, as ``Study.save`` writes it."""
        return as_json(self.study, self.importances, self.report)


def run(
    vectors: Path,
    *,
    labels: Path | None,
    space: Path | None,
    importances: str,
    output: Path | None,
    hasher: Path | None,
    **options: Any,
) -> Ended:
    """Read the files, tune, and look at the result.

    Parameters
    ----------
    vectors, labels, space : Path
        See ``read_vectors``, ``read_labels``, ``simskip.tuning.read_space``.
    importances : {"fanova", "ped-anova", "none"}
    output : Path or None
        Where the report goes; the suffix says how.
    hasher : Path or None
        Where the best parameters' hasher, trained on all vectors, goes.
    **options
        Of ``simskip.tune``.

    Raises
    ------
    ValueError, OSError, ImportError
        As ``simskip.tune``; for a file that is not what it should be.
    """
    # Before hours of trials, not after them.
    choice(importances, "--importances", (*METHODS, "none"))
    if output is not None and output.suffix.lower() not in _REPORTS:
        raise ValueError(f"--out must end in {', '.join(_REPORTS)}, got {str(output)!r}")
    for path in (output, hasher):
        if path is not None and not path.absolute().parent.is_dir():
            raise FileNotFoundError(f"the folder {path.absolute().parent} does not exist")
    if hasher is not None and len(options.get("metric") or ()) > 1:
        raise ValueError("--hasher needs one metric: with several there is no best trial, but a front to choose from")
    X = read_vectors(vectors)
    y = None if labels is None else read_labels(labels, len(X))
    searched = None
    if space is not None:
        if space.suffix.lower() not in (".json", ".yaml", ".yml"):
            raise ValueError(f"--space must end in .json, .yaml or .yml, got {str(space)!r}")
        searched = read_space(space.read_text(), space.suffix.lower())
    ended = Ended(tune(X, y, space=searched, **options))
    study = ended.study
    if importances != "none":
        try:
            ended.importances = study.importances(importances)
        except ValueError as error:  # too few trials: the rest is there all the same
            ended.notes.append(str(error))
    if len(study.metrics) > 1:
        ended.notes.append("several metrics: choose a trial of the Pareto front, then Study.load(...).report(number)")
    elif not study.interrupted:
        ended.report = study.report()
    if output is not None:
        ended.written.append(study.save(output, ended.importances, ended.report))
    if hasher is not None and not study.interrupted:
        study.refit().save(hasher)
        ended.written.append(hasher)
    return ended


def read_vectors(path: Path) -> npt.NDArray[Any]:
    """A matrix from a ``.npy`` file."""
    array = read_npy(path)
    if array.ndim != 2:
        raise ValueError(f"{path} must hold a matrix (n, d), got shape {array.shape}")
    return array


def read_labels(path: Path, n: int) -> npt.NDArray[Any]:
    """Labels from a ``.npy`` file, or from the only column of a ``.csv`` file (with or without a heading).

    Whole numbers in a ``.csv`` file become integers, if all are.
    """
    if path.suffix.lower() != ".csv":
        return read_npy(path)
    lines = [line for line in csv.reader(io.StringIO(path.read_text())) if line]
    if any(len(line) != 1 for line in lines):
        raise ValueError(f"{path} must have one column")
    if len(lines) == n + 1:
        del lines[0]
    if len(lines) != n:
        raise ValueError(f"{path} must hold a label for each of the {n} vectors, got {len(lines)}")
    labels = np.array([line[0] for line in lines])
    try:
        return labels.astype(np.int64)
    except ValueError:
        return labels


def read_npy(path: Path) -> npt.NDArray[Any]:
    """The array of a ``.npy`` file."""
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise FormatError(f"{path} is not a .npy file of numbers: {error}") from None
    if not isinstance(array, np.ndarray):  # an .npz
        raise FormatError(f"{path} is not a .npy file")
    return array
