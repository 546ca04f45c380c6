"""Encoders of BERT alone and below a head, and configs of BERT to sequence that are refused."""

import shutil

import jax
import numpy as np
import pytest
import safetensors.numpy
import transformers

from taggen_jax.errors import UserError
from taggen_jax.interop import bert, hf
from tools import zoo
from tools.parity import tensors

EOS, START = 2, 0
SIZES = zoo.BERT_SIZES


@pytest.mark.parametrize("kind", ["Bert", "Roberta"])
def test_an_encoder_is_the_same_alone_and_below_a_head(kind, tmp_path):
    model = getattr(transformers, f"{kind}ForMaskedLM")(getattr(transformers, f"{kind}Config")(**SIZES))
    model.save_pretrained(tmp_path / "head")
    model.base_model.save_pretrained(tmp_path / "bare")
    shutil.copytree(tmp_path / "head", tmp_path / "old")
    old = {name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): x
           for name, x in tensors(tmp_path / "head").items()}  # fmt: skip
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
