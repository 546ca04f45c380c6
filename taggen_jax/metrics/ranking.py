"""Measures of the ranking at depth k: P, R, nDCG, and F1 in its two readings."""

import itertools
import math

from taggen_jax.metrics.counts import divide
from taggen_jax.metrics.prediction import Prediction

DEPTHS = (1, 3, 5)
MEASURES = (("p", ""), ("recall", ""), ("ndcg", ""), ("f1", ""), ("f1", "_soft"))
DISCOUNTS = tuple(1 / math.log2(place + 2) for place in range(max(DEPTHS)))
IDEALS = tuple(itertools.accumulate(DISCOUNTS))


class Ranking:
    """Means over products of the measures at k = 1, 3, 5, of the first k in `Prediction.ranked`.

    p_at_k        hits / k, however short the ranking
    recall_at_k   hits / |gold|
    ndcg_at_k     gain / the best gain that min(k, |gold|) tags can have, as in scikit-learn and pyxclib
    f1_at_k       per product, of hits / k and hits / |gold|: a short ranking counts as filled with wrong tags
    f1_at_k_soft  per product, of hits / min(k, |ranked|) and hits / |gold|

    A product without gold tags scores 0 in all of them and stays in the mean, as in OpenNMT-kpg, so that all
    means have the same weight. Those who skip such products get value * products / (products - without_gold).
    """

    def __init__(self) -> None:
        """Starts empty."""
        self.products = 0
        self.sums = {f"{name}_at_{k}{suffix}": 0.0 for name, suffix in MEASURES for k in DEPTHS}

    def add(self, prediction: Prediction) -> None:
        """Scores one product."""
        self.products += 1
        gold = set(prediction.gold)
        hits = [tag in gold for tag in prediction.ranked[: max(DEPTHS)]]
        for k in DEPTHS if gold else ():
            right, wanted = sum(hits[:k]), len(gold)
            gain = sum(itertools.compress(DISCOUNTS, hits[:k]))
            self.sums[f"p_at_{k}"] += right / k
            self.sums[f"recall_at_{k}"] += right / wanted
            self.sums[f"ndcg_at_{k}"] += gain / IDEALS[min(k, wanted) - 1]
            self.sums[f"f1_at_{k}"] += 2 * right / (k + wanted)
            self.sums[f"f1_at_{k}_soft"] += 2 * right / (len(hits[:k]) + wanted)

    def merge(self, other: "Ranking") -> None:
        """Adds what `other` has scored."""
        self.products += other.products
        for name, sum_ in other.sums.items():
            self.sums[name] += sum_

    def result(self) -> dict[str, float]:
        """Fractions in 0..1."""
        return {name: divide(sum_, self.products) for name, sum_ in self.sums.items()}
