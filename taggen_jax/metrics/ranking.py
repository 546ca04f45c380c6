"""Measures of the ranking at depth k: P, R, nDCG, and F1 in its readings."""

import itertools
import math

from taggen_jax.metrics.accumulator import Accumulator
from taggen_jax.metrics.counts import divide, harmonic
from taggen_jax.metrics.prediction import Prediction

DEPTHS = (1, 3, 5)
DISCOUNTS = tuple(1 / math.log2(place + 2) for place in range(max(DEPTHS)))
IDEALS = tuple(itertools.accumulate(DISCOUNTS))
AT_K = (
    "p_at_{}",
    "p_at_{}_soft",
    "recall_at_{}",
    "ndcg_at_{}",
    "ndcg_at_{}_full",
    "f1_at_{}",
    "f1_at_{}_soft",
)
AT_GOLD = ("r_precision", "f1_at_o_soft")


class Ranking(Accumulator):
    """Means over products of the measures at k = 1, 3, 5, of the first k in `Prediction.ranked`.

    p_at_k          hits / k, however short the ranking
    p_at_k_soft     hits / min(k, |ranked|)
    recall_at_k     hits / |gold|
    ndcg_at_k       gain / the best gain that min(k, |gold|) tags can have, as in scikit-learn and pyxclib
    ndcg_at_k_full  gain / the best gain that k tags can have, as in napkinXC: one gold tag is never perfect
    f1_at_k         per product, of hits / k and recall: a short ranking counts as filled with wrong tags
    f1_at_k_soft    per product, of hits / min(k, |ranked|) and recall
    r_precision     hits in the first |gold| / |gold|; F1@O of the keyphrase field, short rankings filled
    f1_at_o_soft    F1@O with hits / min(|gold|, |ranked|) for its precision

    A product without gold tags scores 0 in all of them and stays in the mean, as in OpenNMT-kpg, so that all
    means have the same weight. `*_tagged` are the means over the products with gold tags, for those who skip
    the others. `f1_of_means_at_k` (and `_soft`) are F1 of the mean precision and the mean recall, where
    f1_at_k is the mean of F1.
    """

    STATE = ("products", "tagged", "sums")

    def __init__(self) -> None:
        """Starts empty."""
        self.products = self.tagged = 0
        names = [name.format(k) for name in AT_K for k in DEPTHS]
        self.sums = dict.fromkeys((*names, *AT_GOLD), 0.0)

    def add(self, prediction: Prediction) -> None:
        """Scores one product."""
        self.products += 1
        if not prediction.gold:
            return
        self.tagged += 1
        gold, sums = set(prediction.gold), self.sums
        hits = [tag in gold for tag in prediction.ranked[: max(len(gold), *DEPTHS)]]
        for k in DEPTHS:
            right, wanted, listed = sum(hits[:k]), len(gold), len(hits[:k])
            gain = sum(itertools.compress(DISCOUNTS, hits[:k]))
            sums[f"p_at_{k}"] += right / k
            sums[f"p_at_{k}_soft"] += divide(right, listed)
            sums[f"recall_at_{k}"] += right / wanted
            sums[f"ndcg_at_{k}"] += gain / IDEALS[min(k, wanted) - 1]
            sums[f"ndcg_at_{k}_full"] += gain / IDEALS[k - 1]
            sums[f"f1_at_{k}"] += 2 * right / (k + wanted)
            sums[f"f1_at_{k}_soft"] += 2 * right / (listed + wanted)
        right, listed = sum(hits[: len(gold)]), len(hits[: len(gold)])
        sums["r_precision"] += right / len(gold)
        sums["f1_at_o_soft"] += 2 * right / (listed + len(gold))

    def result(self) -> dict[str, float]:
        """Fractions in 0..1."""
        means = {name: divide(sum_, self.products) for name, sum_ in self.sums.items()}
        for k in DEPTHS:
            recall = means[f"recall_at_{k}"]
            means[f"f1_of_means_at_{k}"] = harmonic(means[f"p_at_{k}"], recall)
            means[f"f1_of_means_at_{k}_soft"] = harmonic(means[f"p_at_{k}_soft"], recall)
        tagged = {f"{name}_tagged": divide(sum_, self.tagged) for name, sum_ in self.sums.items()}
        return means | tagged
