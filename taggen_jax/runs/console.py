"""What a person watching sees: a bar on a terminal, a line now and then elsewhere."""

import collections
import datetime
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

RECENT = 50  # steps that the rate is measured over


class Screen(Protocol):
    """Shows how training goes on."""

    def show(self, step: int, loss: float, speed: str) -> None: ...

    def say(self, text: str) -> None: ...

    def close(self) -> None: ...


class Bar:
    """A progress bar that stays at the bottom of a terminal."""

    def __init__(self, console: Console, steps: int, first: int) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("train"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}  {task.fields[speed]}"),
            console=console,
        )
        self._task = self._progress.add_task(
            "train", total=steps, completed=first, loss="-", speed="compiling"
        )
        self._progress.start()

    def show(self, step: int, loss: float, speed: str) -> None:
        self._progress.update(self._task, completed=step, loss=f"{loss:.4f}", speed=speed)

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        self._progress.stop()


class Lines:
    """One line every `seconds`, the first step's and the last step's among them, for files and pipes."""

    def __init__(
        self, console: Console, steps: int, seconds: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._console, self._steps, self._seconds, self._now = console, steps, seconds, now
        self._due = 0.0

    def show(self, step: int, loss: float, speed: str) -> None:
        if self._now() >= self._due or step == self._steps:
            self.say(f"train {step}/{self._steps}  loss {loss:.4f}  {speed}")
            self._due = self._now() + self._seconds

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        pass  # nothing is held open


def screen(console: Console, steps: int, first: int, seconds: float) -> Screen:
    """The one that suits the console, for a run of `steps` steps of which `first` are done."""
    return Bar(console, steps, first) if console.is_terminal else Lines(console, steps, seconds)


class Meter:
    """Examples per second over the most recent steps, and the time left at that rate.

    The clock starts when the first step is done, so that compiling it does not count.
    """

    def __init__(self, steps: int, now: Callable[[], float] = time.monotonic) -> None:
        self._steps, self._now = steps, now
        self._marks: collections.deque[tuple[float, int, float]] = collections.deque(maxlen=RECENT + 1)
        self._examples = 0.0

    def add(self, step: int, examples: float) -> None:
        self._examples += examples
        self._marks.append((self._now(), step, self._examples))

    def rates(self) -> tuple[float, float]:
        """(examples per second, steps per second); zeros until a second step is done."""
        (start, first, before), (end, last, after) = self._marks[0], self._marks[-1]
        seconds = end - start
        return ((after - before) / seconds, (last - first) / seconds) if seconds > 0 else (0.0, 0.0)

    def text(self) -> str:
        """Such as "31.4 examples/s  0:01:20 left"."""
        examples, steps = self.rates()
        if not steps:
            return "measuring"
        left = datetime.timedelta(seconds=round((self._steps - self._marks[-1][1]) / steps))
        return f"{examples:.1f} examples/s  {left} left"


def sentence(step: int, metrics: Mapping[str, float]) -> str:
    """Such as "step 200: validation/loss 0.1234  validation/micro_f1 0.9021"."""
    return f"step {step}: " + "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
