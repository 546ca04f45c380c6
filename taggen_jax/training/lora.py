"""Low-rank adapters (Hu et al., 2021): what trains is a small product beside each weight that patterns name.

An adapted bundle's parameters are the model's own, the base, and a subtree "lora" with an A and a B at the
path of every adapted weight. The base is frozen and saved once; checkpoints hold the adapters alone.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import traverse_util

from taggen_jax.errors import UserError
from taggen_jax.models.adapted import Adapted
from taggen_jax.models.family import Bundle, Params, restacked
from taggen_jax.training.freeze import Partition, matching

SUBTREE = "lora"
OWN = (SUBTREE, "tag_head")  # what trains and is saved; a tag head is no part of what was pretrained


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """Which weights have adapters.

    Attributes:
      rank: of the product; 0 has none, and everything trains that is not frozen.
      alpha: the product counts alpha / rank times, so that another rank needs no other learning rate.
      targets: patterns of weights, as in `train.freeze`.
    """

    rank: int = 0
    alpha: float = 16.0
    targets: tuple[str, ...] = ("*/blocks/*/attention", "*/blocks/*/cross")

    def __post_init__(self) -> None:
        if self.rank < 0 or self.alpha <= 0 or not self.targets:
            raise ValueError(
                f"rank={self.rank} must not be negative, alpha={self.alpha} positive, and targets not empty"
            )


def adapt(bundle: Bundle, config: LoraConfig) -> Bundle:
    """The bundle with adapters, which begin as zero; the bundle itself where the rank is 0.

    Raises:
      UserError: a pattern that matches no weight.
    """
    if not config.rank:
        return bundle
    flat, axes = (traverse_util.flatten_dict(tree, sep="/") for tree in (bundle.shapes, bundle.axes))
    targets = [path for path, layers in _matched(bundle, config).items() if any(layers)]
    shapes, names = {}, {}
    for path in targets:
        lead, inputs, outputs = _sides(flat[path].shape, axes[path])
        layers = axes[path][: len(lead)]
        for name, shape, own in (
            ("a", (*lead, math.prod(inputs), config.rank), (axes[path][len(lead)], "rank")),
            ("b", (*lead, config.rank, math.prod(outputs)), ("rank", axes[path][len(lead) + len(inputs)])),
        ):
            shapes[f"{path}/{name}"] = jax.ShapeDtypeStruct(shape, jnp.float32)
            names[f"{path}/{name}"] = (*layers, *own)

    def init(key: jax.Array) -> Params:
        drawn = jax.random.split(jax.random.fold_in(key, len(targets)), len(targets))
        adapters = {}
        for k, path in zip(drawn, targets, strict=True):
            a, b = shapes[f"{path}/a"], shapes[f"{path}/b"]
            adapters[f"{path}/a"] = a.shape[-2] ** -0.5 * jax.random.normal(k, a.shape)
            adapters[f"{path}/b"] = jnp.zeros(b.shape)
        return {**bundle.init(key), SUBTREE: traverse_util.unflatten_dict(adapters, sep="/")}

    def bind(params: Params) -> Any:
        return bundle.bind(_adapted(restacked(params), config))

    def nested(values: dict[str, Any]) -> Params:
        return traverse_util.unflatten_dict(values, sep="/")

    return Bundle(
        bundle.config,
        {**bundle.shapes, SUBTREE: nested(shapes)},
        {**bundle.axes, SUBTREE: nested(names)},
        init,
        bind,
    )


def partition(bundle: Bundle, config: LoraConfig) -> Partition:
    """Of an adapted bundle: adapters of the layers that patterns name train, and a tag head; nothing else."""
    matched = _matched(bundle, config)
    frozen = {}
    for path in traverse_util.flatten_dict(bundle.shapes, sep="/"):
        head, _, rest = path.partition("/")
        if head == SUBTREE:
            frozen[path] = tuple(not layer for layer in matched[rest.rpartition("/")[0]])
        else:
            frozen[path] = (head not in OWN,) * len(matched[path])
    return Partition(frozen)


def own(params: Params) -> Params:
    """What a checkpoint holds of a run's parameters (or of their shapes): all of them without adapters."""
    return {name: params[name] for name in OWN if name in params} if SUBTREE in params else params


def base(params: Params) -> Params:
    """The rest: what the adapters stand beside."""
    return {name: value for name, value in params.items() if name not in OWN}


def merge(params: Params, config: LoraConfig) -> Params:
    """The parameters of the plain bundle: every product added to its weight."""
    return jax.tree.map(
        lambda leaf: leaf.whole() if isinstance(leaf, Adapted) else leaf,
        _adapted(params, config),
        is_leaf=lambda leaf: isinstance(leaf, Adapted),
    )


def _adapted(params: Params, config: LoraConfig) -> Params:
    """The base with `Adapted` in the place of every weight that has adapters."""
    adapters = traverse_util.flatten_dict(params[SUBTREE], sep="/")
    flat = traverse_util.flatten_dict(_without_adapters(params), sep="/")
    for path in {name.rpartition("/")[0] for name in adapters}:
        factors = adapters[f"{path}/a"], adapters[f"{path}/b"]
        flat[path] = Adapted(flat[path], *factors, config.alpha / config.rank)
    return traverse_util.unflatten_dict(flat, sep="/")


def _matched(bundle: Bundle, config: LoraConfig) -> dict[str, tuple[bool, ...]]:
    """Of every weight of the base, whether patterns name each of its layers; biases and norms have no say."""
    shapes, axes = _without_adapters(bundle.shapes), _without_adapters(bundle.axes)
    flat = traverse_util.flatten_dict(axes, sep="/")
    found = matching(shapes, axes, config.targets, "train.lora.targets")
    matched = {
        path: tuple(bool(hits) and _is_weight(path, flat[path]) for hits in layers)
        for path, layers in found.items()
    }
    if not any(any(layers) for layers in matched.values()):
        raise UserError(f"train.lora.targets: {list(config.targets)} match no weight of a matrix product")
    return matched


def _without_adapters(tree: Params) -> Params:
    """Without the adapters."""
    return {name: value for name, value in tree.items() if name != SUBTREE}


def _is_weight(path: str, axes: Sequence[str]) -> bool:
    own = [axis for axis in axes if axis != "layers"]
    return len(own) > 1 and "embed" in own and not path.startswith("tag_head")


def _sides(
    shape: Sequence[int], axes: Sequence[str]
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """(layers, what a weight reads from, what it writes to): the model's axis alone on its side."""
    lead = 1 if axes[0] == "layers" else 0
    cut = lead + 1 if axes[lead] == "embed" else len(axes) - 1
    return tuple(shape[:lead]), tuple(shape[lead:cut]), tuple(shape[cut:])
