"""Attention of whole sequences, by the means that a backend has. Letters: see `layers`."""

import functools

import jax
import jax.numpy as jnp

from taggen_jax.models.layers import Array, dropout, platform

# What `fused` masks with: nothing in a sum of weights, and small enough that float32 beside it keeps three
# digits after the point, which cuDNN's backward pass needs: it subtracts a row's log-sum from its logits.
FUSED_MASKED = -(2.0**14)


def attend(
    q_BTHK: Array,
    k_BSHK: Array,
    v_BSHK: Array,
    bias_bHTS: Array,
    rate: float = 0.0,
    key: Array | None = None,
    how: str = "auto",
) -> Array:
    """Attention with an additive float32 bias (positions and mask in one; b is B or 1); returns [B, T, H, K].

    Queries are taken as they come: a family that scales them does so itself (T5 does not scale).
    `how` is `ComputeConfig.attention`; where probabilities drop out, it is "einsum".
    """
    if how == "auto" and (key is None or rate == 0.0) and fuses(q_BTHK, k_BSHK):
        return fused(q_BTHK, k_BSHK, v_BSHK, bias_bHTS)
    logits_BHTS = jnp.einsum("BTHK,BSHK->BHTS", q_BTHK, k_BSHK, preferred_element_type=jnp.float32)
    probs_BHTS = jax.nn.softmax(logits_BHTS + bias_bHTS).astype(v_BSHK.dtype)
    return jnp.einsum("BHTS,BSHK->BTHK", dropout(probs_BHTS, rate, key), v_BSHK)


def fused(q_BTHK: Array, k_BSHK: Array, v_BSHK: Array, bias_bHTS: Array) -> Array:
    """`attend` by cuDNN's flash attention (Dao, 2023), which writes neither logits nor probabilities.

    The bias has its gradient, and loses nothing in bfloat16: the tables it comes from have the compute type
    already. A row that sees nothing is not uniform, but nobody sees that row either.
    """
    T, S = q_BTHK.shape[1], k_BSHK.shape[1]
    bias_bHTS = jnp.maximum(bias_bHTS, FUSED_MASKED).astype(q_BTHK.dtype)
    bias_bHTS = jnp.broadcast_to(bias_bHTS, (*bias_bHTS.shape[:2], T, S))
    return jax.nn.dot_product_attention(q_BTHK, k_BSHK, v_BSHK, bias_bHTS, scale=1.0, implementation="cudnn")


def fuses(q_BTHK: Array, k_BSHK: Array) -> bool:
    """Whether `fused` takes these in the program being traced: only in one for GPUs.

    The limits are cuDNN's and those that JAX 0.10 sets (`jax/_src/cudnn/fused_attention_stablehlo.py`): half
    precision, heads of at most 128 in steps of 8, even lengths for a gradient, tokens that are not cut. On
    TPUs it would be Pallas' kernel, which spares little here: it wants the bias whole, [B, H, T, S], in every
    layer, and writes a gradient as large.
    """
    T, K, S = q_BTHK.shape[1], q_BTHK.shape[3], k_BSHK.shape[1]
    fits = q_BTHK.dtype == jnp.bfloat16 and K <= 128 and K % 8 == 0 and T % 2 == 0 and S % 2 == 0
    if platform() != "gpu" or not fits:
        return False
    return jax.sharding.get_abstract_mesh().shape["sequence"] == 1 and has_cudnn()


@functools.cache
def has_cudnn() -> bool:
    """Whether JAX finds cuDNN, which it asks for its version while it traces, and no GPU too old for this."""
    x_BTHK = jax.ShapeDtypeStruct((1, 2, 1, 8), jnp.bfloat16)
    try:
        jax.eval_shape(functools.partial(jax.nn.dot_product_attention, implementation="cudnn"), *[x_BTHK] * 3)
    except RuntimeError:  # its only way of saying so
        return False
    return float(getattr(jax.local_devices()[0], "compute_capability", "8.0")) >= 8.0  # a CPU only compiles
