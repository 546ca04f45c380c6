"""A run that loses its prepared data says what to do; once they are back, it ends as if nothing had been."""

import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from taggen_jax import train
from taggen_jax.errors import UserError
from tests.programs import alone
from tests.programs.alone import ended, newest, wait_for
from tests.programs.conftest import EXPERIMENT

EVERY = 10
MANY = 10**6  # steps: no run ends by itself while a test looks for a moment to disturb it
SECONDS = 180  # on a busy machine, after which a run that should have ended hangs


def experiment(steps: int, packing: int = 3):
    settings = {"steps": steps, "save_every": EVERY, "eval_every": 0, "eval_products": 0}
    stream = dataclasses.replace(EXPERIMENT.stream, source_length=48, packing=packing, threads=2)
    changed = dataclasses.replace(EXPERIMENT.train, **settings)
    return dataclasses.replace(EXPERIMENT, train=changed, stream=stream)


@pytest.fixture
def data(trained, tmp_path) -> pathlib.Path:
    """A data folder of the test's own."""
    return shutil.copytree(trained.data, tmp_path / "data")


@pytest.fixture
def start(data, tmp_path):
    """(steps, workdir) -> a run on `data`, which does not outlive the test."""
    runs = []

    def started(steps: int, workdir: pathlib.Path) -> subprocess.Popen:
        runs.append(alone.start(tmp_path, experiment(steps), data, workdir))
        return runs[-1]

    yield started
    for run in runs:
        run.kill()
        run.wait()
        run.stderr.close()


def rows(data: pathlib.Path) -> pathlib.Path:
    """The file of the training rows."""
    (path,) = data.glob("taggen-train.array_record-*")
    return path


def delete(path: pathlib.Path) -> None:
    path.unlink()


def cut(path: pathlib.Path) -> None:
    os.truncate(path, path.stat().st_size // 8)


def overwrite(path: pathlib.Path) -> None:
    """Everything behind the head of the file, in place: no row can be decoded."""
    with open(path, "r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))


def test_rows_lost_in_the_middle_change_nothing_once_they_are_back(start, data, trained, tmp_path):
    """An open file outlives its deletion. A cut or overwritten one ends the run, which hears of it from the
    threads that read ahead, through the one that packs."""
    workdir = tmp_path / "run"

    def disturbed(disturb) -> subprocess.Popen:
        shutil.copyfile(rows(trained.data), data / rows(trained.data).name)
        saved = newest(workdir)
        run = start(MANY, workdir)
        wait_for(run, workdir, saved + EVERY)
        disturb(rows(data))
        return run

    run = disturbed(delete)
    wait_for(run, workdir, newest(workdir) + 3 * EVERY)  # more than what had been read ahead
    run.terminate()
    assert ended(run, SECONDS)[0] == 143
    for disturb, reason in ((cut, "a file ends before them: it was cut"), (overwrite, "Corrupted .*")):
        run = disturbed(disturb)
        status, error = ended(run, SECONDS)
        assert status == 2, error
        said = re.compile(rf"taggen: error: {data}: rows cannot be read \({reason}\); bring them back, .*")
        assert any(map(said.fullmatch, error.splitlines())), error  # threads of Orbax speak around it
    shutil.copyfile(rows(trained.data), rows(data))
    steps, straight = newest(workdir) + 4, tmp_path / "straight"
    for run in [start(steps, each) for each in (workdir, straight)]:
        status, error = ended(run)
        assert status == 0 and "damaged" not in error, error
    one, other = (json.loads((each / "summary.json").read_text()) for each in (straight, workdir))
    assert one["steps"] == other["steps"] == steps
    assert one["state_sha256"] == other["state_sha256"]


@pytest.mark.parametrize("packing", [1, 3])
@pytest.mark.parametrize("disturb", [delete, cut, overwrite])
def test_rows_lost_before_the_start_begin_nothing(data, tmp_path, disturb, packing):
    disturb(rows(data))
    with pytest.raises(UserError, match=f"{data}: rows cannot be read .*bring them back"):
        train.run(experiment(MANY, packing), data, tmp_path / "run")
    assert newest(tmp_path / "run") == 0
