"""One decoding step: caches of keys and values, and beams that attend to them. Letters: see `layers`."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from taggen_jax.models.layers import MASKED, Array, platform, scan_layers


def apart(stacked: Any) -> Any:
    """Stacked layers as `scan_steps` wants them: on CPU a list of single layers, elsewhere as they are.

    Taken apart before the loop over steps, a layer's weights and cache are buffers of their own: products
    read them where they lie, and a step writes its slot in place. Slices of a stack are copied every time.
    """
    if platform() != "cpu":
        return stacked
    count = jax.tree.leaves(stacked)[0].shape[0]
    return [jax.tree.map(lambda x, i=i: x[i], stacked) for i in range(count)]


def scan_steps(
    layer: Callable[[Array, Any, Any], tuple[Array, Any]], x: Array, caches: Any, xs: Any
) -> tuple[Array, Any]:
    """One decoding step through all layers, `layer(x, cache, xs) -> (x, cache)`; trees come from `apart`."""
    if not isinstance(xs, list):
        return scan_layers(lambda x, one: layer(x, *one), x, (caches, xs))
    after = []
    for cache, one in zip(caches, xs, strict=True):
        x, cache = layer(x, cache, one)
        after.append(cache)
    return x, after


def empty_cache(
    layers: int, batch: int, beams: int, length: int, heads: int, head_dim: int, dtype: Any
) -> Any:
    """(keys [L, B, H, K, S], values [L, B, H, S, K]) of a decoder's self-attention, see `attend_slots`.

    S = T * W: the slots of all beams at position 0, then those at position 1, and so on.
    """
    slots = length * beams
    keys_shape, values_shape = (head_dim, slots), (slots, head_dim)
    return tuple(jnp.zeros((layers, batch, heads, *shape), dtype) for shape in (keys_shape, values_shape))


def remember(cache: Any, new: tuple[Array, Array], t: Array) -> Any:
    """One layer's cache (k [B, H, K, S], v [B, H, S, K]) with this step's k, v [B, W, H, K] at position t."""
    k_BHKS, v_BHSK = cache
    k_BHKW, v_BHWK = jnp.moveaxis(new[0], 1, 3), jnp.moveaxis(new[1], 1, 2)
    first = t * k_BHKW.shape[3]
    return (
        jax.lax.dynamic_update_slice_in_dim(k_BHKS, k_BHKW.astype(k_BHKS.dtype), first, axis=3),
        jax.lax.dynamic_update_slice_in_dim(v_BHSK, v_BHWK.astype(v_BHSK.dtype), first, axis=2),
    )


def attend_cached(q_BWHK: Array, cache: Any, bias_HT: Array, ancestry_BWT: Array) -> Array:
    """Each beam attends to its own past in one layer's cache, [B, W, H, K].

    The cache never moves when beams are chosen: every beam looks at the slots of all, and sees at each
    position the one slot that its own history went through.

    Args:
      q_BWHK: this step's queries, scaled as the family wants them.
      cache: k, v of one layer, see `remember`.
      bias_HT: float32; masks positions not yet written. One row of heads serves all where it is [1, T].
      ancestry_BWT: int32, the slot in which beam w's token at position t was computed.
    """
    B, W, T = ancestry_BWT.shape
    own_BWTU = ancestry_BWT[..., None] == jnp.arange(W)[None, None, None]
    bias_BHWTU = jnp.where(own_BWTU[:, None], bias_HT[None, :, None, :, None], MASKED)
    k_BHKS, v_BHSK = cache
    return attend_slots(q_BWHK, k_BHKS, v_BHSK, bias_BHWTU.reshape(B, -1, W, T * W))


def attend_slots(q_BWHK: Array, k_BHKS: Array, v_BHSK: Array, bias: Array) -> Array:
    """`attend` for the few queries of a step: [B, W, H, K].

    Keys and values lie as plain products of small matrices read them. Asked for in any other order, XLA turns
    them around in every step, or falls back to loops that are ten times slower.

    Args:
      q_BWHK: a query for each beam of a product.
      k_BHKS, v_BHSK: what all of them look at.
      bias: float32, added to the logits [B, H, W, S].
    """
    q_BHWK = jnp.swapaxes(q_BWHK, 1, 2)
    logits_BHWS = jnp.einsum("BHWK,BHKS->BHWS", q_BHWK, k_BHKS, preferred_element_type=jnp.float32)
    probs_BHWS = jax.nn.softmax(logits_BHWS + bias).astype(v_BHSK.dtype)
    return jnp.swapaxes(jnp.einsum("BHWS,BHSK->BHWK", probs_BHWS, v_BHSK), 1, 2)


def slots(k_LBSHK: Array, v_LBSHK: Array) -> tuple[Array, Array]:
    """The memory's keys and values as `attend_slots` reads them: [L, B, H, K, S] and [L, B, H, S, K]."""
    return jnp.moveaxis(k_LBSHK, 2, 4), jnp.moveaxis(v_LBSHK, 2, 3)


def slot_bias(segments_BS: Array) -> Array:
    """float32 [B, 1, 1, S]: what `attend_slots` adds so that nobody looks at padding."""
    return jnp.where(segments_BS > 0, 0.0, MASKED)[:, None, None]
