"""What ``distilled`` learns from: probabilities of classes from classifiers that have not seen the row."""

from __future__ import annotations

import numpy as np
import pytest

from simskip.hashing.distillation import _SHARE, soft_targets
from simskip.hashing.preparation import Preparation

PLAIN = Preparation("dot", None, 1.0, None)


def others_view(targets, truth):
    """The classifiers' share of soft targets."""
    return (targets - (1 - _SHARE) * truth) / _SHARE


def soft(X, y, n_classes, **parameters):
    rows = np.arange(len(X), dtype=np.int32)
    truth = np.eye(n_classes, dtype=np.float32)[y]
    return soft_targets(X, PLAIN, rows, truth, labels=y, **{"seed": 0, "threads": 1, **parameters})


@pytest.fixture(scope="module")
def overlapping():
    """(600, 5) rows of three classes whose densities are known, and the classes."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 600).astype(np.int32)
    centres = 1.2 * np.eye(3, 5)
    X = (centres[y] + rng.normal(size=(600, 5))).astype(np.float32)
    likelihood = np.exp(-0.5 * ((X[:, None] - centres) ** 2).sum(axis=2))
    return X, y, likelihood / likelihood.sum(axis=1, keepdims=True)


def test_probabilities_come_close_to_those_of_the_densities(overlapping):
    X, y, true = overlapping
    targets = soft(X, y, 3)
    given = others_view(targets, np.eye(3)[y])
    assert np.allclose(targets.sum(axis=1), 1, atol=1e-5)
    assert np.abs(given - true).mean() < 0.5 * np.abs(1 / 3 - true).mean()


def test_a_row_does_not_vote_for_itself(overlapping):
    # Rows far from all others, with labels of their own making: only a classifier that saw them could agree with them.
    X, _, _ = overlapping
    rng = np.random.default_rng(1)
    drawn = rng.integers(0, 3, len(X)).astype(np.int32)
    given = others_view(soft(X, drawn, 3), np.eye(3)[drawn])
    assert given[np.arange(len(X)), drawn].mean() == pytest.approx(1 / 3, abs=0.05)


def test_several_classes_have_independent_probabilities():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(400, 6)).astype(np.float32)
    Y = (X[:, :3] > 0).astype(np.float32)
    rows = np.arange(400, dtype=np.int32)
    given = others_view(soft_targets(X, PLAIN, rows, Y, labels=None, seed=0, threads=1), Y)
    assert ((given > 0.5) == (Y > 0.5)).mean() > 0.85
    assert given.min() >= -1e-5
    assert given.max() <= 1 + 1e-5


def test_too_few_rows_are_refused():
    with pytest.raises(ValueError, match="at least 8 rows"):
        soft(np.zeros((7, 3), np.float32), np.arange(7, dtype=np.int32) % 2, 2)
