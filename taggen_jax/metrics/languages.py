"""The products of each language apart, where a catalog says which language they are in."""

import collections
from collections.abc import Mapping

from taggen_jax.metrics.accumulator import Accumulator
from taggen_jax.metrics.counts import Counts, divide
from taggen_jax.metrics.prediction import Prediction

DEPTH = 5
PARTS = ("precision", "recall", "f1")


class Languages(Accumulator):
    """For each language that `Prediction.language` names, `language_de_*` and so on.

    language_*_positives   gold pairs of product and tag
    language_*_micro_*     precision, recall and F1 of the predicted set, all pairs pooled
    language_*_p_at_5      hits / 5, mean over the language's products

    Products that name no language are in none of them.
    """

    STATE = ("sums",)

    def __init__(self) -> None:
        """Starts empty."""
        self.sums: collections.Counter[tuple[str, str]] = collections.Counter()

    def add(self, prediction: Prediction) -> None:
        """Scores one product."""
        if not prediction.language:
            return
        gold = set(prediction.gold)
        counted = {
            "products": 1,
            "gold": len(gold),
            "predicted": len(prediction.tags),
            "right": len(gold.intersection(prediction.tags)),
            "hits": len(gold.intersection(prediction.ranked[:DEPTH])),
        }
        self.sums.update({(prediction.language, name): count for name, count in counted.items()})

    def result(self) -> dict[str, float]:
        """Fractions in 0..1, and the numbers of positives; empty where no product names its language."""
        result: dict[str, float] = {}
        for language in sorted({language for language, _ in self.sums}):
            products, gold, predicted, right, hits = (
                self.sums[language, name] for name in ("products", "gold", "predicted", "right", "hits")
            )
            scores = Counts(right, predicted - right, gold - right).scores().tolist()
            names = (f"language_{language}_micro_{part}" for part in PARTS)
            result |= dict(zip(names, scores, strict=True))
            result[f"language_{language}_p_at_{DEPTH}"] = divide(hits, DEPTH * products)
            result[f"language_{language}_positives"] = gold
        return result


def named(result: Mapping[str, float]) -> dict[str, str]:
    """Language to the beginning of its keys, for those that a result holds."""
    begin, end = "language_", "_positives"
    keys = (key.removesuffix(end) for key in result if key.startswith(begin) and key.endswith(end))
    return {key.removeprefix(begin): key for key in keys}
