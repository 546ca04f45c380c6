"""Laws of adapters: they begin as nothing, only they train, and added up they are the same model."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import traverse_util

from taggen_jax.errors import UserError
from taggen_jax.models import family
from taggen_jax.models.adapted import Adapted
from taggen_jax.models.layers import ComputeConfig
from taggen_jax.parallel.mesh import MeshConfig, make_mesh, put_batch
from taggen_jax.training import lora
from taggen_jax.training.lora import LoraConfig
from taggen_jax.training.state import adopt_params, state_shardings
from taggen_jax.training.step import TrainConfig, jit_step
from taggen_jax.training.thaw import training_at
from tests.training.test_packing import CONFIGS, QUICK

ALL = LoraConfig(rank=2, alpha=1.0, targets=("*/blocks", "*embedding", "head"))
RNG = np.random.default_rng(0)
BATCH = {
    "source": RNG.integers(3, 40, (8, 6)).astype(np.int32),
    "target": RNG.integers(3, 40, (8, 4)).astype(np.int32),
    "weight": np.ones(8, np.float32),
}


def drawn(shapes):
    """Parameters far from their initial values."""
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda x: 0.3 * rng.normal(size=x.shape).astype(np.float32), shapes)


@pytest.mark.parametrize("name", CONFIGS)
def test_adapters_added_to_their_weights_are_the_same_model(name):
    bundle = family.build(CONFIGS[name], ComputeConfig())
    config = ALL if name == "t5" else LoraConfig(rank=2, targets=("*/blocks",))
    adapted = lora.adapt(bundle, config)

    @jax.jit(compiler_options=QUICK)
    def logits(adapters):
        return (
            adapted.bind(adapters).logits(BATCH),
            bundle.bind(lora.merge(adapters, config)).logits(BATCH),
            bundle.bind(lora.base(adapters)).logits(BATCH),
        )

    beside, merged, plain = logits(drawn(adapted.shapes))
    np.testing.assert_allclose(beside, merged, rtol=2e-5, atol=2e-5)
    assert not np.allclose(merged, plain, atol=0.1)


def test_adapters_begin_as_nothing():
    bundle = family.build(CONFIGS["t5"], ComputeConfig())

    @jax.jit(compiler_options=QUICK)
    def begin(key):
        params = lora.adapt(bundle, ALL).init(key)
        return params, lora.merge(params, ALL), bundle.init(key)

    params, merged, plain = begin(jax.random.key(0, impl="rbg"))  # compiles faster than threefry
    assert jax.tree.all(jax.tree.map(np.array_equal, merged, plain))
    factors = traverse_util.flatten_dict(params["lora"], sep="/")
    assert all(np.any(x) == path.endswith("/a") for path, x in factors.items())


def test_a_weight_is_adapted_along_what_it_reads_and_what_it_writes():
    bundle = family.build(CONFIGS["t5"], ComputeConfig())
    shapes = traverse_util.flatten_dict(lora.adapt(bundle, ALL).shapes["lora"], sep="/")
    found = {path: leaf.shape for path, leaf in shapes.items() if "encoder/blocks/attention" in path}
    for part, (inputs, outputs) in {"query": (8, 8), "out": (8, 8)}.items():
        assert found[f"encoder/blocks/attention/{part}/a"] == (1, inputs, 2)
        assert found[f"encoder/blocks/attention/{part}/b"] == (1, 2, outputs)
    assert not [path for path in shapes if "norm" in path or "position" in path]


@pytest.fixture(scope="module")
def steps():
    """Two steps on one device and on eight: (parameters before, after, optimizer state, losses) of each."""
    model = dataclasses.replace(CONFIGS["t5"], encoder_layers=2, d_model=16, n_heads=4)
    settings = LoraConfig(rank=2, targets=("encoder/blocks/1/attention", "decoder/blocks/*/mlp"))
    config = TrainConfig(steps=9, lora=settings)
    bundle = lora.adapt(family.build(model, ComputeConfig()), settings)
    training, found = training_at(bundle, config, 0), []
    for mesh in (make_mesh(MeshConfig(), jax.devices()[:1]), make_mesh(MeshConfig(fsdp=2, tensor=2, data=2))):
        state = adopt_params(training, mesh, drawn(bundle.shapes))
        step, losses = jit_step(training, state_shardings(training, mesh), mesh), []
        for _ in range(2):
            state, sums = step(state, put_batch(BATCH, mesh))
            losses.append(float(sums["loss"]))
        found.append((drawn(bundle.shapes), jax.device_get(state["params"]), state["opt_state"], losses))
    return found


def test_only_adapters_of_the_layers_that_patterns_name_train(steps):
    before, after, opt_state, _ = steps[0]
    before, after = (traverse_util.flatten_dict(x, sep="/") for x in (before, after))
    for path, leaf in after.items():
        moved = [not np.array_equal(a, b) for a, b in zip(before[path], leaf, strict=True)]
        if path.startswith("lora/encoder"):
            assert moved == [False, True], path
        else:
            assert all(moved) == any(moved) == path.startswith("lora/decoder"), path
    trained = sum(leaf.size for path, leaf in after.items() if path.startswith("lora/decoder"))
    trained += sum(leaf[1:].size for path, leaf in after.items() if path.startswith("lora/encoder"))
    assert sum(x.size for x in jax.tree.leaves(opt_state) if x.ndim) == 2 * trained  # Adam's two moments


def test_adapters_train_alike_on_any_mesh(steps):
    np.testing.assert_allclose(steps[0][3], steps[1][3], rtol=1e-5)
    assert steps[0][3][0] != steps[0][3][1]


def test_what_has_no_weight_is_refused():
    bundle = family.build(CONFIGS["t5"], ComputeConfig())
    for target in ("*/norm", "nowhere"):
        with pytest.raises(UserError, match=r"train\.lora\.targets"):
            lora.adapt(bundle, LoraConfig(rank=2, targets=(target,)))
    with pytest.raises(ValueError, match="leave freeze and unfreeze empty"):
        TrainConfig(lora=LoraConfig(rank=2), freeze=("encoder",))


def test_an_adapted_weight_is_an_array_to_everything_but_products():
    weight = Adapted(np.ones((2, 3)), np.full((2, 1), 2.0), np.full((1, 3), 3.0), 0.5)
    np.testing.assert_array_equal(jax.numpy.asarray(weight), np.full((2, 3), 4.0))
    np.testing.assert_array_equal(weight[1], np.full(3, 4.0))
