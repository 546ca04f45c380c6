"""Whether a score of 0.8 is right 8 times in 10: expected calibration error and Brier score."""

from collections.abc import Mapping

import numpy as np

from taggen_jax.metrics.accumulator import Accumulator
from taggen_jax.metrics.counts import divide
from taggen_jax.metrics.histogram import Histogram
from taggen_jax.metrics.prediction import Prediction, Tag
from taggen_jax.metrics.slices import SLICES, slice_of

DEPTH = 5
BINS = 15


class Calibration(Accumulator):
    """Measures of the scores of `Prediction.ranked`; without any scores the result is empty.

    ece_at_5        sum over 15 bins of equal mass of n_bin / n * |share of right ones - mean score|, over the
                    5 best candidates of every product. Over all pairs it would be tiny for free: nearly all
                    are negatives with a score of nearly 0
    head_ece_at_5   the same over those candidates whose tag is in the slice; and so on
    brier_at_5      mean of (score - right)², over the 5 best candidates of every product
    brier_all       the same over all pairs of product and tag of the vocabulary, as scikit-learn has it for
                    dense scores: what is no candidate has the score 0
    """

    STATE = ("products", "squares", "best")

    def __init__(self, counts: Mapping[Tag, int]) -> None:
        """Takes tag -> number of training products."""
        self.counts = counts
        self.products = 0
        self.squares = 0.0  # over all pairs
        self.best = {
            name: Histogram(3) for name in SLICES
        }  # with each score: itself, right, (score - right)²

    def add(self, prediction: Prediction) -> None:
        """Scores one product."""
        if prediction.scores is None:
            return
        self.products += 1
        gold = set(prediction.gold)
        self.squares += len(gold.difference(prediction.ranked))
        for place, (tag, score) in enumerate(zip(prediction.ranked, prediction.scores, strict=True)):
            right = tag in gold
            square = (score - right) ** 2
            self.squares += square
            if place < DEPTH:
                self.best[slice_of(self.counts.get(tag, 0))].add(score, score, right, square)

    def pooled(self) -> Histogram:
        """The best candidates of all slices."""
        pooled = Histogram(3)
        for histogram in self.best.values():
            pooled.merge(histogram)
        return pooled

    def result(self) -> dict[str, float]:
        """Errors from 0 up; empty where no product came with scores."""
        if not self.products:
            return {}
        pooled = self.pooled()
        count, _, _, square = pooled.sums.sum(axis=0)
        result = {f"ece_at_{DEPTH}": error(pooled)}
        for name, histogram in self.best.items():
            if histogram.sums[:, 0].any():
                result[f"{name}_ece_at_{DEPTH}"] = error(histogram)
        result[f"brier_at_{DEPTH}"] = divide(square, count)
        result["brier_all"] = divide(self.squares, self.products * len(self.counts))
        return result


def error(histogram: Histogram, bins: int = BINS) -> float:
    """Expected calibration error of a histogram whose values begin with score and right."""
    pooled = histogram.bins(bins)
    return divide(float(np.abs(pooled[:, 1] - pooled[:, 2]).sum()), float(pooled[:, 0].sum()))
