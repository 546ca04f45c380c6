"""Safetensors files: found in a folder, read and written one tensor at a time. Pickles are never opened.

Pages that were read stay resident for as long as their file is mapped: so it is mapped anew for each tensor.
"""

import json
import pathlib
import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import safetensors

from taggen_jax.errors import UserError
from taggen_jax.files import read_json, write_json

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt")
CODES = {np.dtype(np.float32): "F32", np.dtype(ml_dtypes.bfloat16): "BF16"}
Files = dict[str, pathlib.Path]  # tensor name -> the file that holds it


class Spec(NamedTuple):
    """What a tensor will be in a file."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def bytes(self) -> int:
        return int(np.prod(self.shape)) * self.dtype.itemsize


def find(folder: pathlib.Path) -> Files:
    """Every tensor of a folder with model.safetensors or its shards.

    Raises:
      UserError: no weights, pickled ones, or a file that is missing or cut short.
    """
    files: Files = {}
    for path in _weight_files(folder):
        try:
            with safetensors.safe_open(path, framework="np") as file:
                files.update(dict.fromkeys(file.keys(), path))
        except FileNotFoundError as error:
            raise UserError(f"{path}: missing, though {INDEX} names it; copy the folder anew") from error
        except safetensors.SafetensorError as error:
            raise UserError(
                f"{path}: not a whole safetensors file ({error}); copy the folder anew"
            ) from error
    return files


def describe(files: Files, names: list[str]) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and type code ("F32", "BF16", ..) of tensors, without reading their values."""
    described = {}
    for path in dict.fromkeys(files[name] for name in names):
        with safetensors.safe_open(path, framework="np") as file:
            for name in names:
                if files[name] == path:
                    part = file.get_slice(name)
                    described[name] = tuple(part.get_shape()), part.get_dtype()
    return described


def read(files: Files, name: str) -> np.ndarray:
    """The values of one tensor, in the type that the file has."""
    with safetensors.safe_open(files[name], framework="np") as file:
        return file.get_tensor(name)


def write(
    folder: pathlib.Path, specs: Mapping[str, Spec], values: Callable[[str], np.ndarray], shard_bytes: int
) -> None:
    """Writes tensors into one file, or into several of at most `shard_bytes` (or one tensor) and their index.

    Args:
      folder: exists.
      specs: the tensors, in the order in which they are to be asked for.
      values: called once for each name; what it returns is written and let go.
      shard_bytes: size beyond which a new file begins.
    """
    shards = _shards(specs, shard_bytes)
    for file, names in shards.items():
        _write_file(folder / file, {name: specs[name] for name in names}, values)
    if len(shards) > 1:
        where = {name: file for file, names in shards.items() for name in names}
        size = sum(spec.bytes for spec in specs.values())
        write_json(folder / INDEX, {"metadata": {"total_size": size}, "weight_map": where})


def _write_file(path: pathlib.Path, specs: Mapping[str, Spec], values: Callable[[str], np.ndarray]) -> None:
    """The library writes only what is all in memory at once; the format is a header and the bytes."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, spec in specs.items():
        begin, end = end, end + spec.bytes
        header[name] = {"dtype": CODES[spec.dtype], "shape": spec.shape, "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in specs:
            file.write(values(name).reshape(-1).view(np.uint8).data)


def _shards(specs: Mapping[str, Spec], limit: int) -> dict[str, list[str]]:
    """File name -> the tensors in it, in order."""
    groups: list[list[str]] = [[]]
    size = 0
    for name, spec in specs.items():
        if groups[-1] and size + spec.bytes > limit:
            groups.append([])
            size = 0
        groups[-1].append(name)
        size += spec.bytes
    if len(groups) == 1:
        return {SINGLE: groups[0]}
    return {f"model-{i:05}-of-{len(groups):05}.safetensors": group for i, group in enumerate(groups, 1)}


def _weight_files(folder: pathlib.Path) -> list[pathlib.Path]:
    if (folder / SINGLE).exists():
        return [folder / SINGLE]
    if (folder / INDEX).exists():
        index = read_json(folder / INDEX, "the list of weight files")
        if not isinstance(index, dict) or not isinstance(index.get("weight_map"), dict):
            raise UserError(f"{folder / INDEX}: no mapping 'weight_map' in it; copy the folder anew")
        return [folder / str(name) for name in sorted(set(index["weight_map"].values()))]
    pickled = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    if pickled:
        raise UserError(
            f"{folder}: the weights are pickled ({pickled[0]}), and opening a pickle runs code from it; "
            f"expected {SINGLE}; if you trust the file, convert it where torch is installed: "
            "AutoModelForSeq2SeqLM.from_pretrained(folder).save_pretrained(new_folder)"
        )
    raise UserError(f"{folder}: no weights, expected {SINGLE} or {INDEX}; check the folder's name")
