"""`taggen plan` on a small model, with libtpu and the CUDA compiler where they are installed (extras)."""

import dataclasses
import importlib.util

import jax
import pytest

from taggen_jax import plan
from taggen_jax.costs.chips import CHIPS, describe
from taggen_jax.data.stream import StreamConfig
from taggen_jax.decode.beam import DecodeConfig
from taggen_jax.errors import UserError
from taggen_jax.experiment import Experiment, GenerateConfig
from taggen_jax.models import attention, layers
from taggen_jax.models.layers import ComputeConfig
from taggen_jax.models.t5 import T5Config
from taggen_jax.parallel.mesh import MeshConfig, make_mesh
from taggen_jax.training.state import restorable

SIZES = {"d_model": 256, "d_mlp": 512, "n_heads": 4, "head_dim": 64, "encoder_layers": 2, "decoder_layers": 2}
EXPERIMENT = Experiment(
    stream=StreamConfig(source_length=128, target_length=128, batch_size=16),
    model=T5Config(vocab_size=1024, **SIZES),
    compute=ComputeConfig(dtype="bfloat16"),
    mesh=MeshConfig(preset="fsdp", tensor=2),
    generate=GenerateConfig(batch_size=16, decode=DecodeConfig(beams=4, max_length=16)),
)
needs_libtpu = pytest.mark.skipif(not importlib.util.find_spec("libtpu"), reason="needs the extra `plan`")

needs_cuda = pytest.mark.skipif(
    not importlib.util.find_spec("jax_cuda12_plugin"), reason="needs the extra `plan-gpu`"
)


@pytest.fixture(scope="module")
def pod():
    return describe("v5e:2x2")


@pytest.fixture(scope="module")
def mesh(pod):
    return make_mesh(EXPERIMENT.mesh, pod.devices)


@pytest.mark.parametrize("topology", ["v9:2x2", "v5p", "v5e:fourxfour", "h100"])
def test_an_unknown_topology_is_refused(topology):
    with pytest.raises(UserError, match=rf"--topology={topology}: expected KIND:SHAPE such as v5e:4x4"):
        describe(topology)


def test_model_flops_do_not_depend_on_how_the_model_is_run():
    how = dataclasses.replace(EXPERIMENT, compute=ComputeConfig(remat="full"))
    chunked = dataclasses.replace(how, train=dataclasses.replace(how.train, loss_positions=8, accumulation=2))
    assert plan.step_flops(chunked) == plan.step_flops(EXPERIMENT) > 0


@pytest.mark.parametrize("unit", [1, 16, 48])
@pytest.mark.parametrize("fixed", [1e3, 1e8])
@pytest.mark.parametrize("tile", [1, 1000, 20_000])
def test_the_largest_batch_is_found_within_a_few_tries(unit, fixed, tile):
    """`tile`: so many rows cost as much as one, as where a small batch is padded."""
    tried = []

    def used(rows):
        tried.append(rows)
        taken = fixed + 1e4 * (rows + max(0, tile - rows) / 2) + 0.01 * rows**2
        return taken if taken <= 1e9 else None

    found = plan.largest_rows(used, unit, 1e9)
    assert len(tried) <= plan.TRIES and found in tried and not found % unit
    assert used(found) and used(int(1.2 * found) + unit) is None


def test_where_the_smallest_batch_does_not_fit_none_does():
    assert plan.largest_rows(lambda rows: None, 8, 1e9) == 0


@needs_libtpu
def test_a_program_knows_what_it_is_compiled_for(mesh):
    assert layers.platform() == "any"
    with jax.set_mesh(mesh):
        assert layers.platform() == "tpu"


@needs_libtpu
def test_a_compiled_step_costs_what_the_formula_says(mesh):
    """Within 3 %, with the products of attention computed again, and no others."""
    experiment = dataclasses.replace(EXPERIMENT, compute=ComputeConfig(dtype="bfloat16", remat="dots"))
    compiled = plan.compile_step(experiment, mesh)
    rows, S, T, layers = 16, 128, 128, 2
    attention = 2 * 2 * rows * 256 * (S * S + T * T + T * S) * layers
    formula = plan.step_flops(EXPERIMENT) + attention
    assert compiled.counts.flops == pytest.approx(formula / mesh.size, rel=0.03)
    assert not compiled.counts.unknown and compiled.counts.sent
    state = restorable(plan._functions(experiment), mesh)
    known = plan.bytes_each(state) + plan.bytes_each(plan._batch(experiment, mesh))
    assert compiled.memory.arguments == pytest.approx(known, rel=0.01)


@needs_cuda
def test_a_step_compiled_for_gpus_costs_the_same(capsys):
    experiment = dataclasses.replace(EXPERIMENT, compute=ComputeConfig(dtype="bfloat16", remat="none"))
    mesh = make_mesh(experiment.mesh, describe("h100:1x4").devices)
    compiled = plan.compile_step(experiment, mesh)
    assert compiled.counts.flops == pytest.approx(plan.model_flops(experiment) / mesh.size, rel=0.03)
    assert not compiled.counts.unknown and compiled.counts.sent
    state = restorable(plan._functions(experiment), mesh)
    known = plan.bytes_each(state) + plan.bytes_each(plan._batch(experiment, mesh))
    assert compiled.memory.arguments == pytest.approx(known, rel=0.01)
    assert len(describe("a100:2x8", slices=2).devices) == 32


@needs_cuda
@pytest.mark.skipif(not attention.has_cudnn(), reason="needs nvidia-cudnn-cu12")
def test_a_step_with_cudnns_attention_computes_the_logits_twice():
    model = dataclasses.replace(EXPERIMENT.model, dropout=0.0)
    experiment = dataclasses.replace(EXPERIMENT, model=model)
    compiled = plan.compile_step(experiment, make_mesh(experiment.mesh, describe("h100:1x4").devices))
    logits = 2 * 16 * 256 * 3 * 128 * 128 * 2  # of three attentions in two layers
    formula = plan.step_flops(experiment) + logits
    assert compiled.counts.flops == pytest.approx(formula / 4, rel=0.01)


@needs_libtpu
def test_the_table_has_training_and_generation(capsys):
    plan.run(EXPERIMENT, "v5e:2x2", slices=1, batch=8, search=False)
    said = capsys.readouterr().out
    assert "4 devices, 1 x v5e:2x2: data 1 x fsdp 2 x sequence 1 x tensor 2" in said
    training, generator = said.split("generator, on each device")
    for line in ("parameters", "optimizer", "activations and temporaries", "in all", "fits", "MFU at most"):
        assert f"\n  {line} " in training
    assert "\n  rows in a batch              " in training and " 8\n" in training
    for line in ("of which beams' keys and values, at most", "of which cross keys and values, at most"):
        assert line in generator


@needs_libtpu
def test_a_batch_that_does_not_fit_is_found_out_and_the_largest_one_that_does(pod, mesh):
    one_layer = dataclasses.replace(EXPERIMENT.model, encoder_layers=1, decoder_layers=1)
    experiment = dataclasses.replace(EXPERIMENT, model=one_layer)
    small = pod.chip._replace(memory=100 * 2**20)
    rows, compiled = plan.largest(experiment, mesh, small)
    assert rows > 8 and sum(compiled.memory) <= small.memory
    assert not plan.fitting(plan.with_rows(experiment, 2 * rows), mesh, small)


@needs_libtpu
@pytest.mark.parametrize("topology", ["v4:2x2x1", "v5p:2x2x1", "v6e:2x2", "tpu7x:2x2x1"])
def test_every_kind_of_chip_can_be_described(topology):
    pod = describe(topology)
    assert len(pod.devices) * pod.chip.flops == pytest.approx(4 * CHIPS[topology.split(":")[0]].flops)


@needs_libtpu
def test_slices_lie_along_data():
    pod = describe("v5e:2x2", slices=2)
    mesh = make_mesh(MeshConfig(preset="multislice"), pod.devices)
    assert tuple(mesh.shape.values()) == (2, 4, 1, 1)
