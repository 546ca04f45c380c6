"""Sampling: outputs drawn at random, from a distribution that is sharpened and cut as one likes.

A logit is divided by the temperature; then all but the `top_k` largest go; then all but the fewest that hold
a share `top_p` of the probability (nucleus sampling, Holtzman et al., 2020), as in Hugging Face's warpers.
Under a constraint the same happens to the legal continuations alone. Letters: B batch, W outputs drawn, T new
tokens, V vocabulary, K continuations to draw from.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from taggen_jax.decode.beam import NEVER, Cache, Constraint, DecodeConfig, Step


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """How to draw.

    Attributes:
      samples: outputs drawn for each product.
      temperature: above 1 flattens, below 1 sharpens.
      top_k: the largest logits that stay; 0 keeps all.
      top_p: the least share of the probability that stays.
      seed: of the draws.
    """

    samples: int = 16
    temperature: float = 1.0
    top_k: int = 32
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.samples < 1 or self.top_k < 0 or self.seed < 0:
            raise ValueError(
                f"samples={self.samples} must be at least 1,"
                f" top_k={self.top_k} and seed={self.seed} at least 0"
            )
        if self.temperature <= 0 or not 0 < self.top_p <= 1:
            raise ValueError(f"temperature={self.temperature} must be above 0, top_p={self.top_p} in (0, 1]")


class Samples(NamedTuple):
    """What was drawn; W = `samples`."""

    tokens_BWT: jax.Array  # int32, without the leading bos; pads after the end of sequence
    logprobs_BW: jax.Array  # float32, under the distribution that was drawn from


class _State(NamedTuple):
    t: jax.Array  # int32: tokens drawn
    token_BW: jax.Array  # the last of them
    open_BW: jax.Array  # bool: not at its end
    drawn: Samples
    legal: Any  # the constraint's state; None without one


def sample(
    step: Step[Cache],
    cache: Cache,
    keys_B: jax.Array,
    *,
    bos: int,
    eos: int,
    pad: int,
    config: SampleConfig,
    lengths: DecodeConfig,
    constraint: Constraint | None = None,
) -> Samples:
    """Draws outputs of B products. Call it inside `jax.jit`; what is not said here is as in `beam_search`.

    Args:
      step: as there, though no beam changes places.
      cache: what `step` remembers.
      keys_B: a product's noise is a function of its key and the step alone.
      bos, eos, pad: as there.
      config: static.
      lengths: static; its lengths and forced tokens count, the rest of it is for beams. As there,
        `min_length` is the constraint's business where there is one.
      constraint: draws are from its `config.top_k` best continuations, of which there must be one at least.
    """
    shape_BW = (keys_B.shape[0], config.samples)
    shape_BWT = (*shape_BW, lengths.max_length)
    ancestry_BWT = jax.lax.broadcasted_iota(jnp.int32, shape_BWT, 1)  # nobody changes places

    def choices(logits_BWV: jax.Array, state: _State) -> tuple[jax.Array, jax.Array, Any]:
        """float32 logits, tokens and moves to draw from."""
        if constraint:
            logits_BWV = logits_BWV.astype(jnp.float32) / config.temperature
            logits_BWK, token_BWK, move_BWK = constraint.rank(logits_BWV, state.legal, state.t, config.top_k)
            return nucleus(logits_BWK, config.top_p), token_BWK, move_BWK
        word_BWV = jax.lax.broadcasted_iota(jnp.int32, logits_BWV.shape, 2)
        early_BWV = (word_BWV == eos) & (state.t + 1 < lengths.min_length)
        return warp(jnp.where(early_BWV, NEVER, logits_BWV), config), word_BWV, None

    def unfinished(carry: tuple[_State, Cache]) -> jax.Array:
        state = carry[0]
        return (state.t < lengths.max_length) & state.open_BW.any()

    def advance(carry: tuple[_State, Cache]) -> tuple[_State, Cache]:
        state, cache = carry
        t, open_BW = state.t, state.open_BW
        logits_BWV, cache = step(state.token_BW, cache, t, ancestry_BWT)
        logits_BWK, token_BWK, move_BWK = choices(logits_BWV, state)
        place_BW, logprob_BW = _draw(keys_B, t, logits_BWK)
        token_BW, certain = _forced(_at(token_BWK, place_BW), t, lengths)
        token_BW = jnp.where(open_BW, token_BW, pad)
        legal = state.legal
        if constraint:
            moved = constraint.advance(legal, _at(move_BWK, place_BW))
            legal = jax.tree.map(lambda old, new: jnp.where(certain, old, new), legal, moved)
        drawn = Samples(
            state.drawn.tokens_BWT.at[:, :, t].set(token_BW),
            state.drawn.logprobs_BW + jnp.where(open_BW & ~certain, logprob_BW, 0.0),
        )
        return _State(t + 1, token_BW, open_BW & (token_BW != eos), drawn, legal), cache

    start = _State(
        t=jnp.int32(0),
        token_BW=jnp.full(shape_BW, bos, jnp.int32),
        open_BW=jnp.ones(shape_BW, bool),
        drawn=Samples(jnp.full(shape_BWT, pad, jnp.int32), jnp.zeros(shape_BW, jnp.float32)),
        legal=constraint.start if constraint else None,
    )
    return jax.lax.while_loop(unfinished, advance, (start, cache))[0].drawn


def _draw(keys_B: jax.Array, t: jax.Array, logits_BWK: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The place that each output draws, and its log-probability."""
    logprobs_BWK = jax.nn.log_softmax(logits_BWK)
    place_BW = jax.vmap(lambda key, x_WK: jax.random.categorical(jax.random.fold_in(key, t), x_WK))(
        keys_B, logprobs_BWK
    )
    return place_BW, _at(logprobs_BWK, place_BW)


def _at(x_BWK: jax.Array, place_BW: jax.Array) -> jax.Array:
    return jnp.take_along_axis(x_BWK, place_BW[..., None], axis=2)[..., 0]


def _forced(token_BW: jax.Array, t: jax.Array, lengths: DecodeConfig) -> tuple[jax.Array, jax.Array]:
    """The tokens, or the forced one where there is one; and whether there is."""
    certain = jnp.bool_(False)
    for token, when in ((lengths.forced_first, 0), (lengths.forced_last, lengths.max_length - 1)):
        if token >= 0:
            token_BW = jnp.where(t == when, token, token_BW)
            certain |= t == when
    return token_BW, certain


def warp(logits: jax.Array, config: SampleConfig) -> jax.Array:
    """float32 logits [.., V] after temperature, top-k and top-p; NEVER where a token may not be drawn."""
    logits = logits.astype(jnp.float32) / config.temperature
    if config.top_k:
        least = jax.lax.top_k(logits, min(config.top_k, logits.shape[-1]))[0][..., -1:]
        logits = jnp.where(logits < least, NEVER, logits)
    return nucleus(logits, config.top_p)


def nucleus(logits: jax.Array, top_p: float) -> jax.Array:
    """The fewest logits [.., V] that hold a share `top_p` of the probability; NEVER for the others."""
    if top_p == 1:
        return logits
    ordered = -jnp.sort(-logits, axis=-1)
    probs = jax.nn.softmax(ordered)
    kept = jnp.cumsum(probs, axis=-1) - probs < top_p  # what comes before does not suffice
    least = jnp.where(kept, ordered, jnp.inf).min(axis=-1, keepdims=True)
    return jnp.where(logits < least, NEVER, logits)
