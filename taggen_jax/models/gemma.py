"""Gemma's blocks (Gemma 2, 2024; Gemma 3, 2025), and the encoder-decoder that T5Gemma and T5Gemma 2 share.

RMS norms with unit offset before and after every part, grouped queries, rotary positions, and layers of two
kinds: global ones, and local ones that see a window. Layers are stacked and scanned, so their kind is a value
that is scanned along with them and chooses between two views. A view is what a layer knows of positions: the
angles by which its queries and keys turn, and the float32 bias that hides what it may not see. Letters as in
`layers`, and G heads of keys and values, each shared by R = H / G queries.
"""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from taggen_jax.models import layers
from taggen_jax.models.layers import Array, ComputeConfig, dropout, keys, weight
from taggen_jax.models.protocol import EncoderDecoder


@dataclasses.dataclass(frozen=True, kw_only=True)
class StackConfig:
    """The architecture of an encoder or a decoder.

    Attributes:
      n_kv_heads: heads of keys and values; a divisor of n_heads.
      local: for each layer, whether it sees a window only.
      window: its size, in tokens; see `taggen_jax.models.t5gemma` and `t5gemma2`, which count differently.
      query_scalar: logits are divided by its square root.
      rope_theta: the base of the rotary frequencies (Su et al., 2021) of global layers.
      local_rope_theta: that of local ones.
      rope_factor: positions of global layers are divided by it.
      attention_cap: logits of attention are capped softly, to within this of 0; 0 does not cap.
    """

    d_model: int
    d_mlp: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    local: tuple[bool, ...]
    window: int = 4096
    query_scalar: int = 256
    rope_theta: float = 10_000.0
    local_rope_theta: float = 10_000.0
    rope_factor: float = 1.0
    attention_cap: float = 0.0
    norm_epsilon: float = 1e-6

    def __post_init__(self) -> None:
        for name in ("d_model", "d_mlp", "n_heads", "n_kv_heads", "head_dim", "window"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if not self.local:
            raise ValueError("local=() must name at least one layer")
        if self.n_heads % self.n_kv_heads:
            raise ValueError(f"n_heads={self.n_heads} must be a multiple of n_kv_heads={self.n_kv_heads}")
        if self.head_dim % 2:
            raise ValueError(f"head_dim={self.head_dim} must be even")


def check(cfg: Any) -> None:
    """What holds for every configuration of the two families."""
    for name in ("dropout", "attention_dropout"):
        if not 0.0 <= getattr(cfg, name) < 1.0:
            raise ValueError(f"{name}={getattr(cfg, name)} must be in [0, 1)")
    if cfg.vocab_size < 1:
        raise ValueError(f"vocab_size={cfg.vocab_size} must be at least 1")


class View(NamedTuple):
    """What a layer knows of positions: angles of each query (C = K / 2), and the bias of each key for it."""

    angle_bTC: Array
    bias_bTS: Array


def views(cfg: StackConfig, positions_bT: Array, near_bTS: Array, all_bTS: Array) -> tuple[View, View]:
    """The views of local and of global layers, for what each may look at."""
    return (
        View(_angles(positions_bT, cfg.local_rope_theta, cfg.head_dim), _bias(near_bTS)),
        View(_angles(positions_bT / cfg.rope_factor, cfg.rope_theta, cfg.head_dim), _bias(all_bTS)),
    )


def choose(local: Array, both: tuple[View, View]) -> View:
    """The view of a layer; `local` is its bool scalar."""
    return jax.tree.map(lambda near, far: jnp.where(local, near, far), *both)


def _angles(positions_bT: Array, theta: float, head_dim: int) -> Array:
    frequency_C = theta ** -(jnp.arange(0, head_dim, 2, dtype=jnp.float32) / head_dim)
    return positions_bT[:, :, None].astype(jnp.float32) * frequency_C[None, None]


def _bias(mask: Array) -> Array:
    return jnp.where(mask, 0.0, layers.MASKED)


def rotate(x_BTHK: Array, angle_bTC: Array) -> Array:
    """Turns the pairs (x[c], x[c + K / 2]) by their angles; computed in float32."""
    cos, sin = jnp.cos(angle_bTC)[:, :, None], jnp.sin(angle_bTC)[:, :, None]
    a, b = jnp.split(x_BTHK.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1).astype(x_BTHK.dtype)


def _turned(x_BTHK: Array, angle_bTC: Array | None) -> Array:
    return x_BTHK if angle_bTC is None else rotate(x_BTHK, angle_bTC)


def cap(x: Array, limit: float) -> Array:
    """Soft-capping: x within (-limit, limit); 0 leaves it as it is."""
    return jnp.tanh(x / limit) * limit if limit else x


def norm(size: int) -> nnx.Param:
    return nnx.Param(jnp.zeros(size), axes=("norm",))


def rms_norm(x: Array, scale_D: Array, epsilon: float) -> Array:
    """Root mean square norm with unit offset, x / rms(x) * (1 + scale), all in float32."""
    return layers.rms_norm(x.astype(jnp.float32), 1.0 + scale_D.astype(jnp.float32), epsilon).astype(x.dtype)


Seen = tuple[Array, Array, Array]  # k_BSGK, v_BSGK, and the float32 bias_bTS for them


def attend(
    q_BTHK: Array, seen: list[Seen], limit: float = 0.0, rate: float = 0.0, key: Array | None = None
) -> Array:
    """Grouped-query attention (Ainslie et al., 2023) over one or more sets of keys, in one softmax.

    Args:
      q_BTHK: scaled queries.
      seen: the sets; each may be of another length S.
      limit: softly caps the logits, before their biases.
    """
    B, T, H, K = q_BTHK.shape
    G = seen[0][0].shape[2]
    q_BTGRK = q_BTHK.reshape(B, T, G, H // G, K)
    logits = [
        cap(jnp.einsum("BTGRK,BSGK->BGRTS", q_BTGRK, k_BSGK, preferred_element_type=jnp.float32), limit)
        + bias_bTS[:, None, None]
        for k_BSGK, _, bias_bTS in seen
    ]
    probs_BGRTS = jax.nn.softmax(jnp.concatenate(logits, axis=-1))
    probs_BGRTS = dropout(probs_BGRTS.astype(q_BTHK.dtype), rate, key)
    out_BTGRK, first = jnp.zeros_like(q_BTGRK), 0
    for k_BSGK, v_BSGK, _ in seen:
        S = k_BSGK.shape[1]
        out_BTGRK += jnp.einsum("BGRTS,BSGK->BTGRK", probs_BGRTS[..., first : first + S], v_BSGK)
        first += S
    return out_BTGRK.reshape(B, T, H, K)


def remember(cache: Any, new: tuple[Array, Array], t: Array) -> tuple[Array, Array]:
    """One layer's cache (k, v [B, T, W, G, K]) with this step's k, v [B, W, G, K] at position t."""
    k, v = (
        jax.lax.dynamic_update_index_in_dim(x_BTWGK, x_BWGK.astype(x_BTWGK.dtype), t, axis=1)
        for x_BTWGK, x_BWGK in zip(cache, new, strict=True)
    )
    return k, v


def recall(cache: tuple[Array, Array], bias_BWS: Array) -> Seen:
    """The whole cache as keys and values of all beams' slots, S = T * W; `bias_BWS` says whose are whose."""
    k_BSGK, v_BSGK = (x.reshape(x.shape[0], -1, *x.shape[3:]) for x in cache)
    return k_BSGK, v_BSGK, bias_BWS


class Attention(nnx.Module):
    """The projections of an attention whose keys and values come from vectors of width `d_memory`."""

    def __init__(self, cfg: StackConfig, d_memory: int, rngs: nnx.Rngs) -> None:
        D, H, G, K = cfg.d_model, cfg.n_heads, cfg.n_kv_heads, cfg.head_dim
        self.cfg = cfg
        self.query = weight(rngs, (D, H, K), ("embed", "heads", "head_dim"), D**-0.5)
        self.key = weight(rngs, (d_memory, G, K), ("embed", "heads", "head_dim"), d_memory**-0.5)
        self.value = weight(rngs, (d_memory, G, K), ("embed", "heads", "head_dim"), d_memory**-0.5)
        self.out = weight(rngs, (H, K, D), ("heads", "head_dim", "embed"), (H * K) ** -0.5)

    def queries(self, x_BTD: Array, angle_bTC: Array | None) -> Array:
        """q_BTHK, turned where angles are given, and scaled."""
        q_BTHK = self.prepare_queries(layers.split_heads(x_BTD, self.query[...]))
        return _turned(q_BTHK, angle_bTC) * self.cfg.query_scalar**-0.5

    def keys_and_values(self, x_BSD: Array, angle_bSC: Array | None) -> tuple[Array, Array]:
        """k_BSGK, turned where angles are given, and v_BSGK."""
        k_BSGK = self.prepare_keys(layers.split_heads(x_BSD, self.key[...]))
        return _turned(k_BSGK, angle_bSC), layers.split_heads(x_BSD, self.value[...])

    def prepare_queries(self, q_BTHK: Array) -> Array:
        """What a family does to queries before they turn."""
        return q_BTHK

    def prepare_keys(self, k_BSGK: Array) -> Array:
        """What a family does to keys before they turn."""
        return k_BSGK

    def joined(self, x_BTHK: Array) -> Array:
        return layers.join_heads(x_BTHK, self.out[...])


class Mlp(nnx.Module):
    """A gated GELU."""

    def __init__(self, cfg: StackConfig, rngs: nnx.Rngs) -> None:
        D, F = cfg.d_model, cfg.d_mlp
        self.gate = weight(rngs, (D, F), ("embed", "mlp"), D**-0.5)
        self.up = weight(rngs, (D, F), ("embed", "mlp"), D**-0.5)
        self.down = weight(rngs, (F, D), ("mlp", "embed"), F**-0.5)

    def __call__(self, x: Array, rate: float, key: Array | None) -> Array:
        hidden = jax.nn.gelu(layers.linear(x, self.gate[...]), approximate=True)
        hidden = hidden * layers.linear(x, self.up[...])
        return layers.linear(dropout(hidden, rate, key), self.down[...])


class Residual(nnx.Module):
    """x + norm(part(norm(x))): how every part of a block is held."""

    part: Any

    def __init__(self, part: nnx.Module, cfg: StackConfig) -> None:
        self.part, self.epsilon = part, cfg.norm_epsilon
        self.norm, self.post_norm = norm(cfg.d_model), norm(cfg.d_model)

    def enter(self, x: Array) -> Array:
        return rms_norm(x, self.norm[...], self.epsilon)

    def leave(self, x: Array, y: Array, rate: float = 0.0, key: Array | None = None) -> Array:
        return x + dropout(rms_norm(y, self.post_norm[...], self.epsilon), rate, key)


class Block(nnx.Module):
    """Self-attention and an MLP; `rates` are those of dropout and of dropout of attention probabilities."""

    def __init__(self, attention: nnx.Module, cfg: StackConfig, rates: tuple[float, float], rngs: nnx.Rngs):
        self.rates = rates
        self.attention = Residual(attention, cfg)
        self.mlp = Residual(Mlp(cfg, rngs), cfg)

    def __call__(self, x_BSD: Array, view: View, key: Array | None) -> Array:
        k_attention, k_mlp = keys(key, 2)
        return self.feed_forward(self.attend_self(x_BSD, view, [], k_attention), k_mlp)

    def attend_self(self, x_BTD: Array, view: View, more: list[Seen], key: Array | None) -> Array:
        """Attention to x itself, and to `more` in the same softmax."""
        k_probs, k_out = keys(key, 2)
        attention, (rate, probs_rate) = self.attention.part, self.rates
        y_BTD = self.attention.enter(x_BTD)
        seen = [(*attention.keys_and_values(y_BTD, view.angle_bTC), view.bias_bTS), *more]
        q_BTHK = attention.queries(y_BTD, view.angle_bTC)
        y_BTHK = attend(q_BTHK, seen, attention.cfg.attention_cap, probs_rate, k_probs)
        return self.attention.leave(x_BTD, attention.joined(y_BTHK), rate, k_out)

    def attend_past(
        self, x_BWD: Array, cache: Any, t: Array, view: View, more: list[Seen]
    ) -> tuple[Array, Any]:
        """`attend_self` for one token a beam, whose past is in the cache."""
        attention = self.attention.part
        y_BWD = self.attention.enter(x_BWD)
        cache = remember(cache, attention.keys_and_values(y_BWD, view.angle_bTC), t)
        q_BWHK = attention.queries(y_BWD, view.angle_bTC)
        y_BWHK = attend(q_BWHK, [recall(cache, view.bias_bTS), *more], attention.cfg.attention_cap)
        return self.attention.leave(x_BWD, attention.joined(y_BWHK)), cache

    def feed_forward(self, x: Array, key: Array | None = None) -> Array:
        k_hidden, k_out = keys(key, 2)
        rate = self.rates[0]
        y = self.mlp.part(self.mlp.enter(x), rate, k_hidden)
        return self.mlp.leave(x, y, rate, k_out)


class Stack(nnx.Module):
    """The blocks of an encoder or a decoder, and the norm at their end."""

    def __init__(self, block: Callable[[nnx.Rngs], nnx.Module], cfg: StackConfig, rngs: nnx.Rngs) -> None:
        self.cfg = cfg
        self.blocks = layers.stacked(block, len(cfg.local), rngs)
        self.norm = norm(cfg.d_model)

    def run(self, layer: Callable[[Array, Any], tuple[Array, Any]], x: Array, xs: Any, remat: str) -> Any:
        """Scans `layer(x, (block, whether it is local, *xs of the layer)) -> (x, y)`; norms the last x."""
        local_L = jnp.array(self.cfg.local)
        x, ys = layers.scan_layers(layer, x, (self.blocks, local_L, *xs), remat)
        return rms_norm(x, self.norm[...], self.cfg.norm_epsilon), ys


class Gemma(EncoderDecoder):
    """What T5Gemma and T5Gemma 2 share: all but embeddings, the encoder's window, and the decoder's block.

    That block has `__call__(x_BTD, view, memory_BSD, cross_bias_BTS, key)`, `memorize(memory_BSD) -> k, v`
    and `step(x_BWD, cache, seen_memory, t, view) -> x_BWD, cache`, where the view's bias is of all slots.
    """

    cfg: Any  # `encoder` and `decoder` are `StackConfig`s; `logit_cap` caps the logits of words
    compute: ComputeConfig
    encoder: Stack
    decoder: Stack

    @abc.abstractmethod
    def embed_source(self, source_BS: Array) -> Array:
        """x_BSD of token ids, scaled as the encoder reads them."""

    @abc.abstractmethod
    def embed_target(self, tokens: Array) -> Array:
        """Vectors [.., D] of token ids, scaled as the decoder reads them."""

    @abc.abstractmethod
    def encoder_window(self, offset: Array) -> Array:
        """Whether a local layer of the encoder sees a key at this offset, key minus query position."""

    @abc.abstractmethod
    def head_VD(self, words_A: Array | None) -> Array:
        """The output projection's rows, of all words or of those named."""

    def encode(self, source_BS: Array, segments_BS: Array, key: Array | None = None) -> Array:
        k_embedding, k_layers, k_out = keys(key, 3)
        positions_bS = jnp.arange(source_BS.shape[1])[None]  # only differences within a segment count
        mask_BSS = layers.segment_mask(segments_BS, segments_BS)
        near_BSS = mask_BSS & self.encoder_window(_offsets(positions_bS))
        both = views(self.cfg.encoder, positions_bS, near_BSS, mask_BSS)

        def layer(x_BSD: Array, xs: Any) -> tuple[Array, None]:
            block, local, key = xs
            return block(x_BSD, choose(local, both), key), None

        x_BSD = dropout(self.embed_source(source_BS), self.cfg.dropout, k_embedding)
        layer_keys = layers.layer_keys(k_layers, len(self.cfg.encoder.local))
        x_BSD, _ = self.encoder.run(layer, x_BSD, (layer_keys,), self.compute.remat)
        return dropout(x_BSD, self.cfg.dropout, k_out)

    def decode(
        self,
        inputs_BT: Array,
        positions_bT: Array,
        mask_bTT: Array,
        memory_BSD: Array,
        cross_mask_bTS: Array,
        key: Array | None = None,
    ) -> Array:
        k_embedding, k_layers, k_out = keys(key, 3)
        cfg, cross_bias_bTS = self.cfg.decoder, _bias(cross_mask_bTS)
        near_bTT = mask_bTT & (_offsets(positions_bT) > -cfg.window)
        both = views(cfg, positions_bT, near_bTT, mask_bTT)

        def layer(x_BTD: Array, xs: Any) -> tuple[Array, None]:
            block, local, key = xs
            return block(x_BTD, choose(local, both), memory_BSD, cross_bias_bTS, key), None

        x_BTD = dropout(self.embed_target(inputs_BT), self.cfg.dropout, k_embedding)
        layer_keys = layers.layer_keys(k_layers, len(cfg.local))
        x_BTD, _ = self.decoder.run(layer, x_BTD, (layer_keys,), self.compute.remat)
        return dropout(x_BTD, self.cfg.dropout, k_out)

    def start(self, memory_BSD: Array, segments_BS: Array, *, beams: int, length: int) -> tuple[Any, Any]:
        """cache: k, v [L, B, T, W, G, K]; cross: (k, v, bias), k and v [L, B, S, G, K], bias [B, 1, S]."""
        k_LBSGK, v_LBSGK = jax.vmap(lambda block: block.memorize(memory_BSD))(self.decoder.blocks)
        L, B, _, G, K = k_LBSGK.shape
        zeros = jnp.zeros((L, B, length, beams, G, K), memory_BSD.dtype)
        return (zeros, zeros), (k_LBSGK, v_LBSGK, _bias(segments_BS > 0)[:, None])

    def step(
        self, token_BW: Array, cache: Any, cross: Any, t: Array, ancestry_BWT: Array
    ) -> tuple[Array, Any]:
        *cross_kv, cross_bias_B1S = cross
        cfg, (B, W, T) = self.cfg.decoder, ancestry_BWT.shape
        own_BWTU = ancestry_BWT[..., None] == jnp.arange(W)[None, None, None]
        past_T = jnp.arange(T)

        def slots(seen_T: Array) -> Array:
            return (own_BWTU & seen_T[None, None, :, None]).reshape(B, W, T * W)

        near_T = (past_T <= t) & (past_T > t - cfg.window)
        both = views(cfg, t[None, None], slots(near_T), slots(past_T <= t))

        def layer(x_BWD: Array, xs: Any) -> tuple[Array, Any]:
            block, local, cache, cross_kv = xs
            return block.step(x_BWD, cache, (*cross_kv, cross_bias_B1S), t, choose(local, both))

        return self.decoder.run(layer, self.embed_target(token_BW), (cache, tuple(cross_kv)), "none")

    def unembed(self, hidden: Array, words_A: Array | None = None) -> Array:
        logits = jnp.einsum(
            "...D,VD->...V", hidden, self.head_VD(words_A), preferred_element_type=jnp.float32
        )
        return cap(logits, self.cfg.logit_cap)


def scaled(vectors: Array) -> Array:
    """Embeddings times sqrt(D), a factor that is rounded to their type as in training."""
    return vectors * jnp.asarray(vectors.shape[-1] ** 0.5, vectors.dtype)


def _offsets(positions_bT: Array) -> Array:
    """Key minus query position, [b, T, T]."""
    return positions_bT[:, None, :] - positions_bT[:, :, None]
