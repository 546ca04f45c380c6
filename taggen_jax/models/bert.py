"""BERT to sequence (Devlin et al., 2019; Rothe et al., 2020): a BERT-type encoder, a decoder of BERT blocks.

Post-norm residual blocks, layer norms and biases everywhere, learned absolute positions. The decoder is the
same stack with causal and cross attention; encoder and decoder may differ in width, depth and vocabulary, and
a projection joins them where widths differ. RoBERTa is BERT with positions that begin after the padding id.
"""

import dataclasses
import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from taggen_jax.errors import UserError
from taggen_jax.models import attention, layers, steps
from taggen_jax.models.layers import Array, ComputeConfig, dropout, keys, weight
from taggen_jax.models.protocol import EncoderDecoder

ACTIVATIONS = {
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu_new": lambda x: jax.nn.gelu(x, approximate=True),
    "relu": jax.nn.relu,
}
STD = 0.02  # BERT's spread of every random matrix


@dataclasses.dataclass(frozen=True, kw_only=True)
class StackConfig:
    """One side, encoder or decoder; alone, a bare encoder. Defaults are those of BERT base.

    Attributes:
      kind: "bert" counts positions from 0, the RoBERTas from pad + 1.
      positions: rows of the position table, those before the first position included.
      token_types: rows of the token type table, of which only the first is ever used.
      pad: the id of padding in this side's vocabulary.
    """

    family: Literal["bert_encoder"] = "bert_encoder"
    kind: Literal["bert", "roberta", "xlm-roberta"] = "bert"
    vocab_size: int = 30522
    d_model: int = 768
    d_mlp: int = 3072
    n_heads: int = 12
    layers: int = 12
    positions: int = 512
    token_types: int = 2
    activation: Literal["gelu", "gelu_new", "relu"] = "gelu"
    norm_epsilon: float = 1e-12
    dropout: float = 0.1
    pad: int = 0

    def __post_init__(self) -> None:
        for name in ("vocab_size", "d_model", "d_mlp", "n_heads", "layers", "positions", "token_types"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if self.d_model % self.n_heads:
            raise ValueError(f"d_model={self.d_model} must be a multiple of n_heads={self.n_heads}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout={self.dropout} must be in [0, 1)")

    @property
    def first_position(self) -> int:
        return 0 if self.kind == "bert" else self.pad + 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class BertConfig:
    """The architecture.

    Attributes:
      encoder, decoder: the two sides, each with ids of its own.
      pooler: whether the encoder has the pooler of Hugging Face's models. No output depends on it, but their
        folders are not whole without.
      eos, start: ids of the decoder's vocabulary.
    """

    family: Literal["bert"] = "bert"
    encoder: StackConfig = dataclasses.field(default_factory=StackConfig)
    decoder: StackConfig = dataclasses.field(default_factory=StackConfig)
    pooler: bool = True
    eos: int = 102
    start: int = 101

    def __post_init__(self) -> None:
        if self.start == self.decoder.pad and self.decoder.kind != "bert":
            raise ValueError(f"start={self.start} must not be the padding id: RoBERTa skips its position")

    @property
    def pad(self) -> int:
        return self.decoder.pad

    @property
    def vocab_size(self) -> int:
        """Of the decoder, as `pad`: what is written."""
        return self.decoder.vocab_size

    @property
    def d_model(self) -> int:
        """Of the decoder, and of the memory that it looks at."""
        return self.decoder.d_model


class Dense(nnx.Module):
    """x @ kernel + bias, over one or several input axes and to one or several output axes."""

    def __init__(self, rngs: nnx.Rngs, inputs: dict[str, int], outputs: dict[str, int]) -> None:
        shape = (*inputs.values(), *outputs.values())
        self.kernel = weight(rngs, shape, (*inputs, *outputs), STD)
        self.bias = nnx.Param(jnp.zeros(tuple(outputs.values())), axes=tuple(outputs))

    def __call__(self, x: Array) -> Array:
        kernel, bias = self.kernel[...], self.bias[...]
        axes = kernel.ndim - bias.ndim
        inputs, lead = math.prod(kernel.shape[:axes]), x.shape[: x.ndim - axes]
        y = layers.linear(x.reshape(*lead, inputs), kernel.reshape(inputs, bias.size))
        return (y + jnp.expand_dims(bias.ravel(), range(len(lead)))).reshape(*lead, *bias.shape)


class Norm(nnx.Module):
    def __init__(self, cfg: StackConfig) -> None:
        self.epsilon = cfg.norm_epsilon
        self.scale = nnx.Param(jnp.ones(cfg.d_model), axes=("norm",))
        self.bias = nnx.Param(jnp.zeros(cfg.d_model), axes=("norm",))

    def __call__(self, x: Array) -> Array:
        return layers.layer_norm(x, self.scale[...], self.bias[...], self.epsilon)


class Embedding(nnx.Module):
    """Words, positions and the first token type, added and normed."""

    def __init__(self, cfg: StackConfig, rngs: nnx.Rngs) -> None:
        D = cfg.d_model
        self.cfg = cfg
        self.word = weight(rngs, (cfg.vocab_size, D), ("vocab", "embed"), STD)
        self.position = weight(rngs, (cfg.positions, D), ("positions", "embed"), STD)
        self.token_type = weight(rngs, (cfg.token_types, D), ("types", "embed"), STD)
        self.norm = Norm(cfg)

    def __call__(self, ids_BT: Array, positions_bT: Array, key: Array | None = None) -> Array:
        position_bTD = self.position[...][positions_bT + self.cfg.first_position]
        x_BTD = self.word[...][ids_BT] + self.token_type[...][:1][None]
        return dropout(self.norm(x_BTD + position_bTD), self.cfg.dropout, key)

    def check(self, length: int) -> None:
        """Raises UserError where a sequence is longer than the table: an index too large reads its end."""
        room = self.cfg.positions - self.cfg.first_position
        if length > room:
            raise UserError(
                f"model: a sequence of {length} ids, but its table of positions has room for {room}; "
                "shorten stream.source_length or stream.target_length and generate.decode.max_length"
            )


class Attention(nnx.Module):
    """Projections and the norm after them; `attention.attend` does the rest."""

    def __init__(self, cfg: StackConfig, compute: ComputeConfig, rngs: nnx.Rngs) -> None:
        self.cfg, self.compute = cfg, compute
        embed = {"embed": cfg.d_model}
        heads = {"heads": cfg.n_heads, "head_dim": cfg.d_model // cfg.n_heads}
        self.query, self.key, self.value = (Dense(rngs, embed, heads) for _ in range(3))
        self.out = Dense(rngs, heads, embed)
        self.norm = Norm(cfg)

    def keys_and_values(self, x_BSD: Array) -> tuple[Array, Array]:
        return self.key(x_BSD), self.value(x_BSD)

    def queries(self, x_BTD: Array) -> Array:
        q_BTHK = self.query(x_BTD)
        return q_BTHK * q_BTHK.shape[-1] ** -0.5

    def __call__(self, x_BTD: Array, kv: tuple[Array, Array], bias: Array, key: Array | None = None) -> Array:
        k_probs, k_out = keys(key, 2)
        y_BTHK = attention.attend(
            self.queries(x_BTD), *kv, bias, self.cfg.dropout, k_probs, self.compute.attention
        )
        return self.add(x_BTD, y_BTHK, k_out)

    def add(self, x_BTD: Array, y_BTHK: Array, key: Array | None = None) -> Array:
        return self.norm(x_BTD + dropout(self.out(y_BTHK), self.cfg.dropout, key))


class Mlp(nnx.Module):
    def __init__(self, cfg: StackConfig, rngs: nnx.Rngs) -> None:
        self.cfg = cfg
        self.up = Dense(rngs, {"embed": cfg.d_model}, {"mlp": cfg.d_mlp})
        self.down = Dense(rngs, {"mlp": cfg.d_mlp}, {"embed": cfg.d_model})
        self.norm = Norm(cfg)

    def __call__(self, x: Array, key: Array | None = None) -> Array:
        y = self.down(ACTIVATIONS[self.cfg.activation](self.up(x)))
        return self.norm(x + dropout(y, self.cfg.dropout, key))


class EncoderBlock(nnx.Module):
    def __init__(self, cfg: StackConfig, compute: ComputeConfig, rngs: nnx.Rngs) -> None:
        self.attention, self.mlp = Attention(cfg, compute, rngs), Mlp(cfg, rngs)

    def __call__(self, x_BSD: Array, bias: Array, key: Array | None) -> Array:
        k_attention, k_mlp = keys(key, 2)
        x_BSD = self.attention(x_BSD, self.attention.keys_and_values(x_BSD), bias, k_attention)
        return self.mlp(x_BSD, k_mlp)


class DecoderBlock(nnx.Module):
    def __init__(self, cfg: StackConfig, compute: ComputeConfig, rngs: nnx.Rngs) -> None:
        self.attention, self.cross = Attention(cfg, compute, rngs), Attention(cfg, compute, rngs)
        self.mlp = Mlp(cfg, rngs)

    def __call__(
        self, x_BTD: Array, memory_BSD: Array, bias: Array, cross_bias: Array, key: Array | None
    ) -> Array:
        k_attention, k_cross, k_mlp = keys(key, 3)
        x_BTD = self.attention(x_BTD, self.attention.keys_and_values(x_BTD), bias, k_attention)
        x_BTD = self.cross(x_BTD, self.cross.keys_and_values(memory_BSD), cross_bias, k_cross)
        return self.mlp(x_BTD, k_mlp)

    def step(
        self, x_BWD: Array, cache: Any, cross: Any, t: Array, bias_HT: Array, ancestry_BWT: Array
    ) -> tuple[Array, Any]:
        """One token a beam. cache: see `steps.remember`; cross: see `steps.attend_slots`."""
        cache = steps.remember(cache, self.attention.keys_and_values(x_BWD), t)
        y_BWHK = steps.attend_cached(self.attention.queries(x_BWD), cache, bias_HT, ancestry_BWT)
        x_BWD = self.attention.add(x_BWD, y_BWHK)
        # The beams stand where target positions do in training: one attention serves all beams of a product.
        x_BWD = self.cross.add(x_BWD, steps.attend_slots(self.cross.queries(x_BWD), *cross))
        return self.mlp(x_BWD), cache


class Encoder(nnx.Module):
    """A bare encoder: what a BERT folder holds."""

    def __init__(self, cfg: StackConfig, compute: ComputeConfig, rngs: nnx.Rngs) -> None:
        self.cfg, self.compute = cfg, compute
        self.embedding = Embedding(cfg, rngs)
        self.blocks = layers.stacked(lambda rngs: EncoderBlock(cfg, compute, rngs), cfg.layers, rngs)

    def __call__(self, source_BS: Array, segments_BS: Array, key: Array | None = None) -> Array:
        """Hidden states [B, S, D]; a token sees its own segment, 0 is padding."""
        self.embedding.check(source_BS.shape[1])
        k_embedding, k_layers = keys(key, 2)
        bias = layers.mask_bias(layers.segment_mask(segments_BS, segments_BS))
        x_BSD, _ = layers.scan_layers(
            lambda x, block_and_key: (block_and_key[0](x, bias, block_and_key[1]), None),
            self.embedding(source_BS, layers.segment_positions(segments_BS), k_embedding),
            (self.blocks, layers.layer_keys(k_layers, self.cfg.layers)),
            self.compute.remat,
        )
        return x_BSD


class Decoder(nnx.Module):
    """Embedding, blocks, and the transformation before the tied head."""

    def __init__(self, cfg: StackConfig, compute: ComputeConfig, rngs: nnx.Rngs) -> None:
        self.cfg = cfg
        self.embedding = Embedding(cfg, rngs)
        self.blocks = layers.stacked(lambda rngs: DecoderBlock(cfg, compute, rngs), cfg.layers, rngs)
        self.transform = Dense(rngs, {"embed": cfg.d_model}, {"hidden": cfg.d_model})
        self.transform_norm = Norm(cfg)
        self.bias = nnx.Param(jnp.zeros(cfg.vocab_size), axes=("vocab",))

    def transformed(self, x: Array) -> Array:
        # RoBERTa's head has the exact GELU whatever the blocks have.
        activation = self.cfg.activation if self.cfg.kind == "bert" else "gelu"
        return self.transform_norm(ACTIVATIONS[activation](self.transform(x)))


class Bert(EncoderDecoder):
    """The family's module."""

    def __init__(self, cfg: BertConfig, compute: ComputeConfig, rngs: nnx.Rngs) -> None:
        D, E = cfg.encoder.d_model, cfg.decoder.d_model
        self.cfg, self.compute = cfg, compute
        self.encoder = Encoder(cfg.encoder, compute, rngs)
        self.decoder = Decoder(cfg.decoder, compute, rngs)
        if D != E:
            self.projection = Dense(rngs, {"embed": D}, {"projected": E})
        if cfg.pooler:
            self.pooler = Dense(rngs, {"embed": D}, {"pooled": D})

    @property
    def source_pad(self) -> int:
        return self.cfg.encoder.pad

    def encode(self, source_BS: Array, segments_BS: Array, key: Array | None = None) -> Array:
        x_BSD = self.encoder(source_BS, segments_BS, key)
        return x_BSD if self.cfg.encoder.d_model == self.cfg.decoder.d_model else self.projection(x_BSD)

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
        x_BTD, _ = layers.scan_layers(
            lambda x, block_and_key: (
                block_and_key[0](x, memory_BSD, bias, cross_bias, block_and_key[1]),
                None,
            ),
            self.decoder.embedding(inputs_BT, positions_bT, k_embedding),
            (self.decoder.blocks, layers.layer_keys(k_layers, self.cfg.decoder.layers)),
            self.compute.remat,
        )
        return self.decoder.transformed(x_BTD)

    def start(self, memory_BSD: Array, segments_BS: Array, *, beams: int, length: int) -> tuple[Any, Any]:
        """cross: (blocks, bias [B, 1, 1, S]); with each block its k and v."""
        self.decoder.embedding.check(length)
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

        x_BWD = self.decoder.embedding(token_BW, t[None, None])
        x_BWD, cache = steps.scan_steps(layer, x_BWD, cache, blocks)
        return self.decoder.transformed(x_BWD), cache

    def unembed(self, hidden: Array, words_A: Array | None = None) -> Array:
        w_VD = layers.rows(self.decoder.embedding.word[...], words_A)
        bias_V = layers.rows(self.decoder.bias[...], words_A).astype(jnp.float32)
        logits = jnp.einsum("...D,VD->...V", hidden, w_VD, preferred_element_type=jnp.float32)
        return logits + jnp.expand_dims(bias_V, range(logits.ndim - 1))
