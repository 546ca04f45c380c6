"""The device mesh, and the one table that sends the logical axes of weights to it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from taggen_jax.errors import UserError
from taggen_jax.models.layers import BATCH_AXES

AXIS_TO_MESH = {"embed": "fsdp", "mlp": "tensor", "heads": "tensor", "vocab": "tensor"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeshConfig:
    """Devices along each mesh axis; one of them may be -1: all that are left.

    Attributes:
      data: copies of the model, each with its share of the batch.
      fsdp: weights cut along their model axis and gathered when used; the batch is cut along it, too.
      tensor: heads, MLP and vocabulary cut, each device computing its part.
    """

    data: int = -1
    fsdp: int = 1
    tensor: int = 1

    def __post_init__(self) -> None:
        sizes = (self.data, self.fsdp, self.tensor)
        if sizes.count(-1) > 1 or any(size < 1 and size != -1 for size in sizes):
            raise ValueError(
                f"data, fsdp, tensor = {sizes}: at least 1 each, and at most one -1 (all that are left)"
            )


def make_mesh(config: MeshConfig, devices: list[Any] | None = None) -> Mesh:
    """A ("data", "fsdp", "tensor") mesh over all devices.

    Raises:
      UserError: when the sizes do not multiply to the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    sizes = [config.data, config.fsdp, config.tensor]
    known = -int(np.prod(sizes)) if -1 in sizes else int(np.prod(sizes))
    if len(devices) % known or (-1 not in sizes and known != len(devices)):
        raise UserError(
            f"mesh: data={config.data} x fsdp={config.fsdp} x tensor={config.tensor} does not fit "
            f"{len(devices)} device(s); set one axis to -1, or make the product equal to their number"
        )
    sizes = [len(devices) // known if size == -1 else size for size in sizes]
    # Auto: the compiler propagates shardings from the arguments. Under Explicit axes the models would have to
    # state the sharding of every einsum's result.
    return jax.make_mesh(sizes, ("data", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3, devices=devices)


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


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def put_batch(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """This process's rows [B / processes, ..] of each array, as global arrays [B, ..] cut along the batch."""
    sharding = NamedSharding(mesh, PartitionSpec(BATCH_AXES))
    return {name: jax.make_array_from_process_local_data(sharding, rows) for name, rows in batch.items()}


def check_batch(rows: int, mesh: Mesh, what: str) -> None:
    """Raises a UserError when `rows` cannot be dealt out evenly to the devices that share a batch."""
    parts = mesh.shape["data"] * mesh.shape["fsdp"]
    if rows % parts:
        raise UserError(f"{what}={rows} must be a multiple of the {parts} devices along data x fsdp")
