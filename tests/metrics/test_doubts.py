"""Laws of doubts: planted mistakes come first, and what a model cannot know raises no alarm."""

import itertools
import random

from hypothesis import given
from hypothesis import strategies as st

from taggen_jax.metrics.doubts import doubts
from taggen_jax.metrics.prediction import Prediction

TAGS = [f"t{i}" for i in range(12)]


def scored(gold: set[str], scores: dict[str, float]) -> Prediction:
    ranked = sorted(scores, key=lambda tag: -scores[tag])
    return Prediction(
        gold=tuple(sorted(gold)), tags=(), ranked=tuple(ranked), scores=tuple(scores[tag] for tag in ranked)
    )


def test_planted_mistakes_come_first_both_ways():
    """200 products; the scorer knows their true tags, with noise; 10 tags are added wrongly, 10 removed."""
    chance = random.Random(0)
    true = [set(chance.sample(TAGS, 3)) for _ in range(200)]
    wrong = {(i, next(tag for tag in TAGS if tag not in true[i])) for i in range(10)}
    missing = {(i, min(true[i])) for i in range(10, 20)}
    predictions = []
    for i, tags in enumerate(true):
        scores = {tag: chance.uniform(0.6, 1) if tag in tags else chance.uniform(0, 0.4) for tag in TAGS}
        labels = {tag for tag in TAGS if ((i, tag) in wrong) or (tag in tags and (i, tag) not in missing)}
        predictions.append(scored(labels, scores))
    found = doubts(predictions, 20)
    # What was removed scores 0.6 to 1, but not all of it above the 0.78 that is usual.
    assert {(doubt.product, doubt.tag) for doubt in found if doubt.given} >= wrong
    absent = [(doubt.product, doubt.tag) for doubt in found if not doubt.given]
    assert set(absent) <= missing and len(absent) >= 3
    assert all(doubt.size >= later.size for doubt, later in itertools.pairwise(found))


def test_a_tag_that_the_model_never_gives_is_not_doubted():
    predictions = [scored({"rare", "common"}, {"common": 0.9}) for _ in range(5)]
    assert not [doubt for doubt in doubts([*predictions, scored({"rare"}, {})], 10) if doubt.tag == "rare"]


def test_a_product_that_nobody_tagged_lacks_no_tag():
    predictions = [scored({"a"}, {"a": 0.5}), scored(set(), {"a": 1.0}), scored({"b"}, {"a": 0.6, "b": 0.1})]
    assert [(doubt.product, doubt.tag) for doubt in doubts(predictions, 10) if not doubt.given] == [(2, "a")]


@given(
    st.lists(
        st.tuples(st.sets(st.sampled_from("abc")), st.dictionaries(st.sampled_from("abc"), st.floats(0, 1)))
    ),
    st.integers(1, 4),
)
def test_a_doubt_is_of_the_right_kind_and_there_are_no_more_than_asked_for(rows, most):
    predictions = [scored(gold, scores) for gold, scores in rows]
    found = doubts(predictions, most)
    for given_ in (True, False):
        assert sum(doubt.given == given_ for doubt in found) <= most
    for doubt in found:
        assert doubt.given == (doubt.tag in predictions[doubt.product].gold) and 0 <= doubt.size <= 1
    assert len({(doubt.product, doubt.tag) for doubt in found}) == len(found)
