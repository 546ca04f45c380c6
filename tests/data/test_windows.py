"""Laws of buckets in training: nothing is lost, added or cut, and a batch is a function of its number."""

import dataclasses
import itertools

import numpy as np
import pytest

from taggen_jax.data import store
from taggen_jax.data import tokenizer as tokenizers
from taggen_jax.data.corruption import DenoiseConfig, Denoiser
from taggen_jax.data.packing import Place
from taggen_jax.data.rows import make_rows
from taggen_jax.data.stream import StreamConfig, train_batches
from taggen_jax.data.targets import Targets
from taggen_jax.data.windows import Windows, source_lengths
from tests.data.same import assert_equal

ROWS, BATCH, LENGTH, BUCKETS = 60, 4, 64, (24, 40)
WINDOW = ROWS // BATCH  # less than 16 a bucket: of so few rows an epoch is all that is sorted at once


@pytest.fixture(scope="module")
def made(products, vocabulary, fields, tmp_path_factory):
    """A split of short texts and of some that are cut, a third of it untagged; targets; a tokenizer."""
    texts = [product.description for product in products]
    config = tokenizers.TokenizerConfig(vocab_size=600, sentinels=16)
    tokenizer = tokenizers.train(texts, vocabulary.tags, "<sep>", config)
    known = [
        dataclasses.replace(x, description=" ".join([x.description] * (n % 7)), complete=n % 3 > 0)
        for n, x in enumerate(products)
    ]
    folder = tmp_path_factory.mktemp("windows")
    store.write(folder, {"train": make_rows(known, tokenizer, vocabulary, fields=fields, length=99)})
    return store.open_split(folder, "train"), Targets.of(vocabulary, tokenizer), tokenizer


@pytest.fixture
def batches(made):
    """batches(count, ...): the first `count` batches from a start, under the settings given."""
    split, targets, tokenizer = made

    def take(count, host=0, hosts=1, start=0, rate=0.0, kind="spans", dropout=(), **settings):
        sizes = {"source_length": LENGTH, "target_length": 64, "batch_size": BATCH, "buckets": BUCKETS}
        denoise = DenoiseConfig(rate=rate, kind=kind, mean_span=1.0)
        config = StreamConfig(**sizes | {"denoise": denoise} | settings)
        denoiser = Denoiser(tokenizer, denoise, LENGTH, 64)
        where = {"host": host, "hosts": hosts, "place": Place(batch=start), "dropout": dropout}
        stream = train_batches(split, targets, config, order="shuffled", denoiser=denoiser, **where)
        taken = list(itertools.islice(stream, count))
        assert stream.place == Place(start + count, (start + count) * config.batch_size)
        stream.close()
        return taken

    return take


def products_of(batches):
    """(row, source, target, tags, tagged) of every product, without padding, sorted."""
    return sorted(
        (int(row), s[s != 0].tolist(), t[t != 0].tolist(), tags[tags >= 0].tolist(), bool(tagged))
        for batch in batches
        for row, s, t, tags, tagged in zip(
            *(batch[key] for key in ("row", "source", "target", "tags", "tagged")), strict=True
        )
    )


@pytest.mark.parametrize("mixture", [{}, {"rate": 0.5}, {"rate": 1.0, "kind": "infilling"}])
def test_a_window_holds_what_it_would_hold_without_buckets(batches, mixture):
    """The same visits with the same draws, no token less: epochs, corruption, orders of tags, fields."""
    settings = {"dropout": (0.0, 0.3), **mixture}
    bucketed, plain = batches(3 * WINDOW, **settings), batches(3 * WINDOW, buckets=(), **settings)
    for first in range(0, 3 * WINDOW, WINDOW):
        window = slice(first, first + WINDOW)
        assert products_of(bucketed[window]) == products_of(plain[window])
    assert any((a["row"] != b["row"]).any() for a, b in zip(bucketed, plain, strict=True))


def test_every_epoch_visits_every_row_once(batches):
    rows = np.concatenate([batch["row"] for batch in batches(4 * WINDOW)]).reshape(4, ROWS)
    np.testing.assert_array_equal(np.sort(rows), np.tile(np.arange(ROWS), (4, 1)))


def test_a_batch_is_as_long_as_the_bucket_of_its_longest(batches, made):
    stored = np.minimum(source_lengths(made[0]), LENGTH)
    stream = batches(3 * WINDOW)
    sizes = [batch["source"].shape[1] for batch in stream]
    longest = [stored[batch["row"]].max() for batch in stream]
    assert sizes == [min(size for size in (*BUCKETS, LENGTH) if size >= most) for most in longest]
    assert set(sizes) == {*BUCKETS, LENGTH}
    for first in range(0, 3 * WINDOW, WINDOW):  # of like length: batches of one window hardly overlap
        spans = sorted(
            (stored[batch["row"]].min(), stored[batch["row"]].max()) for batch in stream[first:][:WINDOW]
        )
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


def test_short_and_long_batches_come_in_an_order_of_each_window_and_seed(batches):
    def sizes(**settings):
        found = [batch["source"].shape[1] for batch in batches(3 * WINDOW, **settings)]
        return [tuple(found[first : first + WINDOW]) for first in range(0, 3 * WINDOW, WINDOW)]

    orders = [*sizes(), *sizes(seed=1)]
    assert len({*orders, *(tuple(sorted(order)) for order in orders)}) >= 7


@pytest.mark.parametrize("rate", [0.0, 0.5])
@pytest.mark.parametrize("hosts", [2, 4])
def test_the_number_of_hosts_changes_nothing(batches, hosts, rate):
    parts = [batches(20, host=host, hosts=hosts, rate=rate) for host in range(hosts)]
    joined = [
        {key: np.concatenate([part[key] for part in x]) for key in x[0]} for x in zip(*parts, strict=True)
    ]
    assert_equal(joined, batches(20, rate=rate))


@pytest.mark.parametrize("start", [1, WINDOW - 1, WINDOW, 2 * WINDOW + 3])
def test_starting_late_equals_skipping(batches, start):
    for settings in ({}, {"rate": 0.5, "kind": "mixture", "threads": 0}):
        assert_equal(batches(WINDOW, start=start, **settings), batches(start + WINDOW, **settings)[start:])


def test_a_start_may_be_anywhere(batches):
    late = batches(3, start=10**10)
    assert_equal(late[1:], batches(2, start=10**10 + 1, threads=0))


class Visits:
    """Stands for a stream of visits to row after row, and counts the windows that are drawn of it."""

    def __init__(self, size=1):
        self.size, self.drawn = size, 0

    def batch(self, size):
        return Visits(size)

    def __getitem__(self, window):
        self.drawn += 1
        visits = np.arange(window * self.size, (window + 1) * self.size)
        return visits // 1000, visits % 1000, np.zeros(self.size, bool)


def test_a_window_is_drawn_once_and_holds_16_batches_a_bucket():
    windows = Windows(Visits(), np.arange(1000) % 90, (30, 60, 80), batch_size=10, seed=0)
    planned = [windows(batch) for batch in range(96)]
    assert windows._visits.drawn == 3
    for first in range(0, 96, 32):
        rows = np.concatenate([visits[1] for visits, _ in planned[first : first + 32]])
        assert sorted(rows) == list(range(first * 10, first * 10 + 320))
        sizes = sorted(size for _, size in planned[first : first + 32])
        assert set(sizes) == {30, 60, 80} and sizes.count(30) >= 9  # a third of what comes, and a border


@pytest.mark.parametrize("buckets", [(0,), (64,), (32, 16), (16, 16)])
def test_buckets_that_are_none_are_refused(buckets):
    with pytest.raises(ValueError, match=r"buckets=.*expected lengths below source_length=64, ascending"):
        StreamConfig(source_length=64, buckets=buckets)


def test_buckets_and_packing_exclude_each_other():
    with pytest.raises(ValueError, match=r"buckets=\(32,\) and packing=4: .*choose packing"):
        StreamConfig(source_length=64, buckets=(32,), packing=4)
