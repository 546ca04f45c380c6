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
FUSED_MASKED = -(
    2.0**14
)  # to `fused`: a sum of so many weights nothing, and keeps three digits after the point


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
    # Far below, float32 is too coarse for the backward pass, which subtracts a row's log-sum from its logits.
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
