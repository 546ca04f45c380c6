"""The training state on a mesh: where each of its arrays lives, and how it comes into being there."""

from typing import Any

import jax
import optax
from flax import traverse_util
from jax.sharding import Mesh

from taggen_jax.parallel.mesh import param_shardings, replicated
from taggen_jax.training.step import State, Training


def abstract_state(training: Training) -> State:
    """Shapes and types of the state, without its values."""
    return jax.eval_shape(training.start, training.bundle.shapes)


def state_shardings(training: Training, mesh: Mesh) -> State:
    """Parameters by their logical axes, optimizer moments where their parameters are, the rest everywhere."""
    bundle, abstract = training.bundle, abstract_state(training)
    everywhere = replicated(mesh)
    trainable = jax.eval_shape(lambda params: training.partition.split(params)[0], bundle.shapes)
    params = param_shardings(bundle.shapes, bundle.axes, mesh)
    flat = traverse_util.flatten_dict(params, sep="/")

    def moment(leaf: Any, parameter: Any, sharding: Any) -> Any:
        # Adafactor's row and column sums have another shape than their parameter, and are small.
        return sharding if leaf.shape == parameter.shape else everywhere

    opt_state = optax.tree_utils.tree_map_params(
        training.tx,
        moment,
        abstract["opt_state"],
        trainable,
        {path: flat[path] for path in trainable},
        transform_non_params=lambda _: everywhere,
    )
    return {"params": params, "opt_state": opt_state, "step": everywhere}


def create_state(training: Training, mesh: Mesh) -> State:
    """A fresh state, every array made in its place; the values do not depend on the mesh."""
    shardings = state_shardings(training, mesh)
    # A program that runs once: on CPU the lowest level that vectorises compiles in a third of the time,
    # runs as fast, and draws the same bits.
    options = {"xla_backend_optimization_level": 1} if mesh.devices.flat[0].platform == "cpu" else {}
    make = jax.jit(training.init, out_shardings=shardings, compiler_options=options)
    return make(jax.random.key(training.config.seed))


def adopt_params(training: Training, mesh: Mesh, params: Any) -> State:
    """The state at step 0 from given parameters (numpy arrays, say), every array put in its place."""
    shardings = state_shardings(training, mesh)
    placed = jax.device_put(params, shardings["params"])
    return jax.jit(training.start, donate_argnums=0, out_shardings=shardings)(placed)


def restorable(training: Training, mesh: Mesh) -> State:
    """Shapes, types and shardings of the state: what a checkpoint is restored onto."""
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        abstract_state(training),
        state_shardings(training, mesh),
    )
