"""Measures of the predicted set, in whatever order: micro, macro and per-product P, R, F1; exact match."""

from collections.abc import Collection, Iterable

import numpy as np

from taggen_jax.metrics.counts import Counts, TagCounts, divide
from taggen_jax.metrics.prediction import Prediction, Tag


class TagSet:
    """`micro_*`, `macro_*`, `macro_*_all` and `sample_*` of precision, recall and f1; `exact_match`.

    Micro pools all pairs of product and tag. Macro is the mean over the tags with a positive in the split;
    `_all` the mean over the whole vocabulary. Sample is the mean over products. 0/0 counts as 0: a product
    without gold tags scores 0 in the sample means, and all that is predicted for it is wrong. A product is an
    exact match when the two sets are equal, two empty ones included.
    """

    def __init__(self, vocabulary: Collection[Tag]) -> None:
        """Takes the tags that `macro_*_all` averages over."""
        self.vocabulary = vocabulary
        self.tags = TagCounts()
        self.products = 0
        self.exact = 0
        self.sample = np.zeros(3)

    def add(self, prediction: Prediction) -> None:
        """Scores one product."""
        gold, tags = set(prediction.gold), set(prediction.tags)
        self.tags.add(prediction)
        self.products += 1
        self.exact += gold == tags
        self.sample += Counts(len(gold & tags), len(tags - gold), len(gold - tags)).scores()

    def merge(self, other: "TagSet") -> None:
        """Adds what `other` has scored."""
        self.tags.merge(other.tags)
        self.products += other.products
        self.exact += other.exact
        self.sample += other.sample

    def result(self) -> dict[str, float]:
        """Fractions in 0..1."""
        return {
            **_named("micro", self.tags.pooled(self.tags.seen()).scores()),
            **_named("macro", self._macro(self.tags.gold)),
            **_named("macro", self._macro(self.vocabulary), "_all"),
            **_named("sample", self.sample / max(self.products, 1)),
            "exact_match": divide(self.exact, self.products),
        }

    def _macro(self, tags: Iterable[Tag]) -> np.ndarray:
        scores = [self.tags.of(tag).scores() for tag in tags]
        return np.mean(scores, axis=0) if scores else np.zeros(3)


def _named(average: str, scores: np.ndarray, suffix: str = "") -> dict[str, float]:
    names = (f"{average}_{part}{suffix}" for part in ("precision", "recall", "f1"))
    return dict(zip(names, scores.tolist(), strict=True))
