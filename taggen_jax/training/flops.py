"""What a step has to compute, by the formula: the traced program's count, nothing computed twice."""

import dataclasses
from typing import Any

from taggen_jax.costs.traced import traced_flops
from taggen_jax.models.family import Bundle
from taggen_jax.training.freeze import Partition
from taggen_jax.training.state import abstract_state
from taggen_jax.training.step import TrainConfig, Training


def model_flops(bundle: Bundle, partition: Partition, config: TrainConfig, batch: Any) -> float:
    """Of one step over all devices.

    Args:
      bundle: one that computes nothing twice (`compute.remat` "none").
      batch: arrays or shapes of the global batch.
    """
    once = dataclasses.replace(config, loss_positions=0, accumulation=1)
    training = Training(bundle, partition, once)
    return traced_flops(training.step, abstract_state(training), batch)
