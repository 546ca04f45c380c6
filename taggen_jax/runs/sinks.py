"""Where metrics go: a JSON-lines file, TensorBoard, Weights & Biases."""

import json
import math
import pathlib
import uuid
from collections.abc import Iterator, Mapping
from typing import Protocol

import tensorboardX

from taggen_jax.errors import UserError
from taggen_jax.files import atomic_write, read_json, write_json
from taggen_jax.runs.workdir import Workdir


class Sink(Protocol):
    """Takes the metrics of a step."""

    def write(self, step: int, metrics: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class JsonLines:
    """One JSON object a line: {"step": 100, "train/loss": 1.25}; null stands for NaN and infinities.

    Opened to go on after step `first`, it drops every line that the killed run wrote beyond it, so that the
    file ends as if there had been one run. 0 begins the file anew.
    """

    def __init__(self, path: pathlib.Path, first: int) -> None:
        kept = list(_lines_through(path, first))
        with atomic_write(path) as file:
            file.writelines(kept)
        self._path = path

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        finite = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        with self._path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps({"step": step, **finite}, ensure_ascii=False) + "\n")

    def close(self) -> None:
        pass  # the file is open only while a line is written


def _lines_through(path: pathlib.Path, last: int) -> Iterator[str]:
    if not last or not path.exists():
        return
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            # Only the last line can lack its end: the kill came while it was written.
            if line.endswith("\n") and json.loads(line)["step"] <= last:
                yield line


class TensorBoard:
    """Scalars for TensorBoard; the events of a killed run beyond step `first` are hidden."""

    def __init__(self, folder: pathlib.Path, first: int) -> None:
        self._writer = tensorboardX.SummaryWriter(str(folder), purge_step=first + 1 if first else 0)

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def show(self, step: int, name: str, text: str) -> None:
        """A text, on TensorBoard's tab for these; indented, so that no sign in it is taken for markup."""
        self._writer.add_text(name, "".join(f"    {line}\n" for line in text.splitlines()), step)

    def close(self) -> None:
        self._writer.close()


class WeightsAndBiases:
    """Metrics to Weights & Biases, or to a local folder under WANDB_MODE=offline.

    A resumed run goes on under the same id.

    Raises:
      UserError: wandb is not installed.
    """

    def __init__(self, workdir: Workdir, project: str) -> None:
        try:
            import wandb
        except ImportError as error:
            raise UserError(
                f"log.wandb_project: got {project!r}, but wandb is not installed; "
                "run `pip install 'taggen-jax[wandb]'`, or leave the field empty"
            ) from error
        if not workdir.wandb.exists():
            write_json(workdir.wandb, {"id": uuid.uuid4().hex})
        self._run = wandb.init(
            project=project,
            id=read_json(workdir.wandb, "the W&B run's id")["id"],
            resume="allow",
            dir=workdir.root,
            config=read_json(workdir.config, "the workdir's config"),
        )

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        self._run.log(dict(metrics), step=step)

    def close(self) -> None:
        self._run.finish()
