"""What only T5 has to show; the laws of all families are in test_families.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from taggen_jax.models import family
from taggen_jax.models.layers import ComputeConfig, relative_bucket
from taggen_jax.models.t5 import T5Config


def test_weights_are_cut_along_the_axes_that_the_mesh_knows():
    axes = family.build(T5Config(), ComputeConfig()).axes
    assert axes["encoder"]["blocks"]["mlp"]["up"] == ("layers", "embed", "mlp")


@pytest.mark.parametrize("remat", ["dots", "full"])
def test_remat_changes_no_gradient(remat):
    """A law of `layers.scan_layers`, dropout included, shown on one family."""
    config = T5Config(
        vocab_size=40,
        d_model=16,
        d_mlp=32,
        n_heads=2,
        head_dim=8,
        encoder_layers=2,
        decoder_layers=2,
        dropout=0.5,
    )
    params = jax.jit(family.build(config, ComputeConfig()).init)(jax.random.key(0))
    batch = {"source": np.arange(2, 10)[None], "target": np.arange(20, 26)[None]}

    def gradient(remat):
        bundle = family.build(config, ComputeConfig(remat=remat))

        def total(params):
            return jnp.sum(bundle.bind(params).logits(batch, jax.random.key(3)) ** 2)

        return jax.jit(jax.grad(total))(params)

    for a, b in zip(jax.tree.leaves(gradient("none")), jax.tree.leaves(gradient(remat)), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-3)


def test_relative_buckets_are_exact_near_and_shared_far():
    offsets = jnp.arange(-200, 201)
    both = np.asarray(relative_bucket(offsets, 32, 128, bidirectional=True))
    past = np.asarray(relative_bucket(offsets, 32, 128, bidirectional=False))
    assert both[200 - 7 : 201].tolist() == [7, 6, 5, 4, 3, 2, 1, 0] and both[201] == 17
    assert both[0] == both[72] == 15 and both[400] == both[328] == 31
    assert past[200:].max() == 0 and past[0] == 31
