"""ByT5's tokenizer, as transformers makes and saves it: the same ids here, and every tag survives."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, ByT5Tokenizer

from taggen_jax.data import tokenizer as tokenizers

SEPARATOR = "<extra_id_0>"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@pytest.fixture(scope="module")
def theirs():
    return ByT5Tokenizer()


@pytest.fixture(scope="module")
def ours(theirs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("byt5")
    theirs.save_pretrained(folder)
    return tokenizers.load(folder, SEPARATOR)


@given(TEXTS)
def test_ids_are_those_of_byt5(theirs, ours, text):
    bytes_ = [byte + theirs.offset for byte in text.encode()]
    assert ours.encode([text], 999) == [[*bytes_, theirs.eos_token_id]]
    if "<" not in text:  # ours takes a special that is spelt out in a text for text
        assert theirs(text).input_ids == [*bytes_, theirs.eos_token_id]


def test_specials_have_the_ids_of_byt5(theirs, ours):
    assert (ours.pad, ours.eos, ours.unknown, ours.size) == (0, 1, 2, len(theirs))
    assert ours.separator == theirs.convert_tokens_to_ids(SEPARATOR) == 259


@given(st.lists(TEXTS, max_size=4))
def test_tags_of_any_characters_survive(ours, tags):
    ids = []
    for tag in tags:
        ids += [ours.separator, *ours.encode_tag(tag)] if ids else ours.encode_tag(tag)
    assert ours.decode_tags([*ids, ours.eos]) == tuple(tags)


@pytest.mark.parametrize("tag", ["</s>", "a<extra_id_0>b", "<pad>", "kind::连衣裙", " a ", "\x00\t\n", "Ā"])
def test_tags_that_look_like_tokens_survive(ours, tag):
    assert ours.survives(tag)


def test_half_a_character_is_no_error(ours):
    half = ours.encode_tag("连")[:-1]
    assert len(ours.decode_tags([*half, ours.separator, *ours.encode_tag("a")])) == 2


def test_saved_it_is_a_plain_tokenizer_with_the_same_ids(ours, tmp_path):
    ours.save(tmp_path)
    text = "héllo 连衣裙"
    again, hugging = tokenizers.load(tmp_path, SEPARATOR), AutoTokenizer.from_pretrained(tmp_path)
    assert again.encode([text], 99)[0] == hugging(text).input_ids == ours.encode([text], 99)[0]
    assert hugging.decode(ours.pieces([text])[0]) == text
