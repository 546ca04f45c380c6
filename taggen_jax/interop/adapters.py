"""Adapters added to the weights that they stand beside, on disk: a layer is added up when it is read."""

from typing import Any

import numpy as np
from flax import traverse_util

from taggen_jax.interop.leaf import Leaf
from taggen_jax.models.family import Params
from taggen_jax.training.lora import SUBTREE, LoraConfig


def merged(leaves: Params, config: LoraConfig) -> Params:
    """`lora.merge` of parameters that stay on disk."""
    rest = {name: value for name, value in leaves.items() if name != SUBTREE}
    flat = traverse_util.flatten_dict(rest, sep="/")
    factors = traverse_util.flatten_dict(leaves[SUBTREE], sep="/")
    for path in {name.rpartition("/")[0] for name in factors}:
        flat[path] = _sum(flat[path], factors[f"{path}/a"], factors[f"{path}/b"], config)
    return traverse_util.unflatten_dict(flat, sep="/")


def _sum(weight: Leaf, a: Leaf, b: Leaf, config: LoraConfig) -> Leaf:
    def read(index: Any) -> np.ndarray:
        value = weight[index]
        product = np.matmul(a[index], b[index]).reshape(value.shape)
        return (value + config.alpha / config.rank * product).astype(weight.dtype)

    return Leaf(weight.shape, weight.dtype, weight.stacked, read)
