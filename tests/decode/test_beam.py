"""Laws of the search, on tables of logits: one row of the table for each product and each prefix."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from taggen_jax.config import from_dict
from taggen_jax.decode.beam import Beams, DecodeConfig, beam_search
from taggen_jax.errors import UserError

BOS, EOS, PAD, V, T = 0, 1, 0, 4, 4
PREFIXES = sum(V**t for t in range(T))  # numbered like a heap: the child of p by token v is p * V + v + 1


def table_step(table_BPV, token_BW, tokens_BWT, t, ancestry_BWT):
    """A model that depends on its whole past, which it finds in the cache through the beams' ancestry."""
    tokens_BWT = tokens_BWT.at[:, :, t].set(token_BW)
    past_BWT = jnp.take_along_axis(tokens_BWT, ancestry_BWT, axis=1)
    prefix_BW = jnp.zeros_like(token_BW)
    for s in range(1, T):  # position 0 holds the bos
        prefix_BW = jnp.where(s <= t, prefix_BW * V + past_BWT[:, :, s] + 1, prefix_BW)
    return jnp.take_along_axis(table_BPV, prefix_BW[:, :, None], axis=1), tokens_BWT


def empty_cache(batch, beams):
    return jnp.zeros((batch, beams, T), jnp.int32)


@functools.partial(jax.jit, static_argnames="config")
def search(table_BPV, config):
    batch = table_BPV.shape[0]
    step = functools.partial(table_step, table_BPV)
    return beam_search(
        step, empty_cache(batch, config.beams), batch=batch, bos=BOS, eos=EOS, pad=PAD, config=config
    )


def tables(seed, batch, *, eos_bias=0.0, scale=1.5):
    table_BPV = np.random.default_rng(seed).normal(size=(batch, PREFIXES, V)) * scale
    table_BPV[:, :, EOS] += eos_bias
    return jnp.asarray(table_BPV, jnp.float32)


def log_softmax(logits_V):
    return logits_V - np.log(np.exp(logits_V).sum())


def token_logprobs(table_PV, tokens):
    """The independent judge: walks the table in float64."""
    prefix, logprobs = 0, []
    for token in tokens:
        logprobs.append(log_softmax(np.float64(table_PV[prefix]))[token])
        prefix = prefix * V + token + 1
    return logprobs


def outputs(hypotheses: Beams, product):
    rows = zip(hypotheses.tokens_BNT[product], hypotheses.lengths_BN[product], strict=True)
    return [tuple(tokens[:length].tolist()) for tokens, length in rows]


def every_output(min_length):
    """All token sequences that may be returned: ended by EOS, or cut at T."""
    for length in range(1, T + 1):
        for body in itertools.product([v for v in range(V) if v != EOS], repeat=length - 1):
            lasts = range(V) if length == T else [EOS]
            yield from ((*body, last) for last in lasts if last != EOS or length >= min_length)


@pytest.mark.parametrize(("length_penalty", "min_length"), [(-0.5, 0), (0.0, 3), (1.0, 0), (2.0, 3)])
def test_a_wide_search_equals_enumeration(length_penalty, min_length):
    config = DecodeConfig(
        beams=128,
        n_best=6,
        max_length=T,
        min_length=min_length,
        length_penalty=length_penalty,
        early_stopping="never",
    )
    table_BPV = np.concatenate([tables(seed, 4, eos_bias=seed) for seed in range(3)])
    found = search(jnp.asarray(table_BPV), config)
    for product, table_PV in enumerate(table_BPV):
        scores = {
            tokens: sum(token_logprobs(table_PV, tokens)) / len(tokens) ** length_penalty
            for tokens in every_output(min_length)
        }
        best = sorted(scores, key=scores.__getitem__, reverse=True)[:6]
        assert outputs(found, product) == best
        np.testing.assert_allclose(found.scores_BN[product], [scores[b] for b in best], atol=1e-5)


def greedy(table_PV):
    tokens = []
    while EOS not in tokens and len(tokens) < T:
        tokens.append(max(range(V), key=lambda v: token_logprobs(table_PV, [*tokens, v])[-1]))
    return tuple(tokens)


@pytest.mark.parametrize("early_stopping", ["true", "false"])
def test_width_1_equals_greedy(early_stopping):
    table_BPV = tables(0, 40, eos_bias=0.5)
    found = search(table_BPV, DecodeConfig(beams=1, n_best=1, max_length=T, early_stopping=early_stopping))
    expected = [greedy(table_PV) for table_PV in np.asarray(table_BPV)]
    assert {len(tokens) for tokens in expected} == {1, 2, 3, 4}, "the tables must end outputs at every length"
    assert [outputs(found, product)[0] for product in range(40)] == expected


@pytest.mark.parametrize(("early_stopping", "min_length"), [("true", 0), ("false", 2), ("never", 0)])
def test_scores_are_those_of_the_returned_tokens(early_stopping, min_length):
    table_BPV = tables(1, 20, eos_bias=1.0)
    found = search(
        table_BPV,
        DecodeConfig(
            beams=3,
            n_best=3,
            max_length=T,
            min_length=min_length,
            length_penalty=0.7,
            early_stopping=early_stopping,
        ),
    )
    assert (np.diff(found.scores_BN, axis=1) <= 0).all()
    assert (found.lengths_BN >= max(1, min_length)).all()
    for product, table_PV in enumerate(np.asarray(table_BPV)):
        assert len(set(outputs(found, product))) == 3, "hypotheses must differ"
        for n, tokens in enumerate(outputs(found, product)):
            logprobs = token_logprobs(table_PV, tokens)
            assert EOS not in tokens[:-1]
            assert (found.tokens_BNT[product, n, len(tokens) :] == PAD).all()
            padded = np.pad(logprobs, (0, T - len(tokens)))
            np.testing.assert_allclose(found.token_logprobs_BNT[product, n], padded, atol=1e-5)
            np.testing.assert_allclose(found.logprobs_BN[product, n], sum(logprobs), atol=1e-5)
            np.testing.assert_allclose(
                found.scores_BN[product, n], sum(logprobs) / len(tokens) ** 0.7, atol=1e-5
            )


def test_other_products_in_the_batch_change_nothing():
    """Products that run to the maximum length keep the loop going for those that were done at once."""
    config = DecodeConfig(beams=2, n_best=2, max_length=T)
    short, long = tables(2, 3, eos_bias=3.0), tables(3, 5, eos_bias=-9.0)
    alone, together = search(short, config), search(jnp.concatenate([long, short]), config)
    assert (together.lengths_BN[:5] == T).all() and (alone.lengths_BN < T).any()
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a, b[5:])


def test_the_search_stops_when_every_product_is_done():
    """With EOS certain, one step is enough; without, T steps are taken."""
    calls = []

    def counted(table_BPV, token_BW, cache, t, ancestry_BWT):
        jax.debug.callback(lambda t: calls.append(int(t)), t)
        return table_step(table_BPV, token_BW, cache, t, ancestry_BWT)

    def steps(eos_bias):
        calls.clear()
        cache = empty_cache(2, 1)
        step = functools.partial(counted, tables(4, 2, eos_bias=eos_bias))
        config = DecodeConfig(beams=1, n_best=1, max_length=T, early_stopping="never")
        jax.block_until_ready(beam_search(step, cache, batch=2, bos=BOS, eos=EOS, pad=PAD, config=config))
        jax.effects_barrier()
        return sorted(calls)

    assert steps(eos_bias=50.0) == [0]
    assert steps(eos_bias=-50.0) == [0, 1, 2, 3]


def test_a_product_with_few_possible_outputs_has_empty_rows():
    """Logits of -inf forbid. Here all but EOS: one output exists, and the others are absent, not invented."""
    only_eos = jnp.full((1, PREFIXES, V), -jnp.inf).at[:, :, EOS].set(0.0)
    found = search(only_eos, DecodeConfig(beams=3, n_best=3, max_length=T))
    assert found.lengths_BN.tolist() == [[1, 0, 0]]
    assert found.scores_BN.tolist() == [[0.0, -np.inf, -np.inf]]
    assert found.tokens_BNT.tolist() == [[[EOS, PAD, PAD, PAD], [PAD] * T, [PAD] * T]]


@pytest.mark.parametrize(
    "wrong",
    [{"beams": 0}, {"n_best": 5}, {"n_best": 0}, {"max_length": 0}, {"min_length": 33}, {"min_length": -1}],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        from_dict(DecodeConfig, wrong, "decode")
