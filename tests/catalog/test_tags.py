"""Laws of tags: one spelling, and a tag set as text and back without loss, for any Unicode."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from taggen_jax.catalog.tags import (
    TagsConfig,
    escape,
    in_text_order,
    normalise,
    parse,
    serialise,
    unescape,
)
from taggen_jax.config import from_dict, to_dict
from taggen_jax.errors import UserError

SEPARATORS = st.sampled_from(["<sep>", ";", "::", "aba", ", ", "0", "01", " | ", "\n", "标"])
# Letters that separators and escapes are made of, among any others: clashes must be likely to be met.
UNICODE = st.characters(exclude_categories=["Cs"])
TAGS = st.text(st.sampled_from("<sep>\\01;:ab, |\n标") | UNICODE, min_size=1, max_size=12)


@given(st.lists(TAGS, max_size=5), SEPARATORS)
@example(["a:", ":b", "::", ":::"], "::")
@example(["<sep>", "\\0sep>", "\\", "<sep", "<<sep>>"], "<sep>")
def test_parsing_undoes_serialising(tags, separator):
    assert parse(serialise(tags, separator), separator) == tuple(tags)


@given(TAGS, SEPARATORS)
def test_no_escaped_tag_holds_the_separator(tag, separator):
    escaped = escape(tag, separator)
    assert separator not in escaped
    assert (escaped + separator).index(separator) == len(escaped)
    assert unescape(escaped, separator) == tag


def test_an_ordinary_tag_is_written_as_it_is():
    assert escape("size<5 & 100% 棉", "<sep>") == "size<5 & 100% 棉"
    assert serialise(["red", "a<sep>b"], "<sep>") == "red<sep>a\\0sep>b"


def test_what_only_a_model_writes_is_read_leniently():
    assert parse("a<sep><sep>\\q<sep>b\\", "<sep>") == ("a", "\\q", "b\\")
    assert parse("", "<sep>") == ()


@given(st.lists(TAGS, max_size=6), st.booleans(), st.dictionaries(TAGS, TAGS, max_size=3))
@example(["J\u030c"], True, {})  # only the small letter has a composed form
def test_normalising_twice_is_normalising_once(tags, lower_case, synonyms):
    try:
        config = TagsConfig(lower_case=lower_case, synonyms=synonyms)
    except ValueError:
        return
    once = normalise(tags, config)
    assert normalise(once, config) == once
    assert len(set(once)) == len(once) and all(once)


def test_one_spelling_and_the_first_place():
    config = TagsConfig(lower_case=True, synonyms={"Trousers": "pants", "PANTS": "Legwear", "junk": ""})
    tags = ["ＲＥＤ", "  trousers ", "red", "legwear", "", " \t", "wool\u3000coat", "Junk"]
    assert normalise(tags, config) == ("red", "legwear", "wool coat")
    assert normalise(["ＲＥＤ", "red"], TagsConfig()) == ("RED", "red")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"synonyms": {"a": "b", "b": "c", "c": "a"}}, "config.tags: synonyms run in a circle: a -> b -> c"),
        ({"synonyms": {"ａ": "b", "a": "c"}}, "config.tags: synonyms: 'a' stands for both 'b' and 'c'"),
        ({"separator": ""}, "config.tags: separator='' must be"),
        ({"separator": "\\"}, "config.tags: separator='\\\\' must be"),
    ],
)
def test_a_mistaken_config_is_refused_at_the_door(values, message):
    with pytest.raises(UserError) as error:
        from_dict(TagsConfig, values, "config.tags")
    assert str(error.value).startswith(message)


def test_the_config_survives_the_door():
    config = TagsConfig(synonyms={"a": "b"}, order="text")
    assert to_dict(from_dict(TagsConfig, to_dict(config))) == to_dict(config)


def test_text_order():
    text = "A RED mug of porcelain, red again; STRASSE"
    assert in_text_order(["gift", "Porcelain", "straße", "red", "absent"], text) == (
        "red",
        "Porcelain",
        "straße",
        "gift",
        "absent",
    )
    assert in_text_order(["b", "a"], "") == ("b", "a")
