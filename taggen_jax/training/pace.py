"""How fast each parameter learns: what multiplies the learning rate, by pattern and by age."""

from collections.abc import Mapping
from typing import Any, NamedTuple

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
    unfreeze: Mapping[str, int],
    warmup: int,
) -> Pace:
    """Resolves patterns against a model's parameters.

    Args:
      shapes, axes: see `freeze.partition`.
      partition: what trains now.
      rates: pattern -> multiplier of the learning rate.
      unfreeze: pattern -> step from which it trains.
      warmup: steps.

    Raises:
      UserError: a pattern that matches nothing.
    """
    fast = matching(shapes, axes, tuple(rates), "train.optimizer.rates")
    late = matching(shapes, axes, tuple(unfreeze), "train.unfreeze")

    def training(path: str, values: list[Any]) -> np.ndarray:
        return np.array(
            [value for value, frozen in zip(values, partition.frozen[path], strict=True) if not frozen]
        )

    return Pace(
        {path: training(path, [np.prod([rates[p] for p in hits]) for hits in fast[path]]) for path in fast},
        {
            path: training(path, [min((unfreeze[p] for p in hits), default=0) for hits in late[path]])
            for path in late
        },
        warmup,
    )
