"""Gradual unfreezing: what thaws moves from its step on, not before, and resuming changes nothing."""

import jax
import numpy as np
import pytest

from taggen_jax.errors import UserError
from taggen_jax.models import family
from taggen_jax.models.layers import ComputeConfig
from taggen_jax.models.t5 import T5Config
from taggen_jax.parallel.mesh import MeshConfig, make_mesh, put_batch
from taggen_jax.runs.checkpoints import CheckpointConfig, Checkpoints
from taggen_jax.training.optimizer import OptimizerConfig
from taggen_jax.training.state import abstract_state, create_state, restorable, state_shardings
from taggen_jax.training.step import TrainConfig, jit_step
from taggen_jax.training.thaw import carry, thaw, thaws, training_at

MODEL = T5Config(
    vocab_size=32, d_model=8, d_mlp=16, n_heads=2, head_dim=4, encoder_layers=3, decoder_layers=1, dropout=0.1
)
BUNDLE = family.build(MODEL, ComputeConfig())
CONFIG = TrainConfig(
    steps=10,
    freeze=("embedding", "encoder"),
    unfreeze={"encoder/blocks/2": 2, "encoder/blocks": 4},
    optimizer=OptimizerConfig(
        warmup_steps=1, weight_decay=0.1, rates={"encoder": 0.5, "encoder/blocks/2": 0.5}
    ),
)
UP = "encoder/blocks/mlp/up"


def batch(step):
    rng = np.random.default_rng(step)
    return {
        "source": rng.integers(2, 32, (4, 6)).astype(np.int32),
        "target": rng.integers(2, 32, (4, 5)).astype(np.int32),
        "weight": np.ones(4, np.float32),
    }


def run(last, checkpoints=None, save_at=()):
    """The states after each step, in numpy, as `taggen train` makes them."""
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    first = (checkpoints and checkpoints.latest_step()) or 0
    training = training_at(BUNDLE, CONFIG, max(0, first - 1))
    state = (
        checkpoints.restore(first, restorable(training, mesh))[0] if first else create_state(training, mesh)
    )
    step_function = jit_step(training, state_shardings(training, mesh), mesh)
    states = {first: jax.tree.map(np.array, state)}
    for step in range(first + 1, last + 1):
        if thaws(CONFIG, step - 1):
            training, state = thaw(training, state, mesh, step - 1)
            step_function = jit_step(training, state_shardings(training, mesh), mesh)
        state, _ = step_function(state, put_batch(batch(step), mesh))
        states[step] = jax.tree.map(np.array, state)
        if step in save_at:
            checkpoints.save(step, state, {}, {})
    return states


@pytest.fixture(scope="module")
def straight():
    return run(6)


def test_layers_move_from_their_step_on_and_not_before(straight):
    up = [straight[step]["params"]["encoder"]["blocks"]["mlp"]["up"] for step in range(7)]
    moved = np.array([[np.any(up[step][layer] != up[0][layer]) for layer in range(3)] for step in range(7)])
    np.testing.assert_array_equal(moved[:, 2], [False, False, False, True, True, True, True])
    np.testing.assert_array_equal(moved[:, :2].T, [[False] * 5 + [True] * 2] * 2)
    embedding = [straight[step]["params"]["embedding"] for step in (0, 6)]
    np.testing.assert_array_equal(*embedding)


@pytest.mark.parametrize("stop", [1, 2, 3, 4])
def test_resuming_before_at_and_after_a_thaw_changes_nothing(straight, stop, tmp_path):
    for last in (stop, 6):
        checkpoints = Checkpoints(tmp_path / "c", CheckpointConfig(), writing=True)
        resumed = run(last, checkpoints, save_at=(stop,))[last]
        checkpoints.close()
    assert jax.tree.structure(resumed) == jax.tree.structure(straight[6])
    jax.tree.map(np.testing.assert_array_equal, resumed, straight[6])


def moments(opt_state):
    return {jax.tree_util.keystr(path): x for path, x in jax.tree_util.tree_leaves_with_path(opt_state)}


def test_frozen_leaves_have_no_optimizer_state_and_what_trained_keeps_its_own(straight):
    sizes = [
        sum(
            leaf.size
            for leaf in jax.tree.leaves(abstract_state(training_at(BUNDLE, CONFIG, step))["opt_state"])
        )
        for step in (0, 2, 4)
    ]
    assert sizes[0] < sizes[1] < sizes[2]
    trainings = [training_at(BUNDLE, CONFIG, step) for step in (3, 4)]
    params, opt_state = straight[4]["params"], straight[4]["opt_state"]
    before, after = moments(opt_state), moments(carry(*trainings, params, opt_state))
    for name, kept in before.items():
        if "encoder/blocks" in name:
            np.testing.assert_array_equal(after[name][2:], kept)  # layer 2 trained alone
            assert kept.any() and not after[name][:2].any()
        else:
            np.testing.assert_array_equal(after[name], kept)


def test_rates_multiply_and_what_thaws_warms_up():
    pace = training_at(BUNDLE, CONFIG, 4).pace
    ones = {UP: np.ones((3, 8, 16), np.float32), "decoder/norm": np.ones(8, np.float32)}
    for step, expected in ((4, (0.25, 0.25, 0.25)), (5, (0.5, 0.5, 0.25))):  # layers 0 and 1 came at step 4
        scaled = pace.scale(ones, np.int32(step))
        np.testing.assert_allclose(scaled[UP][:, 0, 0], expected)
        np.testing.assert_array_equal(scaled["decoder/norm"], 1.0)


def test_what_was_never_frozen_does_not_warm_up_with_what_thaws():
    config = TrainConfig(freeze=("encoder/blocks/0-1",), unfreeze={"encoder/blocks": 4})
    pace = training_at(BUNDLE, config, 0).pace
    np.testing.assert_array_equal(pace.scale({UP: np.ones((1, 8, 16))}, np.int32(0))[UP], 1.0)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"unfreeze": {"encodr": 3}}, r"train\.unfreeze: 'encodr' matches no parameter"),
        ({"optimizer": OptimizerConfig(rates={"encodr": 3.0})}, r"train\.optimizer\.rates: 'encodr' matches"),
    ],
)
def test_a_pattern_that_matches_nothing_is_refused_before_the_first_step(changed, message):
    with pytest.raises(UserError, match=message):
        training_at(BUNDLE, TrainConfig(freeze=("encoder",), **changed), 0)
