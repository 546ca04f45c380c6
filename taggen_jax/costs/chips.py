"""What the chips of a pod can do, and a described pod of them: nothing here needs one.

Figures are the maker's own (Google Cloud's pages "TPU v4" .. "TPU7x", 2025; for GPUs see `gpus`), per chip:
bfloat16 FLOP/s, bytes of memory, bytes/s of memory, and bytes/s out of the chip over all of its links to
neighbours, which for GPUs is NVLink.
"""

import importlib.util
import math
import os
import re
from typing import Any, NamedTuple

import jax
from jax.experimental import topologies

from taggen_jax.costs.gpus import GPUS, target_config
from taggen_jax.errors import UserError


class Chip(NamedTuple):
    """Of one device as JAX sees it."""

    flops: float
    memory: float
    bandwidth: float
    links: float


GIB = 2**30
CHIPS = {
    "v4": Chip(275e12, 32 * GIB, 1228e9, 300e9),
    "v5e": Chip(197e12, 16 * GIB, 819e9, 200e9),
    "v5p": Chip(459e12, 95 * GIB, 2765e9, 600e9),
    "v6e": Chip(918e12, 32 * GIB, 1640e9, 448e9),
    "tpu7x": Chip(2307e12, 192 * GIB, 7380e9, 1200e9),
    "a100": Chip(312e12, GPUS["a100"].memory, GPUS["a100"].bandwidth, 300e9),
    "h100": Chip(989e12, GPUS["h100"].memory, GPUS["h100"].bandwidth, 450e9),
}
PEAKS = {  # bfloat16 FLOP/s of a device, by what JAX calls its kind; NVIDIA's data sheets, without sparsity
    "TPU v4": CHIPS["v4"].flops,
    "TPU v5 lite": CHIPS["v5e"].flops,
    "TPU v5": CHIPS["v5p"].flops,
    "TPU v5p": CHIPS["v5p"].flops,
    "TPU v6 lite": CHIPS["v6e"].flops,
    "TPU7x": CHIPS["tpu7x"].flops / 2,  # a chip is two devices
    "NVIDIA A100-SXM4-40GB": 312e12,
    "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA H100 80GB HBM3": 989e12,
}
TWO_CORES_IN_ONE = {"v4": "megacore"}  # chips whose cores can act as one device, and do so by default
QUIET = {  # libtpu then asks nobody what machine this is, and may be loaded beside another program's
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-16",
    "TPU_LOG_DIR": "disabled",
    "TPU_MIN_LOG_LEVEL": "3",
    "TPU_STDERR_LOG_LEVEL": "3",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


class Pod(NamedTuple):
    """Described devices, all of them alike."""

    devices: list[Any]
    chip: Chip


def describe(topology: str, slices: int = 1) -> Pod:
    """The devices of `slices` slices such as "v5p:4x4x4", to compile for. JAX itself stays on the CPU.

    A slice of GPUs, "h100:2x8", is hosts x GPUs of a host, which one network connects.

    Raises:
      UserError: the compiler is missing, or knows no such topology.
    """
    kind, _, shape = topology.partition(":")
    if kind not in CHIPS or not re.fullmatch(r"\d+(x\d+){1,2}", shape):
        raise UserError(
            f"--topology={topology}: expected KIND:SHAPE such as v5e:4x4, v5p:4x4x4 or h100:2x8; kinds are "
            f"{', '.join(CHIPS)}"
        )
    jax.config.update("jax_platforms", "cpu")
    devices = _gpus(kind, shape, slices) if kind in GPUS else _tpus(topology, slices)
    chips = slices * math.prod(int(n) for n in shape.split("x"))
    share = chips / len(devices)  # a chip of two cores can be two devices
    return Pod(devices, Chip(*(share * figure for figure in CHIPS[kind])))


def _tpus(topology: str, slices: int) -> list[Any]:
    if importlib.util.find_spec("libtpu") is None:
        raise UserError(
            "taggen plan compiles with libtpu, which is not installed: pip install 'taggen-jax[plan]'"
        )
    os.environ.update({name: value for name, value in QUIET.items() if name not in os.environ})
    options: dict[str, Any] = {"num_slices": slices} if slices > 1 else {}
    kind = topology.partition(":")[0]
    if kind in TWO_CORES_IN_ONE:
        options["chip_config_name"] = TWO_CORES_IN_ONE[kind]
    try:
        return list(topologies.get_topology_desc(platform="tpu", topology_name=topology, **options).devices)
    except jax.errors.JaxRuntimeError as error:
        raise UserError(f"--topology={topology}: libtpu says {str(error).splitlines()[0]}") from error


def _gpus(kind: str, shape: str, slices: int) -> list[Any]:
    if importlib.util.find_spec("jax_cuda12_plugin") is None:
        raise UserError(
            "taggen plan compiles for GPUs with XLA's CUDA compiler, which is not installed: "
            "pip install 'taggen-jax[plan-gpu]'"
        )
    if shape.count("x") != 1:
        raise UserError(f"--topology={kind}:{shape}: expected HOSTSxGPUS, such as {kind}:2x8")
    described = topologies.get_topology_desc(
        platform="cuda", topology=f"{slices}x{shape}", target_config=target_config(GPUS[kind])
    )
    return list(described.devices)
