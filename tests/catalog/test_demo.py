"""The demo catalog is the same everywhere, and hard enough to be worth learning."""

import collections
import dataclasses
import hashlib
import json

import pytest

from taggen_jax.catalog import demo
from taggen_jax.catalog.product import Product


@pytest.fixture(scope="module")
def catalog() -> list[Product]:
    return list(demo.products())


def text(product: Product) -> str:
    """All that can be read about a product, as written, case folded."""
    parts = (product.title, product.description, product.category, *product.reviews)
    return " | ".join((*parts, *product.attributes.keys(), *product.attributes.values())).casefold()


def vocabulary(catalog: list[Product], language: str) -> set[str]:
    return {tag for product in catalog if product.language == language for tag in product.tags}


def test_the_same_on_every_machine(tmp_path):
    demo.write(tmp_path / "catalog.jsonl", count=100)
    digest = hashlib.sha256((tmp_path / "catalog.jsonl").read_bytes()).hexdigest()
    assert digest == "e82053ed2adee83652653cf8f02eea04b37d9ba550ed079947fe81c98f6903a4"


def test_a_smaller_catalog_is_the_beginning_of_a_larger_one():
    assert list(demo.products(50)) == list(demo.products(80))[:50]
    assert list(demo.products(50, seed=1)) != list(demo.products(50))


def test_written_rows_hold_every_field(tmp_path):
    demo.write(tmp_path / "catalog.jsonl", count=30)
    lines = (tmp_path / "catalog.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    fields = {field.name for field in dataclasses.fields(Product)}
    assert all(set(row) == fields for row in rows)
    assert [row["tags"] for row in rows] == [list(product.tags) for product in demo.products(30)]


def test_four_thousand_distinct_products_with_tags(catalog):
    assert len({product.id for product in catalog}) == len(catalog) == 4000
    assert len({(product.title, product.description) for product in catalog}) == 4000
    assert all(3 <= len(product.tags) == len(set(product.tags)) <= 8 for product in catalog)
    assert 4 <= sum(len(product.tags) for product in catalog) / 4000 <= 6


def test_two_languages_with_their_own_tags(catalog):
    counts = collections.Counter(product.language for product in catalog)
    assert set(counts) == {"en", "zh"} and min(counts.values()) > 1800
    english, chinese = vocabulary(catalog, "en"), vocabulary(catalog, "zh")
    assert not english & chinese
    assert len(english) == len(chinese) and 60 <= len(english | chinese) <= 120


def test_a_third_of_the_tags_are_nowhere_in_the_text(catalog):
    absent = [tag not in text(product) for product in catalog for tag in product.tags]
    assert 0.28 <= sum(absent) / len(absent) <= 0.40


def test_a_tag_is_either_always_written_or_never(catalog):
    """So a product whose text contains the word is tagged with it, and the hidden tags must be inferred."""
    words = {language: vocabulary(catalog, language) for language in ("en", "zh")}
    written = {tag for product in catalog for tag in product.tags if tag in text(product)}
    for product in catalog:
        found = {tag for tag in words[product.language] if tag in text(product)}
        assert found == set(product.tags) & written


def test_variants_share_a_group_and_its_tags(catalog):
    groups = collections.defaultdict(list)
    for product in catalog:
        groups[product.group].append(product)
    several = [group for group in groups.values() if len(group) > 1]
    assert len(several) > 800
    assert all(len({product.tags for product in group}) == 1 for group in several)
    assert all(len({product.title for product in group}) == len(group) for group in several)


@pytest.mark.parametrize("mess", ["<p>", "<li>", "<br/>", "&amp;", "&nbsp;", "utm_source", "<!--"])
def test_descriptions_are_littered_as_in_real_shops(catalog, mess):
    assert sum(mess in product.description for product in catalog) > 300


def test_chinese_texts_mix_full_width_characters(catalog):
    chinese = [text(product) for product in catalog if product.language == "zh"]
    assert sum("２" in words or "３" in words for words in chinese) > 500
    assert sum("，" in words for words in chinese) > 1000


def test_most_of_the_attributes_and_some_reviews_are_there(catalog):
    assert all(product.attributes and product.category for product in catalog)
    assert 0.3 < sum(bool(product.reviews) for product in catalog) / 4000 < 0.7
