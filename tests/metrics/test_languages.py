"""Languages apart: by hand, and that together they are the whole."""

import pytest

from taggen_jax.metrics.languages import Languages, named
from taggen_jax.metrics.prediction import Prediction
from taggen_jax.metrics.tagset import TagSet


def test_by_hand():
    languages = Languages()
    languages.add(Prediction(gold=(1, 2), tags=(1, 3), ranked=(1, 3, 4, 5, 6, 2), language="de"))
    languages.add(Prediction(gold=(1,), tags=(), ranked=(4, 1), language="de"))
    languages.add(Prediction(gold=(7,), tags=(7,), language="zh"))
    languages.add(Prediction(gold=(9,), tags=(8,)))
    assert languages.result() == pytest.approx(
        {
            "language_de_micro_precision": 1 / 2,
            "language_de_micro_recall": 1 / 3,
            "language_de_micro_f1": 2 * 1 / (2 + 3),
            "language_de_p_at_5": (1 / 5 + 1 / 5) / 2,
            "language_de_positives": 3,
            "language_zh_micro_precision": 1,
            "language_zh_micro_recall": 1,
            "language_zh_micro_f1": 1,
            "language_zh_p_at_5": 1 / 5,
            "language_zh_positives": 1,
        }
    )
    assert named(languages.result()) == {"de": "language_de", "zh": "language_zh"}


def test_one_language_alone_scores_as_the_whole():
    languages, whole = Languages(), TagSet({1: 5, 2: 1})
    for item in (
        Prediction(gold=(1, 2), tags=(2,), language="en"),
        Prediction(gold=(2,), tags=(1, 2), language="en"),
    ):
        languages.add(item)
        whole.add(item)
    result = languages.result()
    assert {result[f"language_en_micro_{part}"] for part in ("precision", "recall", "f1")} == {2 / 3}
    assert result["language_en_micro_f1"] == whole.result()["micro_f1"]
