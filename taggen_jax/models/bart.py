"""BART (Lewis et al., 2020), mBART (Liu et al., 2020) and Pegasus (Zhang et al., 2020): one family.

The blocks of Vaswani et al. (2017): absolute positions, layer norms and biases everywhere, scaled attention,
and one embedding for the source, the target and the head. The variants differ in three places:

              layer norms                              after the embedding   positions
    bart      after each residual sum                  a norm                learned
    mbart     before each sublayer, and at the end     a norm                learned
    pegasus   before each sublayer, and at the end     nothing               sinusoids, fixed
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from taggen_jax.errors import UserError
from taggen_jax.models import attention, layers, steps
from taggen_jax.models.layers import (
    Array,
    ComputeConfig,
    add_bias,
    dropout,
    join_heads,
    keys,
    split_heads,
    weight,
)
from taggen_jax.models.protocol import EncoderDecoder

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu_new": lambda x: jax.nn.gelu(x, approximate=True),
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
}
INIT_STD = 0.02  # of every matrix
EPSILON = 1e-5  # of every layer norm


@dataclasses.dataclass(frozen=True, kw_only=True)
class BartConfig:
    """The architecture. Defaults are those of BART base.

    Attributes:
      vocab_size: rows of the embedding; at least the tokenizer's size (`taggen train` checks it).
      max_positions: the longest source and the longest output of a product, in tokens.
      scale_embedding: multiply looked-up embeddings by d_model ** 0.5.
      dropout: of embeddings and residual branches; the other two are of attention probabilities and of the
        MLP's hidden units.
      start: the token before the first one: EOS in BART, PAD in Pegasus, a language's code or EOS in mBART.
      forced_first, forced_last: the token that the search puts first, and at the maximum length; -1 is none.
    """

    family: Literal["bart"] = "bart"
    variant: Literal["bart", "mbart", "pegasus"] = "bart"
    vocab_size: int = 50265
    d_model: int = 768
    d_mlp: int = 3072
    n_heads: int = 12
    encoder_layers: int = 6
    decoder_layers: int = 6
    activation: Literal["gelu", "gelu_new", "relu", "silu"] = "gelu"
    max_positions: int = 1024
    scale_embedding: bool = False
    dropout: float = 0.1
    attention_dropout: float = 0.1
    activation_dropout: float = 0.1
    pad: int = 1
    eos: int = 2
    start: int = 2
    forced_first: int = -1
    forced_last: int = -1

    def __post_init__(self) -> None:
        sizes = ("vocab_size", "d_model", "d_mlp", "n_heads", "encoder_layers", "decoder_layers")
        for name in (*sizes, "max_positions"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if self.d_model % self.n_heads:
            raise ValueError(f"d_model={self.d_model} must be a multiple of n_heads={self.n_heads}")
        for name in ("dropout", "attention_dropout", "activation_dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name}={getattr(self, name)} must be in [0, 1)")

    @property
    def pre_norm(self) -> bool:
        return self.variant != "bart"

    @property
    def embedding_norm(self) -> bool:
        return self.variant != "pegasus"

    @property
    def learned_positions(self) -> bool:
        return self.variant != "pegasus"

    @property
    def position_offset(self) -> int:
        """The row of position 0: learned tables begin with two rows that nothing reads, as in fairseq."""
        return 2 if self.learned_positions else 0


def zeros(shape: tuple[int, ...], axes: tuple[str, ...]) -> nnx.Param:
    return nnx.Param(jnp.zeros(shape), axes=axes)


class Norm(nnx.Module):
    """A layer norm that knows on which side of its sublayer it stands."""

    def __init__(self, cfg: BartConfig) -> None:
        self.cfg = cfg
        self.scale = nnx.Param(jnp.ones(cfg.d_model), axes=("norm",))
        self.bias = zeros((cfg.d_model,), ("norm",))

    def __call__(self, x: Array) -> Array:
        return layers.layer_norm(x, self.scale[...], self.bias[...], EPSILON)

    def before(self, x: Array) -> Array:
        """What the sublayer reads."""
        return self(x) if self.cfg.pre_norm else x

    def after(self, x: Array) -> Array:
        """What becomes of the residual sum."""
        return x if self.cfg.pre_norm else self(x)


class Attention(nnx.Module):
    """Projections of one attention; `attention.attend` does the rest."""

    def __init__(self, cfg: BartConfig, compute: ComputeConfig, rngs: nnx.Rngs) -> None:
        D, H = cfg.d_model, cfg.n_heads
        K = D // H
        self.cfg, self.compute = cfg, compute
        self.query = weight(rngs, (D, H, K), ("embed", "heads", "head_dim"), INIT_STD)
        self.key = weight(rngs, (D, H, K), ("embed", "heads", "head_dim"), INIT_STD)
        self.value = weight(rngs, (D, H, K), ("embed", "heads", "head_dim"), INIT_STD)
        self.out = weight(rngs, (H, K, D), ("heads", "head_dim", "embed"), INIT_STD)
        self.query_bias = zeros((H, K), ("heads", "head_dim"))
        self.key_bias = zeros((H, K), ("heads", "head_dim"))
        self.value_bias = zeros((H, K), ("heads", "head_dim"))
        self.out_bias = zeros((D,), ("embed",))

    def queries(self, x_BTD: Array) -> Array:
        """[B, T, H, K], scaled."""
        q_BTHK = add_bias(split_heads(x_BTD, self.query[...]), self.query_bias[...])
        return q_BTHK * q_BTHK.shape[-1] ** -0.5

    def keys_and_values(self, x_BSD: Array) -> tuple[Array, Array]:
        return (
            add_bias(split_heads(x_BSD, self.key[...]), self.key_bias[...]),
            add_bias(split_heads(x_BSD, self.value[...]), self.value_bias[...]),
        )

    def output(self, x_BTHK: Array) -> Array:
        return add_bias(join_heads(x_BTHK, self.out[...]), self.out_bias[...])

    def __call__(self, x_BTD: Array, kv: tuple[Array, Array], bias: Array, key: Array | None = None) -> Array:
        rate, how = self.cfg.attention_dropout, self.compute.attention
        return self.output(attention.attend(self.queries(x_BTD), *kv, bias, rate, key, how))


class Mlp(nnx.Module):
    def __init__(self, cfg: BartConfig, rngs: nnx.Rngs) -> None:
        D, F = cfg.d_model, cfg.d_mlp
        self.cfg = cfg
        self.up, self.up_bias = weight(rngs, (D, F), ("embed", "mlp"), INIT_STD), zeros((F,), ("mlp",))
        self.down, self.down_bias = weight(rngs, (F, D), ("mlp", "embed"), INIT_STD), zeros((D,), ("embed",))

    def __call__(self, x: Array, key: Array | None = None) -> Array:
        hidden = add_bias(layers.linear(x, self.up[...]), self.up_bias[...])
        hidden = dropout(ACTIVATIONS[self.cfg.activation](hidden), self.cfg.activation_dropout, key)
        return add_bias(layers.linear(hidden, self.down[...]), self.down_bias[...])


class EncoderBlock(nnx.Module):
    def __init__(self, cfg: BartConfig, compute: ComputeConfig, rngs: nnx.Rngs) -> None:
        self.cfg = cfg
        self.attention_norm, self.attention = Norm(cfg), Attention(cfg, compute, rngs)
        self.mlp_norm, self.mlp = Norm(cfg), Mlp(cfg, rngs)

    def __call__(self, x_BSD: Array, bias: Array, key: Array | None) -> Array:
        rate = self.cfg.dropout
        k_probs, k_attention, k_hidden, k_mlp = keys(key, 4)
        y_BSD = self.attention_norm.before(x_BSD)
        y_BSD = self.attention(y_BSD, self.attention.keys_and_values(y_BSD), bias, k_probs)
        x_BSD = self.attention_norm.after(x_BSD + dropout(y_BSD, rate, k_attention))
        y_BSD = self.mlp(self.mlp_norm.before(x_BSD), k_hidden)
        return self.mlp_norm.after(x_BSD + dropout(y_BSD, rate, k_mlp))


class DecoderBlock(nnx.Module):
    def __init__(self, cfg: BartConfig, compute: ComputeConfig, rngs: nnx.Rngs) -> None:
        self.cfg = cfg
        self.attention_norm, self.attention = Norm(cfg), Attention(cfg, compute, rngs)
        self.cross_norm, self.cross = Norm(cfg), Attention(cfg, compute, rngs)
        self.mlp_norm, self.mlp = Norm(cfg), Mlp(cfg, rngs)

    def __call__(
        self, x_BTD: Array, memory_BSD: Array, bias: Array, cross_bias: Array, key: Array | None
    ) -> Array:
        rate = self.cfg.dropout
        k_probs, k_attention, k_cross_probs, k_cross, k_hidden, k_mlp = keys(key, 6)
        y_BTD = self.attention_norm.before(x_BTD)
        y_BTD = self.attention(y_BTD, self.attention.keys_and_values(y_BTD), bias, k_probs)
        x_BTD = self.attention_norm.after(x_BTD + dropout(y_BTD, rate, k_attention))
        y_BTD = self.cross_norm.before(x_BTD)
        y_BTD = self.cross(y_BTD, self.cross.keys_and_values(memory_BSD), cross_bias, k_cross_probs)
        x_BTD = self.cross_norm.after(x_BTD + dropout(y_BTD, rate, k_cross))
        y_BTD = self.mlp(self.mlp_norm.before(x_BTD), k_hidden)
        return self.mlp_norm.after(x_BTD + dropout(y_BTD, rate, k_mlp))

    def step(
        self, x_BWD: Array, cache: Any, cross: Any, t: Array, bias_HT: Array, ancestry_BWT: Array
    ) -> tuple[Array, Any]:
        """One token a beam. cache: see `steps.remember`; cross: see `steps.attend_slots`."""
        y_BWD = self.attention_norm.before(x_BWD)
        cache = steps.remember(cache, self.attention.keys_and_values(y_BWD), t)
        y_BWHK = steps.attend_cached(self.attention.queries(y_BWD), cache, bias_HT, ancestry_BWT)
        x_BWD = self.attention_norm.after(x_BWD + self.attention.output(y_BWHK))
        # The beams stand where target positions do in training: one attention serves all beams of a product.
        y_BWHK = steps.attend_slots(self.cross.queries(self.cross_norm.before(x_BWD)), *cross)
        x_BWD = self.cross_norm.after(x_BWD + self.cross.output(y_BWHK))
        return self.mlp_norm.after(x_BWD + self.mlp(self.mlp_norm.before(x_BWD))), cache


class Stack(nnx.Module):
    """The blocks of an encoder or a decoder, its position table, and the norms at both ends."""

    def __init__(
        self, block: Callable[[nnx.Rngs], nnx.Module], count: int, cfg: BartConfig, rngs: nnx.Rngs
    ) -> None:
        shape, axes = (cfg.max_positions + cfg.position_offset, cfg.d_model), ("positions", "embed")
        self.cfg = cfg
        self.blocks = layers.stacked(block, count, rngs)
        if cfg.learned_positions:
            self.position = weight(rngs, shape, axes, INIT_STD)
        else:
            self.position = nnx.Param(jnp.asarray(sinusoids(*shape)), axes=axes)
        if cfg.embedding_norm:
            self.embedding_norm = Norm(cfg)
        if cfg.pre_norm:
            self.norm = Norm(cfg)

    def begin(self, x: Array, positions: Array, key: Array | None = None) -> Array:
        """Embedded tokens [.., D] to what the first block reads; positions [..] are int32."""
        table = (
            self.position[...] if self.cfg.learned_positions else jax.lax.stop_gradient(self.position[...])
        )
        # A position beyond the table gives NaN, which nobody takes for an answer, not the table's last row.
        x = x + table.at[positions + self.cfg.position_offset].get(mode="fill", fill_value=jnp.nan)
        return dropout(self.embedding_norm(x) if self.cfg.embedding_norm else x, self.cfg.dropout, key)

    def end(self, x: Array) -> Array:
        return self.norm(x) if self.cfg.pre_norm else x


def sinusoids(positions: int, D: int) -> np.ndarray:
    """Fixed positions, float32 [positions, D]: the sines in the first half, the cosines in the second."""
    angles = np.arange(positions)[:, None] / 10000 ** (np.arange(0, D, 2) / D)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)[:, :D].astype(np.float32)


class Bart(EncoderDecoder):
    """The family's module."""

    def __init__(self, cfg: BartConfig, compute: ComputeConfig, rngs: nnx.Rngs) -> None:
        self.cfg, self.compute = cfg, compute
        self.embedding = weight(rngs, (cfg.vocab_size, cfg.d_model), ("vocab", "embed"), INIT_STD)
        self.encoder = Stack(lambda rngs: EncoderBlock(cfg, compute, rngs), cfg.encoder_layers, cfg, rngs)
        self.decoder = Stack(lambda rngs: DecoderBlock(cfg, compute, rngs), cfg.decoder_layers, cfg, rngs)
        self.logits_bias = zeros((cfg.vocab_size,), ("vocab",))

    def encode(self, source_BS: Array, segments_BS: Array, key: Array | None = None) -> Array:
        self._check(source_BS.shape[1], "a source")
        k_embedding, k_layers = keys(key, 2)
        bias = layers.mask_bias(layers.segment_mask(segments_BS, segments_BS))
        positions_BS = layers.segment_positions(segments_BS)
        x_BSD = self.encoder.begin(self._embed(source_BS), positions_BS, k_embedding)
        x_BSD, _ = layers.scan_layers(
            lambda x, block_and_key: (block_and_key[0](x, bias, block_and_key[1]), None),
            x_BSD,
            (self.encoder.blocks, layers.layer_keys(k_layers, self.cfg.encoder_layers)),
            self.compute.remat,
        )
        return self.encoder.end(x_BSD)

    def decode(
        self,
        inputs_BT: Array,
        positions_bT: Array,
        mask_bTT: Array,
        memory_BSD: Array,
        cross_mask_bTS: Array,
        key: Array | None = None,
    ) -> Array:
        k_embedding, k_layers = keys(key, 2)
        bias, cross_bias = layers.mask_bias(mask_bTT), layers.mask_bias(cross_mask_bTS)
        x_BTD = self.decoder.begin(self._embed(inputs_BT), positions_bT, k_embedding)
        x_BTD, _ = layers.scan_layers(
            lambda x, block_and_key: (
                block_and_key[0](x, memory_BSD, bias, cross_bias, block_and_key[1]),
                None,
            ),
            x_BTD,
            (self.decoder.blocks, layers.layer_keys(k_layers, self.cfg.decoder_layers)),
            self.compute.remat,
        )
        return self.decoder.end(x_BTD)

    def start(self, memory_BSD: Array, segments_BS: Array, *, beams: int, length: int) -> tuple[Any, Any]:
        """cross: (blocks, bias [B, 1, 1, S]); with each block its k and v."""
        self._check(length, "an output")
        blocks = self.decoder.blocks
        cross_LBSHK = jax.vmap(lambda cross: cross.keys_and_values(memory_BSD))(blocks.cross)
        L, B, _, H, K = cross_LBSHK[0].shape
        cache = steps.empty_cache(L, B, beams, length, H, K, memory_BSD.dtype)
        return steps.apart(cache), (
            steps.apart((blocks, *steps.slots(*cross_LBSHK))),
            steps.slot_bias(segments_BS),
        )

    def step(
        self, token_BW: Array, cache: Any, cross: Any, t: Array, ancestry_BWT: Array
    ) -> tuple[Array, Any]:
        blocks, cross_bias = cross
        bias_HT = jnp.where(jnp.arange(ancestry_BWT.shape[-1]) <= t, 0.0, layers.MASKED)[None]

        def layer(x_BWD: Array, cache: Any, one: Any) -> tuple[Array, Any]:
            block, *kv = one
            return block.step(x_BWD, cache, (*kv, cross_bias), t, bias_HT, ancestry_BWT)

        x_BWD = self.decoder.begin(self._embed(token_BW), t[None, None])
        x_BWD, cache = steps.scan_steps(layer, x_BWD, cache, blocks)
        return self.decoder.end(x_BWD), cache

    def unembed(self, hidden: Array, words_A: Array | None = None) -> Array:
        w_VD = layers.rows(self.embedding[...], words_A)
        logits = jnp.einsum("...D,VD->...V", hidden, w_VD, preferred_element_type=jnp.float32)
        # A constant of the checkpoint, zeros in most: where it comes from it is a buffer, which never trains.
        bias_V = jax.lax.stop_gradient(layers.rows(self.logits_bias[...], words_A))
        return add_bias(logits, bias_V.astype(jnp.float32))

    def _embed(self, tokens: Array) -> Array:
        x = self.embedding[...][tokens]
        # PAD is read, by Pegasus as the first input, but does not learn from it: their `padding_idx`.
        x = jnp.where(tokens[..., None] == self.cfg.pad, jax.lax.stop_gradient(x), x)
        return x * math.sqrt(self.cfg.d_model) if self.cfg.scale_embedding else x

    def _check(self, length: int, what: str) -> None:
        if length > self.cfg.max_positions:
            raise UserError(
                f"model.max_positions={self.cfg.max_positions} is less than the {length} tokens of {what}; "
                "shorten stream.source_length or generate.decode.max_length, or raise it for a new model"
            )
