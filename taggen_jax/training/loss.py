"""Cross-entropy over the vocabulary, as sums and weights: divided once, by whoever reports or optimises."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

Array = jax.Array
Sums = dict[str, Array]


def cross_entropy(
    logits_BTV: Array,
    target_BT: Array,
    weight_BT: Array,
    *,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
) -> tuple[Array, Sums]:
    """The objective summed over tokens, and the sums to report.

    With smoothing s the target distribution is (1 - s) on the token and s / V on every word (Szegedy et al.,
    2016; PyTorch's `label_smoothing`). z_loss adds z_loss * logsumexp**2 per token (Chowdhery et al., 2022),
    which keeps the logits from drifting.

    Args:
      logits_BTV: float32.
      target_BT: int32 token ids.
      weight_BT: float32; 0 leaves a token out.

    Returns:
      The objective, a float32 scalar in nats, not divided; and {"loss": the objective, "nll": the plain
      negative log-likelihood, "weight": the sum of weights}, to be divided by "weight".
    """
    normaliser_BT = jax.nn.logsumexp(logits_BTV, axis=-1)
    # A comparison fuses into the reduction and its gradient; a gather's gradient would be a scatter.
    is_target_BTV = jnp.arange(logits_BTV.shape[-1])[None, None] == target_BT[:, :, None]
    nll_BT = normaliser_BT - jnp.sum(jnp.where(is_target_BTV, logits_BTV, 0.0), axis=-1)
    objective_BT = nll_BT
    if label_smoothing:
        uniform_BT = normaliser_BT - jnp.mean(logits_BTV, axis=-1)
        objective_BT = (1.0 - label_smoothing) * nll_BT + label_smoothing * uniform_BT
    if z_loss:
        objective_BT = objective_BT + z_loss * jnp.square(normaliser_BT)
    objective = jnp.sum(objective_BT * weight_BT)
    return objective, {"loss": objective, "nll": jnp.sum(nll_BT * weight_BT), "weight": jnp.sum(weight_BT)}


def cross_entropy_in_chunks(
    unembed: Callable[[Array], Array],
    hidden_BTD: Array,
    target_BT: Array,
    weight_BT: Array,
    *,
    positions: int,
    **how: float,
) -> tuple[Array, Sums]:
    """`cross_entropy` of unembed(hidden), with the logits of `positions` tokens of each row at a time.

    The backward pass computes them again, so that [B, T, V] never exists: a large vocabulary costs one more
    product with the head, and memory for [B, positions, V]. Tokens are cut, not words, because words may lie
    on several devices; and the head's gradient is a sum over chunks, in the type of its weights.
    """
    T = target_BT.shape[1]
    if positions >= T:
        return cross_entropy(unembed(hidden_BTD), target_BT, weight_BT, **how)
    chunks = -(-T // positions)

    def cut(x: Array) -> Array:
        x = jnp.pad(x, ((0, 0), (0, chunks * positions - T)) + ((0, 0),) * (x.ndim - 2))
        return jnp.moveaxis(x.reshape(x.shape[0], chunks, positions, *x.shape[2:]), 1, 0)

    @jax.checkpoint
    def part(hidden_BCD: Array, target_BC: Array, weight_BC: Array) -> tuple[Array, Sums]:
        return cross_entropy(unembed(hidden_BCD), target_BC, weight_BC, **how)

    def add(total: Any, chunk: Any) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, part(*chunk)), None

    cuts = (cut(hidden_BTD), cut(target_BT), cut(weight_BT))
    nothing = jax.tree.map(jnp.zeros_like, jax.eval_shape(part, *(x[0] for x in cuts)))
    return jax.lax.scan(add, nothing, cuts)[0]


def tag_cross_entropy(logits_BN: Array, tags_BK: Array, weight_B: Array) -> Array:
    """Binary cross-entropy of every tag of every product, summed: a float32 scalar in nats.

    Args:
      logits_BN: float32 log-odds of each tag.
      tags_BK: int32, the tags that each product has; -1 fills up.
      weight_B: float32; 0 leaves a product out.
    """
    B, N = logits_BN.shape
    place_BK = jnp.where(tags_BK < 0, N, tags_BK)
    wanted_BN = jnp.zeros((B, N)).at[jnp.arange(B)[:, None], place_BK].set(1.0, mode="drop")
    loss_B = optax.sigmoid_binary_cross_entropy(logits_BN, wanted_BN).sum(axis=-1)
    return jnp.sum(loss_B * weight_B)
