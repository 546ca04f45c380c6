"""T5 (Raffel et al., 2020; v1.1: Shazeer, 2020): the family's configuration, modules and protocol.

Pre-norm residual blocks, RMS norms without bias, unscaled attention with a learned bias per relative-position
bucket and head, shared by all layers of a stack. v1.0 has a ReLU MLP and ties the head to the embedding;
v1.1 has a gated GELU and a head of its own.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from taggen_jax.models import layers
from taggen_jax.models.layers import Array, ComputeConfig, dropout, keys, rms_norm, weight

Batch = dict[str, Array]
ACTIVATIONS = {
    "relu": jax.nn.relu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=True),
    "silu": jax.nn.silu,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class T5Config:
    """The architecture. Defaults are those of T5 v1.1 small.

    Attributes:
      vocab_size: rows of the embedding; at least the tokenizer's size (`taggen train` checks it).
      gated: two parallel input projections in the MLP, multiplied (v1.1), or one (v1.0).
      tied_head: the embedding is also the output projection, with activations scaled by d_model ** -0.5.
    """

    family: Literal["t5"] = "t5"
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


class Attention(nnx.Module):
    """Projections of one attention; `layers.attend` does the rest."""

    def __init__(self, cfg: T5Config, rngs: nnx.Rngs) -> None:
        D, H, K = cfg.d_model, cfg.n_heads, cfg.head_dim
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
        return join_heads(layers.attend(q_BTHK, *kv, bias, rate, key), self.out[...])


def split_heads(x_BTD: Array, w_DHK: Array) -> Array:
    """[B, T, D] -> [B, T, H, K]: one matrix product."""
    D, H, K = w_DHK.shape
    return layers.linear(x_BTD, w_DHK.reshape(D, H * K)).reshape(*x_BTD.shape[:-1], H, K)


def join_heads(x_BTHK: Array, w_HKD: Array) -> Array:
    """[B, T, H, K] -> [B, T, D]: one matrix product."""
    H, K, D = w_HKD.shape
    return layers.linear(x_BTHK.reshape(*x_BTHK.shape[:-2], H * K), w_HKD.reshape(H * K, D))


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
    def __init__(self, cfg: T5Config, rngs: nnx.Rngs) -> None:
        self.cfg = cfg
        self.attention_norm, self.attention = norm(cfg), Attention(cfg, rngs)
        self.mlp_norm, self.mlp = norm(cfg), Mlp(cfg, rngs)

    def __call__(self, x_BSD: Array, bias: Array, key: Array | None) -> Array:
        rate, epsilon = self.cfg.dropout, self.cfg.norm_epsilon
        k_probs, k_attention, k_hidden, k_mlp = keys(key, 4)
        y_BSD = rms_norm(x_BSD, self.attention_norm[...], epsilon)
        y_BSD = self.attention(y_BSD, self.attention.keys_and_values(y_BSD), bias, rate, k_probs)
        x_BSD = x_BSD + dropout(y_BSD, rate, k_attention)
        y_BSD = self.mlp(rms_norm(x_BSD, self.mlp_norm[...], epsilon), k_hidden)
        return x_BSD + dropout(y_BSD, rate, k_mlp)


class DecoderBlock(nnx.Module):
    def __init__(self, cfg: T5Config, rngs: nnx.Rngs) -> None:
        self.cfg = cfg
        self.attention_norm, self.attention = norm(cfg), Attention(cfg, rngs)
        self.cross_norm, self.cross = norm(cfg), Attention(cfg, rngs)
        self.mlp_norm, self.mlp = norm(cfg), Mlp(cfg, rngs)

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

    def step(self, x_BWD: Array, cache: Any, cross: Any, t: Array, bias_HT: Array) -> tuple[Array, Any]:
        """One token a beam. cache: k, v [B, W, T, H, K]; cross: k, v [B, S, H, K] and its bias [B, S]."""
        epsilon = self.cfg.norm_epsilon
        y_BWD = rms_norm(x_BWD, self.attention_norm[...], epsilon)
        q_BWHK = split_heads(y_BWD, self.attention.query[...])
        new = self.attention.keys_and_values(y_BWD)
        k_BWTHK, v_BWTHK = (
            jax.lax.dynamic_update_index_in_dim(x_BWTHK, x_BWHK, t, axis=2)
            for x_BWTHK, x_BWHK in zip(cache, new, strict=True)
        )
        y_BWHK = attend_cached(q_BWHK, k_BWTHK, v_BWTHK, bias_HT)
        x_BWD = x_BWD + join_heads(y_BWHK, self.attention.out[...])
        y_BWD = rms_norm(x_BWD, self.cross_norm[...], epsilon)
        cross_k, cross_v, cross_bias_BS = cross
        # The beams stand where target positions do in training: one attention serves all beams of a product.
        x_BWD = x_BWD + self.cross(y_BWD, (cross_k, cross_v), cross_bias_BS[:, None, None, :], 0.0)
        return x_BWD + self.mlp(rms_norm(x_BWD, self.mlp_norm[...], epsilon)), (k_BWTHK, v_BWTHK)


def attend_cached(q_BWHK: Array, k_BWTHK: Array, v_BWTHK: Array, bias_HT: Array) -> Array:
    """Each beam attends to its own cache, [B, W, H, K]; the bias masks positions not yet written."""
    logits_BWHT = jnp.einsum("BWHK,BWTHK->BWHT", q_BWHK, k_BWTHK, preferred_element_type=jnp.float32)
    probs_BWHT = jax.nn.softmax(logits_BWHT + bias_HT[None, None]).astype(v_BWTHK.dtype)
    return jnp.einsum("BWHT,BWTHK->BWHK", probs_BWHT, v_BWTHK)


def norm(cfg: T5Config) -> nnx.Param:
    return nnx.Param(jnp.ones(cfg.d_model), axes=("norm",))


class Stack(nnx.Module):
    """The blocks of an encoder or a decoder, their shared position table and the norm at their end."""

    def __init__(
        self, block: Callable[[T5Config, nnx.Rngs], nnx.Module], count: int, cfg: T5Config, rngs: nnx.Rngs
    ) -> None:
        self.blocks = layers.stacked(lambda rngs: block(cfg, rngs), count, rngs)
        self.position = weight(
            rngs, (cfg.position_buckets, cfg.n_heads), ("buckets", "heads"), cfg.d_model**-0.5
        )
        self.norm = norm(cfg)


class T5(nnx.Module):
    """The protocol of a family. Segments are int32: 0 is padding, 1, 2, .. the products packed in a row."""

    def __init__(self, cfg: T5Config, compute: ComputeConfig, rngs: nnx.Rngs) -> None:
        V, D = cfg.vocab_size, cfg.d_model
        self.cfg, self.compute = cfg, compute
        self.embedding = weight(rngs, (V, D), ("vocab", "embed"), 1.0)
        self.encoder = Stack(EncoderBlock, cfg.encoder_layers, cfg, rngs)
        self.decoder = Stack(DecoderBlock, cfg.decoder_layers, cfg, rngs)
        if not cfg.tied_head:
            self.head = weight(rngs, (D, V), ("embed", "vocab"), D**-0.5)

    def encode(self, source_BS: Array, segments_BS: Array, key: Array | None = None) -> Array:
        """memory_BSD: the encoder's output. A product sees only its own segment."""
        rate = self.cfg.dropout
        k_embedding, k_layers, k_out = keys(key, 3)
        mask_BSS = layers.segment_mask(segments_BS, segments_BS)
        S = source_BS.shape[1]
        bias = self._position_bias(self.encoder, jnp.arange(S), S, bidirectional=True)[None]
        bias = bias + jnp.where(mask_BSS, 0.0, layers.MASKED)[:, None]
        x_BSD = dropout(self.embedding[...][source_BS], rate, k_embedding)
        x_BSD, _ = layers.scan_layers(
            lambda x, block_and_key: (block_and_key[0](x, bias, block_and_key[1]), None),
            x_BSD,
            (self.encoder.blocks, self._layer_keys(k_layers, self.cfg.encoder_layers)),
            self.compute.remat,
        )
        return dropout(rms_norm(x_BSD, self.encoder.norm[...], self.cfg.norm_epsilon), rate, k_out)

    def logits(self, batch: Batch, key: Array | None = None) -> Array:
        """Teacher-forced float32 logits_BTV for batch["source"] and batch["target"], both int32 and padded.

        The target is shifted right here. `source_segments` and `target_segments` say which product of a
        packed row a token belongs to; without them a row is one product. Dropout only when a key is given.
        """
        source_BS, target_BT = batch["source"], batch["target"]
        source_segments = batch.get("source_segments", (source_BS != self.cfg.pad).astype(jnp.int32))
        target_segments = batch.get("target_segments", jnp.ones_like(target_BT))
        k_encoder, k_embedding, k_layers, k_out = keys(key, 4)
        memory_BSD = self.encode(source_BS, source_segments, k_encoder)
        T = target_BT.shape[1]
        mask_BTT = layers.causal_mask(T)[None] & layers.segment_mask(target_segments, target_segments)
        bias = self._position_bias(self.decoder, jnp.arange(T), T, bidirectional=False)[None]
        bias = bias + jnp.where(mask_BTT, 0.0, layers.MASKED)[:, None]
        cross_mask_BTS = layers.segment_mask(target_segments, source_segments)
        cross_bias = jnp.where(cross_mask_BTS, 0.0, layers.MASKED)[:, None]
        inputs_BT = shift_right(target_BT, target_segments, self.cfg.start)
        x_BTD = dropout(self.embedding[...][inputs_BT], self.cfg.dropout, k_embedding)
        x_BTD, _ = layers.scan_layers(
            lambda x, block_and_key: (
                block_and_key[0](x, memory_BSD, bias, cross_bias, block_and_key[1]),
                None,
            ),
            x_BTD,
            (self.decoder.blocks, self._layer_keys(k_layers, self.cfg.decoder_layers)),
            self.compute.remat,
        )
        return self._head(x_BTD, k_out)

    def start(self, memory_BSD: Array, segments_BS: Array, *, beams: int, length: int) -> tuple[Any, Any]:
        """What `step` needs: an empty cache per beam, and each product's cross keys and values, once.

        Returns:
          cache: (k, v), each [L, B, W, T, H, K] with W = beams and T = length.
          cross: (k, v, bias): k and v [L, B, S, H, K], computed once per product; bias [B, S].
        """
        attention = self.decoder.blocks.cross
        cross_k, cross_v = (
            jnp.einsum("BSD,LDHK->LBSHK", memory_BSD, w[...]) for w in (attention.key, attention.value)
        )
        cross_bias_BS = jnp.where(segments_BS > 0, 0.0, layers.MASKED)
        L, B, _, H, K = cross_k.shape
        empty = jnp.zeros((L, B, beams, length, H, K), memory_BSD.dtype)
        return (empty, empty), (cross_k, cross_v, cross_bias_BS)

    def step(self, token_BW: Array, cache: Any, cross: Any, t: Array) -> tuple[Array, Any]:
        """Float32 logits_BWV of the token after `token_BW`, which stands at position t; the updated cache."""
        cross_k, cross_v, cross_bias_BS = cross
        T = cache[0].shape[3]
        bias_HT = self._position_bias(self.decoder, t[None], T, bidirectional=False)[:, 0]
        bias_HT = bias_HT + jnp.where(jnp.arange(T) <= t, 0.0, layers.MASKED)[None]

        def layer(x_BWD: Array, xs: Any) -> tuple[Array, Any]:
            block, cache, cross_k, cross_v = xs
            return block.step(x_BWD, cache, (cross_k, cross_v, cross_bias_BS), t, bias_HT)

        x_BWD = self.embedding[...][token_BW]
        x_BWD, cache = layers.scan_layers(layer, x_BWD, (self.decoder.blocks, cache, cross_k, cross_v))
        return self._head(x_BWD), cache

    def _layer_keys(self, key: Array | None, count: int) -> Array | None:
        return None if key is None else jax.random.split(key, count)

    def _position_bias(self, stack: Stack, query_Q: Array, length: int, bidirectional: bool) -> Array:
        """bias_HQS, float32: the learned bias of key positions 0..length-1 for the given query positions."""
        offset_QS = jnp.arange(length)[None, :] - query_Q[:, None]
        cfg = self.cfg
        bucket_QS = layers.relative_bucket(
            offset_QS, cfg.position_buckets, cfg.position_max_distance, bidirectional
        )
        return jnp.moveaxis(stack.position[...][bucket_QS], -1, 0).astype(jnp.float32)

    def _head(self, x: Array, key: Array | None = None) -> Array:
        x = dropout(rms_norm(x, self.decoder.norm[...], self.cfg.norm_epsilon), self.cfg.dropout, key)
        if self.cfg.tied_head:
            x = x * self.cfg.d_model**-0.5
            return jnp.einsum("...D,VD->...V", x, self.embedding[...], preferred_element_type=jnp.float32)
        return layers.linear(x, self.head[...], jnp.float32)


def shift_right(target_BT: Array, segments_BT: Array, start: int) -> Array:
    """Decoder inputs: each token sees the one before it; the first of every segment sees `start`."""
    shifted = jnp.pad(target_BT, ((0, 0), (1, 0)))[:, :-1]
    first = segments_BT != jnp.pad(segments_BT, ((0, 0), (1, 0)), constant_values=-1)[:, :-1]
    return jnp.where(first, start, shifted)
