"""Laws of the training step."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import traverse_util

from taggen_jax.models import family
from taggen_jax.models.layers import ComputeConfig
from taggen_jax.models.t5 import T5Config
from taggen_jax.parallel.mesh import MeshConfig, make_mesh, put_batch
from taggen_jax.training.freeze import partition
from taggen_jax.training.optimizer import OptimizerConfig, optimizer, schedule
from taggen_jax.training.state import abstract_state, create_state, state_shardings
from taggen_jax.training.step import TrainConfig, Training, jit_step

MODEL = T5Config(
    vocab_size=64,
    d_model=16,
    d_mlp=32,
    n_heads=2,
    head_dim=8,
    encoder_layers=2,
    decoder_layers=1,
    dropout=0.1,
)
RNG = np.random.default_rng(0)
BATCH = {
    "source": RNG.integers(2, 64, (8, 12)).astype(np.int32),
    "target": RNG.integers(2, 64, (8, 6)).astype(np.int32),
    "weight": np.ones(8, np.float32),
}
FREEZE = ("encoder/blocks/0", "embedding")


def training(freeze=(), dropout=0.1, **settings):
    bundle = family.build(dataclasses.replace(MODEL, dropout=dropout), ComputeConfig())
    settings = {"steps": 10, "optimizer": OptimizerConfig(warmup_steps=2, weight_decay=0.1)} | settings
    return Training(
        bundle, partition(bundle.shapes, bundle.axes, freeze), TrainConfig(freeze=freeze, **settings)
    )


def run(training, steps=5, mesh=None, batch=BATCH):
    mesh = mesh or make_mesh(MeshConfig(), jax.devices()[:1])
    state = create_state(training, mesh)
    first = jax.tree.map(np.asarray, state["params"])  # the state is donated
    step = jit_step(training, state_shardings(training, mesh), mesh)
    losses = []
    for _ in range(steps):
        state, sums = step(state, put_batch(batch, mesh))
        losses.append(float(sums["loss"] / sums["weight"]))
    return first, state, losses


def test_frozen_leaves_never_move_and_the_others_do():
    first, state, _ = run(training(FREEZE), steps=2)
    before, after = (traverse_util.flatten_dict(p, sep="/") for p in (first, state["params"]))
    for path, leaf in before.items():
        still = [path == "embedding"] * len(leaf)
        if path.startswith("encoder/blocks"):
            still = [layer == 0 for layer in range(2)]
        moved = [not np.array_equal(a, b) for a, b in zip(leaf, after[path], strict=True)]
        if path == "embedding" or path.startswith("encoder/blocks"):
            assert moved == [not s for s in still], path
        else:
            assert any(moved), path


def test_frozen_leaves_carry_no_optimizer_state():
    state = abstract_state(training(FREEZE))
    sizes = [leaf.size for leaf in jax.tree.leaves(state["opt_state"])]
    trainable, _ = jax.eval_shape(training(FREEZE).partition.split, state["params"])
    assert (
        sum(sizes) <= 2 * sum(leaf.size for leaf in trainable.values()) + 8
    )  # two moments and some counters


def test_accumulation_equals_one_large_batch():
    for a, b in zip(
        run(training(dropout=0.0))[2], run(training(dropout=0.0, accumulation=4))[2], strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_filling_rows_and_padding_change_nothing():
    filled = {name: np.concatenate([rows, np.zeros_like(rows)]) for name, rows in BATCH.items()}
    filled["target"] = np.pad(filled["target"], ((0, 0), (0, 3)))
    for a, b in zip(run(training(dropout=0.0))[2], run(training(dropout=0.0), batch=filled)[2], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_momentum_in_bfloat16_is_half_the_memory_and_learns():
    low = OptimizerConfig(warmup_steps=2, momentum_dtype="bfloat16")
    model = training(dropout=0.0, optimizer=low, loss_positions=4)
    mu, nu = (getattr(abstract_state(model)["opt_state"][1][0], name) for name in ("mu", "nu"))
    assert {x.dtype.name for x in jax.tree.leaves(mu)} == {"bfloat16"}
    assert {x.dtype.name for x in jax.tree.leaves(nu)} == {"float32"}
    losses = run(model)[2]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("freeze", [(), FREEZE])
def test_eight_devices_give_the_losses_of_one(freeze):
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    expected, losses = run(training(freeze))[2], run(training(freeze), mesh=mesh)[2]
    np.testing.assert_allclose(losses, expected, atol=1e-4)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", ["adamw", "adafactor", "sgd"])
def test_every_optimizer_has_a_sharding_for_every_leaf_and_learns(name):
    model = training(dropout=0.0, optimizer=OptimizerConfig(name=name, learning_rate=0.05, warmup_steps=0))
    losses = run(model, steps=8)[2]
    assert losses[-1] < losses[0]
    shardings = state_shardings(model, make_mesh(MeshConfig(data=2, fsdp=2, tensor=2)))
    abstract = abstract_state(model)
    jax.tree.map(lambda leaf, sharding: sharding.shard_shape(leaf.shape), abstract, shardings)


@pytest.mark.parametrize(
    ("name", "at"),
    [
        ("cosine", {0: 0.25, 3: 1.0, 8: 0.55, 13: 0.1}),
        ("linear", {3: 1.0, 8: 0.55, 13: 0.1}),
        ("constant", {3: 1.0, 13: 1.0}),
        ("rsqrt", {3: 1.0, 12: 0.5}),
    ],
)
def test_schedules(name, at):
    config = OptimizerConfig(learning_rate=1.0, schedule=name, warmup_steps=3, final_fraction=0.1)
    for step, rate in at.items():
        np.testing.assert_allclose(schedule(config, 13)(step), rate, rtol=1e-5)


def test_clipping_bounds_the_gradient_and_decay_spares_norms():
    config = OptimizerConfig(name="sgd", learning_rate=1.0, momentum=0.0, clip_norm=1.0, weight_decay=0.5)
    tx = optimizer(config, lambda step: 1.0)
    params = {"a/up": np.full(4, 2.0, np.float32), "a/norm": np.full(4, 2.0, np.float32)}
    gradients = {"a/up": np.full(4, 30.0, np.float32), "a/norm": np.full(4, 40.0, np.float32)}
    updates, _ = tx.update(gradients, tx.init(params), params)
    np.testing.assert_allclose(updates["a/up"], -(0.3 + 0.5 * 2.0), rtol=1e-5)
    np.testing.assert_allclose(updates["a/norm"], -0.4, rtol=1e-5)


def test_a_step_without_a_finite_loss_is_skipped_and_counted():
    model, mesh = training(non_finite="skip"), make_mesh(MeshConfig(), jax.devices()[:1])
    state = create_state(model, mesh)
    step = jit_step(model, state_shardings(model, mesh), mesh)
    before = jax.tree.map(np.asarray, state)  # the state is donated
    bad = BATCH | {"weight": np.full(8, np.inf, np.float32)}
    state, sums = step(state, put_batch(bad, mesh))
    assert float(sums["skipped"]) == 1 and float(sums["loss"]) == float(sums["weight"]) == 0
    assert int(state["step"]) == 1
    for part in ("params", "opt_state"):
        jax.tree.map(np.testing.assert_array_equal, state[part], before[part])
    after, sums = step(state, put_batch(BATCH, mesh))
    assert float(sums["skipped"]) == 0 and np.isfinite(float(sums["loss"]))
    assert not np.array_equal(after["params"]["embedding"], before["params"]["embedding"])
