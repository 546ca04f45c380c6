"""T5Gemma (Zhang et al., 2025): Gemma 2's blocks as an encoder-decoder, of equal or of different sizes.

Attention and the logits of words are softly capped. Self-attention turns queries and keys by their positions;
cross-attention does not, and takes its keys from vectors of the encoder's width.
"""

import dataclasses
from typing import Any, Literal

import jax.numpy as jnp
from flax import nnx

from taggen_jax.models import gemma, layers
from taggen_jax.models.gemma import Attention, Residual, StackConfig, View, attend
from taggen_jax.models.layers import Array, ComputeConfig, keys, weight


@dataclasses.dataclass(frozen=True, kw_only=True)
class T5GemmaConfig:
    """The architecture.

    Attributes:
      encoder: a window of w lets a token see w to each side.
      decoder: a window of w lets a token see itself and the w - 1 before it.
      vocab_size: rows of the encoder's and of the decoder's embedding.
      tied_head: the decoder's embedding is also the output projection.
      logit_cap: logits of words are capped softly, to within this of 0; 0 does not cap.
      attention_dropout: of attention probabilities; `dropout` is everywhere else.
    """

    family: Literal["t5gemma"] = "t5gemma"
    encoder: StackConfig
    decoder: StackConfig
    vocab_size: int = 256_000
    tied_head: bool = True
    logit_cap: float = 30.0
    dropout: float = 0.0
    attention_dropout: float = 0.0
    pad: int = 0
    eos: int = 1
    start: int = 2

    def __post_init__(self) -> None:
        gemma.check(self)
        for name, stack in (("encoder", self.encoder), ("decoder", self.decoder)):
            if stack.local_rope_theta != stack.rope_theta:
                raise ValueError(f"{name}.local_rope_theta={stack.local_rope_theta} must equal rope_theta")

    @property
    def d_model(self) -> int:
        """The width of the decoder's hidden states."""
        return self.decoder.d_model


class DecoderBlock(gemma.Block):
    """Self-attention, cross-attention, MLP."""

    def __init__(self, cfg: T5GemmaConfig, rngs: nnx.Rngs) -> None:
        stack = cfg.decoder
        super().__init__(
            Attention(stack, stack.d_model, rngs), stack, (cfg.dropout, cfg.attention_dropout), rngs
        )
        self.cross = Residual(Attention(stack, cfg.encoder.d_model, rngs), stack)

    def __call__(  # type: ignore[override]
        self, x_BTD: Array, view: View, memory_BSD: Array, cross_bias_bTS: Array, key: Array | None
    ) -> Array:
        k_attention, k_cross, k_mlp = keys(key, 3)
        x_BTD = self.attend_self(x_BTD, view, [], k_attention)
        x_BTD = self.attend_memory(x_BTD, (*self.memorize(memory_BSD), cross_bias_bTS), k_cross)
        return self.feed_forward(x_BTD, k_mlp)

    def attend_memory(self, x_BTD: Array, memory: gemma.Seen, key: Array | None = None) -> Array:
        k_probs, k_out = keys(key, 2)
        cross, (rate, probs_rate) = self.cross.part, self.rates
        q_BTHK = cross.queries(self.cross.enter(x_BTD), None)
        y_BTHK = attend(q_BTHK, [memory], cross.cfg.attention_cap, probs_rate, k_probs)
        return self.cross.leave(x_BTD, cross.joined(y_BTHK), rate, k_out)

    def memorize(self, memory_BSD: Array) -> tuple[Array, Array]:
        return self.cross.part.keys_and_values(memory_BSD, None)

    def step(self, x_BWD: Array, cache: Any, memory: gemma.Seen, t: Array, view: View) -> tuple[Array, Any]:
        x_BWD, cache = self.attend_past(x_BWD, cache, t, view, [])
        return self.feed_forward(self.attend_memory(x_BWD, memory)), cache


class T5Gemma(gemma.Gemma):
    """The family's module."""

    def __init__(self, cfg: T5GemmaConfig, compute: ComputeConfig, rngs: nnx.Rngs) -> None:
        V, E, D = cfg.vocab_size, cfg.encoder.d_model, cfg.decoder.d_model
        self.cfg, self.compute = cfg, compute
        self.source_embedding = weight(rngs, (V, E), ("vocab", "embed"), E**-0.5)
        self.target_embedding = weight(rngs, (V, D), ("vocab", "embed"), D**-0.5)

        def encoder_block(rngs: nnx.Rngs) -> nnx.Module:
            rates = (cfg.dropout, cfg.attention_dropout)
            return gemma.Block(Attention(cfg.encoder, E, rngs), cfg.encoder, rates, rngs)

        self.encoder = gemma.Stack(encoder_block, cfg.encoder, rngs)
        self.decoder = gemma.Stack(lambda rngs: DecoderBlock(cfg, rngs), cfg.decoder, rngs)
        if not cfg.tied_head:
            self.head = weight(rngs, (V, D), ("vocab", "embed"), D**-0.5)

    def embed_source(self, source_BS: Array) -> Array:
        return gemma.scaled(self.source_embedding[...][source_BS])

    def embed_target(self, tokens: Array) -> Array:
        return gemma.scaled(self.target_embedding[...][tokens])

    def encoder_window(self, offset: Array) -> Array:
        return jnp.abs(offset) <= self.cfg.encoder.window

    def head_VD(self, words_A: Array | None) -> Array:
        table = self.target_embedding if self.cfg.tied_head else self.head
        return layers.rows(table[...], words_A)
