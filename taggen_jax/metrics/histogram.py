"""Scores in 0..1 as a fine histogram of sums: what calibration and risk are read from.

A histogram rather than the scores themselves: its size does not grow with the catalog (parts of a split are
merged by adding), and the order of products cannot matter, because equal scores share a bucket that nothing
cuts. The sums are exact; only the borders between bins are moved, by at most 1 / BUCKETS.
"""

from typing import Any, Self

import numpy as np

from taggen_jax.metrics.accumulator import Accumulator

BUCKETS = 10_000


class Histogram(Accumulator):
    """For every bucket of scores the number of entries and the sums of the values that came with them.

    Attributes:
      sums: float64[BUCKETS + 1, 1 + values], the count first; the last bucket holds the scores of 1.
    """

    STATE = ("sums",)

    def __init__(self, values: int) -> None:
        """Takes how many values come with a score."""
        self.sums = np.zeros((BUCKETS + 1, 1 + values))

    def add(self, score: float, *values: float) -> None:
        """Adds one entry."""
        self.sums[int(min(max(score, 0.0), 1.0) * BUCKETS)] += (1.0, *values)

    def rows(self) -> np.ndarray:
        """The buckets with entries, by rising score: float64[., 1 + values]."""
        return self.sums[self.sums[:, 0] > 0]

    def bins(self, number: int) -> np.ndarray:
        """The buckets pooled into at most `number` bins of equal mass, by rising score."""
        rows = self.rows()
        pooled = np.zeros((number, rows.shape[1]))
        np.add.at(pooled, equal_mass(rows[:, 0], number), rows)
        return pooled[pooled[:, 0] > 0]

    def to_json(self) -> Any:
        """Only the buckets with entries."""
        used = np.flatnonzero(self.sums[:, 0])
        return {"buckets": used.tolist(), "sums": self.sums[used].tolist()}

    def from_json(self, state: Any) -> Self:
        """The inverse of `to_json`."""
        self.sums[:] = 0
        if state["buckets"]:
            self.sums[state["buckets"]] = state["sums"]
        return self


def equal_mass(masses: np.ndarray, number: int) -> np.ndarray:
    """Which of `number` bins of equal mass each of some ordered masses belongs to: int[len(masses)].

    A mass goes whole into the bin that its middle falls into. Masses of 1 give bins whose sizes differ by at
    most one, as sorting and cutting does.
    """
    middles = np.cumsum(masses) - masses / 2
    return np.minimum((number * middles / max(masses.sum(), 1e-300)).astype(int), number - 1)
