"""Several processes are one run: the same losses, one checkpoint, one end.

Every process compiles for itself, so all cases take ten minutes of two cores: without TAGGEN_EVERY_MESH=1 in
the environment only the first one runs.
"""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import time

import numpy as np
import pytest

from taggen_jax import config as configs
from taggen_jax.parallel.mesh import MeshConfig
from taggen_jax.runs.logs import LogConfig
from tests.programs.alone import newest, wait_for
from tests.programs.conftest import EXPERIMENT
from tests.programs.launched import children, ended, launch

CASES = [  # two devices each
    (2, MeshConfig(fsdp=2, data=2)),  # the batch is cut within and between processes
    (2, MeshConfig(tensor=4)),  # both processes hold the same rows
    (4, MeshConfig(tensor=4, data=2)),
    (4, MeshConfig(preset="fsdp")),
]
long = pytest.mark.skipif("TAGGEN_EVERY_MESH" not in os.environ, reason="needs TAGGEN_EVERY_MESH=1")
MODEL = dataclasses.replace(EXPERIMENT.model, n_heads=4)  # which tensor=4 divides
BOUND = 240  # seconds, on a busy machine, in which whoever lost a peer is gone


class Runs:
    """Starts `taggen train` as one or several processes with two simulated devices each."""

    def __init__(self, folder: pathlib.Path, data: pathlib.Path) -> None:
        self.folder, self.data = folder, data
        self.running: list[subprocess.Popen] = []

    def start(
        self, name: str, count: int, steps: int, mesh: MeshConfig = EXPERIMENT.mesh
    ) -> subprocess.Popen:
        """`launch/local.py`, which starts them, in a process group of its own; its workdir is `name`."""
        settings = {"eval_products": 0, "eval_every": 0, "save_every": 2, "steps": steps}
        training = dataclasses.replace(EXPERIMENT.train, **settings)
        log = LogConfig(every=1)
        experiment = dataclasses.replace(EXPERIMENT, model=MODEL, train=training, mesh=mesh, log=log)
        (self.folder / "settings.json").write_text(json.dumps(configs.to_dict(experiment)))
        (self.folder / "config.py").write_text(
            "import json, pathlib\n"
            "from taggen_jax import experiment\n"
            "def get_config():\n"
            "    text = pathlib.Path(__file__).with_name('settings.json').read_text()\n"
            "    return experiment.config_dict(experiment.parse(json.loads(text)))\n"
        )
        command = ["train", f"--config={self.folder / 'config.py'}", f"--data={self.data}"]
        command += [f"--workdir={self.folder / name}"]
        self.running.append(launch(self.folder, count, command))
        return self.running[-1]

    def lines(self, name: str) -> list[dict[str, float]]:
        return [json.loads(line) for line in (self.folder / name / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def runs(trained, tmp_path_factory):
    runs = Runs(tmp_path_factory.mktemp("runs"), trained.data)
    yield runs
    for process in runs.running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def gone(process: int) -> bool:
    """Whether it has ended, all of its threads: it waits for its parent to ask for its status."""
    proc = pathlib.Path(f"/proc/{process}")
    return (proc / "stat").read_text().split(") ")[1][0] == "Z" and len(list((proc / "task").iterdir())) == 1


@pytest.fixture(scope="module")
def alone(runs):
    """The lines of a run by one process."""
    status, _, error = ended(runs.start("alone", 1, steps=6))
    assert status == 0, error
    return runs.lines("alone")


@pytest.mark.parametrize(
    ("count", "mesh"), [CASES[0], *(pytest.param(*case, marks=long) for case in CASES[1:])]
)
def test_several_processes_are_one_run(runs, alone, count, mesh):
    name = f"{count} processes, {mesh}"
    status, out, error = ended(runs.start(name, count, steps=4, mesh=mesh))
    assert status == 0, error
    assert out.count("step 4: validation/loss") == 1  # only one of them prints
    status, out, error = ended(runs.start(name, 1, steps=6))  # their checkpoint: another mesh, one process
    assert status == 0 and "from step 4 on" in out, error
    steps = [line for line in runs.lines(name) if line["step"] > 4 or "train/loss" in line]  # 4 was the end
    assert [line["step"] for line in steps] == [line["step"] for line in alone] == [1, 2, 3, 4, 5, 6, 6]
    for one, other in zip(alone, steps, strict=True):
        np.testing.assert_allclose(list(other.values()), list(one.values()), rtol=1e-4)


@long
def test_told_by_one_all_stop_after_the_same_step(runs):
    run = runs.start("told", 2, steps=100_000)
    wait_for(run, runs.folder / "told", 2)
    os.kill(children(run)[1], signal.SIGTERM)
    status, out, error = ended(run)
    assert status == 143, error
    assert f"stopped by SIGTERM after step {newest(runs.folder / 'told')}, which is saved" in out


@long
def test_whoever_loses_a_peer_ends_and_a_restart_goes_on(runs):
    """The launcher is stopped, so that it is the other one, not it, that sees the loss."""
    run, workdir = runs.start("lost", 2, steps=100_000), runs.folder / "lost"
    wait_for(run, workdir, 2)
    first, second = children(run)
    os.kill(run.pid, signal.SIGSTOP)
    os.kill(second, signal.SIGKILL)
    begin = time.monotonic()
    while not gone(first):
        assert time.monotonic() - begin < BOUND, "it waits for the one that is lost"
        time.sleep(0.1)
    saved = newest(workdir)
    os.kill(run.pid, signal.SIGCONT)
    wait_for(run, workdir, saved + 4)  # by those that were started again
    os.kill(run.pid, signal.SIGTERM)
    status, out, error = ended(run)
    assert status == 143, error
    assert "launch: a process ended with status 134" in error and f"from step {saved} on" in out
