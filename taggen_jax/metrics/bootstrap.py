"""How sure a score is, or the difference of two: the bootstrap over products, paired for two systems (Efron).

A resample draws as many products as there are, with replacement, and scores them anew; what was drawn is the
same for both systems. Intervals are percentiles of the resampled scores.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from taggen_jax.metrics.prediction import Prediction, Tag
from taggen_jax.metrics.ranking import Ranking

MEASURES = ("micro_f1", "macro_f1", "p_at_5", "ndcg_at_5")
RESAMPLES = 10_000
LEVEL = 0.95
_CHUNK = 2_000_000  # entries of the arrays [pairs, resamples] that are worked on at once


@dataclasses.dataclass(frozen=True)
class Interval:
    """A score, or a difference of two, and the percentile interval of 95%."""

    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Difference:
    """Two systems' scores of one measure.

    Attributes:
      a, b: each one's score and interval.
      difference: b - a.
      p: two-sided: twice the share of resamples whose difference is 0 or has the rarer sign (the data
        themselves counted as one of those), at most 1.
    """

    a: Interval
    b: Interval
    difference: Interval
    p: float


class Sample:
    """What the bootstrap has to know of N products that were tagged by one system.

    Attributes:
      products: float64[5, N]: right, predicted and gold tags; P@5 and nDCG@5.
      item: int[pairs], the product of each gold or predicted pair whose tag is gold somewhere, by tag.
      pairs: float32[3, pairs], of each: right, gold + predicted (1 or 2), gold.
      starts: int[tags], where each tag's pairs begin.
    """

    def __init__(self, predictions: Sequence[Prediction]) -> None:
        """Takes the products in the order that both systems share."""
        self.products = np.array([_product(prediction) for prediction in predictions]).reshape(-1, 5).T
        positive = dict.fromkeys(tag for prediction in predictions for tag in prediction.gold)
        ids: dict[Tag, int] = {tag: i for i, tag in enumerate(positive)}
        rows = [
            (ids[tag], i, tag in gold and tag in tags, (tag in gold) + (tag in tags), tag in gold)
            for i, prediction in enumerate(predictions)
            for gold, tags in [(set(prediction.gold), set(prediction.tags))]
            for tag in gold | tags
            if tag in ids
        ]
        rows.sort()
        tag, self.item, *pairs = np.array(rows, np.int64).reshape(-1, 5).T
        self.pairs = np.array(pairs, np.float32)
        self.starts = np.flatnonzero(np.diff(tag, prepend=-1))

    def scores(self, draws_NR: np.ndarray) -> np.ndarray:
        """Scores some resamples.

        Args:
          draws_NR: how often each product is in each resample.

        Returns:
          float64[4, R], in the order of MEASURES. Macro-F1 is over the tags with a positive in the resample.
        """
        right, predicted, gold, p, ndcg = self.products @ draws_NR
        sizes = draws_NR.sum(axis=0)
        micro = _ratio(2 * right, predicted + gold)
        return np.array([micro, self._macro(draws_NR), _ratio(p, sizes), _ratio(ndcg, sizes)])

    def _macro(self, draws_NR: np.ndarray) -> np.ndarray:
        if not len(self.item):
            return np.zeros(draws_NR.shape[1])
        drawn = draws_NR.astype(np.float32)[self.item]
        right, sizes, gold = (np.add.reduceat(drawn * part[:, None], self.starts) for part in self.pairs)
        positive = gold > 0
        f1 = _ratio(2 * right, sizes) * positive
        return _ratio(f1.sum(axis=0), positive.sum(axis=0))


def intervals(sample: Sample, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Interval]:
    """Measure to score and interval, for one system."""
    (scores,), (resampled,) = _bootstrap([sample], resamples, seed)
    return {name: _interval(scores[i], resampled[i]) for i, name in enumerate(MEASURES)}


def compare(a: Sample, b: Sample, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Difference]:
    """Measure to both systems' scores and their difference; both must have the same products in one order."""
    (of_a, of_b), (drawn_a, drawn_b) = _bootstrap([a, b], resamples, seed)
    return {
        name: Difference(
            _interval(of_a[i], drawn_a[i]),
            _interval(of_b[i], drawn_b[i]),
            _interval(of_b[i] - of_a[i], drawn_b[i] - drawn_a[i]),
            p_value(drawn_b[i] - drawn_a[i]),
        )
        for i, name in enumerate(MEASURES)
    }


def p_value(differences: np.ndarray) -> float:
    """Two-sided, of resampled differences; never 0, which no number of resamples can show."""
    sides = ((differences <= 0).sum(), (differences >= 0).sum())
    return min(1.0, 2 * (1 + int(min(sides))) / (1 + len(differences)))


def _bootstrap(
    samples: Sequence[Sample], resamples: int, seed: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """For every sample its own scores, float64[4], and those of the resamples, float64[4, resamples]."""
    products = samples[0].products.shape[1]
    rng = np.random.default_rng(seed)
    chunk = max(1, _CHUNK // max(1, products, *(len(sample.item) for sample in samples)))
    drawn: list[list[np.ndarray]] = [[] for _ in samples]
    for first in range(0, resamples, chunk):
        draws_NR = _draws(rng, min(chunk, resamples - first), products)
        for sample, scores in zip(samples, drawn, strict=True):
            scores.append(sample.scores(draws_NR))
    own = [sample.scores(np.ones((products, 1)))[:, 0] for sample in samples]
    return own, [np.concatenate(scores, axis=1) for scores in drawn]


def _draws(rng: np.random.Generator, resamples: int, products: int) -> np.ndarray:
    """How often each product is drawn: float64[products, resamples], columns summing to `products`."""
    places = rng.integers(products, size=(products, resamples)) * resamples + np.arange(resamples)
    return np.bincount(places.ravel(), minlength=resamples * products).reshape(products, resamples) * 1.0


def _interval(value: float, drawn: np.ndarray) -> Interval:
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
    return Interval(float(value), low, high)


def _product(prediction: Prediction) -> tuple[float, ...]:
    ranking = Ranking()
    ranking.add(prediction)
    right = len(set(prediction.gold).intersection(prediction.tags))
    sizes = (right, len(prediction.tags), len(prediction.gold))
    return (*sizes, ranking.sums["p_at_5"], ranking.sums["ndcg_at_5"])


def _ratio(sums: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.divide(sums, weights, out=np.zeros(np.shape(sums)), where=weights > 0)
