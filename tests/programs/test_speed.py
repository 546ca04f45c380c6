"""What an operator reads of a run: speed.jsonl, the session's last line, a profile on demand."""

import dataclasses
import json

from taggen_jax import train
from tests.programs.conftest import EXPERIMENT


def test_a_session_says_how_fast_it_went(trained, tmp_path, capsys):
    log = dataclasses.replace(EXPERIMENT.log, every=1, peak_flops=1e12)
    for steps in (2, 4):
        training = dataclasses.replace(EXPERIMENT.train, steps=steps, eval_products=0)
        experiment = dataclasses.replace(EXPERIMENT, log=log, train=training)
        train.run(experiment, trained.data, tmp_path, profile="4:4")
    lines = [json.loads(line) for line in (tmp_path / "speed.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert ["mfu" in line for line in lines] == [False, True, False, True]  # not of steps that compile
    for line in (lines[1], lines[3]):
        assert 16 < line["tokens_per_second"] / line["examples_per_second"] < 64
        assert 0 < line["mfu"] < 1 and 0 <= line["data_wait_share"] <= 1
    printed = capsys.readouterr().out
    assert printed.count("session: 1 steps in") == 2
    assert f"profile of steps 4 to 4: {tmp_path / 'profile'}" in printed
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))
