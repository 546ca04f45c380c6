"""What a tag head's rows begin as, where the encoder can read already: what it makes of the tags' names.

A tag with three training products then starts from its meaning, as in zero-shot classification by sentence
encoders, instead of from chance.
"""

import jax
import jax.numpy as jnp

from taggen_jax.models.family import Bundle, Params
from taggen_jax.models.tag_head import STD
from taggen_jax.training.encoder import encode


def tag_rows(bundle: Bundle, params: Params, source_NS: jax.Array) -> jax.Array:
    """kernel_DN of a tag head: each name's mean encoding without what all have in common, as long as a random
    row is.

    Args:
      source_NS: int32, the name of each tag as the encoder reads it, padded.
    """
    memory_NSD = encode(bundle, params, source_NS).astype(jnp.float32)
    seen_NS1 = (source_NS != bundle.bind(params).source_pad)[..., None]
    mean_ND = (memory_NSD * seen_NS1).sum(axis=1) / seen_NS1.sum(axis=1)
    own_ND = mean_ND - mean_ND.mean(axis=0, keepdims=True)
    length_N1 = jnp.linalg.norm(own_ND, axis=1, keepdims=True)
    return (STD * own_ND.shape[1] ** 0.5 * own_ND / jnp.maximum(length_N1, 1e-6)).T
