"""Looks at what every step reports, and says when a run has gone wrong."""

import collections
import math
import statistics
from collections.abc import Mapping
from typing import Any

from taggen_jax.errors import UserError

RECENT = 50  # steps that the usual loss is the median of
ENOUGH = 20  # of them before any loss is called unusual


class Spoiled(UserError):
    """A step from which the run cannot go on: its loss or gradient is no number, or its loss spiked.

    Attributes:
      reason: what happened.
      place: of the data, behind the step's batch.
      times: how often the run will have been rolled back, if it is now.
    """

    def __init__(self, reason: str, place: Any, times: int) -> None:
        often = f" (after {times - 1} rollbacks)" if times > 1 else ""
        super().__init__(
            f"{reason}{often}; the newest checkpoint is from before it. Lower "
            "train.optimizer.learning_rate or set clip_norm, look for bad rows, skip steps that are no "
            "numbers with train.non_finite=skip, or go back and pass by their rows with =roll_back"
        )
        self.reason, self.place, self.times = reason, place, times


class Watch:
    """Of a whole run; survives kills by way of the checkpoints' meta.

    Attributes:
      skipped, rolled_back: how many steps, and how often the run.
    """

    def __init__(self, spike: float, saved: Mapping[str, Any]) -> None:
        """`spike` is how many times the median of the last losses is too much, 0 for never; `saved` what
        `saved()` returned, or nothing."""
        self._spike = spike
        self._losses = collections.deque(saved.get("losses", ()), RECENT)
        self._places: dict[int, Any] = {}
        self.skipped, self.rolled_back = int(saved.get("skipped", 0)), int(saved.get("rolled_back", 0))

    def saved(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        losses = list(self._losses) if self._spike else []
        return {"losses": losses, "skipped": self.skipped, "rolled_back": self.rolled_back}

    def expect(self, step: int, place: Any) -> None:
        """A step is dispatched; the data stand at `place` then."""
        self._places[step] = place

    def look(self, step: int, sums: Mapping[str, float]) -> None:
        """Takes the sums of a step that was expected.

        Raises:
          Spoiled: the run cannot go on from what this step left.
        """
        place = self._places.pop(step)
        if sums.get("skipped"):
            self.skipped += 1
            return
        for name, value in (("loss", sums["loss"]), ("norm of the gradient", sums["gradient_norm"])):
            if not math.isfinite(value):
                raise Spoiled(f"step {step}: the {name} is {value}", place, self.rolled_back + 1)
        loss = sums["loss"] / max(sums["weight"], 1.0)
        if self._spike and len(self._losses) >= ENOUGH:
            usual = statistics.median(self._losses)
            if loss > self._spike * usual:
                reason = f"step {step}: the loss is {loss:.4g}, usually {usual:.4g}"
                raise Spoiled(reason, place, self.rolled_back + 1)
        self._losses.append(loss)
