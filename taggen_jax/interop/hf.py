"""Hugging Face folders (config.json and *.safetensors) to our parameters, and back, without loss.

No more than one tensor need be in memory: `open_folder` gives parameters that stay on disk until they are
read, and `save` takes such, too. `load` makes arrays of them, each device's part in its place.
"""

import os
import pathlib
from collections.abc import Mapping
from types import EllipsisType
from typing import Any

import jax
import ml_dtypes
import numpy as np

from taggen_jax.errors import UserError
from taggen_jax.files import new_folder, read_json, write_json
from taggen_jax.interop import bart, bert, bert_encoder, generation, t5, t5gemma, t5gemma2, weights
from taggen_jax.interop.leaf import Leaf
from taggen_jax.interop.names import Tensor, expand, flatten, unflatten
from taggen_jax.interop.weights import Files, Spec
from taggen_jax.models import family
from taggen_jax.models.layers import ComputeConfig

# interop/NAME.py serves our family NAME, and the model types that it lists
MODULES: tuple[Any, ...] = (t5, bart, bert, bert_encoder, t5gemma, t5gemma2)
FAMILIES = {module.__name__.rpartition(".")[2]: module for module in MODULES}  # by our `family`
MODEL_TYPES = {kind: module for module in MODULES for kind in module.MODEL_TYPES}  # by their `model_type`
FLOATS = ("F64", "F32", "F16", "BF16")
Config = family.ModelConfig | family.EncoderConfig
SPELLINGS = {
    "bart": bart.plain,
    "bert_encoder": bert_encoder.plain,
}  # by family: what to make of a tensor's name at first
FLOAT32, BFLOAT16 = np.dtype(np.float32), np.dtype(ml_dtypes.bfloat16)


def read_config(folder: str | os.PathLike[str]) -> Config:
    """The configuration of the folder's model.

    Raises:
      UserError: config.json is missing or describes no model of ours.
    """
    path = pathlib.Path(folder) / "config.json"
    values = read_json(path, "the model's config.json")
    kind = values.get("model_type") if isinstance(values, dict) else None
    if kind not in MODEL_TYPES:
        raise UserError(
            f"{path}: model_type is {kind!r}, expected one of {', '.join(MODEL_TYPES)}; no other is built in"
        )
    return MODEL_TYPES[kind].config_from_hf(generation.token_ids(path.parent) | _given(values), str(path))


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def open_folder(folder: str | os.PathLike[str]) -> tuple[Config, family.Params]:
    """A model whose parameters stay on disk.

    Args:
      folder: config.json beside model.safetensors or its shards; weights of any float type.

    Returns:
      the configuration, and a nested dict of `Leaf`s: bfloat16 where the folder is, else float32.

    Raises:
      UserError: a file, a field or a tensor is missing, extra or of a wrong shape; or weights are pickled.
    """
    folder = pathlib.Path(folder)
    config = read_config(folder)
    shapes = flatten(family.build(config, ComputeConfig()).shapes)
    tensors = expand(FAMILIES[config.family].names(config), unflatten(shapes))
    files = weights.find(folder)
    sources, halves = _sources(folder, config.family, tensors, files)
    places: dict[str, dict[int | None, str]] = {path: {} for path in shapes}
    for name, tensor in tensors.items():
        places[tensor.path][tensor.layer] = name

    def leaf(path: str) -> Leaf:
        names, shape = places[path], tuple(shapes[path].shape)
        dtype = BFLOAT16 if halves.issuperset(names.values()) else FLOAT32

        def read(index: int | EllipsisType) -> np.ndarray:
            if index is ... and None not in names:
                return np.stack([read(layer) for layer in range(shape[0])])
            name = names[None if index is ... else index]
            if name not in sources:
                return np.zeros(tensors[name].shape, dtype)
            return tensors[name].to_ours(weights.read(files, sources[name])).astype(dtype, copy=False)

        return Leaf(shape, dtype, None not in names, read)

    return config, unflatten({path: leaf(path) for path in shapes})


def load(folder: str | os.PathLike[str], shardings: Any = None) -> tuple[Config, family.Params]:
    """Reads a model, in float32.

    Args:
      folder: as of `open_folder`.
      shardings: the parameters' tree with a sharding at each leaf; None leaves them in numpy.

    Returns:
      the configuration, and the parameters: `jax.Array`s of which every process has read what its devices
      hold, or numpy arrays.
    """
    config, leaves = open_folder(folder)
    if shardings is None:
        return config, jax.tree.map(lambda leaf: _cut(leaf, [_whole(leaf)])[0], leaves)
    return config, place(leaves, shardings)


def place(leaves: family.Params, shardings: Any) -> family.Params:
    """Reads parameters that stay on disk into float32 arrays, every process what its devices hold."""
    return jax.tree.map(_place, leaves, shardings)


def _place(leaf: Leaf, sharding: jax.sharding.Sharding) -> jax.Array:
    wanted = sharding.addressable_devices_indices_map(leaf.shape).values()
    indices = {str(index): index for index in wanted if index}  # a copy on several devices is cut once
    parts = dict(zip(indices, _cut(leaf, list(indices.values())), strict=True))
    return jax.make_array_from_callback(leaf.shape, sharding, lambda index: parts[str(index)])


def _whole(leaf: Leaf) -> tuple[slice, ...]:
    return (slice(None),) * len(leaf.shape)


def _cut(leaf: Leaf, indices: list[tuple[slice, ...]]) -> list[np.ndarray]:
    """Some rectangles of a parameter in float32, all cut while each layer is read once."""
    bounds = [[s.indices(size) for s, size in zip(index, leaf.shape, strict=True)] for index in indices]
    parts = [np.empty([stop - start for start, stop, _ in bound], np.float32) for bound in bounds]
    for layer in leaf.parts:
        values = leaf[layer]
        for index, bound, part in zip(indices, bounds, parts, strict=True):
            if layer is ...:
                part[...] = values[index]
            elif layer in range(*bound[0]):
                part[layer - bound[0][0]] = values[index[1:]]
    return parts


def save(
    folder: str | os.PathLike[str],
    config: Config,
    params: family.Params,
    shard_bytes: int = 2**31,
) -> None:
    """Writes a new folder that `transformers` loads.

    Raises:
      UserError: the folder is taken.
    """
    with new_folder(pathlib.Path(folder)) as new:
        write(new, config, params, shard_bytes)


def write(
    folder: pathlib.Path,
    config: Config,
    params: Mapping[str, Any],
    shard_bytes: int = 2**31,
) -> None:
    """Writes config.json and the weights.

    Args:
      folder: an empty one.
      config: the model's.
      params: nested dict of `Leaf`s, or of arrays that this process holds in full; float32 or bfloat16.
      shard_bytes: weights beyond this size are cut into several files of at most this size (or one tensor).
    """
    ours = flatten(params)
    expected = flatten(family.build(config, ComputeConfig()).shapes)
    if {path: leaf.shape for path, leaf in ours.items()} != {p: leaf.shape for p, leaf in expected.items()}:
        raise ValueError(f"the parameters do not have the shapes that {config} gives")
    tensors = expand(FAMILIES[config.family].names(config), params)
    types = {path: np.dtype(leaf.dtype) for path, leaf in ours.items()}
    specs = {name: Spec(tensor.hf_shape, types[tensor.path]) for name, tensor in tensors.items()}

    def values(name: str) -> np.ndarray:
        tensor = tensors[name]
        return tensor.to_hf(np.asarray(ours[tensor.path][... if tensor.layer is None else tensor.layer]))

    half = all(kind == BFLOAT16 for kind in types.values())
    named = {"dtype": "bfloat16" if half else "float32"}
    write_json(folder / "config.json", FAMILIES[config.family].config_to_hf(config) | named)
    weights.write(folder, specs, values, shard_bytes)


def _sources(
    folder: pathlib.Path, kind: str, tensors: dict[str, Tensor], files: Files
) -> tuple[dict[str, str], set[str]]:
    """The name under which each tensor is there, and which are bfloat16; names, shapes and types hold."""
    copies, unused = FAMILIES[kind].COPIES, FAMILIES[kind].UNUSED
    spelt = {SPELLINGS.get(kind, str)(name): name for name in files}
    sources = {name: spelt.get(name) or spelt.get(copies.get(name, name), name) for name in tensors}
    absent = [name for name, source in sources.items() if source not in files]
    missing = [name for name in absent if not tensors[name].optional]
    if missing:
        raise UserError(f"{folder}: {_listed(missing)} missing from the weights; expected by config.json")
    extra = [name for name in spelt if name not in tensors and not name.startswith(tuple(unused))]
    extra = [
        name
        for name in extra
        if name not in copies or not _equal(files, spelt[name], spelt.get(copies[name], ""))
    ]
    if extra:
        raise UserError(
            f"{folder}: {_listed(extra)} in the weights, but the model of config.json has no such part"
        )
    sources = {name: source for name, source in sources.items() if name not in absent}
    described = weights.describe(files, sorted(set(sources.values())))
    for name, source in sources.items():
        shape, dtype = described[source]
        if shape != tensors[name].hf_shape:
            raise UserError(
                f"{folder}: tensor '{name}' is {shape}, expected {tensors[name].hf_shape} by config.json"
            )
        if dtype not in FLOATS:
            raise UserError(f"{folder}: tensor '{name}' is {dtype}, expected one of {', '.join(FLOATS)}")
    return sources, {name for name, source in sources.items() if described[source][1] == "BF16"}


def _equal(files: Files, name: str, other: str) -> bool:
    return other in files and np.array_equal(weights.read(files, name), weights.read(files, other))


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"tensor {', '.join(map(repr, names[:3]))}{more}"
