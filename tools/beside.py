"""One question, put to our model and to transformers' own: the logits of given outputs, or a search."""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np

from taggen_jax.decode.beam import Beams, DecodeConfig
from taggen_jax.models.family import build, source_config
from taggen_jax.models.layers import ComputeConfig
from taggen_jax.parallel.mesh import MeshConfig, make_mesh
from taggen_jax.tagger import generator
from tools.zoo import torch

LENGTHS = (11, 3, 7, 1)
T = 9
BEAMS = DecodeConfig(beams=4, n_best=4, max_length=T)


class Found(NamedTuple):
    """Hypotheses of transformers, cut after the first EOS and padded; a greedy search has no scores."""

    tokens_BNT: np.ndarray
    scores_BN: np.ndarray | None


def sources(config: Any, seed: int, lengths: Any = LENGTHS) -> np.ndarray:
    """source_BS: a padded batch of products of these lengths, of random tokens without a duty."""
    rng, source = np.random.default_rng(seed), source_config(config)
    free = np.setdiff1d(np.arange(source.vocab_size), [source.pad, config.eos, config.start])
    source_BS = rng.choice(free, (len(lengths), max(lengths)))
    there_BS = np.arange(max(lengths)) < np.array(lengths)[:, None]
    return np.where(there_BS, source_BS, source.pad).astype(np.int32)


def targets(config: Any, seed: int, rows: int = len(LENGTHS)) -> np.ndarray:
    """target_BT of random tokens."""
    return np.random.default_rng(seed).integers(3, config.vocab_size, (rows, T)).astype(np.int32)


def asked(config: Any, source_BS: np.ndarray) -> dict[str, Any]:
    """The encoder's arguments there."""
    mask_BS = source_BS != source_config(config).pad
    return {"input_ids": torch.tensor(source_BS).long(), "attention_mask": torch.tensor(mask_BS).long()}


def shifted(config: Any, target_BT: np.ndarray) -> Any:
    """The decoder's input there, beginning with the start."""
    inputs_BT = np.pad(target_BT, ((0, 0), (1, 0)), constant_values=config.start)[:, :-1]
    return torch.tensor(inputs_BT).long()


@functools.partial(jax.jit, static_argnames="config")
def our_logits(params: Any, batch: Any, config: Any) -> jax.Array:
    return build(config, ComputeConfig()).bind(params).logits(batch)


def their_logits(
    model: Any, config: Any, source_BS: np.ndarray, target_BT: np.ndarray, **more: Any
) -> np.ndarray:
    with torch.no_grad():
        out = model(**asked(config, source_BS), decoder_input_ids=shifted(config, target_BT), **more)
    return out.logits.numpy()


@functools.cache
def _generator(config: Any, decode: DecodeConfig) -> Any:
    return generator(build(config, ComputeConfig()), decode, make_mesh(MeshConfig(), jax.devices()[:1]))


def our_search(params: Any, config: Any, source_BS: np.ndarray, decode: DecodeConfig = BEAMS) -> Beams:
    """What `taggen generate` would find without a vocabulary."""
    return jax.device_get(_generator(config, decode)(params, source_BS, None))


def their_search(model: Any, config: Any, source_BS: np.ndarray, decode: DecodeConfig = BEAMS) -> Found:
    stop = {"true": True, "false": False, "never": "never"}[decode.early_stopping]
    only_beams = {"length_penalty": decode.length_penalty, "early_stopping": stop} if decode.beams > 1 else {}
    with torch.no_grad():
        found = model.generate(
            **asked(config, source_BS),
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
    short = decode.max_length - tokens_XT.shape[1]
    tokens_XT = np.pad(tokens_XT, ((0, 0), (0, short)), constant_values=config.pad)
    ends_XT = tokens_XT == config.eos
    # they fill finished rows with EOS where pad is 0
    tokens_XT = np.where(np.cumsum(ends_XT, axis=1) - ends_XT > 0, config.pad, tokens_XT)
    shape = (len(source_BS), decode.n_best)
    scores = found.sequences_scores.numpy().reshape(shape) if decode.beams > 1 else None
    return Found(tokens_XT.reshape(*shape, -1), scores)
