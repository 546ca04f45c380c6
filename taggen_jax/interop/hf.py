"""Hugging Face folders (config.json and *.safetensors) to our parameters, and back, without loss.

Tensors are streamed one by one: memory holds the parameters and one tensor (`load`), or the parameters and
one file of weights (`save`). A folder appears whole or not at all. Pickled weights are never opened.
"""

import contextlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from taggen_jax.errors import UserError
from taggen_jax.files import read_json, write_json
from taggen_jax.interop import bert, bert_encoder, t5
from taggen_jax.interop.names import Tensor, expand, flatten, unflatten
from taggen_jax.models import family
from taggen_jax.models.layers import ComputeConfig

MODULES: tuple[Any, ...] = (t5, bert, bert_encoder)  # interop/NAME.py: our family NAME, their MODEL_TYPES
FAMILIES = {module.__name__.rpartition(".")[2]: module for module in MODULES}  # by our `family`
MODEL_TYPES = {kind: module for module in MODULES for kind in module.MODEL_TYPES}  # by their `model_type`
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
FLOATS = ("F64", "F32", "F16", "BF16")
Config = family.ModelConfig | family.EncoderConfig
Files = dict[str, Any]  # tensor name -> the open safetensors file that holds it


def load(folder: str | os.PathLike[str]) -> tuple[Config, family.Params]:
    """Reads a model.

    Args:
      folder: config.json beside model.safetensors or its shards; weights of any float type.

    Returns:
      the configuration, and the parameters as a nested dict of float32 numpy arrays.

    Raises:
      UserError: a file, a field or a tensor is missing, extra or of a wrong shape; or weights are pickled.
    """
    folder = pathlib.Path(folder)
    config = _config(folder / "config.json")
    shapes = family.build(config, ComputeConfig()).shapes
    tensors = expand(FAMILIES[config.family].names(config), shapes)
    params = {path: np.empty(leaf.shape, np.float32) for path, leaf in flatten(shapes).items()}
    with contextlib.ExitStack() as stack:
        files = _open(folder, stack)
        sources = _sources(folder, config.family, tensors, files)
        for name, tensor in tensors.items():
            slot = ... if tensor.layer is None else tensor.layer
            params[tensor.path][slot] = tensor.to_ours(files[sources[name]].get_tensor(sources[name]))
    return config, unflatten(params)


def save(
    folder: str | os.PathLike[str],
    config: Config,
    params: family.Params,
    shard_bytes: int = 2**31,
) -> None:
    """Writes a model in float32, so that `transformers` loads the folder.

    Args:
      folder: must be absent or empty.
      config: the model's.
      params: nested dict of arrays that this process holds in full.
      shard_bytes: weights beyond this size are cut into several files of at most this size (or one tensor).

    Raises:
      UserError: the folder is taken.
    """
    expected = {
        path: leaf.shape for path, leaf in flatten(family.build(config, ComputeConfig()).shapes).items()
    }
    ours = flatten(params)
    if {path: leaf.shape for path, leaf in ours.items()} != expected:
        raise ValueError(f"the parameters do not have the shapes that {config} gives")
    tensors = expand(FAMILIES[config.family].names(config), params)
    shards = _shards(tensors, shard_bytes)
    with _new_folder(pathlib.Path(folder)) as new:
        write_json(new / "config.json", FAMILIES[config.family].config_to_hf(config))
        for file, names in shards.items():
            weights = {name: tensors[name].to_hf(_slice(ours, tensors[name])) for name in names}
            safetensors.numpy.save_file(weights, new / file, metadata={"format": "pt"})
        if len(shards) > 1:
            size = sum(4 * leaf.size for leaf in ours.values())
            where = {name: file for file, names in shards.items() for name in names}
            write_json(new / INDEX, {"metadata": {"total_size": size}, "weight_map": where})


def _config(path: pathlib.Path) -> Config:
    values = read_json(path, "the model's config.json")
    kind = values.get("model_type") if isinstance(values, dict) else None
    if kind not in MODEL_TYPES:
        raise UserError(
            f"{path}: model_type is {kind!r}, expected one of {', '.join(MODEL_TYPES)}; no other is built in"
        )
    return MODEL_TYPES[kind].config_from_hf(values, str(path))


def _open(folder: pathlib.Path, stack: contextlib.ExitStack) -> Files:
    files: Files = {}
    for path in _weight_files(folder):
        try:
            file = stack.enter_context(safetensors.safe_open(path, framework="np"))
        except FileNotFoundError as error:
            raise UserError(f"{path}: missing, though {INDEX} names it; copy the folder anew") from error
        except safetensors.SafetensorError as error:
            raise UserError(
                f"{path}: not a whole safetensors file ({error}); copy the folder anew"
            ) from error
        files.update(dict.fromkeys(file.keys(), file))
    return files


def _weight_files(folder: pathlib.Path) -> list[pathlib.Path]:
    if (folder / SINGLE).exists():
        return [folder / SINGLE]
    if (folder / INDEX).exists():
        index = read_json(folder / INDEX, "the list of weight files")
        if not isinstance(index, dict) or not isinstance(index.get("weight_map"), dict):
            raise UserError(f"{folder / INDEX}: no mapping 'weight_map' in it; copy the folder anew")
        return [folder / str(name) for name in sorted(set(index["weight_map"].values()))]
    pickled = sorted(
        path.name for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".pth", ".ckpt")
    )
    if pickled:
        raise UserError(
            f"{folder}: the weights are pickled ({pickled[0]}), and opening a pickle runs code from it; "
            f"expected {SINGLE}; if you trust the file, convert it where torch is installed: "
            "AutoModelForSeq2SeqLM.from_pretrained(folder).save_pretrained(new_folder)"
        )
    raise UserError(f"{folder}: no weights, expected {SINGLE} or {INDEX}; check the folder's name")


def _sources(folder: pathlib.Path, kind: str, tensors: dict[str, Tensor], files: Files) -> dict[str, str]:
    """The name under which each tensor is to be read, after a check of all names, shapes and types."""
    copies, unused = FAMILIES[kind].COPIES, FAMILIES[kind].UNUSED
    sources = {name: name if name in files else copies.get(name, name) for name in tensors}
    missing = [name for name, source in sources.items() if source not in files]
    if missing:
        raise UserError(f"{folder}: {_listed(missing)} missing from the weights; expected by config.json")
    extra = [name for name in files if name not in tensors and name not in unused]
    extra = [name for name in extra if name not in copies or not _equal(files, name, copies[name])]
    if extra:
        raise UserError(
            f"{folder}: {_listed(extra)} in the weights, but the model of config.json has no such part"
        )
    for name, source in sources.items():
        info = files[source].get_slice(source)
        shape, dtype = tuple(info.get_shape()), info.get_dtype()
        if shape != tensors[name].hf_shape:
            raise UserError(
                f"{folder}: tensor '{name}' is {shape}, expected {tensors[name].hf_shape} by config.json"
            )
        if dtype not in FLOATS:
            raise UserError(f"{folder}: tensor '{name}' is {dtype}, expected one of {', '.join(FLOATS)}")
    return sources


def _equal(files: Files, name: str, other: str) -> bool:
    return other in files and np.array_equal(files[name].get_tensor(name), files[other].get_tensor(other))


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"tensor {', '.join(map(repr, names[:3]))}{more}"


def _shards(tensors: dict[str, Tensor], limit: int) -> dict[str, list[str]]:
    """File name -> the tensors in it, in order."""
    groups: list[list[str]] = [[]]
    size = 0
    for name, tensor in tensors.items():
        bytes_ = 4 * int(np.prod(tensor.shape))
        if groups[-1] and size + bytes_ > limit:
            groups.append([])
            size = 0
        groups[-1].append(name)
        size += bytes_
    if len(groups) == 1:
        return {SINGLE: groups[0]}
    return {f"model-{i:05}-of-{len(groups):05}.safetensors": group for i, group in enumerate(groups, 1)}


def _slice(ours: dict[str, Any], tensor: Tensor) -> np.ndarray:
    leaf = ours[tensor.path]
    return np.asarray(leaf if tensor.layer is None else leaf[tensor.layer], np.float32)


@contextlib.contextmanager
def _new_folder(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder that appears under its name, with all its files, only when the block ends without an error."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: exists already and is not empty; name a new folder, or remove this one")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = pathlib.Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield temporary
        for path in temporary.iterdir():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
        temporary.chmod(0o755)  # mkdtemp makes it private; a model folder is not a secret
        temporary.replace(folder)  # also onto an empty folder
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
