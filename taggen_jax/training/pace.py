"""How fast each parameter learns: what multiplies the learning rate, by pattern and by age."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from taggen_jax.models.layers import Array
from taggen_jax.training.freeze import Flat, Params, Partition, matching


class Pace(NamedTuple):
    """For every path that trains, one value a layer that does (a single one for an unstacked leaf).

    Attributes:
      rates: the multiplier: the product over all patterns that match.
      since: the step from which it trains.
      warmup: steps over which what thaws later comes up to its rate, as all did at the beginning of the run:
        Adam's first steps from a fresh state are too large.
    """

    rates: Mapping[str, np.ndarray]
    since: Mapping[str, np.ndarray]
    warmup: int

    def scale(self, updates: Flat, step: Array) -> Flat:
        """The optimizer's updates at this pace; `step` counts from 0."""
        return {path: self._scaled(path, update, step) for path, update in updates.items()}

    def _scaled(self, path: str, update: Array, step: Array) -> Array:
        rate_L, since_L = self.rates[path], self.since[path]
        if not since_L.any() and (rate_L == 1.0).all():
            return update
        ramp_L = jnp.where(since_L > 0, jnp.minimum(1.0, (step - since_L + 1) / (self.warmup + 1)), 1.0)
        factor_L = (rate_L * ramp_L).astype(update.dtype)
        return update * (jnp.expand_dims(factor_L, range(1, update.ndim)) if len(rate_L) > 1 else factor_L[0])


def pace(
    shapes: Params,
    axes: Params,
    partition: Partition,
    *,
    rates: Mapping[str, float],
    freeze: Sequence[str],
    unfreeze: Mapping[str, int],
    warmup: int,
) -> Pace:
    """Resolves patterns against a model's parameters.

    Args:
      shapes, axes: see `freeze.partition`.
      partition: what trains now.
      rates: pattern -> multiplier of the learning rate.
      freeze: patterns of what does not train from the beginning.
      unfreeze: pattern -> step from which that trains after all.
      warmup: steps.

    Raises:
      UserError: a pattern that matches nothing.
    """
    fast = matching(shapes, axes, tuple(rates), "train.optimizer.rates")
    cold = matching(shapes, axes, freeze, "train.freeze")
    late = matching(shapes, axes, tuple(unfreeze), "train.unfreeze")

    def rate(path: str, layer: int) -> float:
        return math.prod(rates[pattern] for pattern in fast[path][layer])

    def since(path: str, layer: int) -> int:
        return min((unfreeze[pattern] for pattern in late[path][layer] if cold[path][layer]), default=0)

    def each(value: Callable[[str, int], float]) -> dict[str, np.ndarray]:
        return {
            path: np.array([value(path, layer) for layer, frozen in enumerate(flags) if not frozen])
            for path, flags in partition.frozen.items()
        }

    return Pace(each(rate), each(since), warmup)
