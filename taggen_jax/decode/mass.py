"""How much of a model's probability a constrained search had to choose from."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from taggen_jax.decode.beam import Beams


def legal_log_mass(
    decode: Callable[[jax.Array], jax.Array], beams: Beams, bos: int, forced: int = 0
) -> jax.Array:
    """float32 [B, N]: log of the product, over the tokens of a hypothesis, of the probability that was legal.

    A constrained search renormalises: p(token) = p(token, whole vocabulary) / p(legal). So the legal mass is
    what the sums of both differ by, and the whole vocabulary need be looked at only once, for what was found.

    Args:
      decode: inputs_BT -> logits_BTV of the whole vocabulary, of given decoder inputs.
      beams: found under a constraint.
      bos: what the decoder reads first.
      forced: tokens at the beginning that were forced: certain, so all of their mass counts as legal.
    """

    def whole(tokens_BT: jax.Array) -> jax.Array:
        inputs_BT = jnp.pad(tokens_BT, ((0, 0), (1, 0)), constant_values=bos)[:, :-1]
        logprobs_BTV = jax.nn.log_softmax(decode(inputs_BT))
        return jnp.take_along_axis(logprobs_BTV, tokens_BT[..., None], axis=2)[..., 0]

    whole_BNT = jnp.swapaxes(jax.lax.map(whole, jnp.swapaxes(beams.tokens_BNT, 0, 1)), 0, 1)
    place_T = jnp.arange(whole_BNT.shape[-1])
    counts_BNT = (place_T >= forced)[None, None] & (place_T[None, None] < beams.lengths_BN[..., None])
    return jnp.where(counts_BNT, whole_BNT - beams.token_logprobs_BNT, 0.0).sum(axis=-1)
