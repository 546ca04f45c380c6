"""Our T5 and our search against transformers' own, on random small models: equal logits, tokens and scores.

A case of the search is one drawn model (seed, variant, EOS scale) under one `DecodeConfig`, searched for a
batch of four products of different lengths. All hypotheses of all four products have to agree.
"""

import collections
import functools

import jax
import numpy as np
import torch

from taggen_jax.decode.beam import Beams, DecodeConfig, beam_search
from taggen_jax.interop import hf
from taggen_jax.models.family import build
from taggen_jax.models.layers import ComputeConfig

PAD, EOS, V = 0, 1, 53
T = 9


def sources(seed, lengths=(11, 3, 7, 1)):
    """A padded batch of products of these lengths."""
    rng = np.random.default_rng(seed)
    source_BS = rng.integers(2, V, size=(len(lengths), max(lengths)))
    return np.where(np.arange(max(lengths)) < np.array(lengths)[:, None], source_BS, PAD).astype(np.int32)


@functools.partial(jax.jit, static_argnames="config")
def our_logits(params, batch, config):
    return build(config, ComputeConfig()).bind(params).logits(batch)


@functools.partial(jax.jit, static_argnames=("config", "decode"))
def our_search(params, source_BS, config, decode):
    model = build(config, ComputeConfig()).bind(params)
    segments_BS = (source_BS != PAD).astype(np.int32)
    memory_BSD = model.encode(source_BS, segments_BS)
    cache, cross = model.start(memory_BSD, segments_BS, beams=decode.beams, length=decode.max_length)

    def step(token_BW, cache, t, ancestry_BWT):
        hidden_BWD, cache = model.step(token_BW, cache, cross, t, ancestry_BWT)
        return model.unembed(hidden_BWD), cache

    return beam_search(
        step,
        cache,
        batch=source_BS.shape[0],
        bos=config.start,
        eos=config.eos,
        pad=config.pad,
        config=decode,
    )


def their_search(model, source_BS, decode):
    """tokens_BNT cut after the first EOS and padded, scores_BN."""
    stop = {"true": True, "false": False, "never": "never"}[decode.early_stopping]
    with torch.no_grad():
        found = model.generate(
            torch.tensor(source_BS).long(),
            attention_mask=torch.tensor(source_BS != PAD).long(),
            num_beams=decode.beams,
            num_return_sequences=decode.n_best,
            length_penalty=decode.length_penalty,
            min_length=decode.min_length,
            max_new_tokens=decode.max_length,
            early_stopping=stop,
            do_sample=False,
            output_scores=True,
            return_dict_in_generate=True,
        )
    tokens_XT = found.sequences[:, 1:].numpy()
    tokens_XT = np.pad(tokens_XT, ((0, 0), (0, decode.max_length - tokens_XT.shape[1])))
    after_eos = np.cumsum(tokens_XT == EOS, axis=1) - (tokens_XT == EOS) > 0
    tokens_XT = np.where(
        after_eos, PAD, tokens_XT
    )  # transformers fills finished rows with EOS where pad is 0
    shape = (len(source_BS), decode.n_best)
    return tokens_XT.reshape(*shape, -1), found.sequences_scores.numpy().reshape(shape)


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


SEARCHES = {
    "v1.0": [
        DecodeConfig(beams=4, n_best=4, max_length=T),
        DecodeConfig(beams=4, n_best=4, max_length=T, length_penalty=2.0, early_stopping="never"),
    ],
    "v1.1": [
        DecodeConfig(beams=4, n_best=4, max_length=T, length_penalty=0.6, early_stopping="true"),
        DecodeConfig(beams=4, n_best=1, max_length=T, length_penalty=0.0, min_length=4),
    ],
    "v1.0-untied": [
        DecodeConfig(
            beams=4, n_best=3, max_length=T, length_penalty=-0.5, early_stopping="never", min_length=3
        ),
    ],
    "v1.1-tied": [
        DecodeConfig(
            beams=4, n_best=4, max_length=T, length_penalty=1.5, early_stopping="true", min_length=2
        ),
    ],
}
SEEDS = 40  # 6 searches of 40 models: 240 cases, 960 products


def test_searches_agree(variant, make_model, tmp_path):
    lengths = collections.Counter()
    for number, decode in enumerate(SEARCHES[variant]):
        for seed in range(SEEDS):
            case = f"{variant}, {decode}, seed {seed}"
            model = make_model(variant, 100 * number + seed, eos_scale=2 + 2 * seed / SEEDS)
            model.save_pretrained(tmp_path / f"{number}-{seed}")
            config, params = hf.load(tmp_path / f"{number}-{seed}")
            source_BS = sources(seed)
            ours: Beams = our_search(params, source_BS, config, decode)
            tokens_BNT, scores_BN = their_search(model, source_BS, decode)
            np.testing.assert_allclose(ours.scores_BN, scores_BN, atol=1e-4, err_msg=case)
            np.testing.assert_array_equal(ours.tokens_BNT, tokens_BNT, err_msg=case)
            lengths.update(np.asarray(ours.lengths_BN).ravel().tolist())
    shortest = max(1, min(decode.min_length for decode in SEARCHES[variant]))
    assert set(lengths) == set(range(shortest, T + 1)), "outputs must end at every length"
