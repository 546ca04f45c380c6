"""`taggen train` from a test, as a process of its own."""

import json
import os
import pathlib
import subprocess
import sys
import time

from taggen_jax import config as configs
from taggen_jax.experiment import Experiment

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONFIG = """\
import json, pathlib
from taggen_jax import experiment
def get_config():
    text = pathlib.Path(__file__).with_name("settings.json").read_text()
    return experiment.config_dict(experiment.parse(json.loads(text)))
"""


def start(
    folder: pathlib.Path, experiment: Experiment, data: pathlib.Path, workdir: pathlib.Path
) -> subprocess.Popen:
    """`folder` keeps the config and what the process compiles."""
    (folder / "settings.json").write_text(json.dumps(configs.to_dict(experiment)))
    (folder / "alone.py").write_text(CONFIG)
    cache = str(folder / "compiled")
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": cache, "PYTHONPATH": str(ROOT)}
    flags = [f"--config={folder / 'alone.py'}", f"--data={data}", f"--workdir={workdir}"]
    command = [sys.executable, "-m", "taggen_jax", "train", *flags]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen, within: float | None = None) -> tuple[int, str]:
    """Exit status and standard error, once it has ended; fails if that takes more than so many seconds."""
    try:
        error = process.communicate(timeout=within)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
    return process.returncode, error


def newest(workdir: pathlib.Path) -> int:
    """The step of the newest checkpoint; 0 where there is none."""
    return max((int(path.name) for path in workdir.glob("checkpoints/*") if path.name.isdecimal()), default=0)


def wait_for(process: subprocess.Popen, workdir: pathlib.Path, step: int) -> None:
    """Returns when there is a checkpoint of that step, or of a later one: the oldest ones are deleted."""
    while newest(workdir) < step:
        assert process.poll() is None, f"ended before step {step}: {ended(process)}"
        time.sleep(0.002)
