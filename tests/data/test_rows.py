"""Laws of rows: the text in, its ids out, and nothing lost but what the row says."""

import dataclasses

from taggen_jax.catalog.product import source_text
from taggen_jax.data.rows import make_rows


def test_a_row_holds_the_text_and_the_tags_in_text_order(products, rows, tokenizer, vocabulary, fields):
    for product, row in zip(products, rows, strict=True):
        assert (row["id"], row["group"]) == (product.id, product.id)
        assert row["text"] == source_text(product, fields)
        tags = [vocabulary.tags[tag] for tag in row["tags"]]
        assert sorted(tags) == sorted(product.tags)
        assert row["source"].tolist() == tokenizer.encode([row["text"]], 32)[0]


def test_tags_are_stored_as_the_text_mentions_them(products, tokenizer, vocabulary, fields):
    product = dataclasses.replace(products[1], title="sale: kind::shirt", tags=("kind::shirt", "sale"))
    (row,) = make_rows([product], tokenizer, vocabulary, fields=fields, length=32)
    assert [vocabulary.tags[tag] for tag in row["tags"]] == ["sale", "kind::shirt"]


def test_a_row_says_whether_it_lost_text(products, tokenizer, vocabulary, fields):
    (whole,) = tokenizer.pieces([source_text(products[0], fields)])
    for length in (3, len(whole), len(whole) + 1, 99):
        (row,) = make_rows(products[:1], tokenizer, vocabulary, fields=fields, length=length)
        assert row["truncated"] == (row["source"].tolist() != [*whole, tokenizer.eos])
        assert len(row["source"]) == min(length, len(whole) + 1)


def test_a_group_is_kept_and_rows_stream(products, tokenizer, vocabulary, fields):
    endless = (dataclasses.replace(products[0], group="variants") for _ in iter(int, 1))
    rows = make_rows(endless, tokenizer, vocabulary, fields=fields, length=32)
    assert next(rows)["group"] == "variants"
