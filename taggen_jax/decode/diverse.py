"""Diverse beam search: groups of beams that are kept apart (Vijayakumar et al., 2016, arXiv 1610.02424).

Each group is an ordinary search of its own. Within a step they go in order, and a token costs a group a
penalty for every beam of the groups before it that has just taken the token. As in transformers 4
(`num_beam_groups`, `diversity_penalty`) the penalty lowers the scores of hypotheses for good; unlike
there, a group that has finished counts no more (there, its padding does). Letters as in `beam`; G groups
of W beams each here.
"""

import jax
import jax.numpy as jnp


def penalties(
    sum_BGWK: jax.Array, token_BGWK: jax.Array, open_BG: jax.Array, eos: int, diversity: float
) -> jax.Array:
    """float32 [B, G, W, K]: what each continuation costs its beam.

    Args:
      sum_BGWK: sums of log-probabilities without this step's penalties; -inf where there is no continuation.
      token_BGWK: the continuations.
      open_BG: the groups that have not finished.
      eos: ends a beam: not taken by one that lives on, so it costs nothing.
      diversity: the penalty, in nats.
    """
    costs_BWK, taken = [jnp.zeros_like(sum_BGWK[:, 0])], []
    for group in range(sum_BGWK.shape[1] - 1):
        taken_BW = _taken(sum_BGWK[:, group] - costs_BWK[-1], token_BGWK[:, group], eos)
        taken.append(jnp.where(open_BG[:, group, None], taken_BW, -1))
        earlier_BX = jnp.concatenate(taken, axis=1)
        same_BWKX = token_BGWK[:, group + 1, ..., None] == earlier_BX[:, None, None]
        costs_BWK.append(diversity * same_BWKX.sum(axis=-1).astype(jnp.float32))
    return jnp.stack(costs_BWK, axis=1)


def _taken(sum_BWK: jax.Array, token_BWK: jax.Array, eos: int) -> jax.Array:
    """The tokens by which a group's W beams live on, -1 where there are fewer: among its 2W best."""
    batch, width, _ = sum_BWK.shape
    best_BC, place_BC = jax.lax.top_k(sum_BWK.reshape(batch, -1), 2 * width)
    token_BC = jnp.take_along_axis(token_BWK.reshape(batch, -1), place_BC, axis=1)
    best_BW, place_BW = jax.lax.top_k(jnp.where(token_BC == eos, -jnp.inf, best_BC), width)
    return jnp.where(best_BW > -jnp.inf, jnp.take_along_axis(token_BC, place_BW, axis=1), -1)
