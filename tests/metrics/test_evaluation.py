"""Parts merge into the whole, repeats change nothing but their own rate, and the table shows it all."""

import json
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taggen_jax.metrics.evaluate import Evaluation
from taggen_jax.metrics.prediction import Prediction
from taggen_jax.metrics.table import render

COUNTS = {0: 500, 1: 100, 2: 99, 3: 10, 4: 9, 5: 1, 6: 0}
tag_lists = st.lists(st.integers(0, 8), max_size=7).map(tuple)
PARENTS = {1: [0], 2: [1], 5: [3, 4], 8: [0]}
TEXT = "4 and 5, with 6"  # number tags are read as the text that they print as


@st.composite
def a_prediction(draw) -> Prediction:
    ranked = draw(st.lists(st.integers(0, 8), max_size=7, unique=True).map(tuple))
    scores = draw(st.none() | st.lists(st.floats(0, 1), min_size=len(ranked), max_size=len(ranked)))
    return Prediction(
        gold=draw(tag_lists),
        tags=ranked[: draw(st.integers(0, 7))] if scores else draw(tag_lists),
        ranked=ranked,
        scores=tuple(scores) if scores and ranked else None,
        text=draw(st.sampled_from(["", TEXT])),
        language=draw(st.sampled_from(["", "de", "zh-Hant"])),
        duplicates=draw(st.integers(0, 3)),
    )


predictions = st.lists(a_prediction(), max_size=12)


def evaluate(items) -> Evaluation:
    evaluation = Evaluation(COUNTS, 1000, PARENTS)
    for item in items:
        evaluation.add(item)
    return evaluation


@settings(max_examples=60, deadline=None)
@given(items=predictions, parts=st.integers(1, 4), seed=st.integers(0, 99))
def test_any_partition_merges_into_the_whole(items, parts, seed):
    rng = random.Random(seed)
    split: list[list[Prediction]] = [[] for _ in range(parts)]
    for item in items:
        rng.choice(split).append(item)
    merged = Evaluation(COUNTS, 1000, PARENTS)
    for part in split:
        sent = json.loads(json.dumps(evaluate(part).to_json()))  # as from another host
        merged.merge(Evaluation(COUNTS, 1000, PARENTS).from_json(sent))
    assert merged.result() == pytest.approx(evaluate(items).result(), abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(items=predictions, seed=st.integers(0, 99))
def test_the_order_of_products_changes_nothing(items, seed):
    shuffled = random.Random(seed).sample(items, len(items))
    assert evaluate(shuffled).result() == pytest.approx(evaluate(items).result(), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(items=predictions)
def test_every_value_is_finite_and_fractions_lie_in_0_to_1(items):
    result = evaluate(items).result()
    json.dumps(result, allow_nan=False)
    numbers = {"products", "without_gold", "gold_tags", "predicted_tags"}
    fractions = [v for k, v in result.items() if k not in numbers and not k.endswith("positives")]
    assert all(0 <= value <= 1 + 1e-12 for value in fractions)


@given(gold=tag_lists, tags=tag_lists)
def test_repeats_are_counted_and_change_no_score(gold, tags):
    once = Prediction(gold=gold, tags=tuple(dict.fromkeys(tags)))
    twice = Prediction(gold=gold + gold, tags=tags + tags)
    assert twice.duplicates == 2 * len(tags) - len(set(tags))
    results = [evaluate([item]).result() for item in (once, twice)]
    rates = [result.pop("duplicate_rate") for result in results]
    assert results[0] == results[1]
    assert rates == [0.0, pytest.approx(twice.duplicates / (2 * len(tags)) if tags else 0.0)]


def test_a_score_too_few_is_refused_and_repeats_keep_their_first_score():
    with pytest.raises(ValueError, match="1 scores for 2 ranked tags"):
        Prediction(gold=(), tags=(), ranked=("a", "b"), scores=(0.5,))
    item = Prediction(gold=(), tags=("a",), ranked=("a", "b", "a"), scores=(0.5, 0.4, 0.3))
    assert (item.ranked, item.scores) == (("a", "b"), (0.5, 0.4))


def test_rates_by_hand():
    result = evaluate(
        [
            Prediction(gold=(0, 1), tags=(0, 99, 0)),  # one tag of no vocabulary, one repeat
            Prediction(gold=(), tags=(1,), duplicates=2),
            Prediction(gold=(3,), tags=(), ranked=(3,)),
        ]
    ).result()
    assert result["products"] == 3 and result["without_gold"] == 1
    assert result["gold_tags"] == 1.0 and result["predicted_tags"] == 1.0
    assert result["invalid_rate"] == pytest.approx(1 / 3)
    assert result["duplicate_rate"] == pytest.approx(3 / 6)
    assert result["empty_rate"] == pytest.approx(1 / 3)


def test_text_tags_and_numbers_of_tags_score_alike():
    names = [f"tag {number}" for number in range(9)]
    rng = np.random.default_rng(0)
    as_text = Evaluation({names[i]: n for i, n in COUNTS.items()}, 1000)
    as_ids = Evaluation(COUNTS, 1000)
    for _ in range(30):
        gold, tags = (tuple(rng.choice(9, size=3, replace=False).tolist()) for _ in range(2))
        as_ids.add(Prediction(gold=gold, tags=tags))
        as_text.add(Prediction(gold=tuple(names[i] for i in gold), tags=tuple(names[i] for i in tags)))
    assert as_text.result() == pytest.approx(as_ids.result(), abs=1e-15)


def test_the_table_shows_percent_and_a_dash_for_nothing_to_measure():
    table = render(
        evaluate(
            [
                Prediction(gold=(0, 4), tags=(0, 5)),
                Prediction(gold=(0,), tags=(0,)),
                Prediction(gold=(1,), tags=()),
            ]
        ).result()
    )
    rows = {line[:38].strip(): line[38:].split() for line in table.splitlines() if line}
    assert rows["micro"] == ["66.7", "50.0", "57.1", "-"]
    assert rows["head, from 100"] == ["80.0", "66.7", "-", "3"]
    assert rows["torso, from 10"] == ["-", "-", "-", "0"]
    assert rows["products"] == ["3"] and rows["gold tags a product"] == ["1.33"]


def test_every_result_is_in_the_table():
    """A measure that is added and forgotten in the table fails here."""
    evaluation = Evaluation({"ab"[i % 2] * (i + 1): n for i, n in COUNTS.items()}, 600, {"a": ["bb"]})
    gold = tuple(evaluation.slices.counts)
    evaluation.add(
        Prediction(gold=gold, tags=gold[:4], ranked=gold, scores=(0.9,) * 7, text="a bb", language="en")
    )
    evaluation.add(Prediction(gold=(), tags=()))
    result = evaluation.result()
    read = set()

    class Spy(dict):
        def __getitem__(self, key):
            read.add(key)
            return super().__getitem__(key)

    render(Spy(result))
    assert read == set(result)
