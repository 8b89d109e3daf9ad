import numpy as np
import pytest

import simskip


@pytest.fixture(scope="session")
def clusters():
    """1,000 items and 60 queries around 20 centres in 24 dimensions, 5 classes."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(20, 24))
    group = rng.integers(0, 20, 1060)
    points = (centres[group] + 0.5 * rng.normal(size=(1060, 24))).astype(np.float32)
    labels = group % 5
    return points[:1000], points[1000:], labels[:1000], labels[1000:]


@pytest.fixture(scope="session")
def hasher(clusters):
    return simskip.PCAHash(24).fit(clusters[0])


@pytest.fixture(scope="session")
def report(clusters, hasher):
    """A report with everything in it: labels, codes alone, asymmetric, reranked, pictures."""
    from simskip.evaluation import evaluate

    X, Q, labels, query_labels = clusters
    rng = np.random.default_rng(1)
    pictures = rng.integers(0, 256, (1000, 9, 7), dtype=np.uint8)
    return evaluate(
        {
            "codes": hasher,
            "asymmetric": (hasher, {"scoring": "asymmetric"}),
            "rerank x4": (hasher, {"rerank": 4}),
        },
        database=X,
        queries=Q,
        labels=labels,
        query_labels=query_labels,
        k=10,
        pictures=pictures,
        query_pictures=lambda i: rng.integers(0, 256, (200, 150, 3), dtype=np.uint8),
        latency_queries=5,
        repetitions=1,
    )
