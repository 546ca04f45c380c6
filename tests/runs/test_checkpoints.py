"""Laws of checkpoints: what comes back is what went in, on any mesh; the right ones stay; errors surface."""

import functools
import pathlib
import resource
import shutil
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from taggen_jax.errors import UserError
from taggen_jax.runs.checkpoints import CheckpointConfig, Checkpoints

CONFIG = CheckpointConfig(keep_last=2, keep_best=1)


def mesh(*sizes: int) -> jax.sharding.Mesh:
    devices = jax.devices()[: np.prod(sizes)]
    return jax.make_mesh(sizes, ("data", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3, devices=devices)


def shardings(tree: Any, on: jax.sharding.Mesh) -> Any:
    """Matrices cut along fsdp and tensor, the rest everywhere."""
    matrix, rest = PartitionSpec("fsdp", "tensor"), PartitionSpec()
    return jax.tree.map(lambda x: NamedSharding(on, matrix if x.ndim == 2 else rest), tree)


def like(tree: Any, on: jax.sharding.Mesh) -> Any:
    return jax.tree.map(
        lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
        tree,
        shardings(tree, on),
    )


def make_state(seed: int = 0, size: int = 16) -> dict[str, Any]:
    """As a run saves it: two types of parameters, an optimizer state with empty and masked nodes, a key."""
    rng = np.random.default_rng(seed)
    params = {
        "embedding": jnp.asarray(rng.normal(size=(size, 8)), jnp.float32),
        "blocks": {"up": jnp.asarray(rng.normal(size=(8, 16)), jnp.bfloat16), "norm": jnp.ones(8)},
    }
    decay = jax.tree.map(lambda x: x.ndim == 2, params)
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3, mask=decay))
    key_data = jax.random.key_data(jax.random.key(seed))
    return {"params": params, "opt_state": tx.init(params), "step": jnp.int32(seed), "key": key_data}


def assert_equal(left: Any, right: Any) -> None:
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[pathlib.Path, Any]:
    """A folder with one checkpoint, step 7, saved from a 2x2x2 mesh; and its state."""
    folder = tmp_path_factory.mktemp("saved") / "checkpoints"
    state = make_state(7)
    state = jax.device_put(state, shardings(state, mesh(2, 2, 2)))
    checkpoints = Checkpoints(folder, CONFIG, writing=True)
    checkpoints.save(7, state, {"batch": 70}, {"window": {"loss": 0.1}}, {"loss": 1.5})
    checkpoints.close()
    return folder, state


@pytest.mark.parametrize("sizes", [(2, 2, 2), (8, 1, 1), (1, 1, 8), (1, 1, 1)])
def test_a_state_comes_back_exactly_on_any_mesh(saved: Any, sizes: tuple[int, ...]) -> None:
    folder, state = saved
    wanted = like(state, mesh(*sizes))
    restored, data, meta = Checkpoints(folder, CONFIG, writing=False).restore(7, wanted)
    assert_equal(restored, state)
    assert data == {"batch": 70} and meta == {"window": {"loss": 0.1}}
    for leaf, target in zip(jax.tree.leaves(restored), jax.tree.leaves(wanted), strict=True):
        assert leaf.sharding == target.sharding


def test_the_parameters_alone_come_back_exactly(saved: Any) -> None:
    folder, state = saved
    without_sharding = jax.eval_shape(lambda: state["params"])
    restored = Checkpoints(folder, CONFIG, writing=False).restore_params(7, without_sharding)
    assert_equal(restored, state["params"])
    assert all(leaf.devices() == {jax.local_devices()[0]} for leaf in jax.tree.leaves(restored))


def test_the_layout_is_the_one_that_is_documented(saved: Any) -> None:
    assert {"state", "data", "meta"} <= {path.name for path in (saved[0] / "7").iterdir()}


def test_a_copied_folder_knows_its_steps_and_its_best(tmp_path: pathlib.Path) -> None:
    checkpoints = Checkpoints(tmp_path / "here", CONFIG, writing=True)
    for step, loss in [(1, 1.0), (2, 0.5), (3, 0.7), (4, 0.9)]:
        checkpoints.save(step, {"x": jnp.int32(step)}, {}, {}, {"loss": loss})
    checkpoints.close()
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    shutil.rmtree(tmp_path / "here")
    copied = Checkpoints(tmp_path / "there", CONFIG, writing=False)
    assert (copied.best_step(), copied.latest_step()) == (2, 4)
    assert copied.restore(2, {"x": jax.ShapeDtypeStruct((), jnp.int32)})[0] == {"x": 2}


@pytest.mark.parametrize(
    ("config", "left", "best"),
    [
        ({"keep_last": 2}, {2, 4, 5}, 2),
        ({"keep_last": 2, "mode": "max"}, {3, 4, 5}, 3),
        ({"keep_last": 1, "keep_best": 2}, {2, 4, 5}, 2),
        ({"keep_last": 3, "keep_best": 0}, {3, 4, 5}, 4),
    ],
)
def test_the_newest_and_the_best_stay(
    tmp_path: pathlib.Path, config: dict[str, Any], left: set[int], best: int
) -> None:
    """A NaN is never the best, nor is a checkpoint without metrics."""
    checkpoints = Checkpoints(tmp_path, CheckpointConfig(**config), writing=True)
    for step, metrics in [
        (1, {"loss": float("nan")}),
        (2, {"loss": 0.5}),
        (3, {"loss": 0.9}),
        (4, {"loss": 0.7}),
        (5, None),
    ]:
        checkpoints.save(step, {"x": jnp.int32(step)}, {}, {}, metrics)
    checkpoints.close()
    assert {int(path.name) for path in tmp_path.iterdir()} == left
    assert checkpoints.best_step() == best


def test_without_any_metric_the_best_is_the_latest(tmp_path: pathlib.Path) -> None:
    checkpoints = Checkpoints(tmp_path, CONFIG, writing=True)
    assert checkpoints.latest_step() is None and checkpoints.best_step() is None
    for step in (1, 2, 3, 4):
        checkpoints.save(step, {"x": jnp.int32(step)}, {}, {})
    checkpoints.close()
    assert {int(path.name) for path in tmp_path.iterdir()} == {3, 4}
    assert checkpoints.best_step() == 4


@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 2, 2)])
def test_donating_a_state_that_is_being_saved_does_not_change_what_is_saved(
    tmp_path: pathlib.Path, sizes: tuple[int, ...]
) -> None:
    """On CPU the host's view of an array may be the device's own buffer, which the next step writes over."""

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state: Any) -> Any:
        return jax.tree.map(lambda x: x + 1, state)

    state = {str(i): jnp.zeros((512, 1024)) for i in range(8)}  # 16 MB: writing takes longer than a step
    state = jax.device_put(state, shardings(state, mesh(*sizes)))
    checkpoints = Checkpoints(tmp_path, CONFIG, writing=True)
    for number in (1, 2):
        state = step(state)
        checkpoints.save(number, state, {}, {})
    for _ in range(10):
        state = step(state)
    checkpoints.close()
    for number in (1, 2):
        restored, _, _ = checkpoints_in(tmp_path).restore(number, like(state, mesh(1, 1, 1)))
        for leaf in jax.tree.leaves(restored):
            np.testing.assert_array_equal(np.asarray(leaf), number)


def checkpoints_in(folder: pathlib.Path) -> Checkpoints:
    return Checkpoints(folder, CONFIG, writing=False)


def test_a_failed_save_surfaces_and_harms_no_other(tmp_path: pathlib.Path) -> None:
    noise = np.random.default_rng(0).normal(size=(256, 1024))  # compresses to no less than the limit below
    state = {"x": jnp.asarray(noise, jnp.float32)}
    checkpoints = Checkpoints(tmp_path, CONFIG, writing=True)
    checkpoints.save(1, state, {}, {})
    checkpoints.wait()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # stands for a full disk
    try:
        checkpoints.save(2, state, {}, {})
        with pytest.raises(UserError, match=r"checkpoint of step 2 could not be written .*resumes") as caught:
            checkpoints.save(3, state, {}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert checkpoints_in(tmp_path).latest_step() == 1
    assert list(tmp_path.glob("2.*")), (
        "the half-written step should still lie there for this test to mean anything"
    )
    again = Checkpoints(tmp_path, CONFIG, writing=True)
    assert again.latest_step() == 1
    again.save(3, state, {}, {})
    again.close()
    assert {path.name for path in tmp_path.iterdir()} == {"1", "3"}
    assert_equal(again.restore(3, state)[0], state)


def test_another_model_s_checkpoint_is_refused_by_name(saved: Any) -> None:
    folder, _ = saved
    checkpoints, wide = checkpoints_in(folder), make_state(7, size=32)
    with pytest.raises(UserError, match=r"params/embedding was saved as \(16, 8\), .* for \(32, 8\)"):
        checkpoints.restore_params(7, wide["params"])
    with pytest.raises(UserError, match=r"opt_state/\S+ was saved as \(.*\), .* for nothing"):
        checkpoints.restore(7, make_state(7) | {"opt_state": ()})


def test_a_metric_that_nobody_measures_is_refused(tmp_path: pathlib.Path) -> None:
    checkpoints = Checkpoints(tmp_path, CheckpointConfig(metric="f1"), writing=True)
    with pytest.raises(
        UserError, match=r"checkpoints.metric: 'f1' is not measured; choose one of loss, micro_f1"
    ):
        checkpoints.save(1, {"x": jnp.int32(1)}, {}, {}, {"loss": 1.0, "micro_f1": 0.5})


@pytest.mark.parametrize("wrong", [{"keep_last": 0}, {"keep_best": -1}])
def test_impossible_settings_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"keep_last=.* must be at least 1"):
        CheckpointConfig(**wrong)
