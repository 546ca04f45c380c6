"""Head, torso and tail: borders, pooling, and that together they are the whole."""

import numpy as np
import pytest

from taggen_jax.metrics.counts import Counts
from taggen_jax.metrics.prediction import Prediction
from taggen_jax.metrics.slices import SLICES, Slices, slice_of
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
    assert slices.result() == pytest.approx(
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
    assert sum(slices.result()[f"{name}_positives"] for name in SLICES) == 40 * 4
