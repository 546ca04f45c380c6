"""From scores to probabilities that come true: tags scored 0.8 are right 8 times in 10.

A score is mapped by isotonic regression (Zadrozny and Elkan 2002), once over all pairs of product and
candidate, and once a tag. A tag with n candidates in the fit is worth n / (n + PRIOR) of its own curve and
the rest of the overall one, so that a rare tag is not judged by three products. Fitting takes scikit-learn,
applying takes numpy only.
"""

import collections
import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from taggen_jax.decode.inclusion import SelectConfig, Tagged

PRIOR = 20.0  # debtags, validation in halves: error 0.014 at 10 to 20, 0.019 at 50, 0.14 without curves a tag
FOLDS = 5
LEAST = 30  # answers that a precision is measured on
DIGITS = 6

Judged = Sequence[tuple[str, float, bool]]  # a product's candidates, best first: tag, score, is it right


@dataclasses.dataclass(frozen=True)
class Curve:
    """A function between 0 and 1: straight between its points, flat outside of them."""

    x: tuple[float, ...]
    y: tuple[float, ...]

    def __call__(self, x: float) -> float:
        return float(np.interp(x, self.x, self.y))


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What was learnt about the scores of one model under one search.

    Attributes:
      overall: score to probability over all tags.
      tags: tag to (weight of its own curve, curve).
      precisions: (precision, least probability of an answer that reached it) on products that were not
        fitted on, both rising.
    """

    overall: Curve
    tags: Mapping[str, tuple[float, Curve]]
    precisions: tuple[tuple[float, float], ...]

    def probability(self, tag: str, score: float) -> float:
        weight, curve = self.tags.get(tag, (0.0, self.overall))
        return weight * curve(score) + (1 - weight) * self.overall(score)

    def threshold(self, precision: float) -> float:
        """The least probability of an answer that promises the precision; more than 1 where none does."""
        return min((least for reached, least in self.precisions if reached >= precision), default=2.0)

    def apply(self, tagged: Tagged, config: SelectConfig) -> Tagged:
        """Replaces scores by probabilities, ranks anew, and answers what is probable or precise enough."""
        ranked = sorted(
            ((tag, self.probability(tag, score)) for tag, score in tagged.ranked), key=lambda item: -item[1]
        )
        least = self.threshold(config.min_precision) if config.min_precision else config.threshold
        answered = sum(probability >= least for _, probability in ranked)
        return Tagged(tuple(ranked), min(answered, config.max_tags or answered), tagged.duplicates)

    def to_json(self) -> dict[str, Any]:
        tags = {
            tag: {"weight": weight, "x": curve.x, "y": curve.y} for tag, (weight, curve) in self.tags.items()
        }
        overall = {"x": self.overall.x, "y": self.overall.y}
        return {"overall": overall, "tags": tags, "precisions": self.precisions}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Calibration":
        """Raises KeyError, TypeError or ValueError for what `to_json` did not write."""
        return cls(
            overall=_curve(value["overall"]),
            tags={tag: (float(curve["weight"]), _curve(curve)) for tag, curve in value["tags"].items()},
            precisions=tuple((float(reached), float(least)) for reached, least in value["precisions"]),
        )


def fit(products: Sequence[Judged]) -> Calibration:
    """Learns from products whose right tags are known, and which the model was not trained on.

    Raises:
      ValueError: no product has a candidate.
    """
    overall, tags = _curves(products)
    return Calibration(overall, tags, _precisions(cross_fitted(products)))


def cross_fitted(products: Sequence[Judged]) -> list[list[tuple[float, bool]]]:
    """(probability, is it right) of each candidate, best first, by curves that its product had no part in."""
    judged: list[list[tuple[float, bool]]] = [[] for _ in products]
    for fold in range(FOLDS):
        others = [product for place, product in enumerate(products) if place % FOLDS != fold]
        if not any(others):
            raise ValueError(f"{len(products)} products, too few of them with candidates; expected more")
        overall, tags = _curves(others)
        calibration = Calibration(overall, tags, ())
        for place in range(fold, len(products), FOLDS):
            pairs = [(calibration.probability(tag, score), right) for tag, score, right in products[place]]
            judged[place] = sorted(pairs, key=lambda pair: -pair[0])
    return judged


def _curves(products: Sequence[Judged]) -> tuple[Curve, dict[str, tuple[float, Curve]]]:
    by_tag: dict[str, list[tuple[float, bool]]] = collections.defaultdict(list)
    for product in products:
        for tag, score, right in product:
            by_tag[tag].append((score, right))
    tags = {
        tag: (round(len(pairs) / (len(pairs) + PRIOR), DIGITS), _isotonic(pairs))
        for tag, pairs in sorted(by_tag.items())
    }
    return _isotonic([pair for pairs in by_tag.values() for pair in pairs]), tags


def _isotonic(pairs: Sequence[tuple[float, bool]]) -> Curve:
    from sklearn.isotonic import IsotonicRegression  # takes a second; who applies does not need it

    scores, rights = np.array(pairs, np.float64).T
    fitted = IsotonicRegression().fit(scores, rights)
    x, y = (values.round(DIGITS).tolist() for values in (fitted.X_thresholds_, fitted.y_thresholds_))
    return Curve(tuple(x), tuple(y))


def _precisions(judged: Iterable[Sequence[tuple[float, bool]]]) -> tuple[tuple[float, float], ...]:
    pairs = np.array([pair for product in judged for pair in product], np.float64).reshape(-1, 2)
    pairs = pairs[np.argsort(-pairs[:, 0], kind="stable")]
    answers = np.arange(1, len(pairs) + 1)
    precision = pairs[:, 1].cumsum() / (answers + 1)  # as if one more had been wrong: none promises 1
    last = np.append(pairs[1:, 0] < pairs[:-1, 0], True)  # a threshold cannot part equals
    rows: list[tuple[float, float]] = []
    for place in np.flatnonzero(last & (answers >= LEAST))[::-1]:
        if not rows or precision[place] >= rows[-1][0] + 0.001:
            least = math.floor(pairs[place, 0] * 10**DIGITS) / 10**DIGITS
            rows.append((math.floor(precision[place] * 1000) / 1000, least))
    return tuple(rows)


def _curve(value: Mapping[str, Any]) -> Curve:
    x, y = (tuple(map(float, value[axis])) for axis in "xy")
    if not x or len(x) != len(y):
        raise ValueError(f"{len(x)} and {len(y)} coordinates, expected equally many, and some")
    return Curve(x, y)
