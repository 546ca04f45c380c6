"""An encoder that does not train: what it reads, and what it makes of a product, once for the whole run."""

import jax
import jax.numpy as jnp
from flax import traverse_util
from jax.extend.core import Literal

from taggen_jax.errors import UserError
from taggen_jax.models import layers
from taggen_jax.models.family import Bundle, Params
from taggen_jax.training.freeze import Flat, Partition


def encode(bundle: Bundle, params: Params, source_BS: jax.Array) -> jax.Array:
    """memory_BSD of padded products, without dropout."""
    model = bundle.bind(params)
    segments_BS = (source_BS != model.source_pad).astype(jnp.int32)
    return layers.by_chunks(model.encode, source_BS, segments_BS)


def reads(bundle: Bundle) -> tuple[str, ...]:
    """The paths of the parameters that `encode` depends on: the encoder's, and the embedding it may share.

    No family has to say so: these are the inputs from which the traced program's output can be reached. What
    an inner program takes counts as used.
    """
    flat = traverse_util.flatten_dict(bundle.shapes, sep="/")

    def traced(flat: Flat, source_BS: jax.Array) -> jax.Array:
        return encode(bundle, traverse_util.unflatten_dict(flat, sep="/"), source_BS)

    program = jax.make_jaxpr(traced)(flat, jax.ShapeDtypeStruct((1, 1), jnp.int32)).jaxpr
    needed = set(program.outvars)
    for equation in reversed(program.eqns):
        if needed.intersection(equation.outvars):
            needed.update(x for x in equation.invars if not isinstance(x, Literal))
    return tuple(
        path for path, x in zip(sorted(flat), program.invars[: len(flat)], strict=True) if x in needed
    )


def trains(bundle: Bundle, partition: Partition) -> tuple[str, ...]:
    """The paths of what `encode` depends on and of which some layer trains; none where it is frozen."""
    return tuple(path for path in reads(bundle) if not all(partition.frozen[path]))


def check_frozen(bundle: Bundle, partition: Partition) -> None:
    """Raises a UserError where the encoder's outputs cannot be cached, because something in it trains."""
    warm = sorted({path.split("/")[0] for path in trains(bundle, partition)})
    if warm:
        raise UserError(
            f"train.cache_encoder: the encoder reads {', '.join(warm)}, of which something trains; add that "
            "to train.freeze, or set cache_encoder to False"
        )
