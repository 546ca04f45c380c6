"""Progress for the person watching: a bar on a terminal; elsewhere nothing, or a line now and then."""

import datetime
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

T = TypeVar("T")


def counted(items: Iterable[T], total: int | None, verb: str, noun: str) -> Iterator[T]:
    """Passes items on while showing how many went by; `total` None where nobody knows it beforehand."""
    console = Console(stderr=True)
    columns = (
        TextColumn(f"{verb}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(noun),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield from progress.track(items, total=total)


class Speed(ProgressColumn):
    """Such as "45.3 products/s"."""

    def __init__(self, noun: str) -> None:
        super().__init__()
        self._noun = noun

    def render(self, task: Task) -> Text:
        """Called by the bar."""
        return Text(f"{task.speed:,.1f} {self._noun}/s" if task.speed else "")


class Work:
    """A long work that several processes share: how much is done of it, how fast, and how long it will last.

        with Work("generate", "products", total=90, done=30) as work:
            work.show(31)

    On a terminal a bar; elsewhere `line` prints a line, for the log of a cluster.
    """

    def __init__(self, verb: str, noun: str, total: int, done: int) -> None:
        self._console = Console(stderr=True)
        self._noun, self._total, self._done = noun, total, done
        self._begin, self._first = 0.0, done
        self._bar = Progress(
            TextColumn(verb),
            BarColumn(),
            MofNCompleteColumn(),
            Speed(noun),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task(verb, total=total, completed=done)

    def __enter__(self) -> "Work":
        """Shows the bar."""
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves the bar as it is."""
        self._bar.stop()

    def show(self, done: int) -> None:
        """So much is done by now, by all processes together. The first call starts the clock."""
        if not self._begin:  # not before: compiling does not count
            self._begin, self._first = time.monotonic(), done
        self._done = done
        self._bar.update(self._task, completed=done)

    def line(self, what: str) -> None:
        """Such as "shard 3 of 12: 8,192 of 48,000 products, 45.3 products/s, 0:14:38 left"."""
        if self._console.is_terminal:
            return
        speed = (self._done - self._first) / (time.monotonic() - self._begin)
        left = datetime.timedelta(seconds=round((self._total - self._done) / speed)) if speed else "unknown"
        progress = f"{self._done:,} of {self._total:,} {self._noun}, {speed:,.1f} {self._noun}/s, {left} left"
        self._console.print(f"{what}: {progress}", markup=False, highlight=False, soft_wrap=True)
