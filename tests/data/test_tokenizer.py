"""Laws of the tokenizer: nothing is unknown, every tag comes back, and any Hugging Face folder will do."""

import gzip
import json
import pathlib
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer as HfTokenizer
from tokenizers import models, normalizers, pre_tokenizers, processors

from taggen_jax.data import tokenizer as tokenizers
from taggen_jax.data.tokenizer import TokenizerConfig
from taggen_jax.errors import UserError

RARE = ["日本語𠮷", "🏳️‍🌈👩🏽‍🚀", "ⵣ ⴰⵎⴰⵣⵉⵖ", "ꦗꦮ", "𓀀", "\u200d", "\uffff", "e\u0301", "\x00\t\n", "　"]
SPELT = ["<0x41>", "</s>", "<pad>", "<unk>", "<sep>", "a<sep>b", "▁a▁", " a ", "  ", "\\", "\\0sep>"]
TAGS = st.text(st.sampled_from("<sep>\\0▁ :/x41") | st.characters(exclude_categories=["Cs"]), min_size=1)


def small(**settings):
    return TokenizerConfig(**{"vocab_size": 400} | settings)


def files(folder: pathlib.Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("text", RARE + SPELT)
def test_nothing_is_unknown_and_every_tag_survives(tokenizer, text):
    assert tokenizer.unknown not in tokenizer.pieces([text])[0]
    assert tokenizer.survives(text)


@given(st.lists(TAGS, max_size=5))
@example(["a", "a"])
def test_a_list_of_tags_is_its_tags_joined(tokenizer, tags):
    joined = []
    for tag in tags:
        joined += [tokenizer.separator, *tokenizer.encode_tag(tag)] if joined else tokenizer.encode_tag(tag)
    assert tokenizer.decode_tags([*joined, tokenizer.eos, *tokenizer.encode_tag("after")]) == tuple(tags)
    assert tokenizer.decode_tags([*joined, tokenizer.pad, tokenizer.pad]) == tuple(tags)


@pytest.mark.parametrize("separator", ["<sep>", ",", "; ", "|", "ab", "<extra_id_0>", "标"])
def test_any_separator_will_do(separator):
    tags = ["a,b", "c; d", "ab", "x|y", "标签", separator, "<sep>"]
    tokenizer = tokenizers.train(["a text, of; words | ab 标签"] * 9, tags, separator, small())
    assert tokenizer.separator == 3
    assert all(tokenizer.survives(tag) for tag in tags)


def test_a_model_may_write_anything(tokenizer):
    a, sep, eos = tokenizer.encode_tag("a"), tokenizer.separator, tokenizer.eos
    assert tokenizer.decode_tags([sep, sep, *a, sep, sep, *a, sep, eos]) == ("a", "a")
    assert tokenizer.decode_tags([*a, tokenizer.unknown, eos]) == ("a<unk>",)
    assert tokenizer.decode_tags([eos, *a]) == tokenizer.decode_tags([]) == ()
    tokenizer.decode_tags(range(tokenizer.size))
    assert tokenizer.decode_tags([*a, tokenizer.size + 7]) == ("a",)  # a model's vocabulary may be padded


def test_special_tokens_in_a_text_are_text(tokenizer):
    ids = tokenizer.pieces(["red </s> shirt <sep> <pad>"])[0]
    assert not {tokenizer.eos, tokenizer.pad, tokenizer.separator} & set(ids)


def test_a_text_is_cut_to_its_length_with_its_end(tokenizer):
    text = "a fine red shirt in blue"
    whole = tokenizer.pieces([text])[0]
    for length in range(1, len(whole) + 3):
        ids = tokenizer.encode([text], length)[0]
        assert ids == [*whole[: length - 1], tokenizer.eos]
        assert len(ids) == min(length, len(whole) + 1)


def test_training_learns_the_tags(tokenizer, vocabulary, products):
    texts = [f"{product.title} {product.description}" for product in products]
    ignorant = tokenizers.train(texts, [], "<sep>", small(vocab_size=600))
    learnt, spelt = (sum(len(t.encode_tag(tag)) for tag in vocabulary.tags) for t in (tokenizer, ignorant))
    assert learnt <= 2.5 * len(vocabulary) < 5 * len(vocabulary) < spelt


def test_the_same_catalog_gives_the_same_tokenizer(tmp_path):
    chance = random.Random(0)
    words = ["".join(chance.choices("abcdefg", k=chance.randint(2, 6))) for _ in range(80)]
    texts = [" ".join(chance.choices(words, k=8)) for _ in range(300)]
    for name in ("one", "two"):
        tokenizers.train(iter(texts), iter(words[:9]), "<sep>", small(max_sentences=50)).save(tmp_path / name)
    assert files(tmp_path / "one") == files(tmp_path / "two")
    tokenizers.train(texts, words[:9], "<sep>", small(max_sentences=300)).save(tmp_path / "all")
    assert files(tmp_path / "one") != files(tmp_path / "all")


def test_saving_and_loading_changes_nothing_here_or_in_transformers(tokenizer, vocabulary, tmp_path):
    from transformers import AutoTokenizer

    tokenizer.save(tmp_path)
    loaded, theirs = tokenizers.load(tmp_path, "<sep>"), AutoTokenizer.from_pretrained(tmp_path)
    texts = [*vocabulary.tags, "a fine red shirt", *RARE]
    assert loaded.pieces(texts) == tokenizer.pieces(texts)
    assert theirs(texts)["input_ids"] == tokenizer.encode(texts, 999)
    names = ("size", "pad", "eos", "unknown", "separator")
    assert [getattr(loaded, name) for name in names] == [getattr(tokenizer, name) for name in names]
    assert (theirs.pad_token_id, theirs.eos_token_id, theirs.unk_token_id) == (0, 1, 2)
    assert theirs.convert_tokens_to_ids("<sep>") == tokenizer.separator == 3
    assert files(tmp_path).keys() == {"tokenizer.json", "tokenizer_config.json"}


def test_a_published_t5_tokenizer_loads_and_is_saved_in_the_plain_form(t5_folder, tmp_path):
    from transformers import AutoTokenizer

    texts = ["a red shirt", "blue shoe, 12", "kind::lamp"]
    theirs = AutoTokenizer.from_pretrained(t5_folder)
    loaded = tokenizers.load(t5_folder, "<extra_id_0>")
    assert theirs(texts)["input_ids"] == loaded.encode(texts, 999)
    assert loaded.size == len(theirs)
    assert loaded.survives("kind::lamp") and not loaded.survives("连衣裙")
    loaded.save(tmp_path)
    again = tokenizers.load(tmp_path, "<extra_id_0>")
    assert again.encode(texts, 999) == loaded.encode(texts, 999)
    assert (again.size, again.separator) == (loaded.size, loaded.separator)
    theirs.save_pretrained(tmp_path / "fast")
    assert tokenizers.load(tmp_path / "fast", "<extra_id_0>").encode(texts, 999) == loaded.encode(texts, 999)


def test_truncation_left_in_a_folder_does_not_cut(tokenizer, tmp_path):
    import tokenizers as rust

    tokenizer.save(tmp_path)
    backend = rust.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    backend.enable_truncation(2)
    backend.enable_padding(length=50)
    backend.save(str(tmp_path / "tokenizer.json"))
    texts = ["red", "a fine red shirt"]
    assert tokenizers.load(tmp_path, "<sep>").pieces(texts) == tokenizer.pieces(texts)


@pytest.mark.parametrize(
    "separator, message",
    [
        ("<sep>", "no single token '<sep>', expected exactly one; set tags.separator to e.g. '<extra_id_0>'"),
        ("</s>", "tags.separator: '</s>' is the padding, end or unknown token"),
    ],
)
def test_a_separator_that_is_no_token_of_its_own_is_refused(t5_folder, separator, message):
    with pytest.raises(UserError) as error:
        tokenizers.load(t5_folder, separator)
    assert str(t5_folder) in str(error.value) and message in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_no_tokenizer_folder_is_refused_in_one_line(tokenizer, tmp_path):
    def complaint(folder):
        with pytest.raises(UserError) as error:
            tokenizers.load(folder, "<sep>")
        assert str(folder) in str(error.value) and "\n" not in str(error.value)
        return str(error.value)

    assert "no such tokenizer folder" in complaint(tmp_path / "absent")
    assert "no tokenizer in it" in complaint(tmp_path)
    tokenizer.save(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    assert "not a tokenizer" in complaint(tmp_path)


def test_what_cannot_be_learnt_from_is_refused():
    with pytest.raises(UserError, match="no text to train on"):
        tokenizers.train(["", "  "], [], "<sep>", small())
    with pytest.raises(UserError, match=r"raise tokenizer\.vocab_size"):
        tokenizers.train(["a text"], ["a"], "<sep>", small(vocab_size=100))
    for settings in ({"vocab_size": 0}, {"max_sentences": 0}, {"character_coverage": 0.0}):
        with pytest.raises(ValueError, match=next(iter(settings))):
            small(**settings)


def test_every_real_tag_survives(shared_data):
    with gzip.open(shared_data / "ae110k" / "train.jsonl.gz", "rt", encoding="utf-8") as file:
        catalog = [json.loads(line) for line in file]
    titles, tags = [row["title"] for row in catalog], {tag for row in catalog for tag in row["tags"]}
    tokenizer = tokenizers.train(titles[:300], sorted(tags)[::2], "<sep>", small(vocab_size=1000))
    assert all(tokenizer.survives(tag) for tag in tags)


def bert_like(folder):
    """A lower-casing WordPiece folder, as BERT's: [CLS] before a text, [SEP] after it, no end token."""
    from transformers import PreTrainedTokenizerFast

    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    vocab = {word: i for i, word in enumerate([*names.values(), "a", "##a", "b", "##b", ":"])}
    backend = HfTokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(tokenizer_object=backend, **names).save_pretrained(folder)


def test_tags_have_a_tokenizer_of_their_own_that_the_folder_carries(tmp_path):
    tags = ["Ab::B a", "b::a", "日本"]
    speller = tokenizers.train_speller(tags, "<sep>", TokenizerConfig(tag_vocab_size=800))
    bert_like(tmp_path / "theirs")
    with pytest.raises(UserError, match="tag separator"):
        tokenizers.load(tmp_path / "theirs", "<sep>")  # alone it has no token to stand between tags
    tokenizers.load(tmp_path / "theirs", "<sep>", speller).save(tmp_path / "ours")
    tokenizer = tokenizers.load(tmp_path / "ours", "<sep>")
    assert tokenizer.encode(["AB", "abbabb"], 4) == [
        [2, 4, 7, 3],
        [2, 4, 7, 3],
    ]  # "ab"; cut, and still closed
    assert tokenizer.cuts(tokenizer.pieces(["abbabb"])[0], 4) and not tokenizer.cuts([4, 7], 4)
    assert [len(tokenizer.tags.encode_tag(tag)) for tag in tags] == [1, 1, 1]
    assert all(tokenizer.tags.survives(tag) for tag in [*tags, "never::seen <sep> \\", " é "])
    ids = [*tokenizer.tags.encode_tag(tags[0]), tokenizer.tags.separator, *tokenizer.tags.encode_tag(tags[2])]
    assert tokenizer.tags.decode_tags([*ids, tokenizer.tags.eos]) == (tags[0], tags[2])
