"""GPUs as XLA's compiler wants them described where there is none: its `GpuTargetConfigProto`, as text.

What a kind of GPU can do is the maker's own word (NVIDIA, "A100 Tensor Core GPU Architecture", 2020, and
"H100 Tensor Core GPU Architecture", 2022; SXM modules of 80 GB); the names of the fields are those of XLA's
`stream_executor/device_description.proto`.
"""

from typing import NamedTuple


class Gpu(NamedTuple):
    """One kind."""

    name: str
    capability: int  # the major number of its CUDA compute capability
    features: str  # whether code may use what only this generation has
    multiprocessors: int
    float_units: int  # of a multiprocessor
    shared_memory: int  # bytes of a multiprocessor
    shared_memory_of_block: int  # bytes that one block of threads may ask for
    cache: int  # bytes, of the second level
    clock: float  # GHz
    memory: int  # bytes
    bandwidth: int  # bytes/s


GPUS = {
    "a100": Gpu(
        name="NVIDIA A100-SXM4-80GB",
        capability=8,
        features="NONE",
        multiprocessors=108,
        float_units=64,
        shared_memory=167_936,
        shared_memory_of_block=166_912,
        cache=41_943_040,
        clock=1.41,
        memory=85_100_068_864,
        bandwidth=2_039_040_000_000,
    ),
    "h100": Gpu(
        name="NVIDIA H100 80GB HBM3",
        capability=9,
        features="ACCELERATED_FEATURES",
        multiprocessors=132,
        float_units=128,
        shared_memory=233_472,
        shared_memory_of_block=232_448,
        cache=52_428_800,
        clock=1.98,
        memory=84_942_979_072,
        bandwidth=3_352_320_000_000,
    ),
}


def target_config(gpu: Gpu) -> str:
    """What XLA compiles for. All kinds share the limits that CUDA sets."""
    return f"""
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  threads_per_core_limit: 2048
  thread_dim_limit_x: 1024
  thread_dim_limit_y: 1024
  thread_dim_limit_z: 64
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: {gpu.shared_memory_of_block}
  shared_memory_per_core: {gpu.shared_memory}
  core_count: {gpu.multiprocessors}
  fpus_per_core: {gpu.float_units}
  l2_cache_size: {gpu.cache}
  clock_rate_ghz: {gpu.clock}
  memory_bandwidth: {gpu.bandwidth}
  device_memory_size: {gpu.memory}
  cuda_compute_capability {{ major: {gpu.capability} feature_extension: {gpu.features} }}
  dnn_version: "9.10.0"
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 }}
device_description_str: "{gpu.name}"
"""
