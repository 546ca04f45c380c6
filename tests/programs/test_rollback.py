"""A run that goes wrong goes back to its newest checkpoint, and past the data that led there."""

import dataclasses
import json
import statistics

import pytest

from taggen_jax import train
from taggen_jax.errors import UserError
from taggen_jax.runs.watch import ENOUGH, RECENT
from tests.programs.conftest import EXPERIMENT


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


def ratios(workdir):
    """Each loss beside the median of those before it, once there are enough of them."""
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    losses = [line["train/loss"] for line in lines if "train/loss" in line]
    return [losses[i] / statistics.median(losses[max(0, i - RECENT) : i]) for i in range(ENOUGH, len(losses))]


def test_a_spike_is_passed_by_and_leaves_no_trace(trained, tmp_path, capsys):
    train.run(watched(40), trained.data, tmp_path / "free")
    *_, spike, highest = sorted(ratios(tmp_path / "free"))
    assert 1 < spike < highest
    train.run(watched(40, spike=spike, rollbacks=99), trained.data, tmp_path / "watched")
    assert "; rolled back" in capsys.readouterr().out
    seen = ratios(tmp_path / "watched")
    assert len(seen) == 40 - ENOUGH and max(seen) <= spike * (1 + 1e-6)
    summary = json.loads((tmp_path / "watched" / "summary.json").read_text())
    assert summary["steps"] == 40 and summary["rolled_back"] >= 1


def test_what_rolling_back_cannot_mend_ends_the_run(trained, tmp_path):
    hopeless = watched(9, rate=1e30, rollbacks=1)
    with pytest.raises(UserError, match=r"step \d: the .+ is \w+ \(after 1 rollbacks\)"):
        train.run(hopeless, trained.data, tmp_path)
    assert not (tmp_path / "summary.json").exists()
