"""The log of a run: from sums that still lie on the devices to numbers on screen and on disk."""

import contextlib
import dataclasses
import math
import sys
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Self

import jax
from rich.console import Console

from taggen_jax.parallel import hosts
from taggen_jax.runs.console import Meter, Screen, screen, sentence
from taggen_jax.runs.sinks import JsonLines, Sink, TensorBoard, WeightsAndBiases
from taggen_jax.runs.speed import Speed
from taggen_jax.runs.watch import Watch
from taggen_jax.runs.workdir import Workdir

OF_THE_STEP = ("gradient_norm", "learning_rate")  # no sums over tokens: reported as they are
COUNTED = ("skipped",)  # sums that are reported undivided
COUNTS = ("weight", "examples", "tokens")  # not reported; every other entry of the sums is divided by "weight"

Sums = Mapping[str, jax.Array]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogConfig:
    """Where training reports to, and how often.

    Attributes:
      every: steps that one line of metrics.jsonl sums up.
      seconds: between two lines of console output where that is no terminal.
      tensorboard: whether to write event files, too.
      peak_flops: of one device, FLOP/s, for the MFU; 0 takes what is known of its kind.
      wandb_project: the Weights & Biases project to report to; "" reports to none.
    """

    every: int = 50
    seconds: float = 10.0
    tensorboard: bool = True
    peak_flops: float = 0.0
    wandb_project: str = ""

    def __post_init__(self) -> None:
        if self.every < 1 or self.seconds < 0 or self.peak_flops < 0:
            raise ValueError(
                f"every={self.every} must be at least 1, seconds={self.seconds} and "
                f"peak_flops={self.peak_flops} not negative"
            )


def means(sums: Mapping[str, float]) -> dict[str, float]:
    """Divides once, at the end: every entry by "weight", except those that are no sums over tokens."""
    weight = float(sums["weight"])
    return {
        name: float(value) if name in OF_THE_STEP + COUNTED else float(value) / weight if weight else math.nan
        for name, value in sums.items()
        if name not in COUNTS
    }


class Log:
    """Reports a run of `steps` steps, of which `first` are done when it opens. Only process 0 writes.

    Attributes:
      speed: measures the session.

    Steps are counted by how many are done: the first optimizer step is 1. metrics.jsonl holds nothing that
    depends on the clock, so that a killed and resumed run leaves the same bytes as one that was never killed:
    save a checkpoint after everything of its step is written, with `window()` in its meta.
    """

    def __init__(
        self,
        workdir: Workdir,
        config: LogConfig,
        speed: Speed,
        watch: Watch,
        *,
        steps: int,
        first: int = 0,
        window: Mapping[str, float] | None = None,
        console: Console | None = None,
    ) -> None:
        """`first` and `window` come from the checkpoint that the run resumes at."""
        self._config, self._steps, self.speed, self._watch = config, steps, speed, watch
        self._window = dict(window or {})
        self._pending: tuple[int, Sums, float] | None = None
        self._meter = Meter(steps)
        self._screens: list[Screen] = []
        self._files: list[Sink] = []  # reproducible
        self._boards: list[Sink] = []  # these also get the speed
        self._speeds: list[Sink] = []  # these get nothing else
        self._galleries: list[TensorBoard] = []  # these also get texts
        if hosts.first():
            if config.wandb_project:  # first: it may refuse
                self._boards.append(WeightsAndBiases(workdir, config.wandb_project))
            if config.tensorboard:
                self._galleries.append(TensorBoard(workdir.tensorboard, first))
                self._boards += self._galleries
            self._files.append(JsonLines(workdir.metrics, first))
            self._speeds.append(JsonLines(workdir.speed, sys.maxsize))  # time that was lost was spent, too
            self._screens.append(screen(console or Console(), steps, first, config.seconds))

    def defer(self, step: int, sums: Sums, flops: float = 0.0) -> None:
        """Takes the sums and FLOPs of a step that was only dispatched, and reports those of the step before.

        So the device always has a step to work on while the host waits for numbers.
        """
        for value in sums.values():
            value.copy_to_host_async()
        self.flush()
        self._pending = step, sums, flops

    def flush(self) -> None:
        """Reports the step that is still pending, waiting for the device to finish it."""
        if self._pending:
            (step, sums, flops), self._pending = self._pending, None
            sums = jax.device_get(dict(sums))
            self._take(step, {name: float(value) for name, value in sums.items()}, flops)

    def window(self) -> dict[str, float]:
        """Sums since the last line of metrics.jsonl: what a checkpoint keeps for the log."""
        self.flush()
        return dict(self._window)

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Around an evaluation or a save: what is no training. Waits for the step that is pending."""
        self.flush()
        with self.speed.aside():
            yield

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Reports numbers that the host has already: those of an evaluation."""
        self.flush()
        for sink in self._files + self._boards:
            sink.write(step, metrics)
        self.say(sentence(step, metrics))

    def show(self, step: int, name: str, text: str) -> None:
        """A longer text, such as some tagged products, for those sinks that can hold it."""
        for gallery in self._galleries:
            gallery.show(step, name, text)

    def say(self, text: str) -> None:
        """A line for the person watching, above the progress bar."""
        for shown in self._screens:
            shown.say(text)

    def close(self) -> None:
        if sentence := self.speed.sentence():
            self.say(sentence)
        for part in self._screens + self._files + self._boards + self._speeds:
            part.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.flush()
        finally:
            self.close()

    def _take(self, step: int, sums: dict[str, float], flops: float) -> None:
        self._watch.look(step, sums)
        if sums.get("skipped"):
            self.say(f"step {step}: skipped, its loss or gradient is not finite")
        for name, value in sums.items():
            self._window[name] = value + (0.0 if name in OF_THE_STEP else self._window.get(name, 0.0))
        self._meter.add(step, sums["examples"])
        self.speed.add(sums["examples"], sums["tokens"], flops)
        for shown in self._screens:
            shown.show(step, means(sums)["loss"], self._meter.text())
        if step % self._config.every == 0 or step == self._steps:
            self._report(step)

    def _report(self, step: int) -> None:
        metrics = {f"train/{name}": value for name, value in means(self._window).items()}
        self._window.clear()
        for sink in self._files:
            sink.write(step, metrics)
        speed = self.speed.line()
        for sink in self._speeds:
            sink.write(step, speed)
        for sink in self._boards:
            sink.write(step, metrics | {f"speed/{name}": value for name, value in speed.items()})
