"""T5Gemma and T5Gemma 2 against transformers' own classes; windows are smaller than the sequences."""

import json
from typing import Any

import pytest
import torch
from transformers import (
    T5Gemma2Config,
    T5Gemma2ForConditionalGeneration,
    T5GemmaConfig,
    T5GemmaForConditionalGeneration,
)

from taggen_jax.errors import UserError
from taggen_jax.interop import hf, t5gemma2
from tests.interop import parity

SIZES = {
    "vocab_size": 53, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6, "query_pre_attn_scalar": 5,
}  # fmt: skip
SMALLER = {"hidden_size": 12, "intermediate_size": 20, "num_key_value_heads": 1, "num_hidden_layers": 2}
KINDS = ["sliding_attention", "full_attention", "sliding_attention"]
CAPS = {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 5.0}
THETAS = {"full_attention": 100.0, "sliding_attention": 10.0}
EYES = {
    "model_type": "siglip_vision_model", "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
    "num_attention_heads": 2, "image_size": 8, "patch_size": 4,
}  # fmt: skip
CASES = ("t5gemma", "t5gemma-unequal", "t5gemma-untied", "t5gemma2", "t5gemma2-capped")


def first(**more: Any) -> Any:
    rope = {"rope_type": "default", "rope_theta": 50.0}
    return {**SIZES, **CAPS, "sliding_window": 3, "rope_parameters": rope, **more}


def second(window: int, far: dict[str, Any], **more: Any) -> Any:
    ropes = {kind: {"rope_type": "default", "rope_theta": theta} for kind, theta in THETAS.items()}
    ropes["full_attention"] |= far
    return {**SIZES, "layer_types": KINDS, "sliding_window": window, "rope_parameters": ropes, **more}


def vision(window: int, far: dict[str, Any], **more: Any) -> T5Gemma2Config:
    eyes = {"vision_config": EYES, "mm_tokens_per_image": 4, "eoi_token_index": 50, "boi_token_index": 49}
    return T5Gemma2Config(
        encoder={"text_config": second(window, far, **more), **eyes},
        decoder=second(3, far, **more),
        image_token_index=51,
    )


CONFIGS = {
    "t5gemma": lambda: T5GemmaConfig(encoder=first(), decoder=first(), vocab_size=53),
    "t5gemma-unequal": lambda: T5GemmaConfig(
        encoder=first(sliding_window=2), decoder=first(**SMALLER), vocab_size=53
    ),
    "t5gemma-untied": lambda: T5GemmaConfig(
        encoder=first(attn_logit_softcapping=None),
        decoder=first(final_logit_softcapping=None),
        vocab_size=53,
        tie_word_embeddings=False,
    ),
    "t5gemma2": lambda: vision(4, {}),
    "t5gemma2-capped": lambda: vision(5, {"rope_type": "linear", "factor": 8.0}, final_logit_softcapping=5.0),
}


def make(case: str, seed: int, eos_scale: float = 1.0) -> Any:
    """A random model; eos_scale lengthens the head's row of EOS, so that it competes everywhere."""
    config = CONFIGS[case]()
    kind = T5Gemma2ForConditionalGeneration if "2" in case else T5GemmaForConditionalGeneration
    model = kind(config).eval()
    parity.redraw(model, seed, centred=True)
    with torch.no_grad():
        model.lm_head.out_proj.weight[1] *= eos_scale
    return model


@pytest.fixture(params=CASES)
def case(request):
    return request.param


def test_logits_agree(case, tmp_path):
    model = make(case, 1)
    parity.logits_agree(model, *parity.load(model, tmp_path))


def test_searches_agree(case, tmp_path):
    lengths = set()
    for seed in range(6):
        model = make(case, seed, eos_scale=3.0)
        lengths |= parity.searches_agree(model, *parity.load(model, tmp_path / str(seed)), seed)
    assert len(lengths) >= 4, "outputs must end at several lengths"


def test_there_and_back_is_the_identity(case, tmp_path):
    model = make(case, 2)
    but = tuple(t5gemma2.UNUSED)
    loaded = parity.there_and_back_is_the_identity(model, tmp_path, but)
    theirs, ours = model.state_dict(), loaded.state_dict()
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs if not name.startswith(but))


def test_trainings_agree(case, tmp_path):
    model = make(case, 3)
    parity.trainings_agree(model, *parity.load(model, tmp_path))


def test_an_export_without_eyes_passes_the_check_of_exports(tmp_path):
    parity.export_passes_its_check(make("t5gemma2", 4), tmp_path)


def edited(folder, **changed):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    return folder


def test_what_is_not_built_in_is_refused_by_name(tmp_path):
    make("t5gemma", 5).save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    for field, value, message in (
        ("attention_bias", True, "attention_bias is True, expected False"),
        ("layer_types", ["chunked_attention"] * 3, "layer_types is .*expected 3 times 'sliding_attention'"),
        ("rope_parameters", {"rope_type": "yarn"}, "rope_type is 'yarn', expected 'default'"),
        ("head_dim", None, "decoder has no field 'head_dim'"),
        ("num_key_value_heads", 3, "n_heads=4 must be a multiple of n_kv_heads=3"),
    ):
        edited(tmp_path, decoder=values["decoder"] | {field: value})
        with pytest.raises(UserError, match=message):
            hf.read_config(tmp_path)


def test_a_config_of_transformers_4_is_read(tmp_path):
    """It has no rope_parameters, and several ends of which the first counts."""
    make("t5gemma", 5).save_pretrained(tmp_path)
    before, values = hf.read_config(tmp_path), json.loads((tmp_path / "config.json").read_text())
    for stack in ("encoder", "decoder"):
        del values[stack]["rope_parameters"]
        values[stack] |= {"rope_theta": 50.0, "eos_token_id": [1, 7]}
    (tmp_path / "config.json").write_text(json.dumps(values))
    assert hf.read_config(tmp_path) == before
