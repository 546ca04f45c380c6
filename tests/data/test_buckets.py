"""Buckets lose nothing, keep the order of answers, and know a product's shape from itself alone."""

import itertools

import numpy as np
import pytest

from taggen_jax.data.buckets import grouped, in_order, padded


@pytest.mark.parametrize(
    ("length", "step", "expected"), [(0, 32, 32), (32, 32, 32), (33, 32, 64), (95, 32, 90), (5, 0, 90)]
)
def test_a_bucket_is_the_next_multiple_of_the_step_and_at_most_the_longest(length, step, expected):
    assert padded(length, step, longest=90) == expected


@pytest.mark.parametrize("size", [1, 3, 8])
def test_every_item_comes_once_in_a_group_of_its_own_bucket(size):
    items = np.random.default_rng(size).integers(50, size=100).tolist()
    groups = list(grouped(enumerate(items), lambda item: padded(item[1], 8, 50), size))
    assert sorted(itertools.chain.from_iterable(group for _, group in groups)) == list(enumerate(items))
    assert all(padded(item, 8, 50) == bucket for bucket, group in groups for _, item in group)
    short = [bucket for bucket, group in groups if len(group) < size]
    assert len(short) == len(set(short)), "one group a bucket may be short"
    assert all(len(group) <= size for _, group in groups)


def test_answers_leave_in_order_and_as_soon_as_they_can():
    taken = []

    def answers():
        for row in (2, 0, 1, 4, 3):
            taken.append(row)
            yield row, f"answer {row}"

    ordered = in_order(answers())
    assert next(ordered) == (0, "answer 0") and taken == [2, 0]
    assert list(ordered) == [(row, f"answer {row}") for row in range(1, 5)]
    with pytest.raises(ValueError, match="no answer for row 1"):
        list(in_order([(0, ""), (2, "")]))
