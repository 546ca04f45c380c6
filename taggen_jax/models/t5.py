"""T5 (Raffel et al., 2020; v1.1: Shazeer, 2020): the family's configuration, modules and protocol.

Pre-norm residual blocks, RMS norms without bias, unscaled attention with a learned bias per relative-position
bucket and head, shared by all layers of a stack. v1.0 has a ReLU MLP and ties the head to the embedding;
v1.1 has a gated GELU and a head of its own. So have Flan-T5 (Chung et al., 2022), mT5 (Xue et al., 2021),
ByT5 (Xue et al., 2022: byte tokens, a deep encoder, a shallow decoder) and umT5 (Chung et al., 2023: position
biases of its own in every layer).
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from taggen_jax.models import attention, layers, steps
from taggen_jax.models.layers import (
    Array,
    ComputeConfig,
    dropout,
    join_heads,
    keys,
    rms_norm,
    split_heads,
    weight,
)
from taggen_jax.models.protocol import EncoderDecoder

ACTIVATIONS = {
    "relu": jax.nn.relu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=True),
    "silu": jax.nn.silu,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class T5Config:
    """The architecture. Defaults are those of T5 v1.1 small.

    Attributes:
      variant: the `model_type` under which Hugging Face knows it; in "umt5" every layer has its own table of
        position biases, and "mt5" always has a head of its own.
      vocab_size: rows of the embedding; at least the tokenizer's size (`taggen train` checks it).
      gated: two parallel input projections in the MLP, multiplied (v1.1), or one (v1.0).
      tied_head: the embedding is also the output projection, with activations scaled by d_model ** -0.5.
    """

    family: Literal["t5"] = "t5"
    variant: Literal["t5", "mt5", "umt5"] = "t5"
    vocab_size: int = 32128
    d_model: int = 512
    d_mlp: int = 1024
    n_heads: int = 6
    head_dim: int = 64
    encoder_layers: int = 8
    decoder_layers: int = 8
    activation: Literal["relu", "gelu", "silu"] = "gelu"
    gated: bool = True
    tied_head: bool = False
    position_buckets: int = 32
    position_max_distance: int = 128
    norm_epsilon: float = 1e-6
    dropout: float = 0.1
    pad: int = 0
    eos: int = 1
    start: int = 0

    def __post_init__(self) -> None:
        sizes = ("vocab_size", "d_model", "d_mlp", "n_heads", "head_dim", "encoder_layers", "decoder_layers")
        for name in sizes:
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if self.position_buckets % 4:
            raise ValueError(f"position_buckets={self.position_buckets} must be a multiple of 4")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout={self.dropout} must be in [0, 1)")
        if self.variant == "mt5" and self.tied_head:
            raise ValueError("tied_head=True does not go with variant='mt5'; set variant='t5'")

    @property
    def position_every_layer(self) -> bool:
        """Whether each layer has its own table of position biases, instead of one for the whole stack."""
        return self.variant == "umt5"


class Attention(nnx.Module):
    """Projections of one attention; `attention.attend` does the rest."""

    def __init__(self, cfg: T5Config, compute: ComputeConfig, rngs: nnx.Rngs) -> None:
        D, H, K = cfg.d_model, cfg.n_heads, cfg.head_dim
        self.compute = compute
        self.query = weight(rngs, (D, H, K), ("embed", "heads", "head_dim"), (D * K) ** -0.5)
        self.key = weight(rngs, (D, H, K), ("embed", "heads", "head_dim"), D**-0.5)
        self.value = weight(rngs, (D, H, K), ("embed", "heads", "head_dim"), D**-0.5)
        self.out = weight(rngs, (H, K, D), ("heads", "head_dim", "embed"), (H * K) ** -0.5)

    def keys_and_values(self, x_BSD: Array) -> tuple[Array, Array]:
        return split_heads(x_BSD, self.key[...]), split_heads(x_BSD, self.value[...])

    def __call__(
        self, x_BTD: Array, kv: tuple[Array, Array], bias: Array, rate: float, key: Array | None = None
    ) -> Array:
        q_BTHK = split_heads(x_BTD, self.query[...])
        y_BTHK = attention.attend(q_BTHK, *kv, bias, rate, key, self.compute.attention)
        return join_heads(y_BTHK, self.out[...])


class Mlp(nnx.Module):
    def __init__(self, cfg: T5Config, rngs: nnx.Rngs) -> None:
        D, F = cfg.d_model, cfg.d_mlp
        self.cfg = cfg
        self.up = weight(rngs, (D, F), ("embed", "mlp"), D**-0.5)
        if cfg.gated:
            self.linear = weight(rngs, (D, F), ("embed", "mlp"), D**-0.5)
        self.down = weight(rngs, (F, D), ("mlp", "embed"), F**-0.5)

    def __call__(self, x: Array, key: Array | None = None) -> Array:
        hidden = ACTIVATIONS[self.cfg.activation](layers.linear(x, self.up[...]))
        if self.cfg.gated:
            hidden = hidden * layers.linear(x, self.linear[...])
        return layers.linear(dropout(hidden, self.cfg.dropout, key), self.down[...])


class EncoderBlock(nnx.Module):
    def __init__(self, cfg: T5Config, compute: ComputeConfig, rngs: nnx.Rngs) -> None:
        self.cfg = cfg
        self.attention_norm, self.attention = norm(cfg), Attention(cfg, compute, rngs)
        self.mlp_norm, self.mlp = norm(cfg), Mlp(cfg, rngs)
        if cfg.position_every_layer:
            self.position = position_table(cfg, rngs)

    def __call__(self, x_BSD: Array, bias: Array, key: Array | None) -> Array:
        rate, epsilon = self.cfg.dropout, self.cfg.norm_epsilon
        k_probs, k_attention, k_hidden, k_mlp = keys(key, 4)
        y_BSD = rms_norm(x_BSD, self.attention_norm[...], epsilon)
        y_BSD = self.attention(y_BSD, self.attention.keys_and_values(y_BSD), bias, rate, k_probs)
        x_BSD = x_BSD + dropout(y_BSD, rate, k_attention)
        y_BSD = self.mlp(rms_norm(x_BSD, self.mlp_norm[...], epsilon), k_hidden)
        return x_BSD + dropout(y_BSD, rate, k_mlp)


class DecoderBlock(nnx.Module):
    def __init__(self, cfg: T5Config, compute: ComputeConfig, rngs: nnx.Rngs) -> None:
        self.cfg = cfg
        self.attention_norm, self.attention = norm(cfg), Attention(cfg, compute, rngs)
        self.cross_norm, self.cross = norm(cfg), Attention(cfg, compute, rngs)
        self.mlp_norm, self.mlp = norm(cfg), Mlp(cfg, rngs)
        if cfg.position_every_layer:
            self.position = position_table(cfg, rngs)

    def __call__(
        self, x_BTD: Array, memory_BSD: Array, bias: Array, cross_bias: Array, key: Array | None
    ) -> Array:
        rate, epsilon = self.cfg.dropout, self.cfg.norm_epsilon
        k_probs, k_attention, k_cross_probs, k_cross, k_hidden, k_mlp = keys(key, 6)
        y_BTD = rms_norm(x_BTD, self.attention_norm[...], epsilon)
        y_BTD = self.attention(y_BTD, self.attention.keys_and_values(y_BTD), bias, rate, k_probs)
        x_BTD = x_BTD + dropout(y_BTD, rate, k_attention)
        y_BTD = rms_norm(x_BTD, self.cross_norm[...], epsilon)
        y_BTD = self.cross(y_BTD, self.cross.keys_and_values(memory_BSD), cross_bias, rate, k_cross_probs)
        x_BTD = x_BTD + dropout(y_BTD, rate, k_cross)
        y_BTD = self.mlp(rms_norm(x_BTD, self.mlp_norm[...], epsilon), k_hidden)
        return x_BTD + dropout(y_BTD, rate, k_mlp)

    def step(
        self, x_BWD: Array, cache: Any, cross: Any, t: Array, bias_HT: Array, ancestry_BWT: Array
    ) -> tuple[Array, Any]:
        """One token a beam. cache: see `steps.remember`; cross: see `steps.attend_slots`."""
        epsilon = self.cfg.norm_epsilon
        y_BWD = rms_norm(x_BWD, self.attention_norm[...], epsilon)
        cache = steps.remember(cache, self.attention.keys_and_values(y_BWD), t)
        q_BWHK = split_heads(y_BWD, self.attention.query[...])
        y_BWHK = steps.attend_cached(q_BWHK, cache, bias_HT, ancestry_BWT)
        x_BWD = x_BWD + join_heads(y_BWHK, self.attention.out[...])
        y_BWD = rms_norm(x_BWD, self.cross_norm[...], epsilon)
        q_BWHK = split_heads(y_BWD, self.cross.query[...])
        x_BWD = x_BWD + join_heads(steps.attend_slots(q_BWHK, *cross), self.cross.out[...])
        return x_BWD + self.mlp(rms_norm(x_BWD, self.mlp_norm[...], epsilon)), cache


def norm(cfg: T5Config) -> nnx.Param:
    return nnx.Param(jnp.ones(cfg.d_model), axes=("norm",))


def position_table(cfg: T5Config, rngs: nnx.Rngs) -> nnx.Param:
    return weight(rngs, (cfg.position_buckets, cfg.n_heads), ("buckets", "heads"), cfg.d_model**-0.5)


class Stack(nnx.Module):
    """The blocks of an encoder or a decoder, the position table they share, and the norm at their end."""

    def __init__(
        self, block: Callable[[nnx.Rngs], nnx.Module], count: int, cfg: T5Config, rngs: nnx.Rngs
    ) -> None:
        self.blocks = layers.stacked(block, count, rngs)
        if not cfg.position_every_layer:
            self.position = position_table(cfg, rngs)
        self.norm = norm(cfg)


class T5(EncoderDecoder):
    """The family's module."""

    def __init__(self, cfg: T5Config, compute: ComputeConfig, rngs: nnx.Rngs) -> None:
        V, D = cfg.vocab_size, cfg.d_model
        self.cfg, self.compute = cfg, compute
        self.embedding = weight(rngs, (V, D), ("vocab", "embed"), 1.0)
        self.encoder = Stack(lambda rngs: EncoderBlock(cfg, compute, rngs), cfg.encoder_layers, cfg, rngs)
        self.decoder = Stack(lambda rngs: DecoderBlock(cfg, compute, rngs), cfg.decoder_layers, cfg, rngs)
        if not cfg.tied_head:
            self.head = weight(rngs, (D, V), ("embed", "vocab"), D**-0.5)

    def encode(self, source_BS: Array, segments_BS: Array, key: Array | None = None) -> Array:
        rate = self.cfg.dropout
        k_embedding, k_layers, k_out = keys(key, 3)
        positions_bS = jnp.arange(source_BS.shape[1])[None]  # only differences within a segment count
        mask_BSS = layers.segment_mask(segments_BS, segments_BS)
        bias = self._biases(self.encoder, positions_bS, positions_bS, mask_BSS, bidirectional=True)

        def layer(x_BSD: Array, block_and_key: Any) -> tuple[Array, None]:
            block, key = block_and_key
            return block(x_BSD, bias(block), key), None

        x_BSD = dropout(self.embedding[...][source_BS], rate, k_embedding)
        x_BSD, _ = layers.scan_layers(
            layer,
            x_BSD,
            (self.encoder.blocks, layers.layer_keys(k_layers, self.cfg.encoder_layers)),
            self.compute.remat,
        )
        return dropout(rms_norm(x_BSD, self.encoder.norm[...], self.cfg.norm_epsilon), rate, k_out)

    def decode(
        self,
        inputs_BT: Array,
        positions_bT: Array,
        mask_bTT: Array,
        memory_BSD: Array,
        cross_mask_bTS: Array,
        key: Array | None = None,
    ) -> Array:
        rate = self.cfg.dropout
        k_embedding, k_layers, k_out = keys(key, 3)
        bias = self._biases(self.decoder, positions_bT, positions_bT, mask_bTT, bidirectional=False)
        cross_bias = layers.mask_bias(cross_mask_bTS)

        def layer(x_BTD: Array, block_and_key: Any) -> tuple[Array, None]:
            block, key = block_and_key
            return block(x_BTD, memory_BSD, bias(block), cross_bias, key), None

        x_BTD = dropout(self.embedding[...][inputs_BT], rate, k_embedding)
        x_BTD, _ = layers.scan_layers(
            layer,
            x_BTD,
            (self.decoder.blocks, layers.layer_keys(k_layers, self.cfg.decoder_layers)),
            self.compute.remat,
        )
        return dropout(self._decoded(x_BTD), rate, k_out)

    def start(self, memory_BSD: Array, segments_BS: Array, *, beams: int, length: int) -> tuple[Any, Any]:
        """cross: (blocks, bias [B, 1, 1, S]); with each block its k and v."""
        blocks = self.decoder.blocks
        cross = blocks.cross
        cross_k = jnp.einsum("BSD,LDHK->LBHKS", memory_BSD, cross.key[...])
        cross_v = jnp.einsum("BSD,LDHK->LBHSK", memory_BSD, cross.value[...])
        L, B, H, _, K = cross_v.shape
        cache = steps.empty_cache(L, B, beams, length, H, K, memory_BSD.dtype)
        return steps.apart(cache), (steps.apart((blocks, cross_k, cross_v)), steps.slot_bias(segments_BS))

    def step(
        self, token_BW: Array, cache: Any, cross: Any, t: Array, ancestry_BWT: Array
    ) -> tuple[Array, Any]:
        blocks, cross_bias = cross
        positions_bT = jnp.arange(ancestry_BWT.shape[-1])[None]
        written_bQT = (positions_bT <= t)[None]
        bias = self._biases(self.decoder, t[None, None], positions_bT, written_bQT, bidirectional=False)

        def layer(x_BWD: Array, cache: Any, one: Any) -> tuple[Array, Any]:
            block, cross_k, cross_v = one
            bias_HT = bias(block)[0, :, 0]
            return block.step(x_BWD, cache, (cross_k, cross_v, cross_bias), t, bias_HT, ancestry_BWT)

        x_BWD, cache = steps.scan_steps(layer, self.embedding[...][token_BW], cache, blocks)
        return self._decoded(x_BWD), cache

    def unembed(self, hidden: Array, words_A: Array | None = None) -> Array:
        if self.cfg.tied_head:
            w_VD = layers.rows(self.embedding[...], words_A)
            x = hidden * self.cfg.d_model**-0.5
            return jnp.einsum("...D,VD->...V", x, w_VD, preferred_element_type=jnp.float32)
        return layers.linear(hidden, layers.rows(self.head[...], words_A, axis=1), jnp.float32)

    def _decoded(self, x: Array) -> Array:
        return rms_norm(x, self.decoder.norm[...], self.cfg.norm_epsilon)

    def _biases(
        self, stack: Stack, query_bQ: Array, key_bS: Array, mask_bQS: Array, bidirectional: bool
    ) -> Callable[[Any], Array]:
        """block -> bias_bHQS, float32: what it adds for positions, and the mask."""
        offset_bQS = key_bS[:, None, :] - query_bQ[:, :, None]
        cfg, mask_bias = self.cfg, layers.mask_bias(mask_bQS)
        bucket_bQS = layers.relative_bucket(
            offset_bQS, cfg.position_buckets, cfg.position_max_distance, bidirectional
        )

        def bias(table: nnx.Param) -> Array:
            return jnp.moveaxis(table[...][bucket_bQS], -1, 1).astype(jnp.float32) + mask_bias

        if cfg.position_every_layer:
            return lambda block: bias(block.position)
        shared = bias(stack.position)
        return lambda block: shared
