"""Right, wrong and missed pairs of product and tag: what precision, recall and F1 are made of.

Convention: 0/0 counts as 0, as in scikit-learn with `zero_division=0`.
"""

import collections
import dataclasses
from collections.abc import Iterable

import numpy as np

from taggen_jax.metrics.accumulator import Accumulator
from taggen_jax.metrics.prediction import Prediction, Tag


def harmonic(one: float, other: float) -> float:
    """F1 of a precision and a recall; 0 where both are 0."""
    return divide(2 * one * other, one + other)


def divide(sum_: float, weight: float) -> float:
    """A mean from its sum and weight; 0 where nothing was weighed."""
    return float(sum_ / weight) if weight else 0.0


@dataclasses.dataclass(frozen=True)
class Counts:
    """True positives (right), false positives (wrong) and false negatives (missed)."""

    right: int = 0
    wrong: int = 0
    missed: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        """The counts of both together."""
        return Counts(self.right + other.right, self.wrong + other.wrong, self.missed + other.missed)

    def scores(self) -> np.ndarray:
        """Precision, recall and F1: float64[3]."""
        return np.array(
            [
                divide(self.right, self.right + self.wrong),
                divide(self.right, self.right + self.missed),
                divide(2 * self.right, 2 * self.right + self.wrong + self.missed),
            ]
        )


class TagCounts(Accumulator):
    """`Counts` of every tag that occurs in gold or predicted sets."""

    STATE = ("gold", "predicted", "right")

    def __init__(self) -> None:
        """Starts empty."""
        self.gold: collections.Counter[Tag] = collections.Counter()
        self.predicted: collections.Counter[Tag] = collections.Counter()
        self.right: collections.Counter[Tag] = collections.Counter()

    def add(self, prediction: Prediction) -> None:
        """Counts one product."""
        self.gold.update(prediction.gold)
        self.predicted.update(prediction.tags)
        self.right.update(set(prediction.gold).intersection(prediction.tags))

    def of(self, tag: Tag) -> Counts:
        """One tag's counts; zeros where it never occurred."""
        right = self.right[tag]
        return Counts(right, self.predicted[tag] - right, self.gold[tag] - right)

    def pooled(self, tags: Iterable[Tag]) -> Counts:
        """The counts of several tags together."""
        return sum((self.of(tag) for tag in tags), Counts())

    def seen(self) -> list[Tag]:
        """Every tag that occurred, gold or predicted."""
        return list(dict.fromkeys([*self.gold, *self.predicted]))
