"""Laws of corrections: what people judged is done, once, and nothing else changes."""

import pytest

from taggen_jax.catalog.corrections import load, write
from taggen_jax.catalog.product import Product
from taggen_jax.catalog.tags import TagsConfig, normalise
from taggen_jax.errors import UserError

COLUMNS = ("id", "tag", "has_tag", "correct", "text")


def spell(tags):
    return normalise(tags, TagsConfig(lower_case=True))


def row(id: str, tag: str, correct: str) -> dict[str, str]:
    return {"id": id, "tag": tag, "has_tag": "no", "correct": correct, "text": 'two\nlines, "quoted"'}


@pytest.mark.parametrize("name", ["judged.csv", "judged.jsonl"])
def test_judgements_are_applied_as_they_were_written(tmp_path, name):
    rows = [
        row("1", "RED, green", "yes"),
        row("1", "blue", "no"),
        row("1", "old", "YES "),
        row("1", "open", ""),
        row("2", "blue", "no"),
        row("9", "red", "yes"),
    ]
    write(tmp_path / name, rows, COLUMNS)
    correct = load([str(tmp_path / name)], spell)
    assert correct(Product(id="1", title="t", tags=("old", "blue"))) == ("old", "red, green")
    assert correct(Product(id="2", title="t", tags=("old",))) == ("old",)
    assert correct(Product(id="3", title="t", tags=("old",))) == ("old",)
    assert (
        correct.describe() == "corrections: 1 added, 1 removed, 2 agreed; 1 products are not in the catalog"
    )


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "", r"a\.txt: cannot tell what form is meant"),
        ("a.csv", "id,tag,correct\n1,a,maybe\n", r"a\.csv:2: correct is 'maybe', expected yes, no"),
        ("a.csv", "id;tag;correct\n1;a;yes\n", r"a\.csv:2: column 'id' is None"),
        ("a.csv", "id,tag,correct\n1,a,yes\n2,a,yes\n1,A,no\n", r"a\.csv:4: contradicts .*a\.csv:2 about"),
        ("a.jsonl", '{"id": "1", "tag": "a", "correct": true}', r"a\.jsonl:1: column 'correct' is True"),
        ("a.jsonl", "{", r"a\.jsonl:1: broken_json"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        load([str(tmp_path / name)], spell)


def test_a_missing_file_is_named(tmp_path):
    for name in ("a.csv", "a.jsonl"):
        with pytest.raises(UserError, match="no such file of corrections"):
            load([str(tmp_path / name)], spell)
