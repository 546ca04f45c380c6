"""The registry of families, and the seam between modules that declare and functions that run.

A family is a configuration class and a `protocol.EncoderDecoder`. Adding one means one model file, one table
of names and one line in FAMILIES.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from taggen_jax import config as configs
from taggen_jax.errors import UserError
from taggen_jax.models import bart, bert, t5, t5gemma, t5gemma2
from taggen_jax.models.layers import ComputeConfig
from taggen_jax.models.tag_head import TagHead

Params = dict[str, Any]
ModelConfig = (
    t5.T5Config | bart.BartConfig | bert.BertConfig | t5gemma.T5GemmaConfig | t5gemma2.T5Gemma2Config
)
EncoderConfig = bert.StackConfig  # of a bare encoder

FAMILIES: dict[str, tuple[type[Any], type[Any]]] = {
    "t5": (t5.T5Config, t5.T5),
    "bart": (bart.BartConfig, bart.Bart),
    "bert": (bert.BertConfig, bert.Bert),
    "t5gemma": (t5gemma.T5GemmaConfig, t5gemma.T5Gemma),
    "t5gemma2": (t5gemma2.T5Gemma2Config, t5gemma2.T5Gemma2),
}
ENCODERS: dict[str, tuple[type[Any], type[Any]]] = {"bert_encoder": (bert.StackConfig, bert.Encoder)}  # bare


class Bundle(NamedTuple):
    """A model taken apart.

    Attributes:
      config: the architecture.
      shapes: nested dict of `jax.ShapeDtypeStruct`, the parameters' shapes without their values.
      axes: the same tree with a tuple of logical axis names per parameter ("layers" first where stacked).
      init: key -> parameters, a nested dict of float32 arrays.
      bind: parameters -> the model, with weights cast to the compute type; call it inside `jax.jit`. Takes
        them as `unstacked` leaves them, too.
    """

    config: ModelConfig | EncoderConfig
    shapes: Params
    axes: Params
    init: Callable[[jax.Array], Params]
    bind: Callable[[Params], Any]


def parse(values: Mapping[str, Any], where: str = "config.model") -> ModelConfig:
    """The configuration object of the family that `values["family"]` names."""
    name = values.get("family")
    if name not in FAMILIES:
        raise UserError(f"{where}.family: got {name!r}, expected one of {', '.join(sorted(FAMILIES))}")
    return configs.from_dict(FAMILIES[name][0], values, where)


def source_config(config: ModelConfig | EncoderConfig) -> ModelConfig | EncoderConfig:
    """The part of a configuration whose `vocab_size` and `pad` are those of what is read."""
    return config.encoder if isinstance(config, bert.BertConfig) else config


def build(config: ModelConfig | EncoderConfig, compute: ComputeConfig, tags: int = 0) -> Bundle:
    """Takes the family's module apart into shapes, axes and two pure functions.

    Args:
      tags: rows of a tag head beside the decoder, at the path "tag_head"; 0 has none.
    """
    module = (FAMILIES | ENCODERS)[config.family][1]
    dtype = jnp.dtype(compute.dtype)

    def make(rngs: nnx.Rngs) -> Any:
        model = module(config, compute, rngs)
        if tags:
            model.tag_head = TagHead(config.d_model, tags, rngs)
        return model

    graph, abstract = nnx.split(nnx.eval_shape(lambda: make(nnx.Rngs(0))), nnx.Param)

    def init(key: jax.Array) -> Params:
        return nnx.to_pure_dict(nnx.state(make(nnx.Rngs(params=key)), nnx.Param))

    def bind(params: Params) -> Any:
        return nnx.merge(graph, nnx.State(jax.tree.map(lambda leaf: leaf.astype(dtype), restacked(params))))

    shapes = nnx.to_pure_dict(abstract)
    named = nnx.to_pure_dict(nnx.map_state(lambda _, variable: _Axes(variable.axes), abstract))
    axes = jax.tree.map(
        lambda shape, names: ("layers",) * (len(shape.shape) - len(names)) + tuple(names), shapes, named
    )
    return Bundle(config, shapes, axes, init, bind)


def unstacked(bundle: Bundle, params: Params) -> Params:
    """The parameters with a tuple of layers in place of each stacked leaf.

    A program that unrolls its layers reads such a layer where it lies; from a stack it copies every layer,
    every time (`bind` stacks them again, but the compiler sees through a slice of a stack).
    """
    return jax.tree.map(
        lambda leaf, names: tuple(leaf) if names[:1] == ("layers",) else leaf, params, bundle.axes
    )


def restacked(params: Params) -> Params:
    """The inverse of `unstacked`."""
    return jax.tree.map(
        lambda leaf: jnp.stack(leaf) if isinstance(leaf, tuple) else leaf,
        params,
        is_leaf=lambda leaf: isinstance(leaf, tuple),
    )


class _Axes(tuple[str, ...]):
    """A tuple that `jax.tree` takes for a leaf, because its type is not exactly tuple."""
