"""Adapters through the programs: checkpoints hold them alone; what leaves a workdir is the whole model."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

from taggen_jax import convert, train
from taggen_jax.errors import UserError
from taggen_jax.interop import hf
from taggen_jax.runs.checkpoints import CheckpointConfig, Checkpoints
from taggen_jax.tagger import open_workdir
from taggen_jax.training.lora import LoraConfig
from tests.programs.conftest import EXPERIMENT


def adapting(steps):
    settings = {"eval_every": 0, "eval_products": 0, "save_every": 2, "lora": LoraConfig(rank=2)}
    return dataclasses.replace(
        EXPERIMENT, train=dataclasses.replace(EXPERIMENT.train, steps=steps, **settings)
    )


@pytest.fixture(scope="module")
def run(trained, tmp_path_factory):
    """The workdir of a run that was resumed, and that of one that was not."""
    root = tmp_path_factory.mktemp("lora")
    for steps, name in ((2, "resumed"), (4, "resumed"), (4, "straight")):
        train.run(adapting(steps), trained.data, root / name)
    return root / "resumed", root / "straight"


def test_a_run_of_adapters_is_resumed_to_the_bit(run):
    one, other = (json.loads((workdir / "summary.json").read_text()) for workdir in run)
    assert one["state_sha256"] == other["state_sha256"]


def test_checkpoints_hold_adapters_alone_and_the_base_is_there_once(run):
    workdir, _ = run
    checkpoints = Checkpoints(workdir / "checkpoints", CheckpointConfig(), writing=False)
    assert set(checkpoints.leaves(4)) == {"lora"}
    beside = Checkpoints(workdir / "base", CheckpointConfig(), writing=False)
    assert "lora" not in beside.leaves(0) and "embedding" in beside.leaves(0)


def test_what_is_exported_is_what_generates(run, tmp_path):
    workdir, _ = run
    _, _, params = open_workdir(workdir)
    assert "lora" not in params
    convert.export(workdir, tmp_path / "hf", check=False)
    _, leaves = hf.load(tmp_path / "hf")
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), params, leaves)
    _, _, base = open_workdir(workdir, step=2)
    assert not np.array_equal(
        base["encoder"]["blocks"]["attention"]["query"], params["encoder"]["blocks"]["attention"]["query"]
    )


def test_another_base_is_refused(run, trained, tmp_path):
    workdir = tmp_path / "workdir"
    shutil.copytree(run[0], workdir)
    shutil.rmtree(workdir / "base")
    Checkpoints(workdir / "base", CheckpointConfig(), writing=True).close()
    beside = Checkpoints(run[0] / "base", CheckpointConfig(), writing=False)
    changed = jax.tree.map(lambda leaf: leaf[...] + 1, beside.leaves(0))
    wrong = Checkpoints(workdir / "base", CheckpointConfig(), writing=True)
    wrong.save(0, {"params": changed}, {}, {})
    wrong.close()
    with pytest.raises(UserError, match="not the parameters that the adapters were trained beside"):
        open_workdir(workdir)
