"""Laws of batches by length: every product once, few shapes, order restored, little read ahead."""

import itertools

import numpy as np
import pytest

from taggen_jax.data.buckets import BucketConfig, batches, in_order

CONFIG = BucketConfig(batch_size=4, longest=100, step=32, window=3)


def products(count, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(2, 50, size=rng.integers(1, 101)).tolist() for _ in range(count)]


def rows(batch):
    """(row, source without padding) of the rows that count."""
    for row, source_S, weight in zip(batch["row"], batch["source"], batch["weight"], strict=True):
        if weight:
            yield int(row), source_S[source_S != 0].tolist()


@pytest.mark.parametrize("count", [0, 1, 4, 12, 29])
def test_every_product_comes_once_and_unchanged(count):
    sources = products(count)
    found = dict(itertools.chain.from_iterable(map(rows, batches(sources, CONFIG, pad=0, eos=1))))
    assert [found[row] for row in range(count)] == sources and len(found) == count


def test_shapes_are_few_and_tight():
    shapes = set()
    for batch in batches(products(200), CONFIG, pad=0, eos=1):
        longest = max(len(source) for _, source in rows(batch))
        assert longest <= batch["source"].shape[1] < longest + CONFIG.step
        shapes.add(batch["source"].shape)
    assert shapes == {(4, 32), (4, 64), (4, 96), (4, 100)}


def test_filling_rows_read_an_empty_product():
    (batch,) = batches([[5, 6]], CONFIG, pad=0, eos=1)
    assert batch["source"][1:, :2].tolist() == [[1, 0]] * 3


def test_answers_come_in_order_and_wait_for_one_window_at_most():
    read = 0

    def counted():
        nonlocal read
        for source in products(60):
            read += 1
            yield source

    answers = itertools.chain.from_iterable(map(rows, batches(counted(), CONFIG, pad=0, eos=1)))
    for expected, (row, _) in enumerate(in_order(answers)):
        assert row == expected
        assert read <= (row // 12 + 1) * 12


def test_a_missing_answer_is_named():
    with pytest.raises(ValueError, match="no answer for row 1"):
        list(in_order([(0, "a"), (2, "c")]))


def test_too_long_a_source_is_refused():
    with pytest.raises(ValueError, match="101 tokens, expected at most longest=100"):
        list(batches([[2] * 101], CONFIG, pad=0, eos=1))


@pytest.mark.parametrize("name", ["batch_size", "longest", "step", "window"])
def test_impossible_sizes_are_refused(name):
    with pytest.raises(ValueError, match=f"{name}=0"):
        BucketConfig(**{"batch_size": 4, "longest": 100} | {name: 0})
