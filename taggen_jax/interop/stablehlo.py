"""The whole generator as one artifact, which runs without this package: StableHLO and arrays.

FOLDER/program.bin      encoder and search, serialised by `jax.export`: for CPU, CUDA and TPU, for any batch
       arguments.npz    weights and whatever else the search reads, in the order of the program's arguments;
                        bfloat16 as two bytes without a name, see `run`
       about.json       what one has to know to feed it
"""

import pathlib
import shutil
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from taggen_jax.errors import UserError
from taggen_jax.files import no_space_named, write_json

PLATFORMS = ("cpu", "cuda", "tpu")


def save(
    folder: pathlib.Path,
    generate: Callable[..., Any],
    arguments: tuple[Any, ...],
    source_length: int,
    about: Mapping[str, Any],
) -> None:
    """Writes the folder.

    Args:
      folder: must be absent or empty.
      generate: (arguments[0], source_BS, *arguments[1:]) -> a NamedTuple of arrays; may be jitted, may not
        ask for a mesh.
      arguments: pytrees of arrays, the parameters first.
      source_length: S.
      about: what to tell the reader, such as the padding id; JSON.

    Raises:
      UserError: the folder is taken.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder}: not empty; export to a new folder")
    named, tree = jax.tree_util.tree_flatten_with_path(arguments)
    leaves = [jax.device_get(leaf) for _, leaf in named]
    program = _program(generate, tree, leaves, source_length)
    temporary = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    with no_space_named(folder):
        (temporary / "program.bin").write_bytes(program)
        names = (jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in named)
        np.savez(temporary / "arguments.npz", **dict(zip(names, leaves, strict=True)))
        write_json(
            temporary / "about.json", {"source_length": source_length, "platforms": PLATFORMS, **about}
        )
    temporary.replace(folder)


def _program(generate: Callable[..., Any], tree: Any, leaves: list[np.ndarray], source_length: int) -> bytes:
    """Arrays go in as a list and come out as a dict: nothing that a reader would have to know a type for."""

    @jax.jit
    def flat(leaves: list[jax.Array], source_BS: jax.Array) -> dict[str, jax.Array]:
        first, *rest = jax.tree_util.tree_unflatten(tree, leaves)
        return dict(generate(first, source_BS, *rest)._asdict())

    shapes = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]
    source = jax.ShapeDtypeStruct((*export.symbolic_shape("batch"), source_length), jnp.int32)
    return bytes(export.export(flat, platforms=PLATFORMS)(shapes, source).serialize())


def run(folder: pathlib.Path, source_BS: np.ndarray) -> dict[str, np.ndarray]:
    """What the program in the folder makes of a batch, from its files alone."""
    program = export.deserialize(bytearray((folder / "program.bin").read_bytes()))
    with np.load(folder / "arguments.npz", allow_pickle=False) as file:
        leaves = [x.view(aval.dtype) for x, aval in zip(file.values(), program.in_avals, strict=False)]
    return dict(jax.device_get(jax.jit(program.call)(leaves, source_BS)))
