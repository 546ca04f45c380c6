"""What a finished run says of itself: summary.json, with a fingerprint of the whole training state."""

import dataclasses
import hashlib
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from taggen_jax.files import read_json, write_json
from taggen_jax.parallel import hosts
from taggen_jax.runs.watch import Watch
from taggen_jax.runs.workdir import Workdir


def state_sha256(state: Any) -> str:
    """SHA-256 over every array of a state, as hexadecimal digits.

    The order: leaves sorted by their path, keys joined by "/"; of each leaf the path, the type, the shape (as
    UTF-8 text, "params/embedding float32 (800, 16)\\n") and then its bytes, little-endian, in C order. Two
    runs with the same digest have the same parameters, optimizer moments and step, to the bit, whatever mesh
    they lie on. One leaf at a time is gathered.
    """
    digest = hashlib.sha256()
    leaves = {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
    }
    for path in sorted(leaves):
        value = hosts.whole(leaves[path])
        digest.update(f"{path} {value.dtype} {value.shape}\n".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


@dataclasses.dataclass
class Clock:
    """How much of a run's time became part of its result; survives kills by way of the checkpoints' meta.

    Attributes:
      begun: when the run was first started, seconds since the epoch.
      kept: seconds from start to checkpoint of every session, as far as that checkpoint was gone on from.
    """

    begun: float
    kept: float

    @classmethod
    def resume(cls, saved: Mapping[str, float]) -> "Clock":
        """From what `saved()` returned; from nothing where the run begins."""
        return cls(saved.get("begun", time.time()), saved.get("kept", 0.0))

    def __post_init__(self) -> None:
        self._session = time.monotonic()

    def saved(self) -> dict[str, float]:
        """What a checkpoint keeps."""
        return {"begun": self.begun, "kept": self.kept + time.monotonic() - self._session}

    def goodput(self) -> float:
        """The share of the wall-clock time since the first start that led to the present state."""
        return min(1.0, self.saved()["kept"] / max(time.time() - self.begun, 1e-9))


def summarised(workdir: Workdir, steps: int) -> bool:
    """Whether summary.json is of so many steps."""
    path = workdir.summary
    return path.exists() and read_json(path, "the run's summary")["steps"] == steps


def write_summary(workdir: Workdir, state: Any, clock: Clock, watch: Watch) -> dict[str, Any]:
    """Writes summary.json: "steps" done, "state_sha256", "wall_seconds" since the first start, "goodput", and
    how many steps were "skipped" and how often the run was "rolled_back"."""
    summary = {
        "steps": int(state["step"]),
        "state_sha256": state_sha256(state),
        "wall_seconds": round(time.time() - clock.begun, 3),
        "goodput": round(clock.goodput(), 4),
        "skipped": watch.skipped,
        "rolled_back": watch.rolled_back,
    }
    if hosts.first():
        write_json(workdir.summary, summary)
    return summary
