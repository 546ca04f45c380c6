"""T5's relatives against transformers' own classes: Flan-T5, mT5, umT5 and ByT5."""

from typing import Any

import pytest
import torch
from transformers import (
    MT5Config,
    MT5ForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
    UMT5Config,
    UMT5ForConditionalGeneration,
)

from tests.interop import parity

SIZES = {"vocab_size": 53, "d_model": 16, "d_kv": 6, "d_ff": 24, "num_heads": 3}
DEPTHS = {"num_layers": 2, "num_decoder_layers": 2}
BUCKETS = {"relative_attention_num_buckets": 8, "relative_attention_max_distance": 12}
SHALLOW = {"num_layers": 4, "num_decoder_layers": 1}  # ByT5: 12 and 4 in its small size
T5, MT5, UMT5 = (
    (T5Config, T5ForConditionalGeneration),
    (MT5Config, MT5ForConditionalGeneration),
    (UMT5Config, UMT5ForConditionalGeneration),
)
CASES = {  # name -> classes, what its config says beside the sizes, and whether its head is its own
    "flan": (T5, {**DEPTHS, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}, True),
    "mt5": (MT5, DEPTHS, True),
    "umt5-tied": (UMT5, DEPTHS, False),
    "umt5": (UMT5, DEPTHS, True),
    "byt5": (T5, {**SHALLOW, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}, True),
}


def make(case: str, seed: int, eos_scale: float = 1.0) -> Any:
    """A random model; eos_scale lengthens the head's row of EOS, so that it competes everywhere."""
    (config_class, model_class), more, own_head = CASES[case]
    config = config_class(**SIZES, **BUCKETS, **more, decoder_start_token_id=0)
    model = model_class(config).eval()
    if own_head:  # transformers 5 ties at birth whatever the config says
        model.lm_head.weight = torch.nn.Parameter(torch.empty_like(model.lm_head.weight))
    parity.redraw(model, seed)
    with torch.no_grad():
        model.lm_head.weight[config.eos_token_id] *= eos_scale
        if not own_head:
            model.shared.weight.mul_(3.0)
    if (
        case == "umt5"
    ):  # it was trained without scaling; transformers 5 says that all umT5 are tied and scales
        model.config.tie_word_embeddings = False
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
        model = make(case, seed, eos_scale=3.0)
        lengths |= parity.searches_agree(model, *parity.load(model, tmp_path / str(seed)), seed)
    assert len(lengths) >= parity.T - 3, "outputs must end at many lengths"


def test_there_and_back_is_the_identity(case, tmp_path):
    model = make(case, 2)
    loaded = parity.there_and_back_is_the_identity(model, tmp_path)
    theirs, ours = model.state_dict(), loaded.state_dict()
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs)


def test_trainings_agree(case, tmp_path):
    model = make(case, 3)
    parity.trainings_agree(model, *parity.load(model, tmp_path))


def test_an_umt5_with_a_head_of_its_own_passes_the_check_of_exports(tmp_path):
    """Though transformers, left alone, would scale its outputs."""
    parity.export_passes_its_check(make("umt5", 4), tmp_path)
