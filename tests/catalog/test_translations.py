"""Laws of translations: a product for each language that a row speaks, with the row's group and tags."""

import json

import pytest

from taggen_jax.catalog.quarantine import Quarantine
from taggen_jax.catalog.readers import CatalogConfig, product_of, read
from taggen_jax.catalog.rows import jsonl_rows

ROWS = [
    {"id": "1", "title": "red shoe", "name": "x", "title_de": "roter Schuh", "text_de": "gut", "tags": ["a"]},
    {"id": "2", "title": "lamp", "text": "bright", "group": "g", "title_zh": "灯", "title_de": None},
    {"id": "1", "title": "again", "title_de": "noch einmal"},
    {"id": "3", "title": "bad", "title_de": ["no text"]},
]  # fmt: skip
CONFIG = CatalogConfig(description="text", translations={"en": "", "de": "_de", "zh": "_zh"})


@pytest.fixture
def catalog(tmp_path):
    path = tmp_path / "catalog.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def test_each_language_is_a_product(catalog, tmp_path):
    with Quarantine(tmp_path / "bad.jsonl") as quarantine:
        found = list(read([catalog], CONFIG, quarantine=quarantine))
    assert [(p.id, p.language, p.title, p.description) for p in found] == [
        ("1", "en", "red shoe", ""),
        ("1@de", "de", "roter Schuh", "gut"),
        ("2", "en", "lamp", "bright"),
        ("2@zh", "zh", "灯", ""),
    ]
    assert [p.group or p.id for p in found] == ["1", "1", "g", "g"]
    assert [p.tags for p in found] == [("a",), ("a",), (), ()]
    assert quarantine.counts == {
        "duplicate_id": 1,
        "wrong_type": 1,
    }  # a row is good as a whole, or not at all


def test_a_csv_is_asked_for_the_columns_of_all_languages(tmp_path):
    (tmp_path / "c.csv").write_text("id,title,title_de\n1,shoe,Schuh\n2,lamp,\n")
    with Quarantine(tmp_path / "bad.jsonl") as quarantine:
        found = list(read([tmp_path / "c.csv"], CONFIG, quarantine=quarantine))
    assert [p.title for p in found] == ["shoe", "Schuh", "lamp"]


def test_at_use_a_row_is_one_product(catalog):
    row = next(iter(jsonl_rows(catalog)))
    assert (product_of(row, CONFIG).id, product_of(row, CONFIG).language) == ("1", "en")


def test_the_columns_themselves_have_one_language():
    with pytest.raises(ValueError, match="the columns themselves have one language"):
        CatalogConfig(translations={"en": "", "fr": ""})
