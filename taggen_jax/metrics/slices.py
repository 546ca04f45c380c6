"""The same tags apart by how often training saw them: head, torso and tail, and ten slices of equal mass.

Every tag is in one slice of each kind, a tag that training never saw (in the vocabulary or not) in the tail
and in decile 10; so the slices' counts add up to those behind micro-F1.
"""

import collections
from collections.abc import Iterable, Mapping

import numpy as np

from taggen_jax.metrics.accumulator import Accumulator
from taggen_jax.metrics.counts import TagCounts, divide
from taggen_jax.metrics.histogram import equal_mass
from taggen_jax.metrics.prediction import Prediction, Tag

SLICES = {"head": 100, "torso": 10, "tail": 0}
"""Name to the smallest training count, from the most frequent tags to the rarest."""
DECILES = tuple(f"decile_{number}" for number in range(1, 11))
DEPTH = 5


def slice_of(count: int) -> str:
    """The slice of a tag with `count` training products."""
    return next(name for name, least in SLICES.items() if count >= least)


def deciles_of(counts: Iterable[int]) -> dict[int, str]:
    """Training count to decile: each decile has about a tenth of all training pairs of product and tag.

    Decile 1 has the most frequent tags. Tags of one count stay together, in the decile that the middle of
    their mass falls into, so a decile can be empty.
    """
    tags = collections.Counter(counts)
    distinct = sorted(tags, reverse=True)
    masses = np.array([count * tags[count] for count in distinct], float)
    places = equal_mass(masses, len(DECILES)) if masses.sum() else np.full(len(distinct), 9)
    return {0: DECILES[-1]} | {count: DECILES[place] for count, place in zip(distinct, places, strict=True)}


class Slices(Accumulator):
    """For each slice `head_micro_f1`, `head_recall_at_5` and `head_positives`, and so on; `decile_1_*` to 10.

    Recall at 5 is pooled: gold pairs of product and tag found in the first 5 of `Prediction.ranked`, over all
    gold pairs of the slice. `positives` are these gold pairs. A slice without any has no scores: their keys
    are left out rather than set to 0.
    """

    STATE = ("tags", "found")

    def __init__(self, counts: Mapping[Tag, int]) -> None:
        """Takes tag -> number of training products."""
        self.counts = counts
        self.tags = TagCounts()
        self.found: collections.Counter[Tag] = collections.Counter()

    def add(self, prediction: Prediction) -> None:
        """Scores one product."""
        self.tags.add(prediction)
        self.found.update(set(prediction.gold).intersection(prediction.ranked[:DEPTH]))

    def result(self) -> dict[str, float]:
        """Fractions in 0..1, and the numbers of positives."""
        deciles = deciles_of(self.counts.values())
        members: dict[str, list[Tag]] = {name: [] for name in (*SLICES, *DECILES)}
        for tag in self.tags.seen():
            count = self.counts.get(tag, 0)
            members[slice_of(count)].append(tag)
            members[deciles[count]].append(tag)
        return {
            key: value for name, tags in members.items() for key, value in self._slice(name, tags).items()
        }

    def _slice(self, name: str, tags: list[Tag]) -> dict[str, float]:
        positives = sum(self.tags.gold[tag] for tag in tags)
        if not positives:
            return {f"{name}_positives": 0}
        return {
            f"{name}_micro_f1": float(self.tags.pooled(tags).scores()[2]),
            f"{name}_recall_at_{DEPTH}": divide(sum(self.found[tag] for tag in tags), positives),
            f"{name}_positives": positives,
        }
