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
    """The ideal has min(k, |gold|) terms; with k terms, as napkinXC has it, it is 0.339."""
    result = one("a", "abcdef")
    assert result["ndcg_at_5"] == pytest.approx(1.0)
    k_terms = 1 / sum(1 / math.log2(place + 1) for place in range(1, 6))
    assert result["ndcg_at_5_full"] == pytest.approx(k_terms, abs=1e-12) == pytest.approx(0.339, abs=5e-4)


def test_the_two_readings_of_ndcg_agree_once_there_are_k_gold_tags():
    result = one("abxyz", "ayqbr")
    assert result["ndcg_at_5"] == result["ndcg_at_5_full"]


def test_f1_at_gold_by_hand():
    result = one("abcd", "aqb")  # 4 gold tags, 3 ranked, 2 right
    assert result["r_precision"] == pytest.approx(2 / 4)  # F1@O, short lists filled: P = R = 2/4
    assert result["f1_at_o_soft"] == pytest.approx(2 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4))
    assert one("ab", "qab")["r_precision"] == one("ab", "qab")["f1_at_o_soft"] == pytest.approx(1 / 2)


def test_more_gold_tags_than_the_deepest_k_are_looked_for_at_their_own_depth():
    assert one("abcdefg", "gfedcba")["r_precision"] == 1.0


def test_f1_of_means_is_not_the_mean_of_f1():
    result = measure(
        Prediction(gold=("a",), tags=("a",)), Prediction(gold=("a", "b", "c"), tags=("x", "a", "y"))
    )
    precision, recall = (1 / 3 + 1 / 3) / 2, (1 + 1 / 3) / 2  # at 3
    assert result["f1_of_means_at_3"] == pytest.approx(2 * precision * recall / (precision + recall))
    assert result["f1_at_3"] == pytest.approx((2 / 4 + 2 / 6) / 2) != result["f1_of_means_at_3"]
    soft = (1 + 1 / 3) / 2
    assert result["f1_of_means_at_3_soft"] == pytest.approx(2 * soft * recall / (soft + recall))


def test_a_short_list_counts_as_filled_with_wrong_tags_in_hard_f1_only():
    result = one("abc", "ab")
    assert result["f1_at_5"] == pytest.approx(2 * 2 / (5 + 3))
    assert result["f1_at_5_soft"] == pytest.approx(2 * (1 * 2 / 3) / (1 + 2 / 3))
    assert result["p_at_5"] == pytest.approx(2 / 5)
    assert result["f1_at_1"] == result["f1_at_1_soft"] == pytest.approx(1 / 2)
    assert result["p_at_5_soft"] == result["p_at_1_soft"] == 1.0


@pytest.mark.parametrize("ranked", ["", "a"])
def test_a_product_without_gold_scores_zero_and_stays_in_the_mean(ranked):
    assert set(one("", ranked).values()) == {0.0}
    both = measure(Prediction(gold=("a",), tags=("a",)), Prediction(gold=(), tags=tuple(ranked)))
    assert both["p_at_1"] == both["ndcg_at_5"] == both["recall_at_5"] == 0.5
    assert both["p_at_1_tagged"] == both["ndcg_at_5_tagged"] == both["recall_at_5_tagged"] == 1.0


def test_the_predicted_set_is_the_ranking_when_there_is_no_longer_one():
    with_set = measure(Prediction(gold=("a", "b"), tags=("b", "c")))
    assert with_set == measure(Prediction(gold=("a", "b"), tags=(), ranked=("b", "c")))
    assert with_set["p_at_1"] == 1.0


def test_nothing_added_is_zero_not_an_error():
    assert set(measure().values()) == {0.0}
