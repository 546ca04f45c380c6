"""A small prepared catalog, made once: products, their vocabulary, a tokenizer, and the rows on disk."""

import json

import pytest
import sentencepiece

from taggen_jax.catalog.product import Product
from taggen_jax.catalog.vocabulary import Vocabulary
from taggen_jax.data import store
from taggen_jax.data import tokenizer as tokenizers
from taggen_jax.data.rows import make_rows

COLOURS = ("red", "blue", "green", "棉 红", "café")
THINGS = ("shirt", "shoe", "lamp", "desk", "连衣裙")


def product(number: int) -> Product:
    colour, thing = COLOURS[number % 5], THINGS[number // 5 % 5]
    tags = (f"kind::{thing}", f"colour::{colour}", *(["sale"] if number % 3 else []))
    title = f"{colour} {thing} no. {number}"
    return Product(id=f"p-{number}", title=title, description=f"a fine {thing} in {colour}", tags=tags)


@pytest.fixture(scope="session")
def fields():
    """What the model reads."""
    return ("title", "description")


@pytest.fixture(scope="session")
def products():
    return [product(number) for number in range(60)]


@pytest.fixture(scope="session")
def vocabulary(products):
    return Vocabulary.from_products(products)


@pytest.fixture(scope="session")
def tokenizer(products, vocabulary):
    texts = [f"{product.title} {product.description}" for product in products]
    config = tokenizers.TokenizerConfig(vocab_size=600)
    return tokenizers.train(texts, vocabulary.tags, "<sep>", config)


@pytest.fixture(scope="session")
def rows(products, tokenizer, vocabulary, fields):
    return list(make_rows(products, tokenizer, vocabulary, fields=fields, length=32))


@pytest.fixture(scope="session")
def data_dir(rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    store.write(folder, {"train": rows[:23], "validation": rows[23:30], "test": []})
    return folder


@pytest.fixture(scope="session")
def t5_folder(tmp_path_factory):
    """A T5 tokenizer as it is published: a SentencePiece model, which knows no Chinese and no bytes."""
    folder = tmp_path_factory.mktemp("t5")
    words = "a red shirt, a blue shoe, a green lamp :: kind colour sale fine desk no in 0123456789 ."
    with open(folder / "spiece.model", "wb") as model:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([words] * 20),
            model_writer=model,
            vocab_size=80,
            hard_vocab_limit=False,
            minloglevel=2,
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
        )
    config = {"tokenizer_class": "T5Tokenizer", "extra_ids": 5, "pad_token": "<pad>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"unk_token": "<unk>"}))
    return folder
