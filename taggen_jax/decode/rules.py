"""What Hugging Face's logits processors do to a search, without passing over the vocabulary."""

import jax
import jax.numpy as jnp


def force(
    token: int, now: jax.Array, logprob_BWK: jax.Array, token_BWK: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Where `now` (bool scalar), `token` is each beam's one continuation, with log-probability 0."""
    certain_K = jnp.where(jnp.arange(logprob_BWK.shape[-1]) == 0, 0.0, -jnp.inf)
    return jnp.where(now, certain_K[None, None], logprob_BWK), jnp.where(now, token, token_BWK)


def forbid_repeats(logits_BWV: jax.Array, tokens_BWT: jax.Array, t: jax.Array, bos: int, n: int) -> jax.Array:
    """Logits with -inf for every token that would complete n tokens that the beam has written already.

    Args:
      logits_BWV: for the token after the t-th.
      tokens_BWT: what each beam has written: t tokens, then anything.
      t: int32 scalar.
      bos: stands before them, and counts.
      n: at least 1; static.
    """
    past_BWT = jnp.pad(tokens_BWT, ((0, 0), (0, 0), (1, 0)), constant_values=bos)  # t + 1 tokens count
    place_T = jnp.arange(past_BWT.shape[-1])
    repeats_BWT = jnp.broadcast_to((place_T >= n - 1) & (place_T <= t), past_BWT.shape)
    for back in range(1, n):  # is what stands before each place what stands before the new token?
        newest_BW1 = jax.lax.dynamic_slice_in_dim(past_BWT, jnp.maximum(t + 1 - back, 0), 1, axis=2)
        repeats_BWT &= jnp.roll(past_BWT, back, axis=2) == newest_BW1
    word_BWT = jnp.where(repeats_BWT, past_BWT, logits_BWV.shape[-1])
    b, w = (jax.lax.broadcasted_iota(jnp.int32, past_BWT.shape, axis) for axis in range(2))
    return logits_BWV.at[b, w, word_BWT].set(-jnp.inf, mode="drop")
