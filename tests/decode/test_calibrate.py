"""Calibrated probabilities come true, on products that nobody has seen."""

import json

import numpy as np
import pytest

from taggen_jax.calibrate import calibration_error
from taggen_jax.decode.calibrate import PRIOR, Calibration, cross_fitted, fit
from taggen_jax.decode.inclusion import SelectConfig, Tagged

TRUTH = {"sure": 0.97, "fair": 0.6, "poor": 0.2}  # how often a tag is right where its score is high


def products(count, seed):
    """Overconfident products: scores near 1, right by the tag and, a little, by the score."""
    chance = np.random.default_rng(seed)

    def candidates():
        for tag, truth in TRUTH.items():
            score = float(chance.beta(5, 1))
            yield tag, score, bool(chance.random() < truth * (0.5 + score / 2))

    return [sorted(candidates(), key=lambda item: -item[1]) for _ in range(count)]


@pytest.fixture(scope="module")
def calibration():
    return fit(products(2000, seed=0))


def applied(calibration, fresh, **select):
    for product in fresh:
        tagged = Tagged(tuple((tag, score) for tag, score, _ in product), 0, 0)
        yield calibration.apply(tagged, SelectConfig(**select)), {tag for tag, _, right in product if right}


def test_probabilities_come_true_on_other_products(calibration):
    fresh = products(4000, seed=1)
    judged = [
        [(p, tag in right) for tag, p in tagged.ranked] for tagged, right in applied(calibration, fresh)
    ]
    before = [[(score, right) for _, score, right in product] for product in fresh]
    assert calibration_error(before) > 0.2 and calibration_error(judged) < 0.03
    assert calibration_error(cross_fitted(fresh)) < 0.03
    assert all(product == sorted(product, key=lambda pair: -pair[0]) for product in judged)


def test_a_precision_is_kept_or_nothing_is_answered(calibration):
    fresh = products(4000, seed=2)
    for precision in (0.5, 0.8, 0.9):
        answers = list(applied(calibration, fresh, min_precision=precision))
        right = sum(len(right.intersection(tagged.tags)) for tagged, right in answers)
        answered = sum(len(tagged.tags) for tagged, _ in answers)
        assert answered > 1000 and right / answered > precision - 0.02
    assert not any(tagged.tags for tagged, _ in applied(calibration, fresh, min_precision=1.0))


def test_a_rare_tag_is_judged_as_the_others_are(calibration):
    common = products(2000, seed=0)
    once = fit([*common, [("rare", 0.9, True)]])
    assert once.probability("rare", 0.9) - once.overall(0.9) < 1 / PRIOR
    assert once.probability("new", 0.9) == once.overall(0.9)


def test_a_calibration_survives_json(calibration):
    assert Calibration.from_json(json.loads(json.dumps(calibration.to_json()))) == calibration


def test_without_candidates_there_is_nothing_to_fit():
    with pytest.raises(ValueError, match="too few of them with candidates"):
        cross_fitted([[], [("a", 0.5, True)]])
