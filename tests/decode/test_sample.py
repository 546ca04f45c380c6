"""Laws of sampling: the distribution is Hugging Face's, the draws follow it, a cold one is greedy."""

import collections
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from taggen_jax.config import from_dict
from taggen_jax.decode.sample import SampleConfig, sample, warp
from taggen_jax.errors import UserError
from tests.decode.test_beam import BOS, EOS, PAD, T, empty_cache, greedy, table_step, tables, token_logprobs


@functools.partial(jax.jit, static_argnames="config")
def draw(table_BPV, key, config):
    batch = table_BPV.shape[0]
    step = functools.partial(table_step, table_BPV)
    cache = empty_cache(batch, config.samples)
    return sample(step, cache, key, batch=batch, bos=BOS, eos=EOS, pad=PAD, config=config)


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
    config = SampleConfig(samples=20_000, max_length=T)
    table_BPV = tables(0, 1, eos_bias=0.5)
    tokens_WT, logprobs_W = (x[0] for x in jax.device_get(draw(table_BPV, jax.random.key(0), config)))
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
    found = draw(table_BPV, jax.random.key(3), SampleConfig(max_length=T, top_k=1, temperature=2.0))
    for product, table_PV in enumerate(np.asarray(table_BPV)):
        expected = greedy(table_PV)
        assert found.tokens_BWT[product, 0].tolist() == [*expected, *[PAD] * (T - len(expected))]


@pytest.mark.parametrize("wrong", [{"temperature": 0.0}, {"top_p": 0.0}, {"top_k": -1}, {"samples": 0}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        from_dict(SampleConfig, wrong, "sample")
