"""Precision and recall with every tag's ancestors counted as tags, too."""

from collections.abc import Collection, Iterable, Mapping

from taggen_jax.metrics.accumulator import Accumulator
from taggen_jax.metrics.prediction import Prediction, Tag
from taggen_jax.metrics.tagset import TagSet

Parents = Mapping[Tag, Collection[Tag]]


class Hierarchy(Accumulator):
    """`hierarchical_micro_*` and `hierarchical_sample_*`: TagSet's, after adding ancestors to both sets.

    So "shoes > boots" for "shoes > sandals" is half right (Kiritchenko et al., 2006: the micro ones are their
    hP and hR). Empty where the vocabulary has no parents.
    """

    STATE = ("tagset",)

    def __init__(self, parents: Parents) -> None:
        """Takes a tag's parents; a tag that is no key is a root."""
        self.parents = parents
        self.tagset = TagSet(())

    def add(self, prediction: Prediction) -> None:
        """Scores one product."""
        if self.parents:
            gold, tags = self.closure(prediction.gold), self.closure(prediction.tags)
            self.tagset.add(Prediction(gold=gold, tags=tags))

    def closure(self, tags: Iterable[Tag]) -> tuple[Tag, ...]:
        """The tags and their ancestors, each once."""
        found: dict[Tag, None] = {}
        waiting = list(tags)
        while waiting:
            tag = waiting.pop()
            if tag not in found:
                found[tag] = None
                waiting.extend(self.parents.get(tag, ()))
        return tuple(found)

    def result(self) -> dict[str, float]:
        """Fractions in 0..1."""
        if not self.parents:
            return {}
        names = [
            f"{average}_{part}" for average in ("micro", "sample") for part in ("precision", "recall", "f1")
        ]
        scores = self.tagset.result()
        return {f"hierarchical_{name}": scores[name] for name in names}
