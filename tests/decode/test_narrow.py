"""Laws of a search that products leave when they are done: less is computed, and nothing else changes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from taggen_jax.decode.beam import DecodeConfig, beam_search
from taggen_jax.decode.narrow import row_axes, take, widths

EOS, PAD, V, T, B = 1, 0, 24, 12, 32


def test_widths_go_down_from_the_whole_batch():
    for batch in range(1, 70):
        assert widths(batch, 4)[0] == batch
        assert list(widths(batch, 4)) == sorted(set(widths(batch, 4)), reverse=True)
    assert widths(64, 4) == (64, 48, 32, 16)
    assert widths(64, 1) == (64,), "fewer beams would be summed in another order"


def test_rows_are_taken_along_their_own_axes():
    def tree(rows):
        return {
            "own": jax.ShapeDtypeStruct((2, rows, 4), jnp.int32),
            "all": jax.ShapeDtypeStruct((2, 4), jnp.int32),
        }

    axes = row_axes(tree, 2)
    assert axes == {"own": 1, "all": -1}
    full = {"own": jnp.arange(16).reshape(2, 2, 4), "all": jnp.arange(8).reshape(2, 4)}
    some = take(full, axes, jnp.array([1]))
    np.testing.assert_array_equal(some["own"], full["own"][:, 1:])
    np.testing.assert_array_equal(some["all"], full["all"])


def search(config, narrow):
    """(what is found, rows computed): products end at steps of their own, and differ in all their logits."""
    rows = []

    def step(token_BW, product_B, t, ancestry_BWT):
        jax.debug.callback(lambda: rows.append(len(product_B)))
        x_BW = product_B[:, None] * 37 + token_BW * 11 + t * 5
        x_BWV = x_BW[:, :, None] + jnp.arange(V)[None, None] * 17
        end_B = jnp.where(t >= product_B % T, 9.0, -9.0)
        logits_BWV = jnp.sin(x_BWV.astype(jnp.float32)) * 3
        return logits_BWV.at[:, :, EOS].add(end_B[:, None]), product_B

    @jax.jit
    def run(product_B):
        return beam_search(
            step,
            product_B,
            batch=B,
            bos=PAD,
            eos=EOS,
            pad=PAD,
            config=config,
            narrow=(lambda product_B, row_R: product_B[row_R]) if narrow else None,
        )

    found = jax.block_until_ready(run(jnp.arange(B, dtype=jnp.int32) * 7 % B))
    jax.effects_barrier()
    return found, sum(rows)


@pytest.mark.parametrize("early_stopping", ["true", "false"])
@pytest.mark.parametrize("groups", [1, 2])
def test_less_is_computed_and_the_same_is_found(early_stopping, groups):
    config = DecodeConfig(
        beams=4,
        n_best=4,
        max_length=T,
        early_stopping=early_stopping,
        groups=groups,
        diversity=0.5 * (groups - 1),
    )
    (whole, all_rows), (narrow, rows) = search(config, narrow=False), search(config, narrow=True)
    assert len(np.unique(whole.lengths_BN)) > 4, "outputs must end at different steps"
    assert rows < 0.9 * all_rows
    for a, b in zip(whole, narrow, strict=True):
        np.testing.assert_array_equal(a, b)
