"""The two-stage ranking equals the plain one, ties and order included."""

import jax
import numpy as np
import pytest

from taggen_jax.decode.topk import BLOCK, top_k


@pytest.mark.parametrize("size", [5, 8 * BLOCK, 8 * BLOCK + 1, 16 * BLOCK, 5000])
@pytest.mark.parametrize("levels", [2, 50, 10**6])
def test_two_stages_equal_one(size, levels):
    """Few levels make many ties; a tenth is -inf, as forbidden tokens are."""
    rng = np.random.default_rng(size * levels)
    x = rng.integers(levels, size=(3, 2, size)).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = -np.inf
    x[0, 0, 3:] = -np.inf
    for ours, plain in zip(top_k(x, 5), jax.lax.top_k(x, 5), strict=True):
        np.testing.assert_array_equal(ours, plain)
