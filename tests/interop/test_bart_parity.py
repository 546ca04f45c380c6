"""BART, mBART and Pegasus against transformers' own classes."""

from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    MBartConfig,
    MBartForConditionalGeneration,
    PegasusConfig,
    PegasusForConditionalGeneration,
)

from taggen_jax.errors import UserError
from taggen_jax.interop import bart, hf
from taggen_jax.models.bart import sinusoids
from tests.interop import parity

SIZES = {
    "vocab_size": 53, "d_model": 12, "encoder_ffn_dim": 20, "decoder_ffn_dim": 20, "encoder_layers": 3,
    "decoder_layers": 2, "encoder_attention_heads": 3, "decoder_attention_heads": 3,
    "max_position_embeddings": 17,
}  # fmt: skip
CASES: dict[
    str, tuple[Any, Any, dict[str, Any]]
] = {  # name -> classes, and what its config says beside the sizes
    "bart": (BartConfig, BartForConditionalGeneration, {"activation_function": "gelu"}),
    "mbart": (
        MBartConfig,
        MBartForConditionalGeneration,
        {"activation_function": "gelu_new", "scale_embedding": True, "decoder_start_token_id": 7},
    ),
    "pegasus": (
        PegasusConfig,
        PegasusForConditionalGeneration,
        {"activation_function": "relu", "scale_embedding": True},
    ),
}


EOS_SCALE = {"bart": 3.0, "mbart": 4.0, "pegasus": 2.0}  # with these, outputs end at most lengths


def make(case: str, seed: int, eos_scale: float = 1.0, **changed: Any) -> Any:
    """A random model that forces no token; eos_scale lengthens the embedding of EOS, so that it competes."""
    config_class, model_class, more = CASES[case]
    model = model_class(config_class(**SIZES, **(more | changed), forced_eos_token_id=None)).eval()
    parity.redraw(model, seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("bias"):
                weight.sub_(1.0)
            elif "shared" in name or "embed_positions" in name:
                weight.mul_(3.0)  # what is read decides what is written: else outputs repeat one word
        model.final_logits_bias.copy_(0.5 * torch.randn(53, generator=torch.Generator().manual_seed(seed)))
        model.model.shared.weight[model.config.eos_token_id] *= eos_scale
    return model


@pytest.fixture(params=CASES)
def case(request):
    return request.param


def test_logits_agree(case, tmp_path):
    model = make(case, 1)
    parity.logits_agree(model, *parity.load(model, tmp_path))


def test_searches_agree(case, tmp_path):
    lengths = set()
    for seed in range(8):
        model = make(case, seed, EOS_SCALE[case])
        lengths |= parity.searches_agree(model, *parity.load(model, tmp_path / str(seed)), seed)
    assert len(lengths) >= parity.T - 3, "outputs must end at many lengths"


def test_there_and_back_is_the_identity(case, tmp_path):
    model = make(case, 2)
    loaded = parity.there_and_back_is_the_identity(model, tmp_path)
    theirs, ours = model.state_dict(), loaded.state_dict()
    assert theirs.keys() == ours.keys() and all(torch.equal(theirs[name], ours[name]) for name in theirs)


def test_an_export_passes_its_check(case, tmp_path):
    parity.export_passes_its_check(make(case, 7), tmp_path)


def test_trainings_agree(case, tmp_path):
    model = make(case, 3)
    parity.trainings_agree(model, *parity.load(model, tmp_path))


def test_their_shift_of_labels_is_ours_where_targets_end_with_eos(case, tmp_path):
    """They shift labels by themselves; mBART takes the last token of every row for the first input."""
    more = {"decoder_start_token_id": None} if case == "mbart" else {}
    model = make(case, 4, **more)
    config, params = parity.load(model, tmp_path)
    source_BS, target_BT = parity.sources(0, 53, config.pad), parity.targets(1, 53)
    for row, length in zip(target_BT, (9, 4, 8, 2), strict=True):
        row[length - 1], row[length:] = config.eos, config.pad
    with torch.no_grad():
        theirs = model(
            input_ids=torch.tensor(source_BS).long(),
            attention_mask=torch.tensor(source_BS != config.pad).long(),
            labels=torch.tensor(target_BT).long(),
        ).logits.numpy()
    ours = np.asarray(parity.our_logits(params, {"source": source_BS, "target": target_BT}, config))
    there = target_BT != config.pad
    np.testing.assert_allclose(ours[there], theirs[there], atol=1e-4)


def test_fixed_positions_are_theirs():
    table = PegasusForConditionalGeneration(PegasusConfig(**SIZES)).model.encoder.embed_positions.weight
    np.testing.assert_array_equal(sinusoids(17, 12), table.numpy())


def test_forced_tokens_travel(case, tmp_path):
    """In generation_config.json, where transformers 5 keeps them, or in config.json, as older folders do."""
    model = make(case, 5)
    model.generation_config.forced_bos_token_id, model.generation_config.forced_eos_token_id = 9, 2
    config, params = parity.load(model, tmp_path / "theirs")
    assert (config.forced_first, config.forced_last) == (9, 2)
    hf.save(tmp_path / "ours", config, params)
    loaded = CASES[case][1].from_pretrained(tmp_path / "ours").generation_config
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
        bart.config_from_hf({"model_type": "bart", **SIZES, **changed}, "config.json")


def test_a_source_beyond_the_positions_is_refused(tmp_path):
    config, params = parity.load(make("bart", 6), tmp_path)
    batch = {"source": np.full((1, 18), 5, np.int32), "target": np.full((1, 3), 5, np.int32)}
    with pytest.raises(UserError, match="max_positions=17 is less than the 18 tokens of a source"):
        parity.our_logits(params, batch, config)
