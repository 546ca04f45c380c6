"""A run whose batches have several lengths: few programs, and the same bits after a stop."""

import dataclasses
import json

from taggen_jax import train
from taggen_jax.prepared import Prepared
from tests.programs.conftest import EXPERIMENT

BUCKETS = (14,)


def run(trained, workdir, steps):
    log = dataclasses.replace(EXPERIMENT.log, every=1, peak_flops=1e12)
    settings = {"steps": steps, "eval_every": 0, "eval_products": 0, "accumulation": 2}
    experiment = dataclasses.replace(
        EXPERIMENT,
        log=log,
        stream=dataclasses.replace(EXPERIMENT.stream, buckets=BUCKETS),
        train=dataclasses.replace(EXPERIMENT.train, **settings),
    )
    train.run(experiment, trained.data, workdir)
    return experiment


def test_one_program_a_bucket_and_a_stop_changes_nothing(trained, tmp_path, monkeypatch):
    steps, sizes = [], []

    def jit_step(*args):
        steps.append(compiled(*args))
        return lambda state, batch: (sizes.append(batch["source"].shape[1]), steps[-1](state, batch))[1]

    compiled = train.jit_step
    monkeypatch.setattr(train, "jit_step", jit_step)
    run(trained, tmp_path / "straight", 8)
    assert set(sizes) == {*BUCKETS, 24}
    assert steps[0].__wrapped__._cache_size() <= len(BUCKETS) + 1
    for last in (3, 8):
        experiment = run(trained, tmp_path / "stopped", last)
    assert sizes[8:] == sizes[:8]
    one, other = (json.loads((tmp_path / x / "summary.json").read_text()) for x in ("straight", "stopped"))
    assert one["state_sha256"] == other["state_sha256"]
    lines = [json.loads(line) for line in (tmp_path / "straight" / "speed.jsonl").read_text().splitlines()]
    done = {  # what each step computed
        size: line["mfu"] * line["seconds_per_step"]
        for size, line in zip(sizes, lines, strict=False)
        if "mfu" in line
    }
    assert done[14] < done[24]
    rows = len(Prepared(trained.data).source("train"))
    assert rows // experiment.stream.batch_size >= 8  # so all of it is one window
