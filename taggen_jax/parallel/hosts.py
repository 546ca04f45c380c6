"""Several processes that are one run: how they find each other, who writes, and what they agree on.

Every process makes the same calls in the same order; with one process all of this costs nothing.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from taggen_jax.errors import UserError
from taggen_jax.models.layers import BATCH_AXES


def join(coordinator: str, processes: int, process: int, lost_after: int) -> None:
    """Makes this process one of a run's, before anything has asked jax for a device.

    A process that is lost ends the others within about `lost_after` seconds (by SIGABRT, status 134): nothing
    can go on without its devices, and whatever launched them starts all of them again.

    Args:
      coordinator: "HOST:PORT" at which process 0 listens; "" finds it, and the two numbers, in what the
        cluster says of itself (Cloud TPU, GKE, SLURM, Open MPI).
      processes, process: how many there are, and which this one is, from 0; 0 and -1 leave it to the cluster.
      lost_after: seconds without a sign of life after which a process counts as lost.

    Raises:
      UserError: the cluster says nothing of itself, or the processes did not find each other.
    """
    # jax's own notice of preemption would take SIGTERM away from `signals.Stop`.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            coordinator or None,
            processes or None,
            process if process >= 0 else None,
            heartbeat_timeout_seconds=lost_after,
            shutdown_timeout_seconds=lost_after,  # one that fails alone ends the others as one that is lost
        )
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"--distributed: {error}; where no cluster says it, give --coordinator=HOST:PORT --processes=N "
            "--process=0..N-1, the same coordinator to all of them"
        ) from error


def first() -> bool:
    """Whether this process is the one that writes and prints."""
    return jax.process_index() == 0


def wait(what: str) -> None:
    """Returns when all processes have come to this place, whose name is `what`."""
    multihost_utils.sync_global_devices(what)


def any_of(flag: bool) -> bool:
    """Whether the flag is set in any process: the same answer in all of them, after all have asked."""
    return bool(np.any(multihost_utils.process_allgather(np.array(flag))))


def whole(tree: Any) -> Any:
    """Arrays as numpy arrays with every device's part, in every process."""
    if jax.process_count() == 1:
        return jax.device_get(tree)
    return multihost_utils.process_allgather(tree, tiled=True)


class Agreement:
    """Turns a flag that some process may set at any time into one that all see set after the same step.

    The flags are or-ed on the devices and read one call late, so that nobody waits for a step to end.
    """

    def __init__(self) -> None:
        mesh = Mesh(np.array(jax.devices()), ("all",))
        self._flags = NamedSharding(mesh, PartitionSpec("all"))
        self._any = jax.jit(jnp.any, out_shardings=NamedSharding(mesh, PartitionSpec()))
        self._before: jax.Array | None = None

    def __call__(self, flag: bool) -> bool:
        """Whether any process's flag was set at the call before this one; with one process: at this one."""
        if jax.process_count() == 1:
            return flag
        flags = jax.make_array_from_callback(
            (jax.device_count(),), self._flags, lambda index: np.array([flag])
        )
        before, self._before = self._before, self._any(flags)
        self._before.copy_to_host_async()
        return before is not None and bool(before)


def share(mesh: Mesh) -> tuple[int, int]:
    """(part, parts): which part of every batch this process's devices hold, of how many different ones.

    Processes that cut a model between them, and not the batch, hold the same part. Parts are counted by the
    place of their first row.

    Raises:
      UserError: two processes would hold parts that overlap without being the same.
    """
    blocks = mesh.shape[BATCH_AXES[0]] * mesh.shape[BATCH_AXES[1]]
    held: dict[int, set[int]] = {}
    placed: dict[Any, Any] = dict(
        NamedSharding(mesh, PartitionSpec(BATCH_AXES)).devices_indices_map((blocks,))
    )
    for device, (rows,) in placed.items():
        held.setdefault(device.process_index, set()).update(range(*rows.indices(blocks)))
    parts = sorted({tuple(sorted(rows)) for rows in held.values()})
    if len(parts) * len(parts[0]) != blocks or sum(map(len, parts)) != blocks:
        raise UserError(
            f"mesh: {dict(mesh.shape)} deals rows of a batch to {len(held)} processes in parts that overlap "
            "or differ in size; make tensor x sequence a multiple of the devices of a process, or a divisor"
        )
    return parts.index(tuple(sorted(held[jax.process_index()]))), len(parts)
