"""How fast a run goes, for whoever operates it: speed.jsonl, and one line at the end of a session.

What depends on the clock has a file of its own, so that metrics.jsonl stays a function of the run.
"""

import contextlib
import dataclasses
import datetime
import resource
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax


@dataclasses.dataclass
class Span:
    """What happened between two moments.

    Attributes:
      seconds: of training, without what happened aside.
      steps, examples, tokens: how many; tokens are those that are no padding, read and written.
      flops: of these steps over all devices, by the formula; 0 where nobody counts them.
      waited: seconds of training in which the next batch was not there yet.
      aside: seconds of evaluations and saving, besides.
    """

    seconds: float = 0.0
    steps: int = 0
    examples: float = 0.0
    tokens: float = 0.0
    flops: float = 0.0
    waited: float = 0.0
    aside: float = 0.0

    def __add__(self, other: "Span") -> "Span":
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return Span(*(a + b for a, b in pairs))

    def rates(self) -> dict[str, float]:
        """Per second and per step; empty before anything was measured."""
        if not self.steps or self.seconds <= 0:
            return {}
        return {
            "seconds_per_step": self.seconds / self.steps,
            "examples_per_second": self.examples / self.seconds,
            "tokens_per_second": self.tokens / self.seconds,
            "data_wait_share": min(1.0, self.waited / self.seconds),
            "aside_share": self.aside / (self.seconds + self.aside),
        }


class Speed:
    """Measures one session. The clock starts when its first step is done: compiling does not count."""

    def __init__(
        self,
        goodput: Callable[[], float],
        *,
        peak: float = 0.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`peak` is FLOP/s at most, over all devices; 0 where it is not known."""
        self._goodput, self._peak, self._now = goodput, peak, now
        self._session, self._window = Span(), Span()
        self._mark: float | None = None

    def add(self, examples: float, tokens: float, flops: float = 0.0) -> None:
        """A step is done."""
        if self._mark is None:
            self._window, self._mark = Span(), self._now()
            return
        self._advance()
        self._window += Span(steps=1, examples=examples, tokens=tokens, flops=flops)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Around what fetches the next batch."""
        begin = self._now()
        yield
        self._window.waited += self._now() - begin

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Around what is no training. Every step dispatched before it has to be done."""
        self._advance()
        begin = self._now()
        yield
        self._window.aside += self._now() - begin
        if self._mark is not None:
            self._mark = self._now()

    def line(self) -> dict[str, float]:
        """Since the line before: `Span.rates`, "mfu" where it is known, "host_bytes" and, where the backend
        counts them, "device_bytes" (both the most so far), and "goodput", see `Clock`."""
        window, self._window = self._window, Span()
        self._session += window
        return self._described(window)

    def sentence(self) -> str:
        """The whole session, for a person; "" before a second step is done."""
        span = self._session + self._window
        found = self._described(span)
        if "seconds_per_step" not in found:
            return ""
        parts = [
            f"{span.steps:,} steps in {datetime.timedelta(seconds=round(span.seconds + span.aside))}",
            f"{found['seconds_per_step']:.3g} s/step",
            f"{found['examples_per_second']:,.1f} examples/s",
            f"{found['tokens_per_second']:,.0f} real tokens/s",
            f"{found['data_wait_share']:.1%} waiting for data",
            f"{found['aside_share']:.1%} evaluating and saving",
            *([f"MFU {found['mfu']:.1%}"] if "mfu" in found else []),
            f"memory {found.get('device_bytes', found['host_bytes']) / 2**30:.2f} GiB",
            f"goodput {found['goodput']:.1%}",
        ]
        return "session: " + ", ".join(parts)

    def _advance(self) -> None:
        if self._mark is not None:
            now = self._now()
            self._window.seconds += now - self._mark
            self._mark = now

    def _described(self, span: Span) -> dict[str, float]:
        found = span.rates()
        if found and span.flops and self._peak:
            found["mfu"] = span.flops / span.seconds / self._peak
        return found | memory() | {"goodput": self._goodput()}


def memory() -> dict[str, float]:
    """The most bytes that this process and its first device have held."""
    unit = 1 if sys.platform == "darwin" else 1024
    held = {"host_bytes": float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)}
    counted: dict[str, Any] = jax.local_devices()[0].memory_stats() or {}
    return held | {"device_bytes": float(v) for k, v in counted.items() if k == "peak_bytes_in_use"}
