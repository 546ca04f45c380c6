"""Gradual unfreezing: which parameters train is a function of the step.

What thaws in the course of a run starts with a fresh optimizer state, and warms up (see `pace`), as the run
did at its beginning. Howard and Ruder (2018) unfreeze a pretrained model so, from the top.
"""

import functools
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from taggen_jax.models.family import Bundle
from taggen_jax.training import lora
from taggen_jax.training.encoder import check_frozen
from taggen_jax.training.freeze import Params, Partition, partition
from taggen_jax.training.state import state_shardings
from taggen_jax.training.step import State, TrainConfig, Training


def training_at(bundle: Bundle, config: TrainConfig, step: int) -> Training:
    """The functions of a run as they are after `step` steps.

    Raises:
      UserError: a pattern, of whatever step, that matches nothing; an encoder to cache that is not frozen.
    """
    if config.lora.rank:
        cut = lora.partition(bundle, config.lora)
        if config.cache_encoder:
            check_frozen(bundle, cut)
        return Training(bundle, cut, config)
    partition(bundle.shapes, bundle.axes, config.freeze, tuple(config.unfreeze))  # all, to find mistakes now
    if config.cache_encoder:
        check_frozen(bundle, partition(bundle.shapes, bundle.axes, config.freeze))
    thawed = tuple(pattern for pattern, since in config.unfreeze.items() if since <= step)
    return Training(bundle, partition(bundle.shapes, bundle.axes, config.freeze, thawed), config)


def thaws(config: TrainConfig, step: int) -> bool:
    """Whether something begins to train after `step` steps."""
    return step > 0 and step in config.unfreeze.values()


def thaw(before: Training, state: State, mesh: Mesh, step: int) -> tuple[Training, State]:
    """The functions of the run after `step` steps, and the state for them."""
    after = training_at(before.bundle, before.config, step)
    shardings = state_shardings(after, mesh)["opt_state"]
    move = jax.jit(functools.partial(carry, before, after), out_shardings=shardings)
    return after, {**state, "opt_state": move(state["params"], state["opt_state"])}


def carry(before: Training, after: Training, params: Params, opt_state: Any) -> Any:
    """The optimizer state for `after`: what trained `before` keeps its own, what thaws gets a fresh one."""
    known = dict(jax.tree_util.tree_leaves_with_path(opt_state))

    def leaf(path: Any, fresh: jax.Array) -> jax.Array:
        old = known.get(path)
        if old is None or old.shape == fresh.shape:
            return fresh if old is None else old
        (name,) = (entry.key for entry in path if getattr(entry, "key", None) in after.partition.frozen)
        return fresh.at[_rows(before.partition, after.partition, name)].set(old)

    return jax.tree_util.tree_map_with_path(leaf, after.start(params)["opt_state"])


def _rows(before: Partition, after: Partition, name: str) -> np.ndarray:
    """Where in a leaf of what trains now those layers stand that trained before."""
    trained = [
        not was for was, frozen in zip(before.frozen[name], after.frozen[name], strict=True) if not frozen
    ]
    return np.flatnonzero(trained)
