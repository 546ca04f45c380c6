"""One case of the search: a drawn model under one `DecodeConfig`, searched by us and by transformers.

A case searches a batch of four products of different lengths, and all hypotheses of all four have to agree.
"""

import functools
import pathlib

import jax
import numpy as np
import torch

from taggen_jax.decode.beam import Beams, DecodeConfig, beam_search
from taggen_jax.interop import hf
from taggen_jax.models.family import build
from taggen_jax.models.layers import ComputeConfig
from tests.interop.conftest import EOS, SIZES, random_model

PAD, V = 0, SIZES["vocab_size"]


def sources(seed: int, lengths: tuple[int, ...] = (11, 3, 7, 1)) -> np.ndarray:
    """A padded batch of products of these lengths."""
    rng = np.random.default_rng(seed)
    source_BS = rng.integers(2, V, size=(len(lengths), max(lengths)))
    return np.where(np.arange(max(lengths)) < np.array(lengths)[:, None], source_BS, PAD).astype(np.int32)


def check(variant: str, seed: int, decode: DecodeConfig, folder: pathlib.Path, eos_scale: float) -> Beams:
    """Searches one drawn model twice; returns our hypotheses. Raises AssertionError where theirs differ."""
    case = f"{variant}, {decode}, seed {seed}"
    model = random_model(variant, seed, eos_scale)
    model.save_pretrained(folder)
    config, params = hf.load(folder)
    source_BS = sources(seed)
    ours = jax.device_get(our_search(params, source_BS, config, decode))
    tokens_BNT, scores_BN = their_search(model, source_BS, decode)
    np.testing.assert_array_equal(ours.tokens_BNT, tokens_BNT, err_msg=case)
    if scores_BN is not None:
        np.testing.assert_allclose(ours.scores_BN, scores_BN, atol=1e-4, err_msg=case)
    return ours


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
    """tokens_BNT cut after the first EOS and padded; scores_BN, which greedy search does not give."""
    stop = {"true": True, "false": False, "never": "never"}[decode.early_stopping]
    only_beams = {"length_penalty": decode.length_penalty, "early_stopping": stop} if decode.beams > 1 else {}
    with torch.no_grad():
        found = model.generate(
            torch.tensor(source_BS).long(),
            attention_mask=torch.tensor(source_BS != PAD).long(),
            num_beams=decode.beams,
            num_return_sequences=decode.n_best,
            min_length=decode.min_length,
            max_new_tokens=decode.max_length,
            no_repeat_ngram_size=decode.no_repeat_ngram,
            forced_bos_token_id=decode.forced_first if decode.forced_first >= 0 else None,
            forced_eos_token_id=decode.forced_last if decode.forced_last >= 0 else None,
            do_sample=False,
            output_scores=True,
            return_dict_in_generate=True,
            **only_beams,
        )
    tokens_XT = found.sequences[:, 1:].numpy()
    tokens_XT = np.pad(tokens_XT, ((0, 0), (0, decode.max_length - tokens_XT.shape[1])))
    after_eos = np.cumsum(tokens_XT == EOS, axis=1) - (tokens_XT == EOS) > 0
    tokens_XT = np.where(after_eos, PAD, tokens_XT)  # they fill finished rows with EOS where pad is 0
    shape = (len(source_BS), decode.n_best)
    scores = found.sequences_scores.numpy().reshape(shape) if decode.beams > 1 else None
    return tokens_XT.reshape(*shape, -1), scores
