import numpy as np
import pytest

from simskip.embedding.pooling import pooled

MAPS = np.arange(2 * 3 * 4 * 5, dtype=np.float64).reshape(2, 3, 4, 5)


def test_ranks():
    assert pooled(MAPS[:, :, 0, 0], "y", "nchw", None).shape == (2, 3)
    np.testing.assert_allclose(pooled(MAPS, "y", "nchw", None), MAPS.mean((2, 3)))
    np.testing.assert_allclose(pooled(MAPS, "y", "nhwc", None), MAPS.mean((1, 2)))
    tokens = MAPS[:, :, :, 0]
    np.testing.assert_allclose(pooled(tokens, "y", "nchw", "mean"), tokens.mean(1))
    np.testing.assert_allclose(pooled(tokens, "y", "nchw", "first"), tokens[:, 0])
    assert pooled(MAPS, "y", "nchw", None).dtype == np.float32


def test_what_cannot_be_a_vector():
    with pytest.raises(ValueError, match=r"pooling must be 'mean' or 'first' for the output 'y'"):
        pooled(MAPS[0], "y", "nchw", None)
    with pytest.raises(ValueError, match=r"output must have shape .* got \(2,\)"):
        pooled(MAPS[:, 0, 0, 0], "y", "nchw", None)
