"""The digits of scikit-learn."""

import sys

import numpy as np
import pytest

from simskip import datasets


def test_digits():
    digits = datasets.digits()
    assert digits.images.shape == (1797, 8, 8)
    assert digits.images.dtype == np.uint8
    assert digits.images.max() == 16
    assert digits.label_names == tuple("0123456789")
    assert np.bincount(digits.labels).min() > 170


def test_scikit_learn_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r'needs sklearn\.datasets.*pip install "simskip\[datasets\]"'):
        datasets.digits()
