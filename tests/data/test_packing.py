"""Laws of packing: nothing is lost, added or cut, and a saved place brings back the same batches."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taggen_jax.data import packing, store
from taggen_jax.data import tokenizer as tokenizers
from taggen_jax.data.corruption import DenoiseConfig, Denoiser
from taggen_jax.data.examples import FILL, Example, Frame
from taggen_jax.data.packing import BEGIN, Place
from taggen_jax.data.rows import make_rows
from taggen_jax.data.stream import StreamConfig, train_batches
from taggen_jax.data.targets import Targets
from tests.data.same import assert_equal

FRAME = Frame(source_length=10, target_length=6, source_pad=0, pad=9)
LENGTHS = st.lists(st.tuples(st.integers(1, 10), st.integers(0, 6)), min_size=1, max_size=20)


def example(number, source, target):
    return Example([1 + number % 7] * source, [2] * target, [number], True, number)


def packed(lengths, rows, products, count, place=BEGIN):
    """The first `count` batches of a stream that repeats these lengths for ever."""
    made = (example(n, *lengths[n % len(lengths)]) for n in itertools.count())
    kept = list(itertools.islice(made, place.visit))
    waiting = [kept[visit] for visit in place.waiting]
    return list(itertools.islice(packing.packed(made, waiting, place, rows, products, FRAME), count))


@given(LENGTHS, st.integers(1, 4), st.integers(2, 4))
def test_every_example_is_in_one_batch_or_waits_for_the_next(lengths, rows, products):
    batches = packed(lengths, rows, products, 4)
    seen = []
    for place, opened in batches:
        assert len(opened) == rows and all(1 <= len(row) <= products for row in opened)
        seen += [example.row for row in opened for example in row]
        assert len(place.waiting) == rows
        assert sorted([*seen, *place.waiting]) == list(range(place.visit))
        for row in opened:
            assert sum(len(x.source) for x in row) <= 10 and sum(len(x.target) for x in row) <= 6
            for visit in place.waiting:  # each waits because no row had room for it
                late = example(visit, *lengths[visit % len(lengths)])
                whole = [*row, late]
                fits = sum(len(x.source) for x in whole) <= 10 and sum(len(x.target) for x in whole) <= 6
                assert not fits or len(row) == products


@given(LENGTHS, st.integers(1, 4), st.integers(0, 3))
def test_a_saved_place_brings_back_the_rest(lengths, rows, stop):
    straight = packed(lengths, rows, 3, 5)
    place = Place.restore(json.loads(json.dumps(straight[stop][0].saved())))
    assert packed(lengths, rows, 3, 4 - stop, place) == straight[stop + 1 :]


def test_the_arrays_of_a_row_hold_its_products_one_after_the_other():
    rows = [[example(3, 4, 2), example(5, 3, 0), example(7, 2, 3)], [example(8, 10, 6)]]
    batch = packing.join(rows, 4, FRAME)
    assert batch["source"][0].tolist() == [4, 4, 4, 4, 6, 6, 6, 1, 1, 0]
    assert batch["source_segments"].tolist() == [[1, 1, 1, 1, 2, 2, 2, 3, 3, 0], [1] * 10]
    assert batch["target"].tolist() == [[2, 2, 2, 2, 2, 9], [2] * 6]
    assert batch["target_segments"].tolist() == [[1, 1, 3, 3, 3, 0], [1] * 6]
    assert batch["row"].tolist() == [[3, 5, 7, FILL], [8, FILL, FILL, FILL]]
    assert batch["tags"][:, :, 0].tolist() == [[3, 5, 7, FILL], [8, FILL, FILL, FILL]]
    assert (batch["tags"][:, :, 1:] == FILL).all()
    np.testing.assert_array_equal(batch["weight"], batch["row"] != FILL)
    np.testing.assert_array_equal(batch["tagged"], batch["weight"])


@pytest.fixture(scope="module")
def made(products, vocabulary, fields, tmp_path_factory):
    """A split of which a third is untagged, its targets, and a tokenizer that can denoise."""
    texts = [product.description for product in products]
    config = tokenizers.TokenizerConfig(vocab_size=600, sentinels=16)
    tokenizer = tokenizers.train(texts, vocabulary.tags, "<sep>", config)
    known = [dataclasses.replace(x, complete=n % 3 > 0) for n, x in enumerate(products)]
    folder = tmp_path_factory.mktemp("packing")
    store.write(folder, {"train": make_rows(known, tokenizer, vocabulary, fields=fields, length=32)})
    return store.open_split(folder, "train"), Targets.of(vocabulary, tokenizer), tokenizer


@pytest.fixture
def batches(made):
    """batches(count, ...): that many batches of the shuffled mixture, and the place after them."""
    split, targets, tokenizer = made

    def take(count, place=BEGIN, host=0, hosts=1, **settings):
        sizes = {"source_length": 64, "target_length": 32, "batch_size": 4, "packing": 3}
        config = StreamConfig(**sizes | {"denoise": DenoiseConfig(rate=0.5)} | settings)
        denoiser = Denoiser(tokenizer, config.denoise, 64, 32)
        where = {"host": host, "hosts": hosts, "place": place, "dropout": (0.0, 0.3)}
        stream = train_batches(split, targets, config, order="shuffled", denoiser=denoiser, **where)
        taken = list(itertools.islice(stream, count))
        stream.close()
        return taken, stream.place

    return take


def products_of(batch):
    """(row, source, target, tagged) of every product, without padding; packed or not."""
    if "source_segments" not in batch:
        parts = zip(batch["row"], batch["source"], batch["target"], batch["tagged"], strict=True)
        return [
            (int(row), s[s != 0].tolist(), t[t != 0].tolist(), bool(tagged)) for row, s, t, tagged in parts
        ]
    return [
        (
            int(row),
            batch["source"][i][batch["source_segments"][i] == k + 1].tolist(),
            batch["target"][i][batch["target_segments"][i] == k + 1].tolist(),
            bool(batch["tagged"][i, k]),
        )
        for i, rows in enumerate(batch["row"])
        for k, row in enumerate(rows)
        if row != FILL
    ]


def test_what_is_packed_is_what_would_have_been_padded(batches):
    """The same visits with the same draws: epochs, mixtures, corruption, orders of tags, dropped fields."""
    found, place = batches(30)
    ours = [product for batch in found for product in products_of(batch)]
    assert len(ours) + len(place.waiting) == place.visit > 2 * 30 * 4
    padded, _ = batches(-(-place.visit // 4), packing=1)
    theirs = [product for batch in padded for product in products_of(batch)][: place.visit]
    waiting = [theirs[visit] for visit in place.waiting]
    assert sorted(ours + waiting) == sorted(theirs)


@pytest.mark.parametrize("threads", [0, 2])
def test_hosts_threads_and_interruptions_change_nothing(batches, threads):
    straight, end = batches(12, threads=1)
    _, place = batches(5, threads=threads)
    late, late_end = batches(7, place=Place.restore(place.saved()), threads=threads, prefetch=1)
    assert_equal(late, straight[5:])
    assert late_end == end
    halves = [batches(7, place=place, host=host, hosts=2, threads=threads)[0] for host in range(2)]
    joined = [{k: np.concatenate([a[k], b[k]]) for k in a} for a, b in zip(*halves, strict=True)]
    assert_equal(joined, straight[5:])


def test_what_fails_while_reading_ahead_is_raised_where_the_batch_is_asked_for():
    def items():
        yield 1
        raise OSError("the disk is gone")

    stream = packing.ahead(items(), 3)
    assert next(stream) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(stream)
