"""Curves equal scikit-learn's, confusions and extremes by hand."""

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve

from taggen_jax.metrics.curves import Confusion, confusions, extremes, precision_recall
from taggen_jax.metrics.prediction import Prediction


@pytest.mark.parametrize("seed", range(3))
def test_precision_and_recall_equal_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(1, 30, (20, 6)) / 30  # with ties
    gold = rng.random((20, 6)) < 0.3
    items = [
        Prediction(
            gold=tuple(np.flatnonzero(row).tolist()), tags=(), ranked=tuple(range(6)), scores=tuple(values)
        )
        for row, values in zip(gold, scores.tolist(), strict=True)
    ]
    precision, recall, thresholds = precision_recall_curve(gold.ravel(), scores.ravel())
    expected = np.stack([thresholds, precision[:-1], recall[:-1]], axis=1)[::-1]
    np.testing.assert_allclose(precision_recall(items), expected, atol=1e-9)


def test_recall_ends_where_the_candidates_end():
    item = Prediction(gold=("a", "b", "c"), tags=(), ranked=("a", "x"), scores=(0.9, 0.1))
    assert precision_recall([item])[-1].tolist() == [0.1, 1 / 2, 1 / 3]


def test_without_scores_the_curve_is_empty():
    assert precision_recall([Prediction(gold=("a",), tags=("a",))]).shape == (0, 3)


def test_confusions_count_wrong_and_missed_on_one_product():
    items = [
        Prediction(gold=("cat",), tags=("dog",)),
        Prediction(gold=("cat", "pet"), tags=("dog", "pet")),
        Prediction(gold=("cat",), tags=("cat", "dog")),  # dog is wrong, but not instead of anything
        Prediction(gold=("pet",), tags=("cat",)),
    ]
    assert confusions(items, 5) == [Confusion("dog", "cat", 2, 1), Confusion("cat", "pet", 1, 1)]
    assert len(confusions(items, 1)) == 1


def test_worst_are_confidently_wrong_and_best_have_many_tags():
    items = [
        Prediction(gold=("a",), tags=("b",), scores=(0.5,)),
        Prediction(gold=("a",), tags=("b",), scores=(0.9,)),
        Prediction(gold=("a",), tags=("a",), scores=(0.9,)),
        Prediction(gold=("a", "b"), tags=("a", "b"), scores=(0.9, 0.8)),
        Prediction(gold=(), tags=("a",), scores=(0.9,)),
    ]
    worst, best = extremes(items, 2)
    assert (worst, best) == ([1, 0], [3, 2])
