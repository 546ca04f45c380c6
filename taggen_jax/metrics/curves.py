"""Curves and cases behind the numbers: what a report draws and shows."""

import collections
import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from taggen_jax.metrics.counts import Counts
from taggen_jax.metrics.prediction import Prediction, Tag


def precision_recall(predictions: Iterable[Prediction]) -> np.ndarray:
    """Micro precision and recall when every candidate of at least some score is answered.

    Returns:
      float64[distinct scores, 3]: threshold, precision, recall; by falling threshold. Recall ends where the
      candidates end, below 1 unless they hold all gold tags.
    """
    scores: list[float] = []
    hits: list[bool] = []
    wanted = 0
    for prediction in predictions:
        wanted += len(prediction.gold)
        scores.extend(prediction.scores or ())
        hits.extend(tag in prediction.gold for tag in prediction.ranked[: len(prediction.scores or ())])
    score = np.array(scores, np.float64)
    order = np.argsort(-score, kind="stable")
    score, right = score[order], np.cumsum(np.array(hits, np.float64)[order])
    last = np.append(score[1:] != score[:-1], True)[: len(score)]  # equal scores are answered together
    answered = np.arange(1, len(score) + 1)
    return np.stack([score, right / answered, right / max(wanted, 1)], axis=1)[last]


@dataclasses.dataclass(frozen=True)
class Confusion:
    """On `products` products `predicted` was answered and `gold` was missed; so often is `gold` right."""

    predicted: Tag
    gold: Tag
    products: int
    right: int


def confusions(predictions: Iterable[Prediction], most: int) -> list[Confusion]:
    """The pairs of a wrong and a missed tag that stand together on most products, the most frequent first."""
    pairs: collections.Counter[tuple[Tag, Tag]] = collections.Counter()
    right: collections.Counter[Tag] = collections.Counter()
    for prediction in predictions:
        gold, tags = set(prediction.gold), set(prediction.tags)
        pairs.update((wrong, missed) for wrong in tags - gold for missed in gold - tags)
        right.update(gold & tags)
    order = sorted(pairs.items(), key=lambda item: (-item[1], str(item[0])))
    return [Confusion(wrong, missed, n, right[missed]) for (wrong, missed), n in order[:most]]


def extremes(predictions: Sequence[Prediction], most: int) -> tuple[list[int], list[int]]:
    """The places of the worst and of the best products that have gold tags.

    Worst is the lowest F1, among equals the most confident answer (mean score), which is where gold tags are
    doubtful, too; best the highest F1, among equals the one with most gold tags.
    """
    keys = {i: _standing(prediction) for i, prediction in enumerate(predictions) if prediction.gold}
    worst = sorted(keys, key=lambda i: (keys[i][0], -keys[i][1], i))[:most]
    best = sorted(keys, key=lambda i: (-keys[i][0], -len(predictions[i].gold), -keys[i][1], i))[:most]
    return worst, best


def _standing(prediction: Prediction) -> tuple[float, float]:
    """F1 and confidence."""
    gold, tags = set(prediction.gold), set(prediction.tags)
    f1 = Counts(len(gold & tags), len(tags - gold), len(gold - tags)).scores()[2]
    scores = dict(zip(prediction.ranked, prediction.scores or (), strict=False))
    return float(f1), sum(scores.get(tag, 0.0) for tag in tags) / max(len(tags), 1)
