"""Precision that counts a rare tag for more: propensity-scored PSP@k."""

import math
from collections.abc import Mapping

from taggen_jax.metrics.accumulator import Accumulator
from taggen_jax.metrics.counts import divide
from taggen_jax.metrics.prediction import Prediction, Tag
from taggen_jax.metrics.ranking import DEPTHS

A, B = 0.55, 1.5


def inverse_propensity(count: int, products: int) -> float:
    """1 / p of a tag on `count` of `products` training products: 1 + C (count + B)^-A.

    C = (ln products - 1) (B + 1)^A; Jain, Prabhu and Varma (2016), with their A and B. p is the estimated
    probability that a tag which is true was also noted. C is not allowed below 0 (fewer than 3 products).
    """
    return 1 + max(math.log(products) - 1, 0.0) * (B + 1) ** A * (count + B) ** -A


class Propensity(Accumulator):
    """psp_at_k: weight of the hits in the first k / the most weight that k gold tags can have.

    A hit weighs 1 / p of its tag. Both sums run over all products before they are divided: a ratio of sums,
    as in pyxclib. The number of training products is given, never guessed (napkinXC, called with lists, takes
    the largest index of a tag for it).
    """

    STATE = ("gains", "ideals")

    def __init__(self, counts: Mapping[Tag, int], training: int) -> None:
        """Takes tag -> number of training products, and their number; 0 where it is unknown."""
        self.training = training
        self.weights = {tag: inverse_propensity(n, training) for tag, n in counts.items()} if training else {}
        self.unseen = inverse_propensity(0, max(training, 1))
        self.gains = {str(k): 0.0 for k in DEPTHS}
        self.ideals = dict(self.gains)

    def add(self, prediction: Prediction) -> None:
        """Scores one product."""
        if not self.training:
            return
        weight = {tag: self.weights.get(tag, self.unseen) for tag in prediction.gold}
        best = sorted(weight.values(), reverse=True)
        for k in DEPTHS:
            self.gains[str(k)] += sum(weight.get(tag, 0.0) for tag in prediction.ranked[:k]) / k
            self.ideals[str(k)] += sum(best[:k]) / k

    def result(self) -> dict[str, float]:
        """Fractions in 0..1; empty where the number of training products is unknown."""
        depths = DEPTHS if self.training else ()
        return {f"psp_at_{k}": divide(self.gains[str(k)], self.ideals[str(k)]) for k in depths}
