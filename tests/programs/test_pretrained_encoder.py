"""From a bare BERT folder to tags: an encoder that reads WordPiece, a decoder that spells tags by its own."""

import dataclasses
import json
import shutil
import string

import jax
import numpy as np
import pytest
import tokenizers
import torch
from tokenizers import models, normalizers, pre_tokenizers, processors
from transformers import BertConfig as HfBertConfig
from transformers import BertModel, PreTrainedTokenizerFast

from taggen_jax import convert, generate, prepare, train
from taggen_jax.catalog.vocabulary import Vocabulary
from taggen_jax.data import tokenizer as our_tokenizers
from taggen_jax.data.tokenizer import TokenizerConfig
from taggen_jax.errors import UserError
from taggen_jax.interop import hf
from taggen_jax.models.bert import BertConfig, StackConfig
from taggen_jax.tagger import open_workdir

SPECIALS = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}


def write_bert(folder, d_model):
    """A random BERT with a lower-casing tokenizer that spells by characters."""
    letters = string.ascii_lowercase + string.digits + string.punctuation
    words = [*SPECIALS.values(), *letters, *("##" + letter for letter in letters)]
    vocab = {word: i for i, word in enumerate(words)}
    backend = tokenizers.Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = [(name, vocab[name]) for name in ("[CLS]", "[SEP]")]
    backend.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=special)
    PreTrainedTokenizerFast(tokenizer_object=backend, **SPECIALS).save_pretrained(folder)
    config = HfBertConfig(
        vocab_size=len(words), hidden_size=d_model, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=24, max_position_embeddings=32,
    )  # fmt: skip
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder)
    return len(words)


@pytest.fixture(scope="module")
def experiment(trained_experiment, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    size = write_bert(folder, 16)
    sides = {"d_mlp": 24, "n_heads": 2, "dropout": 0.0}
    return dataclasses.replace(
        trained_experiment,
        tokenizer=TokenizerConfig(path=str(folder), tag_vocab_size=1200),
        model=BertConfig(
            encoder=StackConfig(vocab_size=size, d_model=16, layers=2, positions=32, **sides),
            decoder=StackConfig(vocab_size=1200, d_model=8, layers=1, positions=40, **sides),
            eos=1, start=3,
        ),
        train=dataclasses.replace(
            trained_experiment.train, pretrained=str(folder), freeze=("encoder",), steps=2, eval_every=0
        ),
        preflight=dataclasses.replace(trained_experiment.preflight, max_unknown_share=1.0),
    )  # fmt: skip


def test_a_bare_encoder_becomes_a_tagger_whose_workdir_stands_alone(experiment, trained, tmp_path):
    data, workdir = tmp_path / "data", tmp_path / "workdir"
    prepare.run(experiment, data, input=[str(trained.catalog)])
    train.run(experiment, data, workdir)
    _, encoder = hf.load(experiment.train.pretrained)
    shutil.rmtree(data)
    moved = workdir.rename(tmp_path / "elsewhere")
    tokenizer, params = our_tokenizers.load(moved / "tokenizer", "<sep>"), open_workdir(moved)[2]
    jax.tree.map(np.testing.assert_array_equal, params["encoder"], encoder)
    (ids,) = tokenizer.encode(["Cat"], 4)
    assert ids[0] == 2 and ids[-1] == 3 and len(ids) == 4  # [CLS] c ##a [SEP]
    tags = Vocabulary.load(moved / "vocabulary.json").tags
    assert all(tokenizer.tags.survives(tag) for tag in [*tags, "Never::Seen before, 日本"])
    generate.run(moved, [str(trained.catalog)], tmp_path / "out")
    with open(tmp_path / "out" / "predictions.jsonl") as file:
        assert all(json.loads(line)["tags"] is not None for line in file)


def test_exported_and_imported_again_it_writes_the_same_tags(experiment, trained, tmp_path):
    """The speller of tags travels in the folder's tags/; the vocabulary does not, so both are open."""
    prepare.run(experiment, tmp_path / "data", input=[str(trained.catalog)])
    train.run(experiment, tmp_path / "data", tmp_path / "workdir")
    convert.export(tmp_path / "workdir", tmp_path / "hf")
    model = convert.settings(tmp_path / "hf").model
    select = dataclasses.replace(experiment.generate.select, threshold=0.0)  # two steps make nothing sure
    options = dataclasses.replace(experiment.generate, vocabulary="open", select=select)
    again = dataclasses.replace(experiment, model=model, generate=options)
    convert.import_(tmp_path / "hf", tmp_path / "again", again)
    for name in ("workdir", "again"):
        generate.run(tmp_path / name, [str(trained.catalog)], tmp_path / "out" / name, experiment=again)
    first, second = (
        [
            json.loads(line)
            for line in (tmp_path / "out" / name / "predictions.jsonl").read_text().splitlines()
        ]
        for name in ("workdir", "again")
    )
    assert any(row["tags"] for row in first)
    assert [(row["tags"], row["scores"]) for row in first] == [(row["tags"], row["scores"]) for row in second]


def test_an_encoder_of_another_shape_is_refused_by_its_field(experiment, trained, tmp_path):
    encoder = dataclasses.replace(experiment.model.encoder, layers=3)
    other = dataclasses.replace(experiment, model=dataclasses.replace(experiment.model, encoder=encoder))
    prepare.run(other, tmp_path / "data", input=[str(trained.catalog)])
    with pytest.raises(UserError, match="layers: 3 -> 2"):
        train.run(other, tmp_path / "data", tmp_path / "workdir")


def test_padding_that_model_and_tokenizer_write_differently_is_refused(experiment, trained, tmp_path):
    other = dataclasses.replace(experiment, model=dataclasses.replace(experiment.model, eos=2))
    prepare.run(other, tmp_path / "data", input=[str(trained.catalog)])
    with pytest.raises(UserError, match=r"eos is 2, but the tokenizer in .* has 1"):
        train.run(other, tmp_path / "data", tmp_path / "workdir")
