"""The optimizer and its schedule, straight from optax."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import jax
import optax

PEAK_FREE = ("norm", "scale", "position", "bias")  # last path parts that weight decay leaves alone


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """What to minimise with.

    Attributes:
      learning_rate: the peak, after warm-up.
      schedule: how it goes on after `warmup_steps` of linear warm-up: to `final_fraction` of the peak by the
        last step ("cosine", "linear"), not at all ("constant"), or as 1/sqrt(step) ("rsqrt").
      momentum_dtype: of what AdamW and SGD keep of past gradients. AdamW's second moment stays float32: in
        bfloat16 it would stand still, because a step changes it by less than a rounding.
      momentum: of SGD; b1, b2 and epsilon are AdamW's.
      weight_decay: decoupled; matrices only, not norms, position tables or biases.
      clip_norm: the gradient's largest global norm; 0 does not clip.
      rates: pattern (see `freeze`) -> what multiplies the learning rate there; where several match, all do.
    """

    name: Literal["adamw", "adafactor", "sgd"] = "adamw"
    learning_rate: float = 1e-3
    schedule: Literal["cosine", "linear", "constant", "rsqrt"] = "cosine"
    warmup_steps: int = 100
    final_fraction: float = 0.0
    b1: float = 0.9
    b2: float = 0.999
    epsilon: float = 1e-8
    momentum: float = 0.9
    momentum_dtype: Literal["float32", "bfloat16"] = "float32"
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    rates: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate={self.learning_rate} must be above 0")
        if self.warmup_steps < 0:
            raise ValueError(f"warmup_steps={self.warmup_steps} must not be negative")


def schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """Learning rate by step, over a run of `steps` steps."""
    peak, last = config.learning_rate, config.learning_rate * config.final_fraction
    rest = max(1, steps - config.warmup_steps)
    after: dict[str, optax.Schedule] = {
        "cosine": optax.cosine_decay_schedule(peak, rest, alpha=config.final_fraction),
        "linear": optax.linear_schedule(peak, last, rest),
        "constant": optax.constant_schedule(peak),
        "rsqrt": lambda step: peak * (1.0 + step / max(1, config.warmup_steps)) ** -0.5,
    }
    # Step 0 already moves: a first learning rate of zero would waste a step.
    warmup = optax.linear_schedule(peak / (config.warmup_steps + 1), peak, config.warmup_steps)
    return optax.join_schedules([warmup, after[config.schedule]], [config.warmup_steps])


def optimizer(config: OptimizerConfig, learning_rate: optax.Schedule) -> optax.GradientTransformation:
    """The optax transformation, for a flat dict of the parameters that train."""
    named: dict[str, Any] = {
        "adamw": lambda: optax.adamw(
            learning_rate,
            b1=config.b1,
            b2=config.b2,
            eps=config.epsilon,
            weight_decay=config.weight_decay,
            mask=decayed,
            mu_dtype=config.momentum_dtype,
        ),
        "adafactor": lambda: optax.adafactor(
            learning_rate, weight_decay_rate=config.weight_decay or None, weight_decay_mask=decayed
        ),
        "sgd": lambda: optax.chain(
            optax.add_decayed_weights(config.weight_decay, mask=decayed),
            optax.sgd(learning_rate, momentum=config.momentum, accumulator_dtype=config.momentum_dtype),
        ),
    }
    clip = optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity()
    return optax.chain(clip, named[config.name]())


def decayed(params: dict[str, jax.Array]) -> dict[str, bool]:
    """Which leaves weight decay applies to, by the last part of their path."""
    return {path: not path.endswith(PEAK_FREE) for path in params}
