"""Laws of the tag vocabulary: ids are frequent first, and a saved one comes back the same."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taggen_jax.catalog.product import Product
from taggen_jax.catalog.vocabulary import Vocabulary
from taggen_jax.errors import UserError

TAGS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


@given(st.dictionaries(TAGS, st.integers(1, 3), max_size=8), st.lists(TAGS, max_size=4))
def test_ids_are_frequent_first_and_counts_are_kept(training, others):
    vocabulary = Vocabulary.from_counts(training, others)
    assert set(vocabulary.tags) == set(training) | set(others)
    assert list(vocabulary.counts) == sorted(vocabulary.counts, reverse=True)
    for tag in vocabulary.tags:
        assert tag in vocabulary and vocabulary.tags[vocabulary.index(tag)] == tag
        assert vocabulary.counts[vocabulary.index(tag)] == training.get(tag, 0)


def test_only_training_products_count_and_a_repeat_counts_once():
    training = [Product(id="1", title="t", tags=("b", "a", "b")), Product(id="2", title="t", tags=("a",))]
    vocabulary = Vocabulary.from_products(training, [Product(id="3", title="t", tags=("c", "b"))])
    assert (vocabulary.tags, vocabulary.counts) == (("a", "b", "c"), (2, 1, 0))
    assert "d" not in vocabulary and len(vocabulary) == 3
    with pytest.raises(KeyError):
        vocabulary.index("d")


def test_saved_and_loaded_is_the_same(tmp_path):
    vocabulary = Vocabulary.from_counts({"棉": 2, 'a "b"\n\u2028': 2, "\\": 1}, ["new"])
    vocabulary.save(tmp_path / "vocabulary.json")
    assert Vocabulary.load(tmp_path / "vocabulary.json") == vocabulary
    written = json.loads((tmp_path / "vocabulary.json").read_text(encoding="utf-8"))
    assert written["version"] == 1 and written["tags"][-1] == {"tag": "new", "count": 0}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "of version 1"),
        ('{"version": 2, "tags": []}', "of version 1"),
        ('{"version": 1}', "'tags' is NoneType"),
        ('{"version": 1, "tags": [{"tag": "a", "count": true}]}', "tags[0] is"),
        ('{"version": 1, "tags": [{"tag": "a", "count": 1}, {"tag": "a", "count": 1}]}', "occurs twice"),
        ('{"version": 1, "tags": [{"tag": "a", "count": 1}, {"tag": "b", "count": 2}]}', "out of order"),
        ("{", "not valid JSON"),
    ],
)
def test_a_broken_file_is_a_users_error_that_names_it(tmp_path, content, message):
    path = tmp_path / "vocabulary.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError) as error:
        Vocabulary.load(path)
    assert str(path) in str(error.value) and message in str(error.value) and "\n" not in str(error.value)


def test_counts_must_match():
    with pytest.raises(ValueError, match="expected one a tag"):
        Vocabulary(("a",), ())
