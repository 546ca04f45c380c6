"""A head beside the decoder: trained with it, asked alone, left behind by an export."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from taggen_jax import convert, evaluate, train
from taggen_jax.config import from_dict
from taggen_jax.errors import UserError
from taggen_jax.experiment import Experiment
from taggen_jax.prepared import Prepared
from taggen_jax.tagger import open_workdir
from tests.programs.conftest import EXPERIMENT

HEAD = dataclasses.replace(
    EXPERIMENT,
    train=dataclasses.replace(EXPERIMENT.train, steps=2, eval_every=0, tag_loss=1.0),
    generate=dataclasses.replace(EXPERIMENT.generate, mode="head"),
)


@pytest.fixture(scope="module")
def workdir(trained, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("head") / "workdir"
    train.run(HEAD, trained.data, workdir)
    return workdir


def test_the_answers_are_the_heads_probabilities(workdir, trained, tmp_path):
    evaluate.run(workdir, trained.data, "train", tmp_path)
    experiment, _, params = open_workdir(workdir)
    prepared = Prepared(trained.data)
    batch = next(prepared.eval_batches(experiment, "train", 16))
    model = train.build(experiment, prepared.vocabulary).bind(params)
    probability_BN = jax.nn.sigmoid(model.tag_logits(model.encoded({"source": batch["source"]})))
    lines = (tmp_path / "predictions.jsonl").read_text().splitlines()
    for line, probability_N in zip(map(json.loads, lines[:16]), np.asarray(probability_BN), strict=True):
        tags, scores = zip(*line["candidates"], strict=True)
        assert len(tags) == 32 and list(scores) == sorted(scores, reverse=True)
        expected = [probability_N[prepared.vocabulary.index(tag)] for tag in tags]
        np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_an_export_leaves_the_head_behind_and_says_so(workdir, tmp_path, capsys):
    convert.export(workdir, tmp_path / "hf")
    assert "the tag head stays behind" in capsys.readouterr().out


def test_a_head_that_was_never_trained_is_refused():
    with pytest.raises(UserError, match=r"mode='head' needs a model that was trained with train\.tag_loss"):
        from_dict(Experiment, {"generate": {"mode": "head"}}, "config")
