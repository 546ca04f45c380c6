"""Our BERT to sequence against transformers' `EncoderDecoderModel`, on random small models."""

import shutil

import jax
import numpy as np
import pytest
import safetensors.numpy
import transformers
from transformers import (
    BertConfig,
    EncoderDecoderConfig,
    EncoderDecoderModel,
    RobertaConfig,
    XLMRobertaConfig,
)

from taggen_jax.errors import UserError
from taggen_jax.interop import bert, hf
from tests.interop import parity

PAD, EOS, START = 1, 2, 0
SIZES = {
    "vocab_size": 53,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "max_position_embeddings": 20,
    "pad_token_id": PAD,
}
NARROW = SIZES | {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1, "vocab_size": 31}
SIDES = {  # name -> class and sizes of encoder and decoder
    "bert-bert": (BertConfig, SIZES, BertConfig, SIZES),
    "roberta-roberta": (RobertaConfig, SIZES, RobertaConfig, SIZES),
    "bert-narrow": (BertConfig, SIZES | {"hidden_act": "gelu_new"}, BertConfig, NARROW),
    "xlmr-bert": (XLMRobertaConfig, SIZES, BertConfig, NARROW | {"hidden_act": "relu"}),
}


def random_model(variant, seed, eos_bias=0.0):
    """`eos_bias` makes the end compete, so that outputs end at several lengths."""
    encoder_class, encoder, decoder_class, decoder = SIDES[variant]
    config = EncoderDecoderConfig(
        encoder=encoder_class(**encoder),
        decoder=decoder_class(**decoder, is_decoder=True, add_cross_attention=True),
        pad_token_id=PAD,
        eos_token_id=EOS,
        decoder_start_token_id=START,
    )
    model = EncoderDecoderModel(config).eval()
    parity.redraw(model, seed)
    model.get_output_embeddings().bias.data[EOS] += eos_bias
    return model


@pytest.fixture(params=SIDES)
def variant(request):
    return request.param


def test_logits_and_trainings_agree(variant, tmp_path):
    model = random_model(variant, 0)
    config, params = parity.load(model, tmp_path / "hf")
    parity.logits_agree(model, config, params)
    parity.trainings_agree(model, config, params)


def test_there_and_back_is_the_identity(variant, tmp_path):
    parity.there_and_back_is_the_identity(random_model(variant, 0), tmp_path)


def test_searches_agree(variant, tmp_path):
    lengths = set()
    for seed in range(4):
        model = random_model(variant, seed, eos_bias=2.5 * seed)
        config, params = parity.load(model, tmp_path / str(seed))
        lengths |= parity.searches_agree(model, config, params, seed)
    assert len(lengths) > 2, "outputs must end at several lengths"


@pytest.mark.parametrize("kind", ["Bert", "Roberta"])
def test_an_encoder_is_the_same_alone_and_below_a_head(kind, tmp_path):
    model = getattr(transformers, f"{kind}ForMaskedLM")(getattr(transformers, f"{kind}Config")(**SIZES))
    model.save_pretrained(tmp_path / "head")
    model.base_model.save_pretrained(tmp_path / "bare")
    shutil.copytree(tmp_path / "head", tmp_path / "old")
    old = {name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): x
           for name, x in parity.tensors(tmp_path / "head").items()}  # fmt: skip
    safetensors.numpy.save_file(old, tmp_path / "old" / "model.safetensors")
    config, bare = hf.load(tmp_path / "bare")
    for folder in ("head", "old"):
        other_config, other = hf.load(tmp_path / folder)
        assert other_config == config
        jax.tree.map(np.testing.assert_array_equal, other, bare)


GOOD = {
    "encoder": SIZES | {"model_type": "bert"},
    "decoder": SIZES | {"model_type": "bert"},
    "eos_token_id": EOS,
    "decoder_start_token_id": START,
}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"decoder": None}, "no config of the decoder"),
        ({"encoder": {"model_type": "gpt2"}}, "encoder: model_type is 'gpt2', expected one of bert, roberta"),
        ({"encoder": {"model_type": "bert"}}, "field 'vocab_size' is missing"),
        ({"encoder": GOOD["encoder"] | {"position_embedding_type": "relative_key"}}, "expected 'absolute'"),
        ({"eos_token_id": None}, "eos_token_id is None, expected an id"),
        ({"pad_token_id": 7}, "pad_token_id is 7, expected the decoder's, 1"),
        ({"tie_word_embeddings": False}, "no untied head is built in"),
    ],
)
def test_a_config_that_is_no_model_of_ours_is_refused(changed, message):
    assert bert.config_from_hf(GOOD, "config.json").decoder.vocab_size == 53
    with pytest.raises(UserError, match=message):
        bert.config_from_hf(GOOD | changed, "config.json")
