import numpy as np
import pytest

import simskip

# A trial of these takes about 30 ms.
QUICK = {"epochs": 2, "steps_per_epoch": 4, "batch_size": 64, "input_noise": 0.0}
SMALL = {"k": 5, "n_bits": 16, "threads": 1, "progress": False}
SPACE = {**QUICK, "width": [8, 16], "depth": (0, 2), "learning_rate": (1e-4, 1e-1, "log")}


def clusters(n=600, d=16, classes=5, seed=0):
    """(n, d) vectors in clusters, and which cluster each is of."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    centres = rng.normal(size=(classes, d)) * 1.5
    return (centres[labels] + rng.normal(size=(n, d))).astype(np.float32), labels


@pytest.fixture(scope="session")
def data():
    return clusters()


@pytest.fixture(scope="session")
def study(data):
    """Ten random trials without pruning."""
    return simskip.tune(data[0], space=SPACE, trials=10, sampler="random", pruner=None, **SMALL)
