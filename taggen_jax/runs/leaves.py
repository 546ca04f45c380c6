"""How Orbax writes and reads parameters that are never whole in memory: layer by layer.

Every checkpoint is cut into one chunk a layer, so that whoever reads one layer need not decode all of them.
"""

import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore as ts
from orbax.checkpoint import type_handlers

from taggen_jax.interop.leaf import Leaf


class LeafHandler(type_handlers.NumpyHandler):
    """Orbax's handler of numpy arrays, except that a `Leaf` is copied part by part."""

    def __init__(self) -> None:
        super().__init__(deepcopy_host_arrays=False)

    async def _open_and_write(self, value: Leaf, tspec: dict[str, Any], ts_context: ts.Context) -> None:
        store = await ts.open(ts.Spec(tspec), create=True, open=True, context=ts_context)
        for part in value.parts:
            store[part].write(value[part]).result()  # no await: one part of one leaf at a time, in all

    async def deserialize(
        self, infos: Sequence[type_handlers.ParamInfo], args: Sequence[ocp.RestoreArgs] | None = None
    ) -> Sequence[Leaf]:
        """Opens the arrays and reads none."""
        return [await _open(info) for info in infos]


async def _open(info: type_handlers.ParamInfo) -> Leaf:
    spec = type_handlers.get_json_tspec_read(info, use_ocdbt=bool(info.is_ocdbt_checkpoint))
    store = await ts.open(ts.Spec(spec), open=True, context=info.ts_context)
    chunk = store.chunk_layout.read_chunk.shape or ()
    stacked = tuple(chunk[:1]) != tuple(store.shape[:1])
    return Leaf(
        tuple(store.shape), store.dtype.numpy_dtype, stacked, lambda index: store[index].read().result()
    )


def chunks(leaf: Any) -> ocp.SaveArgs:
    """One chunk a layer: for a `Leaf` that says so, and for arrays that are matrices or more a layer."""
    stacked = leaf.stacked if isinstance(leaf, Leaf) else leaf.ndim > 2
    return ocp.SaveArgs(shard_axes=(0,) if stacked else ())


def opening(tree: Any) -> ocp.args.PyTreeRestore:
    """What restores each array in `tree`, and no other, as a `Leaf`."""
    args = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=Leaf), tree)
    return ocp.args.PyTreeRestore(tree, restore_args=args, partial_restore=True)


_STANDARD = [(kind, type_handlers.get_type_handler(kind)) for kind in (int, float, np.ndarray, jax.Array)]
REGISTRY = type_handlers.create_type_handler_registry(*_STANDARD, (Leaf, LeafHandler()))


def write_params(folder: pathlib.Path, params: Any, metadata: dict[str, Any]) -> None:
    """A checkpoint of nothing but parameters, for whoever uses Orbax; `metadata` travels inside it."""
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(type_handler_registry=REGISTRY)) as checkpointer:
        args = ocp.args.PyTreeSave(params, save_args=jax.tree.map(chunks, params))
        checkpointer.save(folder.absolute(), args=args, custom_metadata=metadata)


def read_param(folder: pathlib.Path, path: str, leaf: Leaf) -> np.ndarray:
    """One array of such a checkpoint, as plain Orbax reads it, without anything of ours."""
    tree: Any = ocp.RestoreArgs(restore_type=np.ndarray)
    item: Any = jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
    for key in reversed(path.split("/")):
        tree, item = {key: tree}, {key: item}
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        args = ocp.args.PyTreeRestore(item, restore_args=tree, partial_restore=True)
        restored = checkpointer.restore(folder.absolute(), args=args)
    (value,) = jax.tree.leaves(restored)
    return value
