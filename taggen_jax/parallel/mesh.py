"""The device mesh, and the one table that sends the logical axes of weights to it."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

import jax
import numpy as np
from flax import traverse_util
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from taggen_jax.errors import UserError
from taggen_jax.models.layers import BATCH_AXES

AXES = ("data", "fsdp", "sequence", "tensor")  # neighbours on the last talk most
AXIS_TO_MESH = {"embed": "fsdp", "mlp": "tensor", "heads": "tensor", "vocab": "tensor"}
WHOLE = 0.02  # of the parameters' bytes may stay on every device where the mesh is there to cut them


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeshConfig:
    """How many devices lie along each axis of the mesh; -1, for one of them: all that are left.

    Attributes:
      preset: what the axes are that are 0 here. "dp": every device has the whole model and its share of the
        batch. "fsdp": weights and optimizer are dealt out over all devices. "fsdp_tp": also cut within
        layers, over TENSOR neighbours. "multislice": fsdp inside each slice of a pod, copies across slices,
        so that only gradients travel between them.
      data: copies of the model, each with its share of the batch.
      fsdp: weights cut along their model axis and gathered when used; the batch is cut along it, too.
      sequence: activations cut along the tokens of a product, for inputs of which one fills a device.
      tensor: heads, MLP and vocabulary cut, each device computing its part.
    """

    preset: Literal["dp", "fsdp", "fsdp_tp", "multislice"] = "dp"
    data: int = 0
    fsdp: int = 0
    sequence: int = 0
    tensor: int = 0

    def __post_init__(self) -> None:
        sizes = (self.data, self.fsdp, self.sequence, self.tensor)
        if sizes.count(-1) > 1 or min(sizes) < -1:
            raise ValueError(
                f"{', '.join(AXES)} = {sizes}: 0 (as the preset has it) or at least 1 each, and at most one "
                "-1 (all that are left)"
            )


TENSOR = 4  # of "fsdp_tp": few, because they wait for each other twice a layer


def axis_sizes(config: MeshConfig, devices: int, slices: int = 1) -> dict[str, int]:
    """Mesh axis -> devices along it.

    Raises:
      UserError: when the sizes do not multiply to the number of devices.
    """
    presets = {
        "dp": {"data": -1},
        "fsdp": {"fsdp": -1},
        "fsdp_tp": {"fsdp": -1, "tensor": TENSOR},
        "multislice": {"data": slices, "fsdp": -1},
    }
    given = {axis: size for axis in AXES if (size := getattr(config, axis))}
    preset = presets[config.preset]
    if -1 in given.values():  # it takes what the preset would have given to another axis
        preset = {axis: size for axis, size in preset.items() if size != -1}
    sizes = dict.fromkeys(AXES, 1) | preset | given
    known = abs(math.prod(sizes.values()))
    if devices % known or (-1 not in sizes.values() and known != devices):
        raise UserError(
            f"mesh: {' x '.join(f'{axis}={size}' for axis, size in sizes.items())} does not fit "
            f"{devices} device(s); set one axis to -1, or make the product equal to their number"
        )
    return {axis: devices // known if size == -1 else size for axis, size in sizes.items()}


def make_mesh(config: MeshConfig, devices: list[Any] | None = None) -> Mesh:
    """A mesh of AXES over all devices. Several slices lie along "data": the network between them is slow.

    Raises:
      UserError: when the sizes do not multiply to the number of devices, or would tear slices apart.
    """
    devices = jax.devices() if devices is None else devices
    slices = len({getattr(device, "slice_index", 0) for device in devices})
    sizes = axis_sizes(config, len(devices), slices)
    if sizes["data"] % slices:
        raise UserError(
            f"mesh: data={sizes['data']} must be a multiple of the {slices} slices, between which only "
            "gradients should travel; set mesh.preset='multislice'"
        )
    within = (sizes["data"] // slices, *(sizes[axis] for axis in AXES[1:]))
    if slices > 1:
        across = (slices,) + (1,) * len(AXES[1:])
        grid = mesh_utils.create_hybrid_device_mesh(within, across, devices, allow_split_physical_axes=True)
    else:
        grid = mesh_utils.create_device_mesh(within, devices, allow_split_physical_axes=True)
    # Auto: the compiler propagates shardings from the arguments. Under Explicit axes the models would have to
    # state the sharding of every einsum's result.
    return Mesh(grid, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def param_shardings(shapes: Any, axes: Any, mesh: Mesh, table: Mapping[str, str] | None = None) -> Any:
    """A `NamedSharding` per parameter from its logical axes; an axis the mesh does not divide stays whole."""
    table = AXIS_TO_MESH if table is None else table

    def sharding(shape: Any, names: tuple[str, ...]) -> NamedSharding:
        targets = [table.get(name) for name in names]
        fits = [
            target and size % mesh.shape[target] == 0
            for target, size in zip(targets, shape.shape, strict=True)
        ]
        return NamedSharding(
            mesh, PartitionSpec(*(t if ok else None for t, ok in zip(targets, fits, strict=True)))
        )

    return jax.tree.map(sharding, shapes, axes)


def check_cut(shapes: Any, axes: Any, mesh: Mesh) -> None:
    """Raises a UserError when more than WHOLE of the bytes stay uncut along the axis that should cut them:
    "fsdp" where the mesh has it, else "tensor"."""
    wanted = "fsdp" if mesh.shape["fsdp"] > 1 else "tensor"
    size = mesh.shape[wanted]
    if size == 1:
        return
    leaves = traverse_util.flatten_dict(shapes, sep="/")
    bytes_of = {path: leaf.size * leaf.dtype.itemsize for path, leaf in leaves.items()}
    specs = traverse_util.flatten_dict(param_shardings(shapes, axes, mesh), sep="/")
    whole = sorted((path for path in leaves if wanted not in specs[path].spec), key=lambda x: -bytes_of[x])
    share = sum(bytes_of[path] for path in whole) / sum(bytes_of.values())
    if share > WHOLE:
        largest = ", ".join(
            f"{path} {list(leaves[path].shape)} ({bytes_of[path] / 2**20:,.1f} MiB)" for path in whole[:3]
        )
        raise UserError(
            f"mesh: {share:.0%} of the parameter bytes would stay whole on each of {wanted}={size} devices, "
            f"the largest being {largest}; choose a mesh.{wanted} that divides one of their sizes"
        )


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def put_batch(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Arrays [B, ..] that every process has whole, as global arrays cut along the batch."""
    sharding = NamedSharding(mesh, PartitionSpec(BATCH_AXES))
    return {
        name: jax.make_array_from_process_local_data(sharding, rows, rows.shape)
        for name, rows in batch.items()
    }


def put_share(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """This process's part [B / parts, ..] of each array, see `hosts.share`, as global arrays [B, ..]."""
    sharding = NamedSharding(mesh, PartitionSpec(BATCH_AXES))
    return {name: jax.make_array_from_process_local_data(sharding, rows) for name, rows in batch.items()}


def check_batch(rows: int, mesh: Mesh, what: str) -> None:
    """Raises a UserError when `rows` cannot be dealt out evenly to the devices that share a batch."""
    parts = mesh.shape["data"] * mesh.shape["fsdp"]
    if rows % parts:
        raise UserError(f"{what}={rows} must be a multiple of the {parts} devices along data x fsdp")
