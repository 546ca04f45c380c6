"""A head that scores all tags of a vocabulary at once, beside the decoder that writes them one by one.

The mean of the encoder's outputs over a product's tokens, times a row for every tag: multi-label
classification, as sentence encoders are fine-tuned for it (Reimers and Gurevych, 2019, pool so). Any family
gets it from `family.build`.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from taggen_jax.models.layers import Array, add_bias, weight

STD = 0.02
RARE = -5.0  # a tag's first log-odds: most tags are on less than one product in a hundred


class TagHead(nnx.Module):
    """Letters as in `layers`, N tags, and P products in a row."""

    def __init__(self, d_model: int, tags: int, rngs: nnx.Rngs) -> None:
        self.kernel = weight(rngs, (d_model, tags), ("embed", "tags"), STD)
        self.bias = nnx.Param(jnp.full(tags, RARE, jnp.float32), axes=("tags",))

    def __call__(self, memory_BSD: Array, segments_BS: Array) -> Array:
        """float32 [B, N]: the log-odds that each tag belongs to the one product of a row."""
        seen_BS1 = (segments_BS > 0).astype(jnp.float32)[..., None]
        total_BD = (memory_BSD.astype(jnp.float32) * seen_BS1).sum(axis=1)
        return self._score(total_BD / jnp.maximum(seen_BS1.sum(axis=1), 1.0))

    def packed(self, memory_BSD: Array, segments_BS: Array, products: int) -> Array:
        """float32 [B, P, N]: those of each product of a row, which are its segments 1 to P."""
        own_BSP = segments_BS[..., None] == jnp.arange(1, products + 1)[None, None]
        own_BSP = own_BSP.astype(jnp.float32)
        # Exact ones and zeros, but the default precision of an accelerator would round the memory.
        total_BPD = jnp.einsum(
            "BSP,BSD->BPD", own_BSP, memory_BSD.astype(jnp.float32), precision=jax.lax.Precision.HIGHEST
        )
        return self._score(total_BPD / jnp.maximum(own_BSP.sum(axis=1), 1.0)[..., None])

    def _score(self, mean: Array) -> Array:
        logits = jnp.einsum("...D,DN->...N", mean, self.kernel[...].astype(jnp.float32))
        return add_bias(logits, self.bias[...].astype(jnp.float32))
