"""Random small T5 models, made by transformers itself: four variants, nothing downloaded."""

import pathlib
import warnings
from collections.abc import Callable

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch's and transformers' own, at import
    import torch
    from transformers import T5Config, T5ForConditionalGeneration
    from transformers.utils import logging

EOS = 1
VARIANTS = {  # name -> feed_forward_proj, and whether the head is tied (and scaled)
    "v1.0": ("relu", True),
    "v1.0-untied": ("relu", False),
    "v1.1": ("gated-gelu", False),
    "v1.1-tied": ("gated-gelu", True),
}
SIZES = {"vocab_size": 53, "d_model": 16, "d_kv": 6, "d_ff": 24, "num_heads": 3}  # all different, none square
Reference = T5ForConditionalGeneration


def random_model(variant: str, seed: int, eos_scale: float = 1.0) -> Reference:
    """Every weight drawn anew, large enough that attention and biases matter.

    eos_scale lengthens the head's row of EOS: its logit then swings more than the others' from step to step,
    so that EOS competes everywhere and outputs end at every length.
    """
    projection, tied = VARIANTS[variant]
    config = T5Config(
        **SIZES, num_layers=3, num_decoder_layers=2, relative_attention_num_buckets=8,
        relative_attention_max_distance=12, feed_forward_proj=projection, tie_word_embeddings=tied,
        decoder_start_token_id=0,
    )  # fmt: skip
    model = T5ForConditionalGeneration(config).eval()
    if not tied:  # transformers 5 ties at birth whatever the config says
        model.lm_head.weight = torch.nn.Parameter(torch.empty_like(model.lm_head.weight))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            spread = 1.0 if "shared" in name else 0.25
            weight.copy_(1 + 0.2 * noise if weight.ndim == 1 else spread * noise)
        model.lm_head.weight[EOS] *= eos_scale
    return model


@pytest.fixture(scope="session", autouse=True)
def quiet_transformers() -> None:
    """No progress bars, no complaint about heads untied on purpose, no threads for tiny matrices."""
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    logging.set_verbosity_error()


@pytest.fixture
def make_model() -> Callable[..., Reference]:
    """(variant, seed, eos_scale=1.0) -> a random model of transformers."""
    return random_model


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    """Each of the four variants in turn."""
    return str(request.param)


@pytest.fixture
def hf_folder(variant: str, tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder as `save_pretrained` writes it."""
    random_model(variant, 0).save_pretrained(tmp_path / "hf")
    return tmp_path / "hf"
