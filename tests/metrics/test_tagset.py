"""Set measures: equal to scikit-learn's, and the cases that it leaves open by hand."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

from taggen_jax.metrics.prediction import Prediction
from taggen_jax.metrics.tagset import TagSet

TAGS = 12
THEIRS = {"precision": precision_score, "recall": recall_score, "f1": f1_score}


def random_split(seed: int, products: int = 80) -> tuple[np.ndarray, np.ndarray]:
    """Gold and predicted incidence matrices, with empty rows and tags that occur on one side only."""
    rng = np.random.default_rng(seed)
    shares = rng.uniform(0, 0.4, TAGS)
    gold, predicted = rng.random((2, products, TAGS)) < shares
    gold[:, 0], predicted[:, 1] = False, False
    gold[0], predicted[1] = False, False
    gold[2] = predicted[2] = False
    return gold, predicted


def measure(gold: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    tagset = TagSet(range(TAGS))
    for gold_row, predicted_row in zip(gold, predicted, strict=True):
        gold_tags, tags = (tuple(np.flatnonzero(row).tolist()) for row in (gold_row, predicted_row))
        tagset.add(Prediction(gold=gold_tags, tags=tags))
    return tagset.result()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("average", ["micro", "macro", "samples"])
@pytest.mark.parametrize("name", THEIRS)
def test_equal_to_scikit_learn(seed, average, name):
    gold, predicted = random_split(seed)
    key = {"micro": f"micro_{name}", "macro": f"macro_{name}_all", "samples": f"sample_{name}"}[average]
    expected = THEIRS[name](gold, predicted, average=average, zero_division=0)
    assert measure(gold, predicted)[key] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_macro_over_tags_with_a_positive_equals_scikit_learn_on_these_tags(seed):
    gold, predicted = random_split(seed)
    positive = np.flatnonzero(gold.any(axis=0))
    assert 0 < len(positive) < TAGS
    expected = f1_score(gold, predicted, average="macro", labels=positive, zero_division=0)
    assert measure(gold, predicted)["macro_f1"] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_exact_match_equals_scikit_learn(seed):
    gold, predicted = random_split(seed)
    predicted[::2] = gold[::2]
    assert measure(gold, predicted)["exact_match"] == pytest.approx(accuracy_score(gold, predicted), abs=1e-9)


def test_predictions_for_a_product_without_gold_are_wrong():
    tagset = TagSet(("a", "b"))
    tagset.add(Prediction(gold=("a",), tags=("a",)))
    assert tagset.result()["micro_precision"] == 1.0
    tagset.add(Prediction(gold=(), tags=("a",)))
    result = tagset.result()
    assert result["micro_precision"] == 0.5 and result["micro_recall"] == 1.0
    assert result["sample_f1"] == 0.5 and result["exact_match"] == 0.5


def test_a_tag_outside_the_vocabulary_is_a_false_positive_and_no_part_of_macro():
    tagset = TagSet(("a", "b"))
    tagset.add(Prediction(gold=("a",), tags=("a", "new")))
    result = tagset.result()
    assert result["micro_precision"] == 0.5
    assert result["macro_f1"] == 1.0 and result["macro_f1_all"] == 0.5


def test_nothing_added_is_zero_not_an_error():
    assert set(TagSet(()).result().values()) == {0.0}


def test_coverage_counts_tags_that_were_right_at_least_once():
    tagset = TagSet(("a", "b", "c"))
    tagset.add(Prediction(gold=("a", "b"), tags=("a", "c")))
    tagset.add(Prediction(gold=("a", "c"), tags=("a",)))
    assert tagset.result()["coverage"] == pytest.approx(1 / 3)


def test_products_without_gold_are_scored_0_or_skipped():
    """OpenNMT-kpg scores them 0, other evaluations of keyphrases skip them: both are here."""
    tagset = TagSet(("a", "b"))
    tagset.add(Prediction(gold=("a",), tags=("a", "b")))
    tagset.add(Prediction(gold=(), tags=()))
    tagset.add(Prediction(gold=(), tags=("b",)))
    result = tagset.result()
    assert result["sample_f1"] == pytest.approx((2 / 3 + 0 + 0) / 3)
    assert result["sample_f1_tagged"] == pytest.approx(2 / 3)


def test_f1_of_means_by_hand():
    tagset = TagSet(("a", "b"))
    tagset.add(Prediction(gold=("a", "b"), tags=("a",)))
    tagset.add(Prediction(gold=("b",), tags=("a", "b")))
    result = tagset.result()
    precision, recall = (1 / 2 + 1) / 2, (1 + 1 / 2) / 2  # of a and of b
    assert result["macro_f1_of_means"] == pytest.approx(2 * precision * recall / (precision + recall))
    assert result["macro_f1"] == pytest.approx((2 / 3 + 2 / 3) / 2) != result["macro_f1_of_means"]
