"""What `taggen rehearse` makes smaller fits the simulated devices, and is still the same experiment."""

import dataclasses
import importlib.util
import pathlib

import jax
import pytest

from taggen_jax import experiment as experiments
from taggen_jax import prepare, rehearse
from taggen_jax.catalog import demo
from taggen_jax.models import bart, bert, family, gemma, t5gemma
from taggen_jax.models.layers import ComputeConfig
from taggen_jax.parallel.mesh import MeshConfig, check_batch, check_cut, make_mesh
from taggen_jax.prepared import Prepared
from tests.programs.conftest import EXPERIMENT

CONFIGS = sorted((pathlib.Path(__file__).resolve().parents[2] / "configs").glob("*.py"))
GEMMA = gemma.StackConfig(
    d_model=2304, d_mlp=9216, n_heads=8, n_kv_heads=4, head_dim=256, local=(True, False) * 13
)
MODELS = [
    bart.BartConfig(),
    bert.BertConfig(),
    t5gemma.T5GemmaConfig(encoder=GEMMA, decoder=GEMMA, vocab_size=256_000),
]


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return experiments.parse(module.get_config())


def parameters(experiment):
    shapes = family.build(experiment.model, ComputeConfig()).shapes
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_fits_both_meshes_of_its_rehearsal(path):
    experiment = load(path)
    small = rehearse.shrunk(experiment, own_data=True)
    assert parameters(small) <= rehearse.LARGE
    bundle = family.build(small.model, small.compute)
    for config in (small.mesh, rehearse._other(small.mesh)):
        mesh = make_mesh(config)
        check_batch(small.stream.batch_size // small.train.accumulation, mesh, "stream.batch_size")
        check_batch(small.generate.batch_size, mesh, "generate.batch_size")
        check_cut(bundle.shapes, bundle.axes, mesh)
    assert rehearse._layout(small.mesh) != rehearse._layout(rehearse._other(small.mesh))
    kept = ("text", "tokenizer", "tags", "catalog", "compute")
    assert all(getattr(small, name) == getattr(experiment, name) for name in kept)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_reads_the_demo_catalog(path, tmp_path):
    """MiniLM's tokenizer cannot spell the Chinese products, for one."""
    demo.write(tmp_path / "catalog.jsonl", rehearse.PRODUCTS)
    small = rehearse.shrunk(load(path), own_data=False)
    prepare.run(small, tmp_path / "data", input=[str(tmp_path / "catalog.jsonl")])
    assert len(Prepared(tmp_path / "data").source("train")) > rehearse.PRODUCTS / 2


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.family)
def test_a_large_model_of_any_family_becomes_a_small_one(model):
    small = rehearse.shrunk(dataclasses.replace(EXPERIMENT, model=model), own_data=False)
    assert parameters(small) <= rehearse.LARGE < parameters(dataclasses.replace(EXPERIMENT, model=model))
    assert small.model.vocab_size == model.vocab_size and type(small.model) is type(model)


@pytest.mark.parametrize(
    "mesh",
    [MeshConfig(data=64), MeshConfig(data=8, fsdp=16, tensor=4), MeshConfig(preset="fsdp_tp", tensor=16)],
)
def test_a_mesh_of_a_pod_becomes_one_of_eight_devices(mesh):
    small = rehearse.shrunk(dataclasses.replace(EXPERIMENT, mesh=mesh), own_data=False).mesh
    shape = make_mesh(small).shape
    assert all(shape[axis] > 1 for axis in ("data", "fsdp", "tensor") if getattr(mesh, axis) > 1)


def test_buckets_longer_than_a_rehearsal_are_left_out():
    stream = dataclasses.replace(EXPERIMENT.stream, source_length=256, buckets=(32, 64, 128))
    small = rehearse.shrunk(dataclasses.replace(EXPERIMENT, stream=stream), own_data=False).stream
    assert (small.source_length, small.buckets) == (rehearse.LENGTH, (32,))
