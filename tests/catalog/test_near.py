"""Laws of near-duplicates: those that are alike are found, without looking at all pairs."""

import dataclasses
import random

import numpy as np
import pytest

from taggen_jax.catalog.folds import groups
from taggen_jax.catalog.near import LEAST_WORDS, MISSED, PERMUTATIONS, pairs, rows_a_band, signatures, words
from taggen_jax.catalog.product import Product

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def word(chance: random.Random) -> str:
    return "".join(chance.choices(LETTERS, k=8))


def catalog(count: int, planted: int, common: int, length: int = 40) -> list[Product]:
    """`count` products of random words; the last `planted` share `common` words with the first."""
    chance = random.Random(0)
    texts = [[word(chance) for _ in range(length)] for _ in range(count - planted)]
    texts += [texts[i][:common] + [word(chance) for _ in range(length - common)] for i in range(planted)]
    return [Product(id=str(i), title=" ".join(text)) for i, text in enumerate(texts)]


@pytest.mark.parametrize(("common", "joined"), [(39, 100), (33, 0)])
def test_alike_are_those_above_the_threshold(common, joined):
    """39 of 41 words in common are a similarity of 0.95, 33 of 47 of 0.70."""
    numbers = groups(catalog(400, 100, common), near=0.85)
    assert sum(number != i for i, number in enumerate(numbers)) == joined
    assert all(number in (i, i - 300) for i, number in enumerate(numbers))


def test_the_order_of_words_and_of_products_does_not_matter():
    products = catalog(60, 20, 39)
    chance = random.Random(1)
    mixed = [dataclasses.replace(p, title=" ".join(chance.sample(p.title.split(), 40))) for p in products]
    np.testing.assert_array_equal(signatures(products)[0], signatures(mixed)[0])
    order = chance.sample(range(60), 60)
    numbers, shuffled = groups(products, 0.85), groups([products[i] for i in order], 0.85)
    together = {frozenset(i for i in range(60) if numbers[i] == n) for n in numbers}
    assert together == {frozenset(order[i] for i in range(60) if shuffled[i] == n) for n in shuffled}


def test_a_band_is_as_high_as_the_chance_to_miss_allows():
    for similarity in (0.5, 0.7, 0.85, 0.95, 1.0):
        height = rows_a_band(similarity)

        def missed(height: int, similarity: float = similarity) -> float:
            return (1 - similarity**height) ** (PERMUTATIONS // height)

        assert missed(height) <= MISSED and (height == PERMUTATIONS or missed(height + 1) > MISSED)


def test_a_large_bucket_costs_no_more_than_its_size():
    """10,000 equal products: 50 million pairs, of which a few a product are looked at."""
    signed_NP = np.zeros((10_000, PERMUTATIONS), np.uint32)
    found = list(pairs(signed_NP, 0.85))
    assert len(found) == 2 * (10_000 - 1) * (PERMUTATIONS // rows_a_band(0.85))
    assert {b for _, b in found} == set(range(1, 10_000))


def test_words_are_without_case_digits_and_punctuation_and_chinese_is_cut_into_pairs():
    assert words(Product(id="1", title="USB-C Cable, 2m", description="CABLE 5 m")) == {
        "usb",
        "c",
        "cable",
        "m",
    }
    assert words(Product(id="1", title="连衣裙 red")) == {"连衣", "衣裙", "red"}


def test_few_words_are_no_evidence():
    texts = ["a b c", "a b c", "a b c d", "a b c d"]
    numbers = groups([Product(id=str(i), title=text) for i, text in enumerate(texts)], 0.85)
    assert numbers == [0, 1, 2, 2] and LEAST_WORDS == 4
    assert groups([], 0.85) == []
