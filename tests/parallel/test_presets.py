"""One device and eight give the same losses, whatever the mesh and the family.

Every family is trained on the mesh that cuts everything at once, and T5 on every preset. With
TAGGEN_EVERY_MESH=1 in the environment, every family on every one: ten minutes of two cores.
"""

import dataclasses
import functools
import os

import jax
import numpy as np
import pytest

from taggen_jax.errors import UserError
from taggen_jax.models import bert, family
from taggen_jax.models.bart import BartConfig
from taggen_jax.models.gemma import StackConfig
from taggen_jax.models.layers import ComputeConfig
from taggen_jax.models.t5 import T5Config
from taggen_jax.models.t5gemma import T5GemmaConfig
from taggen_jax.models.t5gemma2 import T5Gemma2Config
from taggen_jax.parallel.mesh import MeshConfig, check_cut, make_mesh, put_batch
from taggen_jax.training.freeze import partition
from taggen_jax.training.optimizer import OptimizerConfig
from taggen_jax.training.state import adopt_params, state_shardings
from taggen_jax.training.step import TrainConfig, Training, jit_step

SIZES = {"vocab_size": 40, "d_model": 16, "d_mlp": 32, "n_heads": 4, "encoder_layers": 1, "decoder_layers": 1}
BERT = bert.StackConfig(vocab_size=40, d_model=16, d_mlp=32, n_heads=4, layers=1, positions=16, dropout=0.0)
GEMMA = StackConfig(d_model=16, d_mlp=32, n_heads=4, n_kv_heads=2, head_dim=4, local=(True,), query_scalar=4)
STACKS = {"encoder": GEMMA, "decoder": GEMMA, "vocab_size": 40, "dropout": 0.0}
MODELS = {
    "t5": T5Config(**SIZES, head_dim=8, dropout=0.0),
    "bart": BartConfig(**SIZES, max_positions=16, dropout=0.0),
    "bert": bert.BertConfig(encoder=BERT, decoder=BERT, eos=2, start=0),
    "t5gemma": T5GemmaConfig(**STACKS),
    "t5gemma2": T5Gemma2Config(**STACKS, end_of_image=23),
}
MESHES = {
    "dp": MeshConfig(preset="dp"),
    "fsdp": MeshConfig(preset="fsdp"),
    "fsdp_tp": MeshConfig(preset="fsdp_tp"),
    "multislice": MeshConfig(preset="multislice", data=2),
    "mixed": MeshConfig(fsdp=2, sequence=2, tensor=2),
}
EVERY = "TAGGEN_EVERY_MESH" in os.environ
CASES = [(name, mesh) for name in MODELS for mesh in MESHES if EVERY or name == "t5" or mesh == "mixed"]
RNG = np.random.default_rng(0)
BATCH = {
    "source": RNG.integers(3, 40, (8, 8)).astype(np.int32),
    "target": RNG.integers(3, 40, (8, 4)).astype(np.int32),
    "weight": np.ones(8, np.float32),
}


@functools.cache
def built(name):
    """The bundle, the functions of a run, and parameters far from their initial values."""
    bundle = family.build(MODELS[name], ComputeConfig())
    sgd = OptimizerConfig(name="sgd", learning_rate=0.5, warmup_steps=0)  # a wrong gradient moves it far
    training = Training(
        bundle, partition(bundle.shapes, bundle.axes, ()), TrainConfig(steps=9, optimizer=sgd)
    )
    rng = np.random.default_rng(1)
    drawn = jax.tree.map(lambda x: 0.3 * rng.normal(size=x.shape).astype(np.float32), bundle.shapes)
    return bundle, training, drawn


def losses(name, mesh):
    """Those of two steps: the second one's tells whether the first one's gradient was right."""
    _, training, params = built(name)
    state = adopt_params(training, mesh, params)
    step = jit_step(training, state_shardings(training, mesh), mesh)
    found = []
    for _ in range(2):
        state, sums = step(state, put_batch(BATCH, mesh))
        found.append(float(sums["loss"] / sums["weight"]))
    return found


@functools.cache
def losses_of_one_device(name):
    return losses(name, make_mesh(MeshConfig(), jax.devices()[:1]))


@pytest.mark.parametrize(("name", "mesh"), CASES)
def test_eight_devices_give_the_losses_of_one(name, mesh):
    expected = losses_of_one_device(name)
    np.testing.assert_allclose(losses(name, make_mesh(MESHES[mesh])), expected, rtol=1e-5)
    assert abs(expected[1] - expected[0]) > 0.01


@pytest.mark.parametrize(("preset", "sizes"), [("fsdp", (1, 8, 1, 1)), ("fsdp_tp", (1, 2, 1, 4))])
def test_a_preset_says_what_the_config_leaves_open(preset, sizes):
    assert tuple(make_mesh(MeshConfig(preset=preset)).shape.values()) == sizes
    assert tuple(make_mesh(MeshConfig(preset=preset, tensor=2)).shape.values()) == (1, 4, 1, 2)
    assert tuple(make_mesh(MeshConfig(preset=preset, data=-1, fsdp=2)).shape.values())[1] == 2


@dataclasses.dataclass(frozen=True)
class Device:
    """What a mesh asks of a device of a pod."""

    id: int
    slice_index: int
    platform: str = "cpu"
    device_kind: str = "cpu"
    process_index: int = 0


def test_slices_lie_along_data_and_are_never_torn_apart():
    pod = [Device(id, id // 4) for id in (0, 5, 2, 7, 4, 1, 6, 3)]
    mesh = make_mesh(MeshConfig(preset="multislice", tensor=2), pod)
    assert tuple(mesh.shape.values()) == (2, 2, 1, 2)
    assert [{device.slice_index for device in part.flat} for part in mesh.devices] == [{0}, {1}]
    with pytest.raises(UserError, match="data=1 must be a multiple of the 2 slices"):
        make_mesh(MeshConfig(preset="fsdp"), pod)


def test_weights_that_would_stay_whole_are_named():
    bundle = family.build(dataclasses.replace(MODELS["t5"], d_model=20, vocab_size=999), ComputeConfig())
    check_cut(bundle.shapes, bundle.axes, make_mesh(MeshConfig(fsdp=4)))
    check_cut(bundle.shapes, bundle.axes, make_mesh(MeshConfig(preset="dp")))
    with pytest.raises(
        UserError, match=r"stay whole on each of fsdp=8 devices, .* embedding \[999, 20\] \(0.1 MiB"
    ):
        check_cut(bundle.shapes, bundle.axes, make_mesh(MeshConfig(preset="fsdp")))


@pytest.mark.parametrize("model", [T5Config(), BartConfig(), bert.BertConfig()])
def test_models_of_real_sizes_are_cut(model):
    bundle = family.build(model, ComputeConfig())
    for preset in ("fsdp", "fsdp_tp"):
        check_cut(bundle.shapes, bundle.axes, make_mesh(MeshConfig(preset=preset)))
