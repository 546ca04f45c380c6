"""Measures of the predicted set, in whatever order: micro, macro and per-product P, R, F1; exact match."""

from collections.abc import Collection, Iterable

import numpy as np

from taggen_jax.metrics.accumulator import Accumulator
from taggen_jax.metrics.counts import Counts, TagCounts, divide, harmonic
from taggen_jax.metrics.prediction import Prediction, Tag


class TagSet(Accumulator):
    """`micro_*`, `macro_*`, `macro_*_all` and `sample_*` of precision, recall and f1, and more.

    Micro pools all pairs of product and tag. Macro is the mean over the tags with a positive in the split;
    `_all` the mean over the whole vocabulary. Sample is the mean over products. 0/0 counts as 0: a product
    without gold tags scores 0 in the sample means, and all that is predicted for it is wrong.

    sample_*_tagged     the mean over the products with gold tags only
    *_f1_of_means       F1 of the mean precision and the mean recall, where `*_f1` is the mean of F1
    exact_match         products whose two sets are equal, two empty ones included / products
    coverage            distinct gold tags that were right at least once / distinct gold tags

    `sample_f1` is the keyphrase field's F1@M: k is the size of the predicted set.
    """

    STATE = ("tags", "products", "tagged", "exact", "sample")

    def __init__(self, vocabulary: Collection[Tag]) -> None:
        """Takes the tags that `macro_*_all` averages over."""
        self.vocabulary = vocabulary
        self.tags = TagCounts()
        self.products = 0
        self.tagged = 0
        self.exact = 0
        self.sample = np.zeros(3)

    def add(self, prediction: Prediction) -> None:
        """Scores one product."""
        gold, tags = set(prediction.gold), set(prediction.tags)
        self.tags.add(prediction)
        self.products += 1
        self.tagged += bool(gold)
        self.exact += gold == tags
        self.sample += Counts(len(gold & tags), len(tags - gold), len(gold - tags)).scores()

    def result(self) -> dict[str, float]:
        """Fractions in 0..1."""
        macro, macro_all = self._macro(self.tags.gold), self._macro(self.vocabulary)
        sample = self.sample / max(self.products, 1)
        return {
            **_named("micro", self.tags.pooled(self.tags.seen()).scores()),
            **_named("macro", macro),
            "macro_f1_of_means": harmonic(*macro[:2].tolist()),
            **_named("macro", macro_all, "_all"),
            "macro_f1_of_means_all": harmonic(*macro_all[:2].tolist()),
            **_named("sample", sample),
            "sample_f1_of_means": harmonic(*sample[:2].tolist()),
            **_named("sample", self.sample / max(self.tagged, 1), "_tagged"),
            "exact_match": divide(self.exact, self.products),
            "coverage": divide(len(+self.tags.right), len(self.tags.gold)),
        }

    def _macro(self, tags: Iterable[Tag]) -> np.ndarray:
        scores = [self.tags.of(tag).scores() for tag in tags]
        return np.mean(scores, axis=0) if scores else np.zeros(3)


def _named(average: str, scores: np.ndarray, suffix: str = "") -> dict[str, float]:
    names = (f"{average}_{part}{suffix}" for part in ("precision", "recall", "f1"))
    return dict(zip(names, scores.tolist(), strict=True))
