"""Laws of the preflight check: a sound catalog passes, and every defect is caught and named."""

import json

import numpy as np
import pytest

from taggen_jax.catalog.vocabulary import Vocabulary
from taggen_jax.data import preflight, store
from taggen_jax.data import tokenizer as tokenizers
from taggen_jax.data.preflight import PreflightConfig
from taggen_jax.errors import UserError

EXACT = PreflightConfig(  # any defect at all fails
    **{name: 0.0 for name in vars(PreflightConfig())}
)
LENGTH = 16


@pytest.fixture
def examine(rows, tokenizer, vocabulary, tmp_path):
    """Writes damaged rows and checks them; `damage` changes copies of the rows of two splits in place."""

    def run(damage, config=EXACT, tokenizer=tokenizer, vocabulary=vocabulary, length=LENGTH):
        splits = {"train": [dict(row) for row in rows[:40]], "test": [dict(row) for row in rows[40:]]}
        damage(splits["train"], splits["test"])
        store.write(tmp_path, splits)
        opened = {name: store.open_split(tmp_path, name) for name in splits}
        return preflight.examine(opened, tokenizer, vocabulary, length, config)

    return run


def nothing(train, test):
    pass


def test_a_sound_catalog_passes(examine, tmp_path):
    report = examine(nothing)
    assert not report.failures
    written = json.loads(json.dumps(report.to_json()))
    assert written["passed"] is True
    assert {check["name"] for check in written["checks"]} == preflight._ADVICE.keys()
    assert all(check["of"] in (11, 40, 20) or check["name"] == "unknown_text" for check in written["checks"])


def unknown(train, test):
    train[3]["source"] = np.array([5, 2, 2, 1], np.int32)


def truncated(train, test):
    train[3]["truncated"] = True


def untagged(train, test):
    train[3]["tags"] = np.zeros(0, np.int32)


def many_tags(train, test):
    train[3]["tags"] = np.arange(8, dtype=np.int32)


def empty(train, test):
    train[3]["text"] = " \n"


def same_id(train, test):
    train[3]["id"] = train[2]["id"]


def same_text(train, test):
    train[3]["text"] = train[2]["text"]


def leaked_id(train, test):
    test[3]["id"] = train[2]["id"]


def leaked_group(train, test):
    test[3]["group"] = train[2]["group"]


def leaked_text(train, test):
    test[3]["text"] = train[2]["text"]


@pytest.mark.parametrize(
    "damage, name, where, count",
    [
        (unknown, "unknown_text", "train", 2),
        (truncated, "truncated_sources", "train", 1),
        (untagged, "untagged_rows", "train", 1),
        (many_tags, "truncated_targets", "train", 1),
        (empty, "empty_rows", "train", 1),
        (same_id, "duplicate_ids", "train", 1),
        (same_text, "duplicate_rows", "train", 1),
        (leaked_id, "leaked_ids", "test from train", 1),
        (leaked_group, "leaked_groups", "test from train", 1),
        (leaked_text, "leaked_texts", "test from train", 1),
    ],
)
def test_each_defect_of_a_row_is_caught_and_named(examine, rows, damage, name, where, count):
    (failure,) = examine(damage).failures
    culprit = rows[2 if "_ids" in name else 43 if "leaked" in name else 3]
    assert (failure.name, failure.where, failure.count) == (name, where, count)
    assert failure.examples == (culprit["id"],)
    assert f"{name} in {where}: {count} of" in failure.message
    assert "raise" in failure.message or name == "duplicate_ids"
    lenient = PreflightConfig(**{name: 1.0 for name in vars(EXACT)})
    remaining = [check.name for check in examine(damage, config=lenient).failures]
    assert remaining == (["duplicate_ids"] if name == "duplicate_ids" else [])


def test_a_tag_that_no_target_holds_is_caught(examine):
    (longest,) = examine(nothing, length=1).failures[:1]
    assert (longest.name, longest.count, longest.of) == ("long_tags", 11, 11)


def test_a_tag_that_a_tokenizer_cannot_spell_is_caught(examine, t5_folder, vocabulary):
    t5 = tokenizers.load(t5_folder, "<extra_id_0>")
    failures = {check.name: check for check in examine(nothing, tokenizer=t5).failures}
    lost = {tag for tag in vocabulary.tags if not tag.isascii()}
    assert failures["lost_tags"].count == len(lost) > 0
    assert set(failures["lost_tags"].examples) <= lost
    assert "separator_clashes" not in failures


def test_a_separator_that_occurs_in_a_tag_is_caught(examine, t5_folder):
    space = "\N{LOWER ONE EIGHTH BLOCK}"  # an ordinary piece, before a word it cannot spell
    t5 = tokenizers.load(t5_folder, space)
    vocabulary = Vocabulary.from_counts({f"sale {i}": 1 for i in range(10)} | {"连衣裙": 1})
    failures = {check.name: check for check in examine(nothing, tokenizer=t5, vocabulary=vocabulary).failures}
    clashing = [tag for tag in vocabulary.tags if t5.separator in t5.encode_tag(tag)]
    assert "连衣裙" in clashing
    assert failures["separator_clashes"].count == len(clashing)
    assert "lost_tags" not in failures


def test_a_failed_check_is_one_line_that_says_what_to_do(tokenizer, vocabulary, data_dir, rows, tmp_path):
    train = store.open_split(data_dir, "train")
    assert preflight.check({"train": train}, tokenizer, vocabulary, LENGTH, PreflightConfig())["passed"]
    with pytest.raises(UserError) as error:
        preflight.check({"train": train, "test": train}, tokenizer, vocabulary, LENGTH, PreflightConfig())
    message = str(error.value)
    assert "\n" not in message and "3 of" in message
    assert "leaked_ids in test from train: 23 of 23 (e.g. 'p-0', 'p-1', 'p-2')" in message
    assert "raise preflight.max_leaked_share" in message


def test_an_empty_split_has_no_defect(tokenizer, vocabulary, data_dir):
    splits = {name: store.open_split(data_dir, name) for name in ("train", "test")}
    assert preflight.check(splits, tokenizer, vocabulary, LENGTH, EXACT)["passed"]


def test_a_share_beyond_one_is_refused():
    with pytest.raises(ValueError, match="max_leaked_share=2 must be"):
        PreflightConfig(max_leaked_share=2)
