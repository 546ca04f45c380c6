"""T5Gemma 2 (Zhang et al., 2025), its text path: Gemma 3's blocks as an encoder-decoder; no images.

One attention of the decoder looks at its own past and at the memory together, with the same projections; only
the past is turned by positions. Queries and keys are normed. One embedding serves encoder, decoder and head.
"""

import dataclasses
from typing import Any, Literal

import jax.numpy as jnp
from flax import nnx

from taggen_jax.models import gemma, layers
from taggen_jax.models.gemma import StackConfig, View, rms_norm
from taggen_jax.models.layers import Array, ComputeConfig, keys, weight


@dataclasses.dataclass(frozen=True, kw_only=True)
class T5Gemma2Config:
    """The architecture.

    Attributes:
      encoder: a window of w lets a token see itself, (w - 1) // 2 tokens before it and w // 2 after it.
      decoder: a window of w lets a token see itself and the w - 1 before it; the memory is always seen.
      vocab_size: rows of the one embedding.
      end_of_image: a token with a vector of its own, apart from the embedding and not scaled.
      logit_cap: logits of words are capped softly, to within this of 0; 0 does not cap.
      attention_dropout: of attention probabilities; `dropout` is everywhere else.
    """

    family: Literal["t5gemma2"] = "t5gemma2"
    encoder: StackConfig
    decoder: StackConfig
    vocab_size: int = 262_208
    end_of_image: int = 256_000
    logit_cap: float = 0.0
    dropout: float = 0.0
    attention_dropout: float = 0.0
    pad: int = 0
    eos: int = 1
    start: int = 2

    def __post_init__(self) -> None:
        gemma.check(self)
        if self.encoder.d_model != self.decoder.d_model:
            sizes = f"encoder.d_model={self.encoder.d_model} and decoder.d_model={self.decoder.d_model}"
            raise ValueError(f"{sizes} must be equal")

    @property
    def d_model(self) -> int:
        """The width of all hidden states."""
        return self.decoder.d_model


class Attention(gemma.Attention):
    """With RMS norms of queries and keys, before they turn."""

    def __init__(self, cfg: StackConfig, d_memory: int, rngs: nnx.Rngs) -> None:
        super().__init__(cfg, d_memory, rngs)
        self.query_norm, self.key_norm = gemma.norm(cfg.head_dim), gemma.norm(cfg.head_dim)

    def prepare_queries(self, q_BTHK: Array) -> Array:
        return rms_norm(q_BTHK, self.query_norm[...], self.cfg.norm_epsilon)

    def prepare_keys(self, k_BSGK: Array) -> Array:
        return rms_norm(k_BSGK, self.key_norm[...], self.cfg.norm_epsilon)


class DecoderBlock(gemma.Block):
    """Merged attention, MLP."""

    def __call__(  # type: ignore[override]
        self, x_BTD: Array, view: View, memory_BSD: Array, cross_bias_bTS: Array, key: Array | None
    ) -> Array:
        k_attention, k_mlp = keys(key, 2)
        memory = (*self.memorize(memory_BSD), cross_bias_bTS)
        return self.feed_forward(self.attend_self(x_BTD, view, [memory], k_attention), k_mlp)

    def memorize(self, memory_BSD: Array) -> tuple[Array, Array]:
        return self.attention.part.keys_and_values(memory_BSD, None)

    def step(self, x_BWD: Array, cache: Any, memory: gemma.Seen, t: Array, view: View) -> tuple[Array, Any]:
        x_BWD, cache = self.attend_past(x_BWD, cache, t, view, [memory])
        return self.feed_forward(x_BWD), cache


class T5Gemma2(gemma.Gemma):
    """The family's module."""

    def __init__(self, cfg: T5Gemma2Config, compute: ComputeConfig, rngs: nnx.Rngs) -> None:
        V, D, rates = cfg.vocab_size, cfg.decoder.d_model, (cfg.dropout, cfg.attention_dropout)
        self.cfg, self.compute = cfg, compute
        self.embedding = weight(rngs, (V, D), ("vocab", "embed"), D**-0.5)
        self.end_of_image = nnx.Param(jnp.zeros(D), axes=("embed",))

        def block(kind: type[gemma.Block], stack: StackConfig) -> Any:
            return lambda rngs: kind(Attention(stack, D, rngs), stack, rates, rngs)

        self.encoder = gemma.Stack(block(gemma.Block, cfg.encoder), cfg.encoder, rngs)
        self.decoder = gemma.Stack(block(DecoderBlock, cfg.decoder), cfg.decoder, rngs)

    def embed_source(self, source_BS: Array) -> Array:
        return self.embed_target(source_BS)

    def embed_target(self, tokens: Array) -> Array:
        vectors = gemma.scaled(self.embedding[...][tokens])
        special = jnp.expand_dims(self.end_of_image[...], range(tokens.ndim))
        return jnp.where((tokens == self.cfg.end_of_image)[..., None], special, vectors)

    def encoder_window(self, offset: Array) -> Array:
        window = self.cfg.encoder.window
        return (offset > -((window + 1) // 2)) & (offset <= window // 2)

    def head_VD(self, words_A: Array | None) -> Array:
        return layers.rows(self.embedding[...], words_A)
