"""The ranking by columns equals the plain one."""

import jax
import numpy as np
import pytest

from taggen_jax.decode.topk import SHORT, rank, top_k


def rows(size, levels):
    """Few levels make many ties; a tenth is -inf, as forbidden tokens are, and one row all but is."""
    rng = np.random.default_rng(size * levels)
    x = rng.integers(levels, size=(3, 2, size)).astype(np.float32) * (20 / levels)
    x[rng.random(x.shape) < 0.1] = -np.inf
    x[0, 0, 3:] = -np.inf
    x[0, 1] = -np.inf
    return x


@pytest.mark.parametrize("size", [5, SHORT, SHORT + 1, 4096, 5001, 32128])
@pytest.mark.parametrize("levels", [2, 50, 10**6])
def test_the_largest_values_are_found_and_none_twice(size, levels):
    x = rows(size, levels)
    values, indices = map(np.asarray, top_k(x, 5))
    np.testing.assert_array_equal(values, jax.lax.top_k(x, 5)[0])
    inside = np.isfinite(values)
    assert (indices[inside] < size).all()
    np.testing.assert_array_equal(
        np.take_along_axis(x, np.where(inside, indices, 0), -1)[inside], values[inside]
    )
    assert all(len(set(row)) == 5 for row in indices.reshape(-1, 5).tolist())


@pytest.mark.parametrize("size", [5, SHORT + 1, 8192])
def test_the_total_is_that_of_all_exponentials(size):
    x = rows(size, 10**6)
    np.testing.assert_allclose(rank(x, 3).total, jax.nn.logsumexp(x, axis=-1), rtol=1e-6)
    for ours, plain in zip(rank(x, 3)[:2], top_k(x, 3), strict=True):
        np.testing.assert_array_equal(ours, plain)
