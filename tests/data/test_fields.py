"""Laws of fields: each knows its ids, and a dropped field reads as one that the product never had."""

import dataclasses
import itertools

import numpy as np
import pytest

from taggen_jax.catalog.product import source_text
from taggen_jax.data import store
from taggen_jax.data import tokenizer as tokenizers
from taggen_jax.data.packing import Place
from taggen_jax.data.rows import make_rows
from taggen_jax.data.stream import StreamConfig, train_batches, without
from taggen_jax.data.targets import Targets

PIECES = ("[{language}]", "title: {title}", "in {category}", "about {description}")
FIELDS = ("language", "title", "category", "description")


@pytest.fixture(scope="module")
def full(products):
    """Products with every field; the last one has an odd title."""
    products = [dataclasses.replace(p, language="en", category=f"shop {p.id}") for p in products]
    return [*products, dataclasses.replace(products[0], id="odd", title="\u00e9\u0301 連衣裙  {title} 🏳️‍🌈")]


@pytest.fixture(scope="module")
def made(full, tokenizer, vocabulary):
    return list(make_rows(full, tokenizer, vocabulary, fields=PIECES, length=200))


def test_every_field_knows_its_ids(full, made, tokenizer):
    for product, row in zip(full, made, strict=True):
        (whole,) = tokenizer.pieces([source_text(product, PIECES)])
        assert row["source"].tolist() == [*whole, tokenizer.eos] and row["fields"].sum() == len(whole)
        assert (row["fields"] > 0).all()


def test_a_dropped_field_reads_as_one_that_was_never_there(full, made, tokenizer):
    """For each product, every choice of fields; missing ones are dropped together with their markers."""
    for product, row in zip(full[::7], made[::7], strict=True):
        for dropped in itertools.product([False, True], repeat=4):
            if all(dropped):
                continue
            gone = {field: "" for field, drop in zip(FIELDS, dropped, strict=True) if drop}
            (expected,) = tokenizer.encode([source_text(dataclasses.replace(product, **gone), PIECES)], 200)
            assert without(row["source"], row["fields"], np.array(dropped)).tolist() == expected


def test_something_is_always_left(made):
    row = made[0]
    assert without(row["source"], row["fields"], np.ones(4, bool)).tolist() == row["source"].tolist()


@pytest.mark.parametrize("length", [3, 12, 20])
def test_fields_are_counted_as_far_as_the_row_goes(full, tokenizer, vocabulary, length):
    for row in make_rows(full, tokenizer, vocabulary, fields=PIECES, length=length):
        assert row["fields"].sum() == len(row["source"]) - 1 and (row["fields"] >= 0).all()
        kept = without(row["source"], row["fields"], np.array([False, True, False, False]))
        assert len(kept) == len(row["source"]) - row["fields"][1]


def test_a_tokenizer_with_its_own_beginning_keeps_it(t5_folder, full, vocabulary):
    tokenizer = tokenizers.load(t5_folder, "<extra_id_0>")
    tokenizer.before = [7, 8]  # as BERT's [CLS]
    (row,) = make_rows(full[:1], tokenizer, vocabulary, fields=PIECES, length=200)
    kept = without(row["source"], row["fields"], np.array([True, False, True, True])).tolist()
    assert kept[:2] == [7, 8] and kept[-1] == tokenizer.eos and len(kept) == 3 + row["fields"][1]


def test_dropout_is_drawn_from_seed_epoch_and_row(made, tokenizer, vocabulary, tmp_path):
    store.write(tmp_path, {"train": made})
    rows, targets = store.open_split(tmp_path, "train"), Targets.of(vocabulary, tokenizer)
    rates = (0.0, 0.5, 0.2, 0.9)

    def batches(count, start=0, **sizes):
        config = StreamConfig(**{"source_length": 200, "batch_size": 8} | sizes)
        stream = train_batches(rows, targets, config, order="text", dropout=rates, place=Place(batch=start))
        found = list(itertools.islice(stream, count))
        stream.close()
        return [np.concatenate([batch[key] for batch in found]) for key in ("row", "source")]

    numbers, sources = batches(61)
    np.testing.assert_array_equal(batches(3, start=58)[1], sources[58 * 8 :])
    np.testing.assert_array_equal(batches(122, batch_size=4)[1], sources)
    assert (batches(61, seed=1)[1] != sources).any()
    full_size = np.array([len(row["source"]) for row in made])[numbers]
    sizes = np.array([row["fields"] for row in made])[numbers]
    lost = full_size - (sources != tokenizer.pad).sum(axis=1)
    assert lost.mean() == pytest.approx((sizes * rates).sum(axis=1).mean(), rel=0.1)
    assert len({tuple(sources[numbers == 0][epoch]) for epoch in range(8)}) > 2
