"""Laws of diverse beam groups, on the tables of `test_beam`, against a search in plain Python."""

import numpy as np
import pytest

from taggen_jax.config import from_dict
from taggen_jax.decode import constraint as index
from taggen_jax.decode.beam import DecodeConfig
from taggen_jax.errors import UserError
from tests.decode import test_constraint as closed
from tests.decode.test_beam import EOS, T, V, log_softmax, outputs, search, tables, token_logprobs


def reference(table_PV, config):
    """(score, tokens) of all groups, best first: every group a search, in order within a step."""
    groups = [{"live": [(0.0, ())], "done": [], "open": True} for _ in range(config.groups)]
    for length in range(1, T + 1):
        counts_V = np.zeros(V)
        for group in groups:
            best = [
                (total + logprob - config.diversity * counts_V[v], (*tokens, v))
                for total, tokens in group["live"]
                for v, logprob in enumerate(log_softmax(np.float64(table_PV[row(tokens)])))
            ]
            best = sorted(best, key=lambda one: -one[0])[: 2 * config.width]
            group["live"] = [one for one in best if one[1][-1] != EOS][: config.width]
            if not group["open"]:
                continue
            for total, tokens in best[: config.width]:
                if tokens[-1] == EOS or length == T:
                    group["done"].append((total / length**config.length_penalty, tokens))
            group["done"] = sorted(group["done"], key=lambda one: -one[0])[: config.width]
            full = len(group["done"]) == config.width
            bound = group["live"][0][0] / T**config.length_penalty
            group["open"] = not full or bound > group["done"][-1][0]
            counts_V += np.bincount([tokens[-1] for _, tokens in group["live"]], minlength=V)
    return sorted((one for group in groups for one in group["done"]), key=lambda one: -one[0])


def row(tokens):
    prefix = 0
    for token in tokens:
        prefix = prefix * V + token + 1
    return prefix


@pytest.mark.parametrize(("groups", "diversity"), [(2, 0.7), (4, 1.5), (2, 0.0)])
def test_groups_equal_a_plain_search(groups, diversity):
    config = DecodeConfig(
        beams=4, n_best=4, max_length=T, early_stopping="never", groups=groups, diversity=diversity
    )
    table_BPV = tables(7, 30, eos_bias=0.7)
    found = search(table_BPV, config)
    for product, table_PV in enumerate(np.asarray(table_BPV)):
        expected = reference(table_PV, config)
        np.testing.assert_allclose(found.scores_BN[product], [score for score, _ in expected], atol=1e-5)
        if diversity:  # without, groups are alike
            assert outputs(found, product) == [tokens for _, tokens in expected]
        for n, tokens in enumerate(outputs(found, product)):  # the model's own, whatever the penalty
            assert found.logprobs_BN[product, n] == pytest.approx(
                sum(token_logprobs(table_PV, tokens)), abs=1e-4
            )


def test_more_diversity_finds_more_first_tokens():
    """Of three, for nothing ends before the maximum length; without a penalty the groups are alike."""
    table_BPV = tables(8, 30, eos_bias=-50.0)
    plain, diverse = (
        search(table_BPV, DecodeConfig(beams=4, n_best=4, max_length=T, groups=4, diversity=diversity))
        for diversity in (0.0, 20.0)
    )
    assert (np.diff(plain.tokens_BNT[:, :, 0], axis=1) == 0).all()
    firsts = [len(set(tokens)) for tokens in diverse.tokens_BNT[:, :, 0].tolist()]
    assert set(firsts) == {3}


def test_groups_keep_to_a_closed_vocabulary():
    tags = [(3,), (3, 4), (4, 3), (5, 6), (7,)]
    config = DecodeConfig(beams=4, n_best=4, max_length=closed.T, groups=2, diversity=1.0)
    table_BPV = closed.logit_tables(3, 2)
    beams = closed.search(table_BPV, index.tables(closed.build(tags)), np.zeros(2, np.int32), config)
    for product in range(2):
        expected = closed.every_output(np.asarray(table_BPV[product]), tags, 2)
        found = closed.found_outputs(beams, product)
        assert len(found) > 1
        for tokens, logprob in found.items():
            assert logprob == pytest.approx(expected[tokens], abs=1e-4)


@pytest.mark.parametrize("wrong", [{"groups": 3}, {"groups": 0}, {"diversity": 0.5}, {"diversity": -1.0}])
def test_impossible_groups_are_refused(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        from_dict(DecodeConfig, wrong, "decode")
