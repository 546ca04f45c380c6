"""What adapters stand beside: kept once in the workdir, named by its digest in every checkpoint of adapters."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from taggen_jax.errors import UserError
from taggen_jax.models.family import Bundle, Params
from taggen_jax.parallel.mesh import param_shardings
from taggen_jax.runs.checkpoints import CheckpointConfig, Checkpoints
from taggen_jax.runs.summary import state_sha256
from taggen_jax.runs.workdir import Workdir
from taggen_jax.training import lora
from taggen_jax.training.lora import LoraConfig


def keep(workdir: Workdir, params: Params) -> str:
    """Saves the base of a run's parameters, unless a session before did; returns its digest."""
    checkpoints = Checkpoints(workdir.base, CheckpointConfig(), writing=True)
    if checkpoints.latest_step() is None:
        checkpoints.save(0, {"params": lora.base(params)}, {}, {})
    checkpoints.close()
    return state_sha256(lora.base(params))


def beside(workdir: Workdir, like: Params, adapters: Params, digest: str) -> Params:
    """All parameters: the saved base, and the adapters of a checkpoint that names it by this digest.

    Raises:
      UserError: it is another base.
    """
    checkpoints = Checkpoints(workdir.base, CheckpointConfig(), writing=False)
    params = checkpoints.restore_params(0, lora.base(like))
    checkpoints.close()
    if (found := state_sha256(params)) != digest:
        raise UserError(
            f"{workdir.base}: these are not the parameters that the adapters were trained beside (SHA-256 "
            f"{found[:12]}.., expected {digest[:12]}..); restore the folder from a copy"
        )
    return {**params, **adapters}


def parameters(
    workdir: Workdir,
    config: CheckpointConfig,
    adapters: LoraConfig,
    bundle: Bundle,
    mesh: Mesh,
    step: int,
    dtype: Any,
) -> Params:
    """The parameters of a step, for `bundle`; with adapters, what these learned is added to their weights.

    Raises:
      UserError: a part of them is missing or damaged, or is of another model.
    """
    adapted = lora.adapt(bundle, adapters)
    shardings = param_shardings(adapted.shapes, adapted.axes, mesh)
    saved = jnp.float32 if adapters.rank else dtype  # sums are made before anything is rounded
    like = jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, saved, sharding=s), adapted.shapes, shardings
    )
    checkpoints = Checkpoints(workdir.checkpoints, config, writing=False)
    params = checkpoints.restore_params(step, lora.own(like))
    digest = checkpoints.meta(step)["base"] if adapters.rank else ""
    checkpoints.close()
    if not adapters.rank:
        return params
    plain = {name: shardings[name] for name in bundle.shapes}

    def add(params: Params) -> Params:
        return jax.tree.map(lambda x: x.astype(dtype), lora.merge(params, adapters))

    merge: Any = jax.jit(add, out_shardings=plain)
    return merge(beside(workdir, like, params, digest))
