"""Training on text to restore, through the same `taggen train`."""

import dataclasses
import json

import pytest

from taggen_jax import prepare, train
from taggen_jax.data.corruption import DenoiseConfig
from taggen_jax.data.tokenizer import TokenizerConfig
from taggen_jax.errors import UserError
from tests.programs.conftest import EXPERIMENT


def denoising(rate: float, steps: int = 4, **training):
    """The tiny experiment with denoising."""
    return dataclasses.replace(
        EXPERIMENT,
        tokenizer=TokenizerConfig(vocab_size=800, sentinels=16),
        stream=dataclasses.replace(EXPERIMENT.stream, denoise=DenoiseConfig(rate=rate)),
        train=dataclasses.replace(EXPERIMENT.train, steps=steps, eval_every=0, eval_products=0, **training),
    )


@pytest.fixture(scope="module")
def data(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("denoising") / "data"
    prepare.run(denoising(0.0), folder, input=[str(trained.catalog)])
    return folder


def test_a_mixture_is_resumed_to_the_bit(data, tmp_path):
    train.run(denoising(0.5), data, tmp_path / "straight")
    for steps in (2, 4):
        train.run(denoising(0.5, steps), data, tmp_path / "resumed")
    train.run(denoising(0.0), data, tmp_path / "tags")
    sha = {
        name: json.loads((tmp_path / name / "summary.json").read_text())["state_sha256"]
        for name in ("straight", "resumed", "tags")
    }
    assert sha["straight"] == sha["resumed"] != sha["tags"]


def test_data_without_sentinels_says_how_to_get_them(trained, tmp_path):
    plain = dataclasses.replace(denoising(0.5), tokenizer=EXPERIMENT.tokenizer)
    with pytest.raises(UserError, match=r"prepare with tokenizer\.sentinels=32"):
        train.run(plain, trained.data, tmp_path)


def test_a_cached_encoder_cannot_read_texts_that_change(data, tmp_path):
    frozen = denoising(0.5, cache_encoder=True, freeze=("encoder", "embedding"))
    with pytest.raises(UserError, match="read another text every time"):
        train.run(frozen, data, tmp_path)
