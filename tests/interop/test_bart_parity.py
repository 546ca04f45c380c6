"""What BART, mBART and Pegasus have of their own, against transformers' classes."""

import jax
import numpy as np
import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, PegasusConfig, PegasusForConditionalGeneration

from taggen_jax.errors import UserError
from taggen_jax.interop import bart, hf
from taggen_jax.models.bart import sinusoids
from tests.interop import parity
from tools import beside, zoo
from tools.parity import tensors

CASES = ("bart", "mbart", "pegasus")


@pytest.fixture(params=CASES)
def case(request):
    return request.param


def test_their_shift_of_labels_is_ours_where_targets_end_with_eos(case, tmp_path):
    """They shift labels by themselves; mBART takes the last token of every row for the first input."""
    more = {"decoder_start_token_id": None} if case == "mbart" else {}
    model = zoo.VARIANTS[case](4, **more)
    config, params = parity.load(model, tmp_path)
    source_BS, target_BT = beside.sources(config, 0), beside.targets(config, 1)
    for row, length in zip(target_BT, (9, 4, 8, 2), strict=True):
        row[length - 1], row[length:] = config.eos, config.pad
    with torch.no_grad():
        theirs = model(
            **beside.asked(config, source_BS),
            labels=torch.tensor(target_BT).long(),
        ).logits.numpy()
    ours = np.asarray(beside.our_logits(params, {"source": source_BS, "target": target_BT}, config))
    there = target_BT != config.pad
    np.testing.assert_allclose(ours[there], theirs[there], atol=1e-4)


def test_a_folder_of_the_model_without_its_head_is_read(case, tmp_path):
    """Its names lack the body's "model.", and there is no bias of logits: zero."""
    model = zoo.make(case, 6)
    model.final_logits_bias.zero_()
    config, params = parity.load(model, tmp_path / "whole")
    bare_config, bare = parity.load(model.model, tmp_path / "bare")
    assert bare_config == config and "shared.weight" in tensors(tmp_path / "bare")
    jax.tree.map(np.testing.assert_array_equal, bare, params)


def test_fixed_positions_are_theirs():
    table = PegasusForConditionalGeneration(
        PegasusConfig(**zoo.BART_SIZES)
    ).model.encoder.embed_positions.weight
    np.testing.assert_array_equal(sinusoids(17, 12), table.numpy())


def test_forced_tokens_travel(case, tmp_path):
    """In generation_config.json, where transformers 5 keeps them, or in config.json, as older folders do."""
    model = zoo.make(case, 5)
    model.generation_config.forced_bos_token_id, model.generation_config.forced_eos_token_id = 9, 2
    config, params = parity.load(model, tmp_path / "theirs")
    assert (config.forced_first, config.forced_last) == (9, 2)
    hf.save(tmp_path / "ours", config, params)
    loaded = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "ours").generation_config
    assert (loaded.forced_bos_token_id, loaded.forced_eos_token_id) == (9, 2)
    assert hf.load(tmp_path / "ours")[0] == config


REFUSED = {
    "narrow decoder": ({"decoder_ffn_dim": 10}, "decoder_ffn_dim=10 differs from encoder_ffn_dim=20"),
    "activation": ({"activation_function": "tanh"}, "activation_function is 'tanh', expected one of gelu,"),
    "head": ({"tie_word_embeddings": False}, "a head of its own is not built in"),
    "no width": ({"d_model": None}, "field 'd_model' is missing"),
    "heads": (
        {"encoder_attention_heads": 5, "decoder_attention_heads": 5},
        "must be a multiple of n_heads=5",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_built_in_is_refused_by_name(kind):
    changed, message = REFUSED[kind]
    with pytest.raises(UserError, match=f"config.json.*{message}"):
        bart.config_from_hf({"model_type": "bart", **zoo.BART_SIZES, **changed}, "config.json")


def test_a_source_beyond_the_positions_is_refused(tmp_path):
    config, params = parity.load(zoo.make("bart", 6), tmp_path)
    batch = {"source": np.full((1, 18), 5, np.int32), "target": np.full((1, 3), 5, np.int32)}
    with pytest.raises(UserError, match="max_positions=17 is less than the 18 tokens of a source"):
        beside.our_logits(params, batch, config)
