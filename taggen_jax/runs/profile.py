"""A profile of some steps on demand, for TensorBoard's profiler or Perfetto."""

import pathlib
import re
from typing import Any

import jax

from taggen_jax.errors import UserError


class Profile:
    """Traces steps FIRST to LAST into a folder. What is compiled while it runs is in it, too."""

    def __init__(self, folder: pathlib.Path, steps: str) -> None:
        """`steps` is "FIRST:LAST"; "" traces none.

        Raises:
          UserError: it is neither.
        """
        found = re.fullmatch(r"(\d+):(\d+)", steps)
        if steps and not (found and 1 <= int(found[1]) <= int(found[2])):
            raise UserError(f"--profile={steps}: expected the first and the last step to trace, such as 10:15")
        self._folder = folder
        self._first, self._last = (int(found[1]), int(found[2])) if found else (0, 0)
        self._running = False

    def before(self, step: int) -> None:
        """Starts where this step is the first of those to come."""
        if not self._running and self._first <= step <= self._last:
            jax.profiler.start_trace(self._folder)
            self._running = True

    def after(self, step: int, results: Any) -> str:
        """Stops after the last one, once its `results` are there; returns where the trace is, else ""."""
        if not self._running or step < self._last:
            return ""
        jax.block_until_ready(results)
        jax.profiler.stop_trace()
        self._running = False
        return f"profile of steps {self._first} to {self._last}: {self._folder}"
