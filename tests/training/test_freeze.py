"""Frozen leaves never move, cost no optimizer state, and are named by patterns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from taggen_jax.errors import UserError
from taggen_jax.training.freeze import partition, runs

PARAMS = {
    "embedding": jnp.arange(6.0).reshape(3, 2),
    "encoder": {"blocks": {"mlp": {"up": jnp.arange(10.0).reshape(5, 2)}}, "norm": jnp.ones(2)},
    "decoder": {"blocks": {"mlp": {"up": jnp.arange(4.0).reshape(2, 2)}}},
}
AXES = {
    "embedding": ("vocab", "embed"),
    "encoder": {"blocks": {"mlp": {"up": ("layers", "embed")}}, "norm": ("norm",)},
    "decoder": {"blocks": {"mlp": {"up": ("layers", "embed")}}},
}


@pytest.mark.parametrize(
    ("patterns", "trains"),
    [
        ((), {"embedding": 3, "encoder/blocks/mlp/up": 5, "encoder/norm": 2, "decoder/blocks/mlp/up": 2}),
        (
            ("encoder/blocks/0-3", "embedding"),
            {"encoder/blocks/mlp/up": 1, "encoder/norm": 2, "decoder/blocks/mlp/up": 2},
        ),
        (
            ("encoder/blocks/1", "encoder/blocks/3"),
            {"embedding": 3, "encoder/blocks/mlp/up": 3, "encoder/norm": 2, "decoder/blocks/mlp/up": 2},
        ),
        (("*/blocks/*/mlp", "embedding"), {"encoder/norm": 2}),
        (("encoder",), {"embedding": 3, "decoder/blocks/mlp/up": 2}),
    ],
)
def test_patterns_say_what_trains_and_merging_restores_the_whole(patterns, trains):
    split = partition(PARAMS, AXES, patterns)
    trainable, frozen = split.split(PARAMS)
    assert {path: len(leaf) for path, leaf in trainable.items()} == trains
    jax.tree.map(np.testing.assert_array_equal, split.merge(trainable, frozen), PARAMS)
    total = sum(leaf.size for half in (trainable, frozen) for leaf in half.values())
    assert total == sum(leaf.size for leaf in jax.tree.leaves(PARAMS))


def test_a_pattern_that_matches_nothing_is_refused_by_name():
    with pytest.raises(UserError, match="'encodr' matches no parameter; paths look like"):
        partition(PARAMS, AXES, ("encodr",))
    with pytest.raises(UserError, match="'encoder/blocks/5-7' matches no parameter"):
        partition(PARAMS, AXES, ("encoder/blocks/5-7",))


def test_freezing_everything_is_refused():
    with pytest.raises(UserError, match="leave something to train"):
        partition(PARAMS, AXES, ("*",))


def test_runs():
    assert runs([True, True, False, True]) == [(0, 2, True), (2, 3, False), (3, 4, True)]
