"""Ancestors count: a sibling is half right."""

import pytest

from taggen_jax.metrics.hierarchy import Hierarchy
from taggen_jax.metrics.prediction import Prediction

PARENTS = {"boots": ["shoes"], "sandals": ["shoes", "summer"], "shoes": ["wear"]}


def measure(gold: str, tags: str, parents=PARENTS) -> dict[str, float]:
    hierarchy = Hierarchy(parents)
    hierarchy.add(Prediction(gold=tuple(gold.split()), tags=tuple(tags.split())))
    return hierarchy.result()


def test_by_hand():
    result = measure("boots", "sandals")  # boots shoes wear; sandals shoes wear summer
    assert result["hierarchical_micro_precision"] == pytest.approx(2 / 4)
    assert result["hierarchical_micro_recall"] == pytest.approx(2 / 3)
    assert result["hierarchical_sample_f1"] == pytest.approx(2 * 2 / 7)


def test_an_ancestor_given_too_changes_nothing():
    assert measure("boots shoes", "sandals wear") == measure("boots", "sandals")


def test_a_circle_of_parents_ends():
    assert set(measure("a", "b", {"a": ["b"], "b": ["a"]}).values()) == {1.0}


def test_a_flat_vocabulary_has_no_such_scores():
    assert measure("a", "a", {}) == {}
