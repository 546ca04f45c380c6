"""From hypotheses about a whole tag set to a probability for every single tag."""

import dataclasses
import math
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True, kw_only=True)
class SelectConfig:
    """Which candidate tags become the answer.

    Attributes:
      threshold: least inclusion probability of an answered tag, over the beam's hypotheses.
      max_tags: at most so many, the best ones; 0 sets no limit.
      min_precision: the share of right tags among the answers that a calibration has to promise, see
        `calibrate`; it takes the place of `threshold`. 0 asks for nothing.
    """

    threshold: float = 0.5
    max_tags: int = 0
    min_precision: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.threshold <= 1.0:
            raise ValueError(f"threshold={self.threshold} must be in [0, 1]")
        if not 0.0 <= self.min_precision <= 1.0:
            raise ValueError(f"min_precision={self.min_precision} must be in [0, 1]")
        if self.max_tags < 0:
            raise ValueError(f"max_tags={self.max_tags} must not be negative")


@dataclasses.dataclass(frozen=True)
class Tagged:
    """The answer for one product.

    Attributes:
      ranked: every candidate tag with its inclusion probability, best first.
      answered: how many of them, from the front, are the answer.
      duplicates: repeats in the best hypothesis, which count once.
      legal_mass: the share of the model's probability that the best hypothesis was chosen from, where asked.
    """

    ranked: tuple[tuple[str, float], ...]
    answered: int
    duplicates: int
    legal_mass: float | None = None

    @property
    def tags(self) -> tuple[str, ...]:
        return tuple(tag for tag, _ in self.ranked[: self.answered])

    @property
    def scores(self) -> tuple[float, ...]:
        return tuple(score for _, score in self.ranked[: self.answered])


def select(hypotheses: Sequence[tuple[Sequence[str], float]], config: SelectConfig) -> Tagged:
    """Weighs the hypotheses of one product by their probability and adds up the weights tag by tag.

    The beam's hypotheses stand for all: their probabilities are renormalised to sum to 1, and a tag's score
    is the probability that a tag set drawn from them holds it (a marginal under the beam's posterior). Ties
    keep the order of the best hypothesis.

    Args:
      hypotheses: (tags, log-probability of the whole output in nats), best first, at least one of them
        finite.
      config: which tags are answered.
    """
    top = max(logprob for _, logprob in hypotheses)
    weights = [math.exp(logprob - top) for _, logprob in hypotheses]
    total = sum(weights)
    scores: dict[str, float] = {}
    for (tags, _), weight in zip(hypotheses, weights, strict=True):
        for tag in dict.fromkeys(tags):
            scores[tag] = scores.get(tag, 0.0) + weight / total
    ranked = sorted(scores.items(), key=lambda item: -item[1])
    best = hypotheses[0][0]
    return answered(ranked, config, duplicates=len(best) - len(set(best)))


def answered(ranked: Sequence[tuple[str, float]], config: SelectConfig, duplicates: int = 0) -> Tagged:
    """Cuts a ranking of tags, best first, where the answer ends."""
    count = sum(score >= config.threshold for _, score in ranked)
    return Tagged(tuple(ranked), min(count, config.max_tags or count), duplicates)
