"""The same tags apart by how often training saw them: head, torso and tail.

Every tag is in one slice, a tag that training never saw (in the vocabulary or not) in the tail; so the
slices' counts add up to those behind micro-F1.
"""

import collections
from collections.abc import Mapping

from taggen_jax.metrics.counts import TagCounts, divide
from taggen_jax.metrics.prediction import Prediction, Tag

SLICES = {"head": 100, "torso": 10, "tail": 0}
"""Name to the smallest training count, from the most frequent tags to the rarest."""
DEPTH = 5


def slice_of(count: int) -> str:
    """The slice of a tag with `count` training products."""
    return next(name for name, least in SLICES.items() if count >= least)


class Slices:
    """For each slice `head_micro_f1`, `head_recall_at_5` and `head_positives`, and so on.

    Recall at 5 is pooled: gold pairs of product and tag found in the first 5 of `Prediction.ranked`, over all
    gold pairs of the slice. `positives` are these gold pairs. A slice without any has no scores: their keys
    are left out rather than set to 0.
    """

    def __init__(self, counts: Mapping[Tag, int]) -> None:
        """Takes tag -> number of training products."""
        self.counts = counts
        self.tags = TagCounts()
        self.found: collections.Counter[Tag] = collections.Counter()

    def add(self, prediction: Prediction) -> None:
        """Scores one product."""
        self.tags.add(prediction)
        self.found.update(set(prediction.gold).intersection(prediction.ranked[:DEPTH]))

    def merge(self, other: "Slices") -> None:
        """Adds what `other` has scored."""
        self.tags.merge(other.tags)
        self.found.update(other.found)

    def result(self) -> dict[str, float]:
        """Fractions in 0..1, and the numbers of positives."""
        members: dict[str, list[Tag]] = {name: [] for name in SLICES}
        for tag in self.tags.seen():
            members[slice_of(self.counts.get(tag, 0))].append(tag)
        result: dict[str, float] = {}
        for name, tags in members.items():
            positives = sum(self.tags.gold[tag] for tag in tags)
            if positives:
                result[f"{name}_micro_f1"] = float(self.tags.pooled(tags).scores()[2])
                result[f"{name}_recall_at_{DEPTH}"] = divide(sum(self.found[tag] for tag in tags), positives)
            result[f"{name}_positives"] = positives
        return result
