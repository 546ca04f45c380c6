"""All measures of one split at once, streamed: add products one by one, merge parts, divide at the end."""

from collections.abc import Mapping

from taggen_jax.metrics.outputs import Outputs
from taggen_jax.metrics.prediction import Prediction, Tag
from taggen_jax.metrics.ranking import Ranking
from taggen_jax.metrics.slices import Slices
from taggen_jax.metrics.tagset import TagSet


class Evaluation:
    """Scores products against one vocabulary.

    Holds sums only, so the parts of a split, scored apart and merged in any order, give the whole's result.
    Every key of the result is explained in the class that it comes from.
    """

    def __init__(self, counts: Mapping[str, int] | Mapping[int, int]) -> None:
        """Takes the vocabulary: each valid tag with the number of training products that have it."""
        vocabulary: dict[Tag, int] = dict(counts.items())
        self.outputs = Outputs(vocabulary)
        self.tagset = TagSet(vocabulary)
        self.ranking = Ranking()
        self.slices = Slices(vocabulary)

    def add(self, prediction: Prediction) -> None:
        """Scores one product."""
        self.outputs.add(prediction)
        self.tagset.add(prediction)
        self.ranking.add(prediction)
        self.slices.add(prediction)

    def merge(self, other: "Evaluation") -> None:
        """Adds what `other`, of the same vocabulary, has scored."""
        self.outputs.merge(other.outputs)
        self.tagset.merge(other.tagset)
        self.ranking.merge(other.ranking)
        self.slices.merge(other.slices)

    def result(self) -> dict[str, float]:
        """Flat and ready for JSON: fractions in 0..1, and some counts."""
        parts = (self.outputs, self.tagset, self.ranking, self.slices)
        return {name: value for part in parts for name, value in part.result().items()}
