"""The protocol of ExtractGPT (Brinkmann et al., 2023) for attribute values, as its program counts.

It scores attribute -> value for products of several categories, and differs from scoring "Attribute: value"
tags: what is predicted for an attribute that the product was never annotated for costs nothing.
"""

import collections
from collections.abc import Collection, Iterable, Mapping

import numpy as np

from taggen_jax.metrics.accumulator import Accumulator
from taggen_jax.metrics.counts import divide, harmonic

NONE = "n/a"
SEPARATOR = ": "
OUTCOMES = ("NN", "NV", "VN", "VC", "VW")


def outcome(gold: Collection[str], predicted: object) -> str:
    """One of NN, NV, VN, VC, VW: is there a gold value, is one predicted, and is it one of the gold ones.

    Gold values are stripped, "n/a" means none, and the first alone decides whether there is one. The
    prediction is compared as it is, letter case and spaces included; None, "n/a" and "None" mean none.
    """
    values = [None if value == NONE else value.strip() for value in gold]
    if predicted in (NONE, "None"):
        predicted = None
    if values[0] is None:
        return "NN" if predicted is None else "NV"
    if predicted is None:
        return "VN"
    return "VC" if predicted in values else "VW"


def from_tags(tags: Iterable[str]) -> dict[str, str]:
    """Attribute to value from tags "Attribute: value", best first: the first value of an attribute stands."""
    predicted: dict[str, str] = {}
    for tag in tags:
        attribute, separator, value = tag.partition(SEPARATOR)
        if separator:
            predicted.setdefault(attribute, value)
    return predicted


class Attributes(Accumulator):
    """`attribute_micro_*` and `attribute_macro_*` over pairs of category and attribute.

    P = VC / (NV + VC + VW) and R = VC / (VN + VC + VW): NN never counts, a wrong value hurts both. As
    published, P and R are rounded to two decimals of a percent before F1 is taken of them, and F1 again;
    `attribute_micro_f1_exact` is not rounded. Micro sums the counts over all pairs, macro is the mean over
    those with NV + VN + VC + VW > 0, rounded too.

    attribute_recall_seen, attribute_recall_unseen   VC / (VN + VC + VW) of the targets of which a gold value
        was, or none was, a training value of the attribute, in whatever category: memory and reading
    attribute_NN ...                                 the counts, over all pairs
    """

    STATE = ("counts", "memory")

    def __init__(self, training: Collection[tuple[str, str]]) -> None:
        """Takes the (attribute, value) pairs of the training products, values stripped."""
        self.training = training
        self.counts: collections.Counter[tuple[str, str, str]] = collections.Counter()
        self.memory: collections.Counter[tuple[str, str]] = collections.Counter()

    def add(
        self, category: str, targets: Mapping[str, Collection[str]], predicted: Mapping[str, object] | None
    ) -> None:
        """Scores one product.

        Args:
          category: the product's.
          targets: attribute to its gold values, for every attribute that people looked at; "n/a" for none.
          predicted: attribute to value, other attributes included; None where the output could not be read.
        """
        for attribute, gold in targets.items():
            what = outcome(gold, (predicted or {}).get(attribute))
            self.counts[category, attribute, what] += 1
            seen = any((attribute, value.strip()) in self.training for value in gold)
            self.memory["seen" if seen else "unseen", what] += 1

    def result(self) -> dict[str, float]:
        """Fractions in 0..1, and counts."""
        pairs: dict[tuple[str, str], collections.Counter[str]] = {}
        for (category, attribute, what), count in self.counts.items():
            pairs.setdefault((category, attribute), collections.Counter())[what] += count
        total = sum(pairs.values(), collections.Counter())
        counted = [scores(counts) for counts in pairs.values() if counts.total() > counts["NN"]]
        macro = [round(float(mean), 4) for mean in np.mean(counted or [[0.0] * 3], axis=0)]
        recalls = {
            f"attribute_recall_{part}": _ratio(
                collections.Counter({what: self.memory[part, what] for what in OUTCOMES}), "VN"
            )
            for part in ("seen", "unseen")
        }
        return {
            **_named("micro", scores(total)),
            "attribute_micro_f1_exact": harmonic(_ratio(total, "NV"), _ratio(total, "VN")),
            **_named("macro", macro),
            **recalls,
            **{f"attribute_{what}": total[what] for what in OUTCOMES},
        }


def scores(counts: Mapping[str, int]) -> list[float]:
    """Precision, recall and F1, each rounded to two decimals of a percent."""
    precision, recall = round(_ratio(counts, "NV"), 4), round(_ratio(counts, "VN"), 4)
    return [precision, recall, round(harmonic(precision, recall), 4)]


def _ratio(counts: Mapping[str, int], missing: str) -> float:
    return divide(counts["VC"], counts[missing] + counts["VC"] + counts["VW"])


def _named(average: str, scores: list[float]) -> dict[str, float]:
    names = (f"attribute_{average}_{part}" for part in ("precision", "recall", "f1"))
    return dict(zip(names, scores, strict=True))
