"""Laws of sampling: the distribution is Hugging Face's, the draws follow it, a cold one is greedy.

Under a constraint the draws are those of the legal outputs, by enumeration.
"""

import collections
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from taggen_jax.config import from_dict
from taggen_jax.decode.beam import DecodeConfig
from taggen_jax.decode.constraint import constrain
from taggen_jax.decode.sample import SampleConfig, sample, warp
from taggen_jax.errors import UserError
from tests.decode import test_constraint as closed
from tests.decode.test_beam import BOS, EOS, PAD, T, empty_cache, greedy, table_step, tables, token_logprobs

LENGTHS = DecodeConfig(max_length=T)


@functools.partial(jax.jit, static_argnames=("config", "lengths"))
def draw(table_BPV, keys_B, config, lengths=LENGTHS):
    step = functools.partial(table_step, table_BPV)
    cache = empty_cache(table_BPV.shape[0], config.samples)
    return sample(step, cache, keys_B, bos=BOS, eos=EOS, pad=PAD, config=config, lengths=lengths)


def keys(*numbers):
    return jax.vmap(jax.random.key)(jnp.array(numbers))


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"), [(0.7, 0, 1.0), (1.0, 5, 1.0), (1.3, 0, 0.8), (1.5, 8, 0.6)]
)
def test_the_distribution_is_that_of_hugging_face(temperature, top_k, top_p):
    logits_XV = np.random.default_rng(0).normal(size=(50, 40)).astype(np.float32) * 2
    warpers = [TemperatureLogitsWarper(temperature)]
    warpers += [TopKLogitsWarper(top_k)] if top_k else []
    warpers += [TopPLogitsWarper(top_p)] if top_p < 1 else []
    theirs = functools.reduce(lambda x, warper: warper(None, x), warpers, torch.tensor(logits_XV))
    ours = warp(jnp.asarray(logits_XV), SampleConfig(temperature=temperature, top_k=top_k, top_p=top_p))
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-6)


def test_draws_follow_their_probabilities():
    """20,000 draws of one product: every frequent output within five standard deviations of its share."""
    config = SampleConfig(samples=20_000, top_k=0)
    table_BPV = tables(0, 1, eos_bias=0.5)
    tokens_WT, logprobs_W = (x[0] for x in jax.device_get(draw(table_BPV, keys(0), config)))
    counts = collections.Counter(map(tuple, tokens_WT.tolist()))
    assert {tokens.index(EOS) for tokens in counts if EOS in tokens} == set(range(T))
    for tokens, count in counts.most_common(20):
        end = tokens.index(EOS) + 1 if EOS in tokens else T
        logprob = sum(token_logprobs(np.asarray(table_BPV[0]), tokens[:end]))
        assert logprobs_W[tokens_WT.tolist().index(list(tokens))] == pytest.approx(logprob, abs=1e-4)
        share = np.exp(logprob)
        assert abs(count / 20_000 - share) < 5 * (share * (1 - share) / 20_000) ** 0.5


def test_one_choice_is_greedy_whatever_the_key():
    table_BPV = tables(0, 40, eos_bias=0.5)
    found = draw(table_BPV, keys(*range(40)), SampleConfig(samples=1, top_k=1, temperature=2.0))
    for product, table_PV in enumerate(np.asarray(table_BPV)):
        expected = greedy(table_PV)
        assert found.tokens_BWT[product, 0].tolist() == [*expected, *[PAD] * (T - len(expected))]


def test_lengths_and_forced_tokens_are_the_searchs():
    lengths = DecodeConfig(max_length=T, min_length=3, forced_first=5, forced_last=EOS)
    found = draw(tables(0, 2, eos_bias=3.0), keys(0, 1), SampleConfig(samples=500), lengths)
    tokens_XT = np.asarray(found.tokens_BWT).reshape(-1, T)
    ends_X = (tokens_XT == EOS).argmax(axis=1) + 1
    assert (tokens_XT[:, 0] == 5).all() and (tokens_XT == EOS).any(axis=1).all()
    assert ends_X.min() == 3 and ends_X.max() == T


def test_a_draw_depends_on_neither_batch_nor_place():
    table_BPV, config = tables(0, 4, eos_bias=0.5), SampleConfig(samples=8)
    whole = draw(table_BPV, keys(4, 5, 6, 7), config)
    order = np.array([2, 0])
    part = draw(table_BPV[order], keys(6, 4), config)
    np.testing.assert_array_equal(part.tokens_BWT, whole.tokens_BWT[order])
    assert not np.array_equal(draw(table_BPV[order], keys(4, 6), config).tokens_BWT, part.tokens_BWT)


@functools.partial(jax.jit, static_argnames=("config", "lengths"))
def draw_tags(table_BPV, index, set_B, keys_B, config, lengths):
    step = functools.partial(closed.table_step, table_BPV, index.words_A)
    cache = jnp.zeros((len(keys_B), config.samples, lengths.max_length), jnp.int32)
    ids = {"bos": closed.BOS, "eos": closed.EOS, "pad": closed.PAD}
    rule = constrain(index, set_B, lengths)
    return sample(step, cache, keys_B, **ids, config=config, lengths=lengths, constraint=rule)


@pytest.mark.parametrize(("dense_bytes", "temperature"), [(1 << 20, 1.0), (0, 0.7)])
def test_constrained_draws_follow_the_legal_probabilities(dense_bytes, temperature):
    """Two products with a set each: shares within five standard deviations, and chi-square."""
    tags, samples = [(3,), (3, 4), (4, 5), (5,)], 20_000
    sets_GX = np.array([[True] * 4, [True, False, True, False]])
    index = closed.tables(closed.build(tags), sets_GX, dense_bytes)
    lengths = DecodeConfig(beams=samples, n_best=1, max_length=closed.T)
    table_BPV, config = closed.logit_tables(1, 2), SampleConfig(samples=samples, temperature=temperature)
    set_B = jnp.arange(2, dtype=jnp.int32)
    drawn = jax.device_get(draw_tags(table_BPV, index, set_B, keys(0, 1), config, lengths))
    for product, allowed in enumerate(([0, 1, 2, 3], [0, 2])):
        table_PV = np.asarray(table_BPV[product]) / temperature
        expected = closed.every_output(table_PV, [tags[tag] for tag in allowed], longest=2)
        rows = [tuple(row[: row.index(EOS) + 1]) for row in drawn.tokens_BWT[product].tolist()]
        counts = collections.Counter(rows)
        assert counts.keys() <= expected.keys(), "distinct tags of the set only"
        chi_square = 0.0
        for tokens, logprob in expected.items():
            share = np.exp(logprob)
            assert abs(counts[tokens] / samples - share) < 5 * (share * (1 - share) / samples) ** 0.5
            chi_square += (counts[tokens] - share * samples) ** 2 / (share * samples)
        freedom = len(expected) - 1
        assert freedom >= 3 and chi_square < freedom + 5 * (2 * freedom) ** 0.5
        for place in range(20):
            assert drawn.logprobs_BW[product, place] == pytest.approx(expected[rows[place]], abs=1e-4)


@pytest.mark.parametrize(
    "wrong", [{"temperature": 0.0}, {"top_p": 0.0}, {"top_k": -1}, {"samples": 0}, {"seed": -1}]
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        from_dict(SampleConfig, wrong, "sample")
