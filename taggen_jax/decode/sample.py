"""Sampling: outputs drawn at random, from a distribution that is sharpened and cut as one likes.

A logit is divided by the temperature; then all but the `top_k` largest go; then all but the fewest that hold
a share `top_p` of the probability (nucleus sampling, Holtzman et al., 2020), as in Hugging Face's warpers.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from taggen_jax.decode.beam import NEVER, Cache, Step


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """How to draw.

    Attributes:
      samples: outputs drawn for each product.
      max_length: new tokens at most, the end of sequence included.
      temperature: above 1 flattens, below 1 sharpens.
      top_k: the largest logits that stay; 0 keeps all.
      top_p: the least share of the probability that stays.
    """

    samples: int = 1
    max_length: int = 32
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if self.samples < 1 or self.max_length < 1 or self.top_k < 0:
            raise ValueError(
                f"samples={self.samples} and max_length={self.max_length} must be at least 1,"
                f" top_k={self.top_k} at least 0"
            )
        if self.temperature <= 0 or not 0 < self.top_p <= 1:
            raise ValueError(f"temperature={self.temperature} must be above 0, top_p={self.top_p} in (0, 1]")


class Samples(NamedTuple):
    """What was drawn; W = `samples`."""

    tokens_BWT: jax.Array  # int32, without the leading bos; pads after the end of sequence
    logprobs_BW: jax.Array  # float32, under the distribution that was drawn from


def sample(
    step: Step[Cache],
    cache: Cache,
    key: jax.Array,
    *,
    batch: int,
    bos: int,
    eos: int,
    pad: int,
    config: SampleConfig,
) -> Samples:
    """Draws outputs of `batch` products. Call it inside `jax.jit`; arguments as of `beam.beam_search`.

    Args:
      key: a step's noise is a function of it and of the step alone.
    """
    shape_BW = (batch, config.samples)
    shape_BWT = (*shape_BW, config.max_length)
    ancestry_BWT = jax.lax.broadcasted_iota(jnp.int32, shape_BWT, 1)  # nobody changes places

    def unfinished(carry: Any) -> jax.Array:
        t, open_BW = carry[0], carry[2]
        return (t < config.max_length) & open_BW.any()

    def advance(carry: Any) -> Any:
        t, token_BW, open_BW, tokens_BWT, logprobs_BW, cache = carry
        logits_BWV, cache = step(token_BW, cache, t, ancestry_BWT)
        logprobs_BWV = jax.nn.log_softmax(warp(logits_BWV, config))
        drawn_BW = jax.random.categorical(jax.random.fold_in(key, t), logprobs_BWV)
        token_BW = jnp.where(open_BW, drawn_BW, pad).astype(jnp.int32)
        logprob_BW = jnp.take_along_axis(logprobs_BWV, drawn_BW[..., None], axis=2)[..., 0]
        logprobs_BW = logprobs_BW + jnp.where(open_BW, logprob_BW, 0.0)
        tokens_BWT = tokens_BWT.at[:, :, t].set(token_BW)
        return t + 1, token_BW, open_BW & (token_BW != eos), tokens_BWT, logprobs_BW, cache

    start = (
        jnp.int32(0),
        jnp.full(shape_BW, bos, jnp.int32),
        jnp.ones(shape_BW, bool),
        jnp.full(shape_BWT, pad, jnp.int32),
        jnp.zeros(shape_BW, jnp.float32),
        cache,
    )
    _, _, _, tokens_BWT, logprobs_BW, _ = jax.lax.while_loop(unfinished, advance, start)
    return Samples(tokens_BWT, logprobs_BW)


def warp(logits: jax.Array, config: SampleConfig) -> jax.Array:
    """float32 logits [.., V] after temperature, top-k and top-p; NEVER where a token may not be drawn."""
    logits = logits.astype(jnp.float32) / config.temperature
    if config.top_k:
        least = jax.lax.top_k(logits, min(config.top_k, logits.shape[-1]))[0][..., -1:]
        logits = jnp.where(logits < least, NEVER, logits)
    if config.top_p < 1:
        ordered = -jnp.sort(-logits, axis=-1)
        probs = jax.nn.softmax(ordered)
        kept = jnp.cumsum(probs, axis=-1) - probs < config.top_p  # what comes before does not suffice
        least = jnp.where(kept, ordered, jnp.inf).min(axis=-1, keepdims=True)
        logits = jnp.where(logits < least, NEVER, logits)
    return logits
