"""`launch/local.py` from a test: processes that are one run, with two simulated devices each."""

import os
import pathlib
import subprocess
import sys
from collections.abc import Sequence

ROOT = pathlib.Path(__file__).resolve().parents[2]


def launch(folder: pathlib.Path, count: int, command: Sequence[str]) -> subprocess.Popen:
    """`taggen COMMAND` by `count` processes in a group of their own; `folder` keeps what they compile."""
    launcher = [sys.executable, ROOT / "launch" / "local.py", f"--processes={count}", "--devices=2", "--"]
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "PYTHONPATH": str(ROOT),
        "XLA_FLAGS": "--xla_backend_optimization_level=0",  # compiles in half the time
    }
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    settings = {"env": environment, "start_new_session": True}
    return subprocess.Popen([*launcher, *command, "--lost_after=5"], **settings, **pipes)


def ended(process: subprocess.Popen) -> tuple[int, str, str]:
    """Exit status, standard output and error of the launcher and all that it started."""
    out, error = process.communicate()
    return process.returncode, out, error


def children(process: subprocess.Popen) -> list[int]:
    """The processes of a run, in their order."""
    return [
        int(pid)
        for pid in pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    ]
