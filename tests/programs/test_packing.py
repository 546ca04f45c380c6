"""Several products in a row, through the same `taggen train`: stopped and resumed to the bit."""

import dataclasses
import json

import pytest

from taggen_jax import train
from taggen_jax.errors import UserError
from tests.programs.conftest import EXPERIMENT


def packing(steps, products=3, **training):
    """The tiny experiment with rows for several products, dropout and micro-batches."""
    stream = dataclasses.replace(EXPERIMENT.stream, source_length=40, target_length=40, packing=products)
    settings = {"accumulation": 2, "tag_loss": 0.1, "eval_every": 2, "eval_products": 16} | training
    return dataclasses.replace(
        EXPERIMENT, stream=stream, train=dataclasses.replace(EXPERIMENT.train, steps=steps, **settings)
    )


def test_a_packed_run_is_resumed_to_the_bit(trained, tmp_path):
    train.run(packing(4), trained.data, tmp_path / "straight")
    for steps in (2, 4):
        train.run(packing(steps), trained.data, tmp_path / "resumed")
    train.run(packing(4, products=1), trained.data, tmp_path / "padded")
    sha, lines = {}, {}
    for name in ("straight", "resumed", "padded"):
        sha[name] = json.loads((tmp_path / name / "summary.json").read_text())["state_sha256"]
        lines[name] = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
    assert sha["straight"] == sha["resumed"] != sha["padded"]
    assert [x for x in lines["straight"] if "train/" not in x] == [
        x for x in lines["resumed"] if "train/" not in x
    ]


def test_a_cached_encoder_has_no_outputs_of_shared_rows(trained, tmp_path):
    frozen = packing(2, cache_encoder=True, tag_loss=0.0, freeze=("encoder", "embedding"))
    with pytest.raises(UserError, match=r"stream\.packing=3"):
        train.run(frozen, trained.data, tmp_path)
