"""Our T5 and our search against transformers' own, on small drawn models: logits, tokens and scores."""

import collections
import functools

import jax
import numpy as np
import torch

from taggen_jax.decode.beam import DecodeConfig
from taggen_jax.interop import hf
from taggen_jax.models.family import build
from taggen_jax.models.layers import ComputeConfig
from tests.interop.conftest import EOS
from tests.interop.searches import PAD, V, check, sources

T = 9


@functools.partial(jax.jit, static_argnames="config")
def our_logits(params, batch, config):
    return build(config, ComputeConfig()).bind(params).logits(batch)


def test_logits_agree(variant, make_model, tmp_path):
    model = make_model(variant, 1)
    model.save_pretrained(tmp_path / "hf")
    config, params = hf.load(tmp_path / "hf")
    source_BS = sources(0)
    target_BT = np.random.default_rng(1).integers(1, V, size=(4, T)).astype(np.int32)
    with torch.no_grad():
        theirs = model(
            input_ids=torch.tensor(source_BS).long(),
            attention_mask=torch.tensor(source_BS != PAD).long(),
            labels=torch.tensor(target_BT).long(),
        ).logits.numpy()
    ours = our_logits(params, {"source": source_BS, "target": target_BT}, config)
    assert np.abs(theirs).max() > 1, "logits near zero would agree for no reason"
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


SEARCHES = {  # `tools/fuzz_beam.py` draws many more
    "v1.0": [
        DecodeConfig(beams=4, n_best=4, max_length=T),
        DecodeConfig(beams=4, n_best=4, max_length=T, length_penalty=2.0, early_stopping="never"),
    ],
    "v1.1": [
        DecodeConfig(beams=4, n_best=4, max_length=T, length_penalty=0.6, early_stopping="true"),
        DecodeConfig(beams=4, n_best=1, max_length=T, length_penalty=0.0, min_length=4, forced_last=EOS),
    ],
    "v1.0-untied": [
        DecodeConfig(
            beams=4, n_best=3, max_length=T, length_penalty=-0.5, early_stopping="never", min_length=3
        ),
        DecodeConfig(beams=4, n_best=4, max_length=T, no_repeat_ngram=2, forced_first=7),
    ],
    "v1.1-tied": [
        DecodeConfig(
            beams=4, n_best=4, max_length=T, length_penalty=1.5, early_stopping="true", min_length=2
        ),
        DecodeConfig(beams=1, n_best=1, max_length=T, no_repeat_ngram=1),
    ],
}
SEEDS = 13  # 8 searches of 13 models: 104 cases, 416 products


def test_searches_agree(variant, tmp_path):
    lengths = collections.Counter()
    for number, decode in enumerate(SEARCHES[variant]):
        for seed in range(SEEDS):
            eos_scale = 2 + 2 * seed / SEEDS
            ours = check(variant, 100 * number + seed, decode, tmp_path / f"{number}-{seed}", eos_scale)
            lengths.update(ours.lengths_BN.ravel().tolist())
    shortest = max(1, min(decode.min_length for decode in SEARCHES[variant]))
    assert set(lengths) == set(range(shortest, T + 1)), "outputs must end at every length"
