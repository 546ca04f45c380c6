"""Tags that stand in the product's text, and tags that have to be inferred."""

import functools
import re
import unicodedata

from taggen_jax.metrics.accumulator import Accumulator
from taggen_jax.metrics.counts import Counts, TagCounts, divide
from taggen_jax.metrics.prediction import Prediction, Tag

DEPTH = 5
HALVES = ("present", "absent")
_HAN = re.compile("[\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_WORD = re.compile(r"[^\W_]+")


def tokens(text: str) -> str:
    """Words of letters and digits and single Chinese characters, NFKC and case-folded: " red t 恤 "."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " " + " ".join(_WORD.findall(_HAN.sub(r" \g<0> ", folded))) + " "


_tokens_of_tag = functools.lru_cache(maxsize=1 << 16)(tokens)


class Presence(Accumulator):
    """The keyphrase field's split, for each half: `present_*` and `absent_*`.

    A tag is present when its tokens are a contiguous run of the tokens of `Prediction.text`; there is no
    stemming (English keyphrase papers stem by Porter's rules, Chinese ones do not). Gold and predicted tags
    are both split, so that a wrong present tag costs nothing in the absent half. Left out for products
    without text; a half without gold tags has no scores.

    present_positives      gold pairs of product and tag in this half
    present_micro_*        precision, recall and F1 of the predicted set, all pairs pooled
    present_f1_at_5        mean over the products with a gold tag of this half, of F1 at 5 (a short ranking
                           counts as filled with wrong tags) of the ranking without the tags of the other half
    present_recall_at_5    the same for recall at 5
    """

    STATE = ("counts", "products", "f1", "recall")

    def __init__(self) -> None:
        """Starts empty."""
        self.counts = {half: TagCounts() for half in HALVES}
        self.products = dict.fromkeys(HALVES, 0)
        self.f1 = dict.fromkeys(HALVES, 0.0)
        self.recall = dict.fromkeys(HALVES, 0.0)

    def add(self, prediction: Prediction) -> None:
        """Scores one product."""
        if not prediction.text:
            return
        text = tokens(prediction.text)

        def part(tags: tuple[Tag, ...], half: str) -> tuple[Tag, ...]:
            return tuple(tag for tag in tags if present(tag, text) == (half == "present"))

        for half in HALVES:
            gold, tags = part(prediction.gold, half), part(prediction.tags, half)
            self.counts[half].add(Prediction(gold=gold, tags=tags))
            if gold:
                right = len(set(gold).intersection(part(prediction.ranked, half)[:DEPTH]))
                self.products[half] += 1
                self.f1[half] += 2 * right / (DEPTH + len(gold))
                self.recall[half] += right / len(gold)

    def result(self) -> dict[str, float]:
        """Fractions in 0..1, and the numbers of positives; empty where no product came with its text."""
        if not any(self.counts[half].seen() for half in HALVES):
            return {}
        result: dict[str, float] = {}
        for half in HALVES:
            counts, products = self.counts[half], self.products[half]
            result[f"{half}_positives"] = counts.gold.total()
            if products:
                scores = pooled(counts).scores().tolist()
                names = (f"{half}_micro_{part}" for part in ("precision", "recall", "f1"))
                result |= dict(zip(names, scores, strict=True))
                result[f"{half}_f1_at_{DEPTH}"] = divide(self.f1[half], products)
                result[f"{half}_recall_at_{DEPTH}"] = divide(self.recall[half], products)
        return result


def present(tag: Tag, text: str) -> bool:
    """Whether the tokens of a tag are a run of those of `text`, which `tokens` made."""
    return (run := _tokens_of_tag(str(tag))) != "  " and run in text


def pooled(counts: TagCounts) -> Counts:
    """The counts of all tags together."""
    return counts.pooled(counts.seen())
