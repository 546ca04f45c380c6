"""Propensity-scored precision by hand, and where napkinXC's list input goes another way."""

import math

import pytest

from taggen_jax.metrics.prediction import Prediction
from taggen_jax.metrics.propensity import Propensity, inverse_propensity

COUNTS = {0: 300, 1: 20, 2: 1}
N = 400


def weight(count: int, products: int) -> float:
    """1 / p as in the paper: p = 1 / (1 + C e^(-A ln(count + B)))."""
    c = (math.log(products) - 1) * (1.5 + 1) ** 0.55
    return 1 + c * math.exp(-0.55 * math.log(count + 1.5))


def measure(*items: Prediction, training: int = N) -> dict[str, float]:
    propensity = Propensity(COUNTS, training)
    for item in items:
        propensity.add(item)
    return propensity.result()


def test_the_formula():
    assert inverse_propensity(20, N) == pytest.approx(weight(20, N), abs=1e-12)
    assert inverse_propensity(1, N) > inverse_propensity(20, N) > 1


def test_psp_is_a_ratio_of_sums():
    w = [weight(COUNTS[i], N) for i in range(3)]
    result = measure(
        Prediction(gold=(0, 2), tags=(), ranked=(0, 1, 2)),
        Prediction(gold=(1,), tags=(), ranked=(2, 1)),
    )
    assert result["psp_at_1"] == pytest.approx(w[0] / (w[2] + w[1]))
    assert result["psp_at_3"] == pytest.approx(1.0)
    per_item = (w[0] / w[2] + 0) / 2
    assert result["psp_at_1"] != pytest.approx(per_item)


def test_a_perfect_ranking_by_rarity_scores_1():
    assert measure(Prediction(gold=(0, 1, 2), tags=(), ranked=(2, 1, 0))) == pytest.approx(
        {"psp_at_1": 1.0, "psp_at_3": 1.0, "psp_at_5": 1.0}
    )


def test_an_unseen_tag_weighs_most():
    w = [weight(count, N) for count in (0, 300)]
    result = measure(Prediction(gold=("new", 0), tags=(), ranked=(0,)))
    assert result["psp_at_1"] == pytest.approx(w[1] / w[0])


def test_the_number_of_products_is_given_not_the_largest_tag():
    """napkinXC, called with lists of labels, takes the largest index for N: another C, another score."""
    item = Prediction(gold=(0, 2), tags=(), ranked=(0, 1, 2))
    ours, theirs = measure(item), measure(item, training=max(COUNTS) + 1)
    assert ours["psp_at_1"] == pytest.approx(weight(300, N) / weight(1, N))
    assert theirs["psp_at_1"] == pytest.approx(weight(300, 3) / weight(1, 3)) != ours["psp_at_1"]


def test_without_the_number_of_products_there_is_no_score():
    assert measure(Prediction(gold=(0,), tags=(0,)), training=0) == {}
