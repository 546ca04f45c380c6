"""Pairs of product and tag whose label a model's scores speak against: label noise, made a list for people.

In the spirit of confident learning (Northcutt, Jiang and Chuang, 2021): a score is held against what is usual
for the tag, its mean score on the products that have it, so that a tag the model is never sure of raises no
alarm. Scores must come from a model that was not trained on the product: of a held-out split, or of a
cross-validation.
"""

import collections
import dataclasses
import heapq
from collections.abc import Iterator, Sequence

from taggen_jax.metrics.prediction import Prediction, Tag

_ROUNDING = 1e-6  # files keep six decimals of a score


@dataclasses.dataclass(frozen=True)
class Doubt:
    """A label to look at.

    Attributes:
      product: the place of the product.
      tag: the tag.
      given: whether the product has the tag now.
      score: what the model gives it, 0..1; 0 where it is no candidate.
      usual: the tag's mean score on products that have it.
    """

    product: int
    tag: Tag
    given: bool
    score: float
    usual: float

    @property
    def size(self) -> float:
        """How much the model doubts, 0..1: how far a given tag stays below what is usual, an absent one's
        score."""
        return self.usual - self.score if self.given else self.score


def doubts(predictions: Sequence[Prediction], most: int) -> list[Doubt]:
    """The `most` greatest doubts about tags that are given, and as many about absent ones; greatest first.

    An absent tag is doubtful from the score on that is usual where it is given. Products without any gold tag
    are left out: nobody has said anything about them. Ties stay in the order of the products.
    """
    usual = _usual(predictions)
    given = _greatest(_given(predictions, usual), most)
    absent = _greatest(_absent(predictions, usual), most)
    return _greatest(iter([*given, *absent]), 2 * most)


def _usual(predictions: Sequence[Prediction]) -> dict[Tag, float]:
    sums: dict[Tag, float] = collections.defaultdict(float)
    counts: collections.Counter[Tag] = collections.Counter()
    for prediction in predictions:
        scores = _scores(prediction)
        for tag in prediction.gold:
            sums[tag] += scores.get(tag, 0.0)
            counts[tag] += 1
    return {tag: sums[tag] / count for tag, count in counts.items()}


def _given(predictions: Sequence[Prediction], usual: dict[Tag, float]) -> Iterator[Doubt]:
    for product, prediction in enumerate(predictions):
        scores = _scores(prediction)
        for tag in prediction.gold:
            if usual[tag] - scores.get(tag, 0.0) > _ROUNDING:
                yield Doubt(product, tag, True, scores.get(tag, 0.0), usual[tag])


def _absent(predictions: Sequence[Prediction], usual: dict[Tag, float]) -> Iterator[Doubt]:
    for product, prediction in enumerate(predictions):
        if not prediction.gold:
            continue
        for tag in _scores(prediction).keys() - set(prediction.gold):
            score = _scores(prediction)[tag]
            if score > 0 and score >= usual.get(tag, 1.0):
                yield Doubt(product, tag, False, score, usual.get(tag, 0.0))


def _scores(prediction: Prediction) -> dict[Tag, float]:
    return dict(zip(prediction.ranked, prediction.scores or (), strict=True))


def _greatest(found: Iterator[Doubt], most: int) -> list[Doubt]:
    return heapq.nsmallest(most, found, key=lambda doubt: (-doubt.size, doubt.product, str(doubt.tag)))
