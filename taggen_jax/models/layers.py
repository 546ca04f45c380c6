"""The pieces that encoder-decoder families share. A name carries its shape:

B batch, S source, T target, Q one of the two; D model, H heads, K head dim, F mlp; V vocabulary, L layers, W
beams.

A weight states its shape and the meaning of its axes on one line; `parallel` sends those axes to the mesh.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import PartitionSpec

from taggen_jax.models.adapted import Adapted

Array = jax.Array
BATCH_AXES = ("data", "fsdp")  # the mesh axes that share out the rows of a batch
CHUNK_TOKENS = 2048  # what an encoder works on at once on CPU, see `by_chunks`
MASKED = -1e9  # finite: a row that may see nothing yields a uniform softmax instead of NaN


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComputeConfig:
    """How a model runs, as opposed to what it is: nothing here changes what a checkpoint means.

    Attributes:
      dtype: of activations and of weights while in use; stored weights stay float32. float16 is not offered:
        T5's activations overflow it.
      remat: what the backward pass recomputes: nothing, everything but matrix products, or each whole layer.
      attention: "auto" is a single kernel where there is one that takes the case (`fuses`), "einsum" two
        products and a softmax everywhere.
    """

    dtype: Literal["float32", "bfloat16"] = "float32"
    remat: Literal["none", "dots", "full"] = "none"
    attention: Literal["auto", "einsum"] = "auto"


def weight(rngs: nnx.Rngs, shape: tuple[int, ...], axes: tuple[str, ...], std: float) -> nnx.Param:
    """A float32 parameter drawn from N(0, std**2); `axes` names the meaning of each of its axes."""
    return nnx.Param(std * jax.random.normal(rngs.params(), shape), axes=axes)


def stacked(make: Callable[[nnx.Rngs], nnx.Module], layers: int, rngs: nnx.Rngs) -> Any:
    """`layers` modules in one, every parameter with a leading layer axis, ready for `jax.lax.scan`."""
    return nnx.vmap(make, in_axes=0, out_axes=0)(rngs.split(layers))


def platform() -> str:
    """ "cpu", "tpu" or "gpu": what the program being traced will run on; "any" where nobody says.

    The mesh in context says, also where it is a described pod and this machine only compiles for it. Without
    one the program may be an export, for every platform.
    """
    device = jax.sharding.get_abstract_mesh().abstract_device
    return str(device.platform) if device else "any"


def scan_layers(
    layer: Callable[[Array, Any], tuple[Array, Any]], x: Array, xs: Any, remat: str = "none"
) -> tuple[Array, Any]:
    """Runs `layer` over stacked modules (and whatever is zipped with them): `jax.lax.scan` with two choices.

    On CPU the loop is unrolled, because slices of stacked weights cost more there than the longer program
    (measured: docs/performance.md); accelerators get a loop, whose compile time does not grow with depth.
    """
    policies: dict[str, Callable[[Any], Any]] = {
        "none": lambda f: f,
        "dots": functools.partial(
            jax.checkpoint, policy=jax.checkpoint_policies.dots_with_no_batch_dims_saveable
        ),
        "full": jax.checkpoint,
    }

    def by_rows(x: Array, xs: Any) -> tuple[Array, Any]:
        return layer(shard_rows(x), xs)

    return jax.lax.scan(policies[remat](by_rows), x, xs, unroll=platform() == "cpu")


def by_chunks(encode: Callable[..., Array], *xs_BS: Array) -> Array:
    """`encode(*xs)`, on a single CPU device a few rows at a time: activations then stay in its cache.

    Measured on 8,192 tokens: docs/performance.md. Accelerators, and meshes that share out the rows, take them
    all at once.
    """
    if platform() != "cpu" or jax.sharding.get_abstract_mesh().size > 1:
        return encode(*xs_BS)
    rows, length = xs_BS[0].shape
    chunk = max(d for d in range(1, rows + 1) if rows % d == 0 and d * length <= max(CHUNK_TOKENS, length))
    if chunk == rows:
        return encode(*xs_BS)
    chunks = [x_BS.reshape(-1, chunk, length) for x_BS in xs_BS]
    memory = jax.lax.map(lambda chunk: encode(*chunk), tuple(chunks))
    return memory.reshape(rows, *memory.shape[2:])


def shard_rows(x: Array) -> Array:
    """Keeps activations cut by rows over the mesh in context (`jax.set_mesh`); without one, returns x.

    Where the mesh has a "sequence" axis that divides their tokens, they are cut along these as well.

    Said at the start of every layer, it leaves the compiler one sensible plan: weights are gathered,
    activations stay.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return x
    tokens = "sequence" if x.shape[1] % mesh.shape["sequence"] == 0 else None
    return jax.lax.with_sharding_constraint(x, PartitionSpec(BATCH_AXES, tokens))


def linear(x: Array, w_DF: Array | Adapted, dtype: Any = None) -> Array:
    """x @ w for x of any leading axes, [.., D] -> [.., F]; the result's type is `dtype`, or that of x."""
    if isinstance(w_DF, Adapted):
        product = _linear(_linear(x, w_DF.a, None), w_DF.b, dtype)
        return _linear(x, w_DF.base, dtype) + w_DF.scale * product
    return _linear(x, w_DF, dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _linear(x: Array, w_DF: Array, dtype: Any) -> Array:
    """Its own gradient rule, for speed alone: left to itself, XLA on CPU writes the weight's gradient as a
    product with a transposed copy of the wider operand, and computes the activation function anew inside
    that copy, column by column. Here the narrower one is turned.
    """
    return _product(x, w_DF, dtype)


def _product(x: Array, w_DF: Array, dtype: Any) -> Array:
    return jnp.einsum("...D,DF->...F", x, w_DF, preferred_element_type=dtype or x.dtype)


def _linear_forward(x: Array, w_DF: Array, dtype: Any) -> tuple[Array, tuple[Array, Array]]:
    # The product itself, not `_linear`: what has a rule of its own is closed to policies that save products.
    return _product(x, w_DF, dtype), (x, w_DF)


def _linear_backward(dtype: Any, saved: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    x, w_DF = saved
    dy = dy.astype(x.dtype)
    rows = tuple(range(x.ndim - 1))
    contract = functools.partial(
        jax.lax.dot_general, dimension_numbers=((rows, rows), ((), ())), preferred_element_type=w_DF.dtype
    )
    dw_DF = contract(x, dy) if x.shape[-1] <= dy.shape[-1] else contract(dy, x).T
    return jnp.einsum("...F,DF->...D", dy, w_DF), dw_DF


_linear.defvjp(_linear_forward, _linear_backward)


def add_bias(x: Array, bias: Array) -> Array:
    """x + bias, where the bias has only the last axes of x."""
    return x + jnp.expand_dims(bias, tuple(range(x.ndim - bias.ndim)))


def split_heads(x_BTD: Array, w_DHK: Array) -> Array:
    """[B, T, D] -> [B, T, H, K]: one matrix product."""
    D, H, K = w_DHK.shape
    return linear(x_BTD, w_DHK.reshape(D, H * K)).reshape(*x_BTD.shape[:-1], H, K)


def join_heads(x_BTHK: Array, w_HKD: Array) -> Array:
    """[B, T, H, K] -> [B, T, D]: one matrix product."""
    H, K, D = w_HKD.shape
    return linear(x_BTHK.reshape(*x_BTHK.shape[:-2], H * K), w_HKD.reshape(H * K, D))


def dropout(x: Array, rate: float, key: Array | None, shared_axis: int = -2) -> Array:
    """Dropout when a key is given, identity when not. The mask is shared along `shared_axis`.

    Sharing it along the sequence follows T5X (`broadcast_dims=(-2,)`): the same regulariser for a hundredth
    of the random bits, which are dear on CPU.
    """
    if key is None or rate == 0.0:
        return x
    shape = list(x.shape)
    shape[shared_axis] = 1
    keep = jax.random.bernoulli(key, 1.0 - rate, shape)
    return x * (keep.astype(x.dtype) / (1.0 - rate))


def keys(key: Array | None, count: int) -> Any:
    """`count` keys to unpack or to scan over, or as many Nones when there is no dropout."""
    return [None] * count if key is None else jax.random.split(key, count)


def layer_keys(key: Array | None, count: int) -> Array | None:
    """A key for every layer, to scan over; None, without leaves, when there is no dropout."""
    return None if key is None else jax.random.split(key, count)


def rows(w: Array, index_A: Array | None, axis: int = 0) -> Array:
    """The rows of a table along `axis` that are asked for; all of them where none are named."""
    return w if index_A is None else jnp.take(w, index_A, axis=axis)


def rms_norm(x: Array, scale_D: Array, epsilon: float) -> Array:
    """Root mean square layer norm (Zhang and Sennrich, 2019), computed in float32."""
    x32 = x.astype(jnp.float32)
    x32 = x32 * jax.lax.rsqrt(jnp.mean(jnp.square(x32), axis=-1, keepdims=True) + epsilon)
    return x32.astype(x.dtype) * jnp.expand_dims(scale_D, range(x.ndim - 1))


def layer_norm(x: Array, scale_D: Array, bias_D: Array, epsilon: float) -> Array:
    """Layer norm (Ba, Kiros and Hinton, 2016), computed in float32."""
    x32 = x.astype(jnp.float32)
    x32 = x32 - jnp.mean(x32, axis=-1, keepdims=True)
    x32 = x32 * jax.lax.rsqrt(jnp.mean(jnp.square(x32), axis=-1, keepdims=True) + epsilon)
    wide = tuple(range(x.ndim - 1))
    return x32.astype(x.dtype) * jnp.expand_dims(scale_D, wide) + jnp.expand_dims(bias_D, wide)


def segment_mask(query_BQ: Array, key_BS: Array) -> Array:
    """mask_BQS: a query may see the keys of its own segment. 0 is padding, which nobody sees."""
    return (query_BQ[:, :, None] == key_BS[:, None, :]) & (key_BS[:, None, :] > 0)


def segment_positions(segments_BS: Array) -> Array:
    """int32 position_BS of every token within its own segment: 0, 1, .. and anew where a segment begins."""
    index_BS = jnp.broadcast_to(jnp.arange(segments_BS.shape[1], dtype=jnp.int32), segments_BS.shape)
    begins_BS = segments_BS != jnp.pad(segments_BS, ((0, 0), (1, 0)), constant_values=-1)[:, :-1]
    return index_BS - jax.lax.cummax(jnp.where(begins_BS, index_BS, 0), axis=1)


def shift_right(target_BT: Array, segments_BT: Array, start: int) -> Array:
    """Decoder inputs: each token sees the one before it; the first of every segment sees `start`."""
    shifted = jnp.pad(target_BT, ((0, 0), (1, 0)))[:, :-1]
    first = segments_BT != jnp.pad(segments_BT, ((0, 0), (1, 0)), constant_values=-1)[:, :-1]
    return jnp.where(first, start, shifted)


def mask_bias(mask_BQS: Array) -> Array:
    """Additive float32 bias [B, 1, Q, S] of a mask: 0 where a query may look, MASKED where not."""
    return jnp.where(mask_BQS, 0.0, MASKED)[:, None]


def causal_mask(T: int) -> Array:
    """mask_TT: row t may see columns <= t.

    1 . .
    1 1 .
    1 1 1
    """
    return jnp.tril(jnp.ones((T, T), dtype=bool))


def relative_bucket(offset: Array, buckets: int, max_distance: int, bidirectional: bool) -> Array:
    """Bucket of a key-minus-query offset as in T5 (Raffel et al., 2020): exact near by, logarithmic far off.

    Args:
      offset: int array of any shape, key position minus query position.
      buckets: number of buckets; half of them for each direction when bidirectional.
      max_distance: offsets from here on share the last bucket.
      bidirectional: False where a query sees only the past.

    Returns:
      int32 array of the same shape, 0 <= bucket < buckets.
    """
    first = jnp.zeros_like(offset)
    distance = jnp.maximum(-offset, 0)
    if bidirectional:
        buckets //= 2
        first = jnp.where(offset > 0, buckets, 0)
        distance = jnp.abs(offset)
    exact = buckets // 2
    ratio = jnp.maximum(distance, exact).astype(jnp.float32) / exact
    far = exact + (jnp.log(ratio) / math.log(max_distance / exact) * (buckets - exact)).astype(jnp.int32)
    return first + jnp.where(distance < exact, distance, jnp.minimum(far, buckets - 1))
