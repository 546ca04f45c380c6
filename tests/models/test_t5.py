"""Laws of the T5 module; parity with PyTorch is in tests/interop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from taggen_jax.errors import UserError
from taggen_jax.models import family
from taggen_jax.models.layers import ComputeConfig, relative_bucket
from taggen_jax.models.t5 import T5Config

CONFIG = T5Config(
    vocab_size=40,
    d_model=16,
    d_mlp=32,
    n_heads=2,
    head_dim=8,
    encoder_layers=2,
    decoder_layers=2,
    dropout=0.5,
)
SOURCE = np.array([[5, 6, 7, 8, 1, 0, 0, 0], [9, 10, 11, 12, 13, 14, 15, 1]], np.int32)
TARGET = np.array([[20, 21, 22, 1, 0, 0], [23, 24, 25, 26, 27, 1]], np.int32)


@pytest.fixture(scope="module")
def model():
    bundle = family.build(CONFIG, ComputeConfig())
    params = bundle.init(jax.random.key(0))
    logits = jax.jit(lambda batch, key=None: bundle.bind(params).logits(batch, key))
    return bundle, params, logits


def test_cached_decoding_equals_teacher_forcing(model):
    bundle, params, logits = model
    W, T = 3, TARGET.shape[1]
    inputs_BT = np.pad(TARGET, ((0, 0), (1, 0)))[:, :-1]

    @jax.jit
    def decode():
        bound = bundle.bind(params)
        segments_BS = (SOURCE != 0).astype(jnp.int32)
        cache, cross = bound.start(bound.encode(SOURCE, segments_BS), segments_BS, beams=W, length=T)
        steps = []
        ancestry_BWT = jnp.broadcast_to(jnp.arange(W)[None, :, None], (2, W, T))
        for t in range(T):
            token_BW = jnp.repeat(inputs_BT[:, t : t + 1], W, axis=1)
            hidden_BWD, cache = bound.step(token_BW, cache, cross, jnp.int32(t), ancestry_BWT)
            steps.append(bound.unembed(hidden_BWD))
        return jnp.stack(steps, axis=2)

    expected_BTV = logits({"source": SOURCE, "target": TARGET})
    for beam in range(W):
        np.testing.assert_allclose(decode()[:, beam], expected_BTV, atol=1e-5)


def test_cross_keys_and_values_are_kept_once_per_product(model):
    bundle, params, _ = model
    memory_BSD = jnp.ones((2, 8, CONFIG.d_model))
    sizes = []
    for beams in (1, 8):
        _, cross = jax.eval_shape(
            lambda params, beams=beams: bundle.bind(params).start(
                memory_BSD, jnp.ones((2, 8)), beams=beams, length=4
            ),
            params,
        )
        sizes.append([x.shape for x in jax.tree.leaves(cross)])
    assert sizes[0] == sizes[1]


def test_padding_the_source_changes_nothing(model):
    logits = model[2]
    longer = np.pad(SOURCE, ((0, 0), (0, 5)))
    np.testing.assert_allclose(
        logits({"source": longer, "target": TARGET}), logits({"source": SOURCE, "target": TARGET}), atol=1e-5
    )


def test_the_future_has_no_influence(model):
    logits = model[2]
    changed = TARGET.copy()
    changed[:, 3:] = 30
    before, after = (logits({"source": SOURCE, "target": target}) for target in (TARGET, changed))
    np.testing.assert_array_equal(before[:, :4], after[:, :4])
    assert not np.allclose(before[:, 4:], after[:, 4:])


def test_packed_equals_unpacked(model):
    logits = model[2]
    apart = logits({"source": SOURCE, "target": TARGET})
    together = logits(
        {
            "source": np.concatenate([SOURCE[0, :5], SOURCE[1]])[None],
            "source_segments": np.array([[1] * 5 + [2] * 8], np.int32),
            "target": np.concatenate([TARGET[0, :4], TARGET[1]])[None],
            "target_segments": np.array([[1] * 4 + [2] * 6], np.int32),
        }
    )[0]
    np.testing.assert_allclose(together[:4], apart[0, :4], atol=1e-5)
    np.testing.assert_allclose(together[4:], apart[1], atol=1e-5)


def test_dropout_is_a_function_of_its_key_and_absent_without_one(model):
    logits, batch = model[2], {"source": SOURCE, "target": TARGET}
    first, again, other = (logits(batch, jax.random.key(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    assert not np.allclose(first, logits(batch))


@pytest.mark.parametrize("remat", ["dots", "full"])
def test_remat_changes_no_gradient(model, remat):
    params = model[1]

    def gradient(remat):
        bundle = family.build(CONFIG, ComputeConfig(remat=remat))

        def total(params):
            return jnp.sum(
                bundle.bind(params).logits({"source": SOURCE, "target": TARGET}, jax.random.key(3)) ** 2
            )

        return jax.jit(jax.grad(total))(params)

    for a, b in zip(jax.tree.leaves(gradient("none")), jax.tree.leaves(gradient(remat)), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-3)


def test_bfloat16_computes_close_to_float32_and_returns_float32(model):
    _, params, logits = model
    bundle = family.build(CONFIG, ComputeConfig(dtype="bfloat16"))
    batch = {"source": SOURCE, "target": TARGET}
    low = jax.jit(lambda: bundle.bind(params).logits(batch))()
    assert low.dtype == jnp.float32
    assert np.abs(low - logits(batch)).mean() < 0.05 * np.abs(logits(batch)).mean()


def test_every_weight_names_each_of_its_axes(model):
    bundle = model[0]
    jax.tree.map(
        lambda shape, names: len(names) == len(shape.shape) or pytest.fail(names), bundle.shapes, bundle.axes
    )
    assert bundle.axes["encoder"]["blocks"]["mlp"]["up"] == ("layers", "embed", "mlp")


def test_relative_buckets_are_exact_near_and_shared_far():
    offsets = jnp.arange(-200, 201)
    both = np.asarray(relative_bucket(offsets, 32, 128, bidirectional=True))
    past = np.asarray(relative_bucket(offsets, 32, 128, bidirectional=False))
    assert both[200 - 7 : 201].tolist() == [7, 6, 5, 4, 3, 2, 1, 0] and both[201] == 17
    assert both[0] == both[72] == 15 and both[400] == both[328] == 31
    assert past[200:].max() == 0 and past[0] == 31


def test_an_unknown_family_is_named():
    with pytest.raises(UserError, match=r"config\.model\.family: got 'gpt', expected one of .*t5"):
        family.parse({"family": "gpt"})
