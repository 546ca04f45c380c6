"""A run survives what happens to runs: kills, notices, damaged checkpoints, losses that are no numbers."""

import dataclasses
import functools
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import time

import jax
import numpy as np
import pytest

from taggen_jax import train
from taggen_jax.errors import UserError
from taggen_jax.runs.summary import Clock, state_sha256
from tests.programs import alone
from tests.programs.alone import ended, wait_for
from tests.programs.conftest import EXPERIMENT

STEPS, EVERY = 60, 10


def with_train(**changes):
    return dataclasses.replace(EXPERIMENT, train=dataclasses.replace(EXPERIMENT.train, **changes))


@pytest.fixture
def start(trained, tmp_path):
    """Starts `taggen train` as a process of its own: workdir -> Popen."""
    settings = {"steps": STEPS, "save_every": EVERY, "eval_every": 0, "eval_products": 0}
    experiment = with_train(**settings, accumulation=2, tag_loss=0.1)
    packed = dataclasses.replace(experiment.stream, source_length=48, packing=3)
    experiment = dataclasses.replace(experiment, stream=packed)
    return functools.partial(alone.start, tmp_path, experiment, trained.data)


def test_killed_and_told_to_go_equals_never_stopped(start, tmp_path):
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    assert ended(start(straight))[0] == 0
    killed = start(stopped)
    while not list(stopped.glob("checkpoints/*")):  # in the middle of its first save, or just after
        assert killed.poll() is None, ended(killed)
        time.sleep(0.002)
    killed.kill()
    assert ended(killed)[0] == -signal.SIGKILL
    told = start(stopped)
    wait_for(told, stopped, 2 * EVERY)
    told.send_signal(signal.SIGTERM)
    status, error = ended(told)
    assert status == 143 and "Traceback" not in error
    assert not (stopped / "summary.json").exists()
    assert ended(start(stopped))[0] == 0
    one, other = (json.loads((workdir / "summary.json").read_text()) for workdir in (straight, stopped))
    assert one["steps"] == other["steps"] == STEPS
    assert one["state_sha256"] == other["state_sha256"]
    assert 0 < other["goodput"] < one["goodput"] <= 1
    assert (straight / "metrics.jsonl").read_bytes() == (stopped / "metrics.jsonl").read_bytes()


def test_a_full_disk_ends_the_run_which_goes_on_once_there_is_room(start, tmp_path):
    cramped = start(tmp_path / "run")
    checkpoints = tmp_path / "run" / "checkpoints"
    wait_for(cramped, tmp_path / "run", EVERY)
    # From here on no file may grow beyond 16 KiB: the system refuses what a full disk refuses.
    resource.prlimit(cramped.pid, resource.RLIMIT_FSIZE, (2**14, 2**14))
    status, error = ended(cramped)
    assert status == 2
    said = re.compile(rf"taggen: error: {checkpoints}: the checkpoint of step \d+ could not be written .*")
    assert any(map(said.fullmatch, error.splitlines())), error  # threads of libraries speak around it
    whole = sorted(int(path.name) for path in checkpoints.iterdir() if path.name.isdecimal())
    assert whole and whole[-1] < STEPS
    again = start(tmp_path / "run")
    status, error = ended(again)
    assert status == 0 and "damaged" not in error
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["steps"] == STEPS


def damage(checkpoint: pathlib.Path) -> None:
    """Cuts the large files of its state in half."""
    files = [path for path in (checkpoint / "state").rglob("*") if path.is_file()]
    for path in files:
        if path.stat().st_size > 1000:
            os.truncate(path, path.stat().st_size // 2)


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(trained, tmp_path, capsys):
    workdir = tmp_path / "workdir"
    shutil.copytree(trained.workdir, workdir)
    expected = json.loads((workdir / "summary.json").read_text())["state_sha256"]
    damage(workdir / "checkpoints" / "6")
    train.run(EXPERIMENT, trained.data, workdir)
    printed = capsys.readouterr()
    assert f"warning: {workdir / 'checkpoints' / '6'}: damaged" in printed.err
    assert "from step 3 on" in printed.out and (workdir / "damaged" / "6").is_dir()
    assert json.loads((workdir / "summary.json").read_text())["state_sha256"] == expected


def test_with_every_checkpoint_damaged_nothing_is_begun_anew(trained, tmp_path):
    workdir = tmp_path / "workdir"
    shutil.copytree(trained.workdir, workdir)
    damage(workdir / "checkpoints" / "3")
    damage(workdir / "checkpoints" / "6")
    with pytest.raises(UserError, match="none of its 2 checkpoints can be read"):
        train.run(EXPERIMENT, trained.data, workdir)


def test_a_loss_that_is_no_number_stops_the_run_before_it_is_saved(trained, tmp_path):
    optimizer = dataclasses.replace(EXPERIMENT.train.optimizer, learning_rate=1e30, clip_norm=0.0)
    experiment = with_train(steps=20, save_every=1, eval_every=0, optimizer=optimizer)
    with pytest.raises(
        UserError, match=r"step \d+: the (loss|norm of the gradient) is (nan|inf); .*non_finite=skip"
    ):
        train.run(experiment, trained.data, tmp_path)
    saved = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert all(np.isfinite(value) for line in saved for value in line.values())


def test_the_digest_sees_values_types_shapes_and_names():
    state = {"a": jax.numpy.arange(4.0), "b": {"c": jax.numpy.ones((2, 2))}}
    same = {"b": {"c": jax.numpy.ones((2, 2))}, "a": jax.numpy.arange(4.0)}
    assert state_sha256(state) == state_sha256(same)
    others = (
        state | {"a": jax.numpy.arange(4.0).at[3].add(1e-6)},
        state | {"a": jax.numpy.arange(4)},
        state | {"a": jax.numpy.arange(4.0).reshape(2, 2)},
        {"d": state["a"], "b": state["b"]},
    )
    assert len({state_sha256(state), *map(state_sha256, others)}) == 5


def test_time_that_led_nowhere_lowers_the_goodput():
    clock = Clock(begun=time.time() - 100, kept=40.0)
    assert clock.goodput() == pytest.approx(0.4, abs=0.01)
    assert Clock.resume(clock.saved()).begun == clock.begun
