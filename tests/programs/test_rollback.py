"""A run that goes wrong goes back to its newest checkpoint, and past the data that led there."""

import dataclasses
import json
import statistics

import pytest

from taggen_jax import train
from taggen_jax.errors import UserError
from tests.programs.conftest import EXPERIMENT

SPIKE = 1.25  # of losses that stay as they are, apart from what the batches differ in


def watched(steps, rate=1e-12, **settings):
    """The tiny experiment, which looks at every step and hardly learns."""
    optimizer = dataclasses.replace(EXPERIMENT.train.optimizer, learning_rate=rate, clip_norm=0.0)
    settings = {"non_finite": "roll_back", "eval_every": 0, "eval_products": 0, "save_every": 10} | settings
    return dataclasses.replace(
        EXPERIMENT,
        log=dataclasses.replace(EXPERIMENT.log, every=1, tensorboard=False),
        stream=dataclasses.replace(EXPERIMENT.stream, batch_size=8),
        train=dataclasses.replace(EXPERIMENT.train, steps=steps, optimizer=optimizer, **settings),
    )


def losses(workdir):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [line["train/loss"] for line in lines if "train/loss" in line]


def test_a_spike_is_passed_by_and_leaves_no_trace_also_in_a_resumed_run(trained, tmp_path, capsys):
    settings = {"spike": SPIKE, "rollbacks": 99}
    train.run(watched(60), trained.data, tmp_path / "free")
    train.run(watched(60, **settings), trained.data, tmp_path / "straight")
    assert "rolled back" in capsys.readouterr().out
    for steps in (34, 60):
        train.run(watched(steps, **settings), trained.data, tmp_path / "resumed")
    summaries = {
        name: json.loads((tmp_path / name / "summary.json").read_text())
        for name in ("free", "straight", "resumed")
    }

    def spikes(seen):
        return sum(seen[i] > SPIKE * statistics.median(seen[max(0, i - 50) : i]) for i in range(20, 60))

    assert spikes(losses(tmp_path / "free")) > 0 == spikes(losses(tmp_path / "straight"))
    assert len(losses(tmp_path / "straight")) == 60
    assert summaries["straight"]["rolled_back"] > 0 == summaries["free"]["rolled_back"]
    assert losses(tmp_path / "straight")[:34] == losses(tmp_path / "resumed")[:34]
    assert summaries["straight"]["steps"] == summaries["resumed"]["steps"] == 60


def test_what_rolling_back_cannot_mend_ends_the_run(trained, tmp_path):
    hopeless = watched(9, rate=1e30, rollbacks=2)
    with pytest.raises(UserError, match=r"step \d: the loss is \w+ \(after 2 rollbacks\)"):
        train.run(hopeless, trained.data, tmp_path)
    assert not (tmp_path / "summary.json").exists()
