"""Handwritten digits that scikit-learn brings along."""

from __future__ import annotations

import numpy as np

from ..extras import require
from .labelled_images import LabelledImages

__all__ = ["digits"]


def digits() -> LabelledImages:
    """1,797 handwritten digits of 8 x 8 grey values from 0 to 16; no network.

    scikit-learn's ``load_digits``: the test part of "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak,
    UCI, 1998), in its order: the writers come one after the other, so mix the rows before splitting them.

    Returns
    -------
    LabelledImages
        With ``split`` "all".

    Raises
    ------
    ImportError
        If scikit-learn is missing.

    Examples
    --------
    >>> import simskip.datasets
    >>> simskip.datasets.digits()
    LabelledImages(digits all: 1,797 of 8 x 8, 10 classes)
    """
    source = require("sklearn.datasets", "datasets", "The digits data set").load_digits()
    names = tuple(str(name) for name in source.target_names)
    return LabelledImages(source.images.astype(np.uint8), source.target.astype(np.int64), names, "digits", "all")
