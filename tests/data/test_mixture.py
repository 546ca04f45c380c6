"""Laws of mixtures: denoising and labelled examples by rate; what nobody knows about tags teaches nothing."""

import dataclasses
import itertools

import numpy as np
import pytest

from taggen_jax.data import store
from taggen_jax.data import tokenizer as tokenizers
from taggen_jax.data.corruption import DenoiseConfig, Denoiser
from taggen_jax.data.packing import Place
from taggen_jax.data.rows import make_rows
from taggen_jax.data.stream import StreamConfig, eval_batches, train_batches
from taggen_jax.data.targets import Targets
from taggen_jax.errors import UserError

UNTAGGED, PARTIAL, BARE = (
    range(0, 40),
    41,
    42,
)  # numbers of rows: unknown, some of the tags, and known to have none
SIZES = {"source_length": 32, "target_length": 32, "batch_size": 8}


@pytest.fixture(scope="module")
def tokenizer(products, vocabulary):
    config = tokenizers.TokenizerConfig(vocab_size=600, sentinels=16)
    return tokenizers.train([product.description for product in products], vocabulary.tags, "<sep>", config)


@pytest.fixture(scope="module")
def split(products, tokenizer, vocabulary, fields, tmp_path_factory):
    def labelled(number, product):
        if number in UNTAGGED or number == BARE:
            return dataclasses.replace(product, tags=(), complete=number == BARE)
        return dataclasses.replace(product, complete=number != PARTIAL)

    known = [labelled(number, product) for number, product in enumerate(products)]
    folder = tmp_path_factory.mktemp("mixture")
    store.write(folder, {"train": make_rows(known, tokenizer, vocabulary, fields=fields, length=32)})
    return store.open_split(folder, "train")


@pytest.fixture
def batches(split, tokenizer, vocabulary):
    """batches(count, rate, ...): the first `count` training batches, under the settings given."""
    opened = []

    def take(count, rate, kind="spans", host=0, hosts=1, start=0):
        config = StreamConfig(**SIZES, denoise=DenoiseConfig(rate=rate, kind=kind))
        denoiser = Denoiser(tokenizer, config.denoise, 32, 32)
        targets = Targets.of(vocabulary, tokenizer)
        where = {"host": host, "hosts": hosts, "place": Place(batch=start)}
        opened.append(train_batches(split, targets, config, order="shuffled", denoiser=denoiser, **where))
        return list(itertools.islice(opened[-1], count))

    yield take
    for stream in opened:
        stream.close()


def denoising(batches, tokenizer):
    """bool: which of the examples read sentinels."""
    return np.concatenate([np.isin(batch["source"], tokenizer.sentinels).any(axis=1) for batch in batches])


def visits(batches):
    return np.concatenate([batch["row"] for batch in batches])


@pytest.mark.parametrize("rate", [0.25, 0.5, 0.8])
def test_the_share_is_exact_and_each_kind_goes_through_its_rows_once_an_epoch(batches, tokenizer, rate):
    stream = batches(100, rate)
    as_text, rows = denoising(stream, tokenizer), visits(stream)
    running = np.cumsum(as_text) - rate * np.arange(1, 801)
    assert np.abs(running).max() <= 1  # over every stretch from the beginning
    for own, all_rows in ((rows[as_text], np.arange(60)), (rows[~as_text], np.arange(40, 60))):
        epochs = len(own) // len(all_rows)
        seen = np.sort(own[: epochs * len(all_rows)].reshape(epochs, -1), axis=1)
        np.testing.assert_array_equal(seen, np.tile(all_rows, (epochs, 1)))


@pytest.mark.parametrize("kind", ["spans", "infilling", "mixture"])
def test_hosts_and_interruptions_change_nothing(batches, kind):
    straight = batches(12, 0.5, kind)
    for late in (batches(4, 0.5, kind, start=8),):
        for one, other in zip(straight[8:], late, strict=True):
            assert all((one[key] == other[key]).all() for key in one)
    halves = [batches(12, 0.5, kind, host=host, hosts=2) for host in range(2)]
    for whole, *parts in zip(straight, *halves, strict=True):
        assert all((whole[key] == np.concatenate([part[key] for part in parts])).all() for key in whole)


def test_a_row_is_hidden_differently_every_time(batches):
    stream = batches(30, 1.0)
    rows, written = visits(stream), np.concatenate([batch["target"] for batch in stream])
    examples = [len({ids.tobytes() for ids in written[rows == row]}) for row in range(60)]
    assert min(examples) > 1 and sum(examples) > 0.8 * 240  # of four epochs


def test_pre_training_alone_needs_no_label(batches, tokenizer):
    assert denoising(batches(20, 1.0), tokenizer).all()
    assert not denoising(batches(20, 0.0), tokenizer).any()


def test_what_nobody_knows_teaches_nothing(split, tokenizer, vocabulary):
    """An untagged product has no target; where some tags are known, it has no end; where none, only that."""
    targets = Targets.of(vocabulary, tokenizer)
    batches = eval_batches(split, targets, StreamConfig(**SIZES), order="text")
    written = np.concatenate([batch["target"] for batch in batches])[: len(split)]
    ends = (written == tokenizer.eos).sum(axis=1)
    assert not written[list(UNTAGGED)].any()
    assert (written[BARE][0], written[BARE][1:].any()) == (tokenizer.eos, False)
    assert written[PARTIAL].any() and ends[PARTIAL] == 0
    assert (ends[np.setdiff1d(np.arange(40, 60), PARTIAL)] == 1).all()


def test_only_rows_read_as_in_use_whose_tags_are_all_known_are_counted_as_tagged(batches, tokenizer):
    """A tag head takes absence for a no: not where the text is corrupted, nor where tags may be missing."""
    stream = batches(100, 0.5)
    tagged = np.concatenate([batch["tagged"] for batch in stream]).astype(bool)
    np.testing.assert_array_equal(tagged, ~denoising(stream, tokenizer) & (visits(stream) != PARTIAL))


def test_a_mixture_without_known_tags_is_refused(products, tokenizer, vocabulary, fields, tmp_path):
    unknown = [dataclasses.replace(product, tags=(), complete=False) for product in products]
    store.write(tmp_path, {"train": make_rows(unknown, tokenizer, vocabulary, fields=fields, length=32)})
    config = StreamConfig(**SIZES, denoise=DenoiseConfig(rate=0.5))
    rows, targets = store.open_split(tmp_path, "train"), Targets.of(vocabulary, tokenizer)
    with pytest.raises(UserError, match="no row with known tags"):
        train_batches(rows, targets, config, order="text")
