"""What the outputs look like, right or wrong: how many tags, how many of them useless."""

import collections
from collections.abc import Collection

from taggen_jax.metrics.accumulator import Accumulator
from taggen_jax.metrics.counts import divide
from taggen_jax.metrics.prediction import Prediction, Tag


class Outputs(Accumulator):
    """Sizes and rates of the predicted sets.

    products, without_gold     numbers of products
    gold_tags, predicted_tags  means per product, repeats removed
    invalid_rate               predicted tags outside the vocabulary / predicted tags
    duplicate_rate             repeats / predicted tags with repeats
    empty_rate                 products with nothing predicted / products
    """

    STATE = ("sums",)

    def __init__(self, vocabulary: Collection[Tag]) -> None:
        """Takes the valid tags; a container with a quick `in`."""
        self.vocabulary = vocabulary
        self.sums: collections.Counter[str] = collections.Counter()

    def add(self, prediction: Prediction) -> None:
        """Counts one product."""
        self.sums.update(
            products=1,
            without_gold=not prediction.gold,
            empty=not prediction.tags,
            gold=len(prediction.gold),
            predicted=len(prediction.tags),
            invalid=sum(tag not in self.vocabulary for tag in prediction.tags),
            duplicates=prediction.duplicates,
        )

    def result(self) -> dict[str, float]:
        """Rates as fractions in 0..1."""
        sums = self.sums
        return {
            "products": sums["products"],
            "without_gold": sums["without_gold"],
            "gold_tags": divide(sums["gold"], sums["products"]),
            "predicted_tags": divide(sums["predicted"], sums["products"]),
            "invalid_rate": divide(sums["invalid"], sums["predicted"]),
            "duplicate_rate": divide(sums["duplicates"], sums["predicted"] + sums["duplicates"]),
            "empty_rate": divide(sums["empty"], sums["products"]),
        }
