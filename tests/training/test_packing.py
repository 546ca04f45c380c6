"""Packed gradients equal unpacked ones, whatever the family, with a tag head and in micro-batches."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from taggen_jax.data.examples import Example, Frame, pad
from taggen_jax.data.packing import join
from taggen_jax.models import bert, family
from taggen_jax.models.bart import BartConfig
from taggen_jax.models.gemma import StackConfig
from taggen_jax.models.layers import ComputeConfig
from taggen_jax.models.t5 import T5Config
from taggen_jax.models.t5gemma import T5GemmaConfig
from taggen_jax.models.t5gemma2 import T5Gemma2Config
from taggen_jax.training.freeze import partition
from taggen_jax.training.step import TrainConfig, Training

SIZES = {"vocab_size": 40, "d_model": 8, "d_mlp": 8, "n_heads": 2, "encoder_layers": 1, "decoder_layers": 1}
BERT = bert.StackConfig(vocab_size=40, d_model=8, d_mlp=8, n_heads=2, layers=1, positions=16, dropout=0.0)
GEMMA = StackConfig(
    d_model=8, d_mlp=8, n_heads=2, n_kv_heads=1, head_dim=4, local=(True,), window=2, query_scalar=4
)
STACKS = {"encoder": GEMMA, "decoder": GEMMA, "vocab_size": 40, "dropout": 0.0}
CONFIGS = {
    "t5": T5Config(**SIZES, head_dim=4, dropout=0.0, position_buckets=4, position_max_distance=8),
    "bart": BartConfig(**SIZES, max_positions=16, dropout=0.0, attention_dropout=0.0, activation_dropout=0.0),
    "bert": bert.BertConfig(encoder=BERT, decoder=BERT, eos=2, start=0),
    "t5gemma": T5GemmaConfig(**STACKS),
    "t5gemma2": T5Gemma2Config(**STACKS, end_of_image=23),
}
TAGS = 5
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}  # to compile
RNG = np.random.default_rng(0)


def example(number, source, target, tagged=True):
    ids = [RNG.integers(3, 40, length).tolist() for length in (source, target)]
    return Example(*ids, RNG.choice(TAGS, 2, replace=False).tolist(), tagged, number)


# One of them has no target, one no complete tags, and one fills its row.
ROWS = [
    [example(0, 5, 3), example(1, 3, 0), example(2, 6, 4, tagged=False)],
    [example(3, 9, 2), example(4, 4, 5)],
    [example(5, 14, 8)],
    [example(6, 1, 1), example(7, 2, 2), example(8, 3, 3)],
]


@pytest.mark.parametrize("name", CONFIGS)
def test_packed_gradients_equal_unpacked_ones(name):
    config = CONFIGS[name]
    bundle = family.build(config, ComputeConfig(), TAGS)
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda x: 0.3 * rng.normal(size=x.shape).astype(np.float32), bundle.shapes)
    frame = Frame(14, 8, bundle.bind(params).source_pad, config.pad)
    settings = TrainConfig(tag_loss=0.5, label_smoothing=0.1, loss_positions=3 if name == "t5" else 0)
    whole = partition(bundle.shapes, bundle.axes, ())

    @functools.partial(jax.jit, compiler_options=QUICK)
    def both(params, packed, padded):
        def gradients(batch, accumulation):
            training = Training(bundle, whole, dataclasses.replace(settings, accumulation=accumulation))
            return training._gradients(*whole.split(params), batch, jax.random.key(0))

        return gradients(packed, 2 if name == "t5" else 1), gradients(padded, 1)

    examples = [example for row in ROWS for example in row]
    ours, theirs = both(params, join(ROWS, 3, frame), pad(examples, len(examples), frame))
    (ours, sums), (theirs, expected) = jax.tree.map(np.asarray, (ours, theirs))
    assert sums["examples"] == 9 and sums["weight"] == 28
    for key in sums:
        np.testing.assert_allclose(sums[key], expected[key], rtol=1e-5, err_msg=key)
    largest = max(np.abs(x).max() for x in theirs.values())
    assert sum(np.abs(x).max() > 1e-3 * largest for x in theirs.values()) > 0.7 * len(theirs)
    for path, gradient in theirs.items():
        np.testing.assert_allclose(ours[path], gradient, atol=1e-5 * largest, rtol=1e-5, err_msg=path)
