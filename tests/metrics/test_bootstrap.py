"""Resampled scores are the scores of the resampled products; the p-value knows chance from a difference."""

import random

import numpy as np
import pytest

from taggen_jax.metrics.bootstrap import MEASURES, Sample, compare, intervals, p_value
from taggen_jax.metrics.evaluate import Evaluation
from taggen_jax.metrics.prediction import Prediction

TAGS = 12


def system(right: float, products: int = 60, seed: int = 0) -> list[Prediction]:
    """Products whose gold tags depend on nothing but their number; each is found with probability `right`."""
    gold_rng, rng = random.Random(1), random.Random(seed)
    items = []
    for _ in range(products):
        gold = gold_rng.sample(range(TAGS), gold_rng.randint(0, 4))
        tags = [tag if rng.random() < right else rng.randrange(TAGS + 1) for tag in gold]
        items.append(Prediction(gold=tuple(gold), tags=tuple(tags)))
    return items


@pytest.mark.parametrize("seed", range(3))
def test_a_resample_scores_as_its_products_do(seed):
    items = system(0.6)
    draws = np.random.default_rng(seed).multinomial(len(items), [1 / len(items)] * len(items), size=2).T
    scores = Sample(items).scores(draws.astype(float))
    for column in range(2):
        evaluation = Evaluation(dict.fromkeys(range(TAGS), 1))
        for item, times in zip(items, draws[:, column], strict=True):
            for _ in range(times):
                evaluation.add(item)
        result = evaluation.result()
        assert scores[:, column] == pytest.approx([result[name] for name in MEASURES], abs=1e-6)


def test_a_system_does_not_differ_from_itself():
    sample = Sample(system(0.5))
    for difference in compare(sample, sample, 200).values():
        assert difference.difference.value == difference.difference.low == difference.difference.high == 0
        assert difference.p == 1.0


def test_a_better_system_is_found_and_the_sides_mirror():
    worse, better = Sample(system(0.3, 200, seed=1)), Sample(system(0.7, 200, seed=2))
    there, back = compare(worse, better, 500), compare(better, worse, 500)
    for name in MEASURES:
        assert there[name].p < 0.01 and there[name].difference.low > 0
        assert there[name].p == back[name].p
        assert there[name].difference.value == -back[name].difference.value


def test_chance_is_not_taken_for_a_difference():
    """Of 40 pairs of equal systems about 2 differ at 5%: 8 would be chance of less than 1 in 1,000."""
    found = 0
    for seed in range(40):
        a, b = (Sample(system(0.5, 100, seed=2 * seed + i)) for i in range(2))
        found += compare(a, b, 200)["micro_f1"].p < 0.05
    assert found < 8


def test_the_interval_of_a_mean_is_that_of_the_normal_law():
    items = system(0.5, 400)
    interval = intervals(Sample(items), 2000)["p_at_5"]
    hits = [len(set(item.gold) & set(item.tags)) / 5 for item in items]
    error = 1.96 * np.std(hits) / len(hits) ** 0.5
    assert interval.value == pytest.approx(np.mean(hits))
    assert interval.high - interval.value == pytest.approx(error, rel=0.15)
    assert interval.value - interval.low == pytest.approx(error, rel=0.15)


def test_the_same_seed_draws_the_same():
    sample = Sample(system(0.5))
    assert intervals(sample, 100) == intervals(sample, 100) != intervals(sample, 100, seed=1)


def test_p_by_hand():
    assert p_value(np.array([1.0, 2.0, 3.0, -1.0])) == pytest.approx(2 * 2 / 5)
    assert p_value(np.array([1.0] * 99)) == pytest.approx(2 / 100)
    assert p_value(np.zeros(9)) == 1.0


def test_without_any_gold_tag_all_is_zero():
    scores = intervals(Sample([Prediction(gold=(), tags=("a",))] * 3), 10)
    assert {interval.value for interval in scores.values()} == {0.0}
