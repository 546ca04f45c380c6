"""Ranking measures: equal to scikit-learn's nDCG, and everything else by hand."""

import math

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from taggen_jax.metrics.prediction import Prediction
from taggen_jax.metrics.ranking import DEPTHS, Ranking


def measure(*items: Prediction) -> dict[str, float]:
    ranking = Ranking()
    for item in items:
        ranking.add(item)
    return ranking.result()


def one(gold: str, ranked: str) -> dict[str, float]:
    """Scores one product whose tags are the letters of `gold`."""
    return measure(Prediction(gold=tuple(gold), tags=(), ranked=tuple(ranked)))


@pytest.mark.parametrize("k", DEPTHS)
@pytest.mark.parametrize("seed", range(4))
def test_ndcg_equals_scikit_learn(seed, k):
    rng = np.random.default_rng(seed)
    gold, scores = rng.random((60, 15)) < 0.2, rng.random((60, 15))
    items = [
        Prediction(gold=tuple(np.flatnonzero(row).tolist()), tags=(), ranked=tuple(order.tolist()))
        for row, order in zip(gold, np.argsort(-scores, axis=1), strict=True)
    ]
    assert measure(*items)[f"ndcg_at_{k}"] == pytest.approx(ndcg_score(gold, scores, k=k), abs=1e-9)


def test_full_ranking_by_hand():
    result = one("ace", "abcdefgh")  # hits at places 1, 3, 5
    assert [result[f"p_at_{k}"] for k in DEPTHS] == pytest.approx([1, 2 / 3, 3 / 5])
    assert [result[f"recall_at_{k}"] for k in DEPTHS] == pytest.approx([1 / 3, 2 / 3, 1])
    assert [result[f"f1_at_{k}"] for k in DEPTHS] == pytest.approx([1 / 2, 2 / 3, 3 / 4])
    ideal = 1 + 1 / math.log2(3) + 1 / 2
    assert result["ndcg_at_5"] == pytest.approx((1 + 1 / 2 + 1 / math.log2(6)) / ideal)


def test_one_gold_tag_ranked_first_is_perfect():
    """The ideal has min(k, |gold|) terms; with k terms it would be 0.339."""
    assert one("a", "abcdef")["ndcg_at_5"] == pytest.approx(1.0)


def test_a_short_list_counts_as_filled_with_wrong_tags_in_hard_f1_only():
    result = one("abc", "ab")
    assert result["f1_at_5"] == pytest.approx(2 * 2 / (5 + 3))
    assert result["f1_at_5_soft"] == pytest.approx(2 * (1 * 2 / 3) / (1 + 2 / 3))
    assert result["p_at_5"] == pytest.approx(2 / 5)
    assert result["f1_at_1"] == result["f1_at_1_soft"] == pytest.approx(1 / 2)


@pytest.mark.parametrize("ranked", ["", "a"])
def test_a_product_without_gold_scores_zero_and_stays_in_the_mean(ranked):
    assert set(one("", ranked).values()) == {0.0}
    both = measure(Prediction(gold=("a",), tags=("a",)), Prediction(gold=(), tags=tuple(ranked)))
    assert both["p_at_1"] == both["ndcg_at_5"] == both["recall_at_5"] == 0.5


def test_the_predicted_set_is_the_ranking_when_there_is_no_longer_one():
    with_set = measure(Prediction(gold=("a", "b"), tags=("b", "c")))
    assert with_set == measure(Prediction(gold=("a", "b"), tags=(), ranked=("b", "c")))
    assert with_set["p_at_1"] == 1.0


def test_nothing_added_is_zero_not_an_error():
    assert set(measure().values()) == {0.0}
