"""Head, torso and tail: borders, pooling, and that together they are the whole."""

import numpy as np
import pytest

from taggen_jax.metrics.counts import Counts
from taggen_jax.metrics.prediction import Prediction
from taggen_jax.metrics.slices import DECILES, SLICES, Slices, deciles_of, slice_of
from taggen_jax.metrics.tagset import TagSet


@pytest.mark.parametrize(
    "count, name", [(0, "tail"), (9, "tail"), (10, "torso"), (99, "torso"), (100, "head"), (5000, "head")]
)
def test_borders(count, name):
    assert slice_of(count) == name


def test_by_hand():
    slices = Slices({"h": 100, "t": 10, "r": 9})
    slices.add(Prediction(gold=("h", "r", "unseen"), tags=("h", "t"), ranked=("h", "t", "x", "y", "z", "r")))
    slices.add(Prediction(gold=("h", "r"), tags=("r",), ranked=("r", "t")))
    result = {name: value for name, value in slices.result().items() if not name.startswith("decile")}
    assert result == pytest.approx(
        {
            "head_micro_f1": 2 * 1 / (2 * 1 + 0 + 1),
            "head_recall_at_5": 1 / 2,
            "head_positives": 2,
            "torso_positives": 0,  # predicted, never gold: nothing to measure
            "tail_micro_f1": 2 * 1 / (2 * 1 + 0 + 2),
            "tail_recall_at_5": 1 / 3,
            "tail_positives": 3,
        }
    )


@pytest.mark.parametrize("seed", range(3))
def test_the_slices_add_up_to_micro(seed):
    rng = np.random.default_rng(seed)
    counts = {tag: int(count) for tag, count in enumerate(rng.integers(0, 200, 20))}
    slices, tagset = Slices(counts), TagSet(counts)
    for _ in range(40):
        gold, tags = (tuple(rng.choice(25, size=4, replace=False).tolist()) for _ in range(2))
        slices.add(Prediction(gold=gold, tags=tags))
        tagset.add(Prediction(gold=gold, tags=tags))
    parts = {name: [tag for tag in range(25) if slice_of(counts.get(tag, 0)) == name] for name in SLICES}
    together = sum((slices.tags.pooled(tags) for tags in parts.values()), Counts())
    assert together.scores()[2] == tagset.result()["micro_f1"]
    for names in (SLICES, DECILES):
        assert sum(slices.result()[f"{name}_positives"] for name in names) == 40 * 4


def test_deciles_hold_a_tenth_of_the_training_pairs_each():
    counts = list(range(1, 400))
    deciles = deciles_of(counts)
    masses = {name: sum(n for n in counts if deciles[n] == name) for name in DECILES}
    assert all(abs(mass - sum(counts) / 10) <= max(counts) for mass in masses.values())
    assert [deciles[399], deciles[1], deciles[0]] == ["decile_1", "decile_10", "decile_10"]


def test_tags_of_one_count_stay_together():
    assert deciles_of([7] * 100) == {7: "decile_6", 0: "decile_10"}


def test_deciles_by_hand():
    slices = Slices({"a": 50, "b": 30, "c": 10, "d": 10})  # middles at 0.25, 0.65 and, of c and d, 0.9
    slices.add(Prediction(gold=("a", "b", "d", "new"), tags=("a", "c")))
    result = slices.result()
    places = {name: result[f"{name}_positives"] for name in DECILES if result[f"{name}_positives"]}
    assert places == {"decile_3": 1, "decile_7": 1, "decile_10": 2}
    assert result["decile_3_micro_f1"] == 1.0 and result["decile_10_micro_f1"] == 0.0


def test_without_any_training_count_all_is_in_the_last_decile():
    assert deciles_of([0, 0]) == deciles_of([]) == {0: "decile_10"}
