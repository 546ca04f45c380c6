"""A head that scores all tags of a vocabulary at once, beside the decoder that writes them one by one.

The mean of the encoder's outputs over a product's tokens, times a row for every tag: multi-label
classification, as sentence encoders are fine-tuned for it (Reimers and Gurevych, 2019, pool so). Any family
gets it from `family.build`; a row of the batch holds one product.
"""

import jax.numpy as jnp
from flax import nnx

from taggen_jax.models.layers import Array, weight

STD = 0.02
RARE = -5.0  # a tag's first log-odds: most tags are on less than one product in a hundred


class TagHead(nnx.Module):
    """Letters as in `layers`, and N tags."""

    def __init__(self, d_model: int, tags: int, rngs: nnx.Rngs) -> None:
        self.kernel = weight(rngs, (d_model, tags), ("embed", "tags"), STD)
        self.bias = nnx.Param(jnp.full(tags, RARE), axes=("tags",))

    def __call__(self, memory_BSD: Array, segments_BS: Array) -> Array:
        """float32 [B, N]: the log-odds that each tag belongs to the product."""
        seen_BS1 = (segments_BS > 0).astype(jnp.float32)[..., None]
        total_BD = (memory_BSD.astype(jnp.float32) * seen_BS1).sum(axis=1)
        mean_BD = total_BD / jnp.maximum(seen_BS1.sum(axis=1), 1.0)
        logits_BN = jnp.einsum("BD,DN->BN", mean_BD, self.kernel[...].astype(jnp.float32))
        return logits_BN + self.bias[...].astype(jnp.float32)[None]
