"""All measures of one split at once, streamed: add products one by one, merge parts, divide at the end."""

from collections.abc import Collection, Mapping

from taggen_jax.metrics.accumulator import Accumulator
from taggen_jax.metrics.calibration import Calibration
from taggen_jax.metrics.hierarchy import Hierarchy
from taggen_jax.metrics.languages import Languages
from taggen_jax.metrics.outputs import Outputs
from taggen_jax.metrics.prediction import Prediction, Tag
from taggen_jax.metrics.presence import Presence
from taggen_jax.metrics.propensity import Propensity
from taggen_jax.metrics.ranking import Ranking
from taggen_jax.metrics.risk import Risk
from taggen_jax.metrics.slices import Slices
from taggen_jax.metrics.tagset import TagSet


class Evaluation(Accumulator):
    """Scores products against one vocabulary.

    Holds sums only, so the parts of a split, scored apart and merged in any order, give the whole's result.
    Every key of the result is explained in the class that it comes from; docs/evaluation.md lists them all.
    """

    STATE = (
        "outputs",
        "tagset",
        "ranking",
        "propensity",
        "slices",
        "calibration",
        "risk",
        "presence",
        "hierarchy",
        "languages",
    )

    def __init__(
        self,
        counts: Mapping[str, int] | Mapping[int, int],
        training: int = 0,
        parents: Mapping[str, Collection[str]] | Mapping[int, Collection[int]] | None = None,
    ) -> None:
        """Takes the vocabulary.

        Args:
          counts: each valid tag with the number of training products that have it.
          training: the number of training products; 0 leaves out the propensity-scored measures.
          parents: a tag's parents, where the vocabulary is a hierarchy.
        """
        vocabulary: dict[Tag, int] = dict(counts.items())
        self.outputs = Outputs(vocabulary)
        self.tagset = TagSet(vocabulary)
        self.ranking = Ranking()
        self.propensity = Propensity(vocabulary, training)
        self.slices = Slices(vocabulary)
        self.calibration = Calibration(vocabulary)
        self.risk = Risk()
        self.presence = Presence()
        self.hierarchy = Hierarchy(dict((parents or {}).items()))
        self.languages = Languages()

    def add(self, prediction: Prediction) -> None:
        """Scores one product."""
        for name in self.STATE:
            getattr(self, name).add(prediction)

    def result(self) -> dict[str, float]:
        """Flat and ready for JSON: fractions in 0..1, and some counts."""
        parts = (getattr(self, name) for name in self.STATE)
        return {name: value for part in parts for name, value in part.result().items()}
