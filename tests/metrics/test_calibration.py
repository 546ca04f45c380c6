"""Scores against what happened: calibration, Brier and risk equal scikit-learn's, or hand computation."""

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from taggen_jax.metrics.calibration import BINS, Calibration
from taggen_jax.metrics.histogram import BUCKETS, Histogram, equal_mass
from taggen_jax.metrics.prediction import Prediction
from taggen_jax.metrics.risk import Risk

TAGS = 9
COUNTS = dict.fromkeys(range(TAGS), 1)


def dense(seed: int, products: int = 70) -> tuple[np.ndarray, np.ndarray, list[Prediction]]:
    """Gold bool and scores float [products, TAGS], without ties, and the same as predictions."""
    rng = np.random.default_rng(seed)
    scores = rng.permutation(BUCKETS)[: products * TAGS].reshape(products, TAGS) / BUCKETS + 2e-5
    gold = rng.random((products, TAGS)) < scores**2
    order = np.argsort(-scores, axis=1)
    items = [
        Prediction(
            gold=tuple(np.flatnonzero(gold[i]).tolist()),
            tags=(),
            ranked=tuple(order[i].tolist()),
            scores=tuple(scores[i, order[i]].tolist()),
        )
        for i in range(products)
    ]
    return gold, scores, items


def measure(items) -> dict[str, float]:
    calibration = Calibration(COUNTS)
    for item in items:
        calibration.add(item)
    return calibration.result()


def sorted_and_cut(scores: np.ndarray, right: np.ndarray, bins: int) -> float:
    """The textbook's error: sort, cut into bins whose sizes differ by at most one, weigh the gaps."""
    order = np.argsort(scores)
    parts = np.array_split(order, bins)
    return sum(len(p) / len(order) * abs(right[p].mean() - scores[p].mean()) for p in parts)


@pytest.mark.parametrize("seed", range(4))
def test_brier_over_all_pairs_equals_scikit_learn(seed):
    gold, scores, items = dense(seed)
    expected = brier_score_loss(gold.ravel(), scores.ravel())
    assert measure(items)["brier_all"] == pytest.approx(expected, abs=1e-9)


def test_a_tag_that_is_no_candidate_has_the_score_0():
    gold, scores, items = dense(0)
    cut = [Prediction(gold=p.gold, tags=(), ranked=p.ranked[:3], scores=p.scores[:3]) for p in items]
    third = np.sort(scores, axis=1)[:, -3:].min(axis=1, keepdims=True)
    expected = brier_score_loss(gold.ravel(), np.where(scores >= third, scores, 0).ravel())
    assert measure(cut)["brier_all"] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("products", [3, 45, 70])
def test_the_error_of_the_first_five_equals_sorting_and_cutting(seed, products):
    gold, scores, items = dense(seed, products)
    top = np.argsort(-scores, axis=1)[:, :5]
    flat, right = (np.take_along_axis(a, top, axis=1).ravel() for a in (scores, gold))
    result = measure(items)
    assert result["brier_at_5"] == pytest.approx(brier_score_loss(right, flat), abs=1e-9)
    if len(flat) % BINS == 0:  # otherwise which bins have one entry more is a choice
        assert result["ece_at_5"] == pytest.approx(sorted_and_cut(flat, right, BINS), abs=1e-9)


def test_the_error_by_hand():
    """Ten candidates of score 0.8, of which six are right, and ten of 0.1, of which one is."""
    items = [Prediction(gold=(i,) if i < 6 else (), tags=(), ranked=(i,), scores=(0.8,)) for i in range(10)]
    items += [Prediction(gold=(i,) if i < 1 else (), tags=(), ranked=(i,), scores=(0.1,)) for i in range(10)]
    assert measure(items)["ece_at_5"] == pytest.approx(0.5 * 0.2 + 0.5 * 0.0)
    assert measure(items)["brier_at_5"] == pytest.approx((6 * 0.04 + 4 * 0.64 + 1 * 0.81 + 9 * 0.01) / 20)


def test_slices_have_their_own_error():
    calibration = Calibration({"often": 100, "rare": 1})
    calibration.add(Prediction(gold=("often",), tags=(), ranked=("often", "rare"), scores=(1.0, 0.6)))
    result = calibration.result()
    assert (result["head_ece_at_5"], result["tail_ece_at_5"]) == (0.0, pytest.approx(0.6))
    assert "torso_ece_at_5" not in result


def test_without_scores_there_is_nothing_to_calibrate():
    assert measure([Prediction(gold=(1,), tags=(1,))]) == {}
    risk = Risk()
    risk.add(Prediction(gold=(1,), tags=(1,)))
    assert risk.result() == {}


def test_the_risk_curve_and_its_area_by_hand():
    """Confidences 0.9 (right), 0.6 (half right), 0.2 (wrong)."""
    risk = Risk()
    risk.add(Prediction(gold=("a",), tags=("a",), ranked=("a",), scores=(0.9,)))
    risk.add(Prediction(gold=("a",), tags=("a", "b", "c"), ranked=("a", "b", "c"), scores=(0.8, 0.5, 0.5)))
    risk.add(Prediction(gold=("a",), tags=("d",), ranked=("d", "a"), scores=(0.2, 0.1)))
    result = risk.result()
    assert risk.curves()[:, 0] == pytest.approx([0, 0.5 / 2, 1.5 / 3])
    assert result["aurc_f1"] == pytest.approx((0 + 0.25 + 0.5) / 3)
    assert result["aurc_exact"] == pytest.approx((0 + 1 / 2 + 2 / 3) / 3)
    assert result["risk_at_20"] == 0 and result["risk_at_100"] == pytest.approx(0.5)


def test_products_of_one_confidence_count_in_any_order_alike():
    items = [Prediction(gold=(i % 3,), tags=(0,), ranked=(0,), scores=(0.5,)) for i in range(6)]
    risk = Risk()
    for item in items:
        risk.add(item)
    assert risk.curves()[:, 0] == pytest.approx([4 / 6] * 6)


def test_equal_masses_make_bins_whose_sizes_differ_by_one_at_most():
    for entries in (1, 14, 15, 16, 100):
        sizes = np.bincount(equal_mass(np.ones(entries), 15), minlength=15)
        assert sizes.max() - sizes.min() <= 1 and sizes.sum() == entries


def test_a_histogram_takes_scores_at_and_beyond_the_ends():
    histogram = Histogram(1)
    for score in (0.0, 1.0, 1.0000001, -1e-9):
        histogram.add(score, score)
    assert histogram.rows()[:, 0].tolist() == [2, 2]
