"""One training step, one evaluation step: pure functions from state and batch to state and sums."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from taggen_jax.models.family import Bundle
from taggen_jax.models.layers import keys
from taggen_jax.training import optimizer as optimizers
from taggen_jax.training.freeze import Flat, Partition
from taggen_jax.training.lora import LoraConfig
from taggen_jax.training.loss import Sums, cross_entropy_in_chunks, tag_cross_entropy
from taggen_jax.training.optimizer import OptimizerConfig
from taggen_jax.training.pace import pace

State = dict[str, Any]
Batch = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A run.

    Attributes:
      steps: optimizer steps in all.
      accumulation: micro-batches per step; the gradients are summed, then divided once.
      label_smoothing, z_loss: see `loss.cross_entropy`.
      loss_positions: how many tokens of each target have their logits in memory at a time; 0: all.
      tag_loss: above 0, a head learns to score all tags at once (`models.tag_head`), and its loss counts so
        much beside the decoder's: a product's binary cross-entropy over all tags as the loss of one token.
      freeze: patterns of what does not train; see `freeze`.
      unfreeze: pattern -> the step from which what it matches trains after all; see `thaw`.
      lora: adapters, which train instead of what they stand beside; see `lora`.
      cache_encoder: whether an encoder of which nothing trains runs once over the training products, instead
        of in every step. Its outputs are kept in the workdir; until something of it thaws it has no dropout,
        whatever the model says.
      pretrained: Hugging Face folder whose weights the run starts from; "" starts from random ones.
      seed: of initialisation and dropout.
      non_finite: what a step whose loss or gradient is NaN or infinite does: "stop" ends the run with an
        error (nothing of it is saved), "skip" leaves the state as it was, and is counted; "roll_back" goes
        back to the newest checkpoint, and from there past the data that were seen since.
      spike: a loss of more than so many times the median of the last 50 ends or rolls back the run like one
        that is no number; 0: none does.
      rollbacks: how many at most, before the run ends with the error after all.
      eval_every, save_every: steps between evaluations on validation (with a checkpoint), and between
        checkpoints; 0 means only at the end.
      eval_products: validation products to tag and score in an evaluation, besides the loss over all of them.
    """

    steps: int = 1000
    accumulation: int = 1
    label_smoothing: float = 0.0
    z_loss: float = 0.0
    loss_positions: int = 0
    tag_loss: float = 0.0
    freeze: tuple[str, ...] = ()
    unfreeze: Mapping[str, int] = dataclasses.field(default_factory=dict)
    lora: LoraConfig = dataclasses.field(default_factory=LoraConfig)
    cache_encoder: bool = False
    pretrained: str = ""
    seed: int = 0
    non_finite: Literal["stop", "skip", "roll_back"] = "stop"
    spike: float = 0.0
    rollbacks: int = 3
    eval_every: int = 0
    eval_products: int = 0
    save_every: int = 0
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)

    def __post_init__(self) -> None:
        if self.steps < 1 or self.accumulation < 1:
            raise ValueError(f"steps={self.steps} and accumulation={self.accumulation} must be at least 1")
        if self.loss_positions < 0 or self.tag_loss < 0:
            raise ValueError(
                f"loss_positions={self.loss_positions}, tag_loss={self.tag_loss} must be at least 0"
            )
        if self.rollbacks < 1 or not (self.spike == 0 or self.spike > 1):
            raise ValueError(
                f"rollbacks={self.rollbacks} must be at least 1, spike={self.spike} above 1, or 0 for none"
            )
        if self.spike and self.non_finite == "skip":
            raise ValueError(
                "spike: a step is known to spike only after it; set non_finite to 'stop' or 'roll_back'"
            )
        if self.lora.rank and (self.freeze or self.unfreeze):
            raise ValueError(
                "lora: everything but the adapters is frozen and stays so; leave freeze and unfreeze empty"
            )
        for pattern, step in self.unfreeze.items():
            if step < 1:
                raise ValueError(f"unfreeze: {pattern!r} from step {step} on, expected at least 1")


class Training:
    """Builds the functions of a run. Nothing is compiled or allocated here.

    Attributes:
      init: key -> state, {"params": nested dict, "opt_state": optax's, "step": int32 scalar}.
      step: (state, batch) -> (state, sums). Random keys are a function of (seed, step), so the state needs
        none.
      eval_step: (params, batch) -> sums, without dropout.
    """

    def __init__(self, bundle: Bundle, partition: Partition, config: TrainConfig) -> None:
        self.bundle, self.partition, self.config = bundle, partition, config
        self.learning_rate = optimizers.schedule(config.optimizer, config.steps)
        self.tx = optimizers.optimizer(config.optimizer, self.learning_rate)
        self.pace = pace(
            bundle.shapes,
            bundle.axes,
            partition,
            rates=config.optimizer.rates,
            freeze=config.freeze,
            unfreeze=config.unfreeze,
            warmup=config.optimizer.warmup_steps,
        )

    def init(self, key: jax.Array) -> State:
        return self.start(self.bundle.init(key))

    def start(self, params: Any) -> State:
        """The state at step 0 from given parameters."""
        trainable, _ = self.partition.split(params)
        return {"params": params, "opt_state": self.tx.init(trainable), "step": jnp.zeros((), jnp.int32)}

    def step(self, state: State, batch: Batch) -> tuple[State, Sums]:
        trainable, frozen = self.partition.split(state["params"])
        key = jax.random.fold_in(jax.random.key(self.config.seed), state["step"])
        gradients, sums = self._gradients(trainable, frozen, batch, key)
        scale = 1.0 / jnp.maximum(sums["weight"], 1.0)
        gradients = jax.tree.map(lambda g: g * scale, gradients)
        updates, opt_state = self.tx.update(gradients, state["opt_state"], trainable)
        updates = self.pace.scale(updates, state["step"])
        sums["gradient_norm"] = optax.tree.norm(gradients)
        updated = {"trainable": optax.apply_updates(trainable, updates), "opt_state": opt_state}
        if self.config.non_finite == "skip":
            before = {"trainable": trainable, "opt_state": state["opt_state"]}
            updated, sums = _unless_finite(before, updated, sums)
        params = self.partition.merge(updated["trainable"], frozen)
        sums["learning_rate"] = jnp.asarray(self.learning_rate(state["step"]), jnp.float32)
        state = {"params": params, "opt_state": updated["opt_state"], "step": state["step"] + 1}
        return state, sums

    def eval_step(self, params: Any, batch: Batch) -> Sums:
        return self._loss(params, batch, None)[1]

    def _loss(self, params: Any, batch: Batch, key: jax.Array | None) -> tuple[jax.Array, Sums]:
        model = self.bundle.bind(params)
        packed = "target_segments" in batch  # several products in a row, see `data.stream.train_batches`
        if packed:
            weight_BT = (batch["target_segments"] > 0).astype(jnp.float32)
        else:
            weight_BT = (batch["target"] != model.cfg.pad) * batch["weight"][:, None]
        config = self.config
        k_encoder, key = keys(key, 2) if config.tag_loss else (None, key)
        if config.tag_loss:
            batch = model.encoded(batch, k_encoder)  # once, for the decoder and for the head
        objective, sums = cross_entropy_in_chunks(
            model.unembed,
            model.hidden(batch, key),
            batch["target"],
            weight_BT,
            positions=config.loss_positions or weight_BT.shape[1],
            label_smoothing=config.label_smoothing,
            z_loss=config.z_loss,
        )
        sums["examples"] = jnp.sum(batch["weight"])
        tokens = jnp.sum(batch["source"] != model.source_pad) + jnp.sum(batch["target"] != model.cfg.pad)
        sums["tokens"] = tokens.astype(jnp.float32)
        if not config.tag_loss:
            return objective, sums
        known = batch["tags"], batch["weight"] * batch["tagged"]
        if packed:
            logits_BPN = model.packed_tag_logits(batch, batch["tags"].shape[1])
            tag_loss = jnp.sum(jax.vmap(tag_cross_entropy, in_axes=1)(logits_BPN, *known))
        else:
            tag_loss = tag_cross_entropy(model.tag_logits(batch), *known)
        objective += config.tag_loss * tag_loss
        return objective, {**sums, "loss": objective, "tag_loss": tag_loss}

    def _gradients(self, trainable: Flat, frozen: Flat, batch: Batch, key: jax.Array) -> tuple[Flat, Sums]:
        """Gradients and sums, added up over micro-batches, not yet divided."""

        def micro(batch: Batch, key: jax.Array) -> tuple[Flat, Sums]:
            def objective(trainable: Flat) -> tuple[jax.Array, Sums]:
                return self._loss(self.partition.merge(trainable, frozen), batch, key)

            return jax.grad(objective, has_aux=True)(trainable)

        count = self.config.accumulation
        if count == 1:
            return micro(batch, key)
        # Rows are dealt out in turn, so that every device keeps a share of every micro-batch.
        batches = jax.tree.map(lambda x: x.reshape(-1, count, *x.shape[1:]).swapaxes(0, 1), batch)
        drawn = jax.random.split(key, count)
        first = micro(jax.tree.map(lambda x: x[0], batches), drawn[0])

        def add(total: Any, xs: Any) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, total, micro(*xs)), None

        return jax.lax.scan(add, first, (jax.tree.map(lambda x: x[1:], batches), drawn[1:]))[0]


def _unless_finite(before: Any, after: Any, sums: Sums) -> tuple[Any, Sums]:
    """`after` and the sums with "skipped" 0; where loss or gradient are not finite `before`, all sums 0 but
    "skipped" 1."""
    finite = jnp.isfinite(sums["loss"]) & jnp.isfinite(sums["gradient_norm"])
    kept = jax.tree.map(lambda old, new: jnp.where(finite, new, old), before, after)
    sums = {name: jnp.where(finite, value, 0.0) for name, value in sums.items()}
    return kept, sums | {"skipped": 1.0 - finite.astype(jnp.float32)}


def jit_step(training: Training, shardings: Any, mesh: Mesh) -> Callable[[State, Batch], tuple[State, Sums]]:
    """The compiled step; the state it is given is donated, and comes back with the same shardings."""
    step = jax.jit(training.step, donate_argnums=0, out_shardings=(shardings, None))
    return within(step, mesh)


def within(function: Callable[..., Any], mesh: Mesh) -> Callable[..., Any]:
    """Calls `function` with `mesh` in context, which is how a model knows where its activations lie."""

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        with jax.set_mesh(mesh):
            return function(*args)

    return call
