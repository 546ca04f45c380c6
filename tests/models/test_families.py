"""Laws that every family keeps; a new one adds a line to CONFIGS. Parity with PyTorch is in tests/interop.

Each is a model small enough to compile in a second, with at least two layers on both sides, and with ids of
PAD, EOS and START that differ from the other families'.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from taggen_jax.decode import narrow
from taggen_jax.errors import UserError
from taggen_jax.models import bert, family
from taggen_jax.models.bart import BartConfig
from taggen_jax.models.gemma import StackConfig
from taggen_jax.models.layers import ComputeConfig
from taggen_jax.models.t5 import T5Config
from taggen_jax.models.t5gemma import T5GemmaConfig
from taggen_jax.models.t5gemma2 import T5Gemma2Config

SIZES = {"vocab_size": 40, "d_model": 16, "d_mlp": 32, "n_heads": 2, "encoder_layers": 2, "decoder_layers": 2}
BART = SIZES | {"max_positions": 16, "dropout": 0.5}
BERT = {"vocab_size": 40, "d_mlp": 32, "n_heads": 2, "layers": 2, "positions": 24, "pad": 1, "dropout": 0.5}
GEMMA = StackConfig(
    d_model=16, d_mlp=32, n_heads=4, n_kv_heads=2, head_dim=4, local=(True, False), window=2, query_scalar=4
)
STACKS = {"encoder": GEMMA, "decoder": GEMMA, "vocab_size": 40, "dropout": 0.5, "attention_dropout": 0.1}
CONFIGS = {
    "t5": T5Config(**SIZES, head_dim=8, dropout=0.5),
    "umt5": T5Config(**SIZES, head_dim=8, dropout=0.5, variant="umt5"),
    "bart": BartConfig(**BART, variant="bart", pad=1, eos=2, start=2),
    "pegasus": BartConfig(**BART, variant="pegasus", pad=0, eos=1, start=0, scale_embedding=True),
    "bert": bert.BertConfig(
        encoder=bert.StackConfig(**BERT, d_model=16, kind="roberta"),
        decoder=bert.StackConfig(**BERT, d_model=12),
        eos=2,
        start=0,
    ),
    "t5gemma": T5GemmaConfig(**STACKS, tied_head=False),
    "t5gemma2": T5Gemma2Config(**STACKS, end_of_image=23),
}
TOLERANCE = {"atol": 1e-5, "rtol": 1e-5}


@pytest.fixture(scope="module", params=CONFIGS)
def config(request):
    return CONFIGS[request.param]


@pytest.fixture(scope="module")
def model(config):
    """(bundle, params, logits, batch): parameters far from their initial values, and two padded products."""
    bundle = family.build(config, ComputeConfig())

    @jax.jit
    def noisy(key):
        leaves, tree = jax.tree.flatten(bundle.init(key))
        keys = jax.random.split(key, len(leaves))
        noise = [0.2 * jax.random.normal(key, x.shape) for key, x in zip(keys, leaves, strict=True)]
        return jax.tree.unflatten(tree, [x + y for x, y in zip(leaves, noise, strict=True)])

    params = noisy(jax.random.key(0, impl="rbg"))  # compiles faster than threefry
    P, E = config.pad, config.eos
    batch = {
        "source": np.array([[5, 6, 7, 8, E, P, P, P], [9, 10, 11, 12, 13, 14, 15, E]], np.int32),
        "target": np.array([[20, 21, 22, E, P, P], [23, 24, 25, 26, 27, E]], np.int32),
    }
    logits = jax.jit(lambda batch, key=None: bundle.bind(params).logits(batch, key))
    return bundle, params, logits, batch


def encoded(bound, source_BS):
    """The memory of a batch, and its segments."""
    segments_BS = (source_BS != bound.cfg.pad).astype(np.int32)
    return bound.encode(source_BS, segments_BS), segments_BS


def test_cached_decoding_equals_teacher_forcing(model):
    bundle, params, logits, batch = model
    W, T = 3, batch["target"].shape[1]
    inputs_BT = np.pad(batch["target"], ((0, 0), (1, 0)), constant_values=bundle.config.start)[:, :-1]

    ancestry_BWT = jnp.broadcast_to(jnp.arange(W)[None, :, None], (2, W, T))
    bound = bundle.bind(params)
    start = jax.jit(lambda source_BS: bound.start(*encoded(bound, source_BS), beams=W, length=T))

    @jax.jit
    def step(token_BW, cache, cross, t):
        hidden_BWD, cache = bound.step(token_BW, cache, cross, t, ancestry_BWT)
        return bound.unembed(hidden_BWD), cache

    cache, cross = start(batch["source"])
    steps = []
    for t in range(T):  # compiled once, unlike a loop inside `jax.jit`
        token_BW = jnp.repeat(inputs_BT[:, t : t + 1], W, axis=1)
        logits_BWV, cache = step(token_BW, cache, cross, jnp.int32(t))
        steps.append(logits_BWV)
    logits_BWTV, expected_BTV = jnp.stack(steps, axis=2), logits(batch)
    for beam in range(W):
        np.testing.assert_allclose(logits_BWTV[:, beam], expected_BTV, **TOLERANCE)


def test_a_beam_finds_its_past_where_its_ancestry_says(model):
    """Two beams change places after the second token."""
    bundle, params, _, batch = model
    start = bundle.config.start
    tokens_TW = jnp.array([[start, start], [20, 30], [22, 23]])
    ancestry_TWT = jnp.array([[[0, 0, 0], [1, 1, 1]], [[0, 0, 0], [1, 1, 1]], [[1, 1, 0], [0, 0, 1]]])
    histories_WT = jnp.array([[start, 30, 22], [start, 20, 23]])

    @jax.jit
    def both():
        bound = bundle.bind(params)
        memory_BSD, segments_BS = encoded(bound, batch["source"][:1])
        cache, cross = bound.start(memory_BSD, segments_BS, beams=2, length=3)
        for t in range(3):
            hidden_BWD, cache = bound.step(
                tokens_TW[None, t], cache, cross, jnp.int32(t), ancestry_TWT[None, t]
            )
        return hidden_BWD[0], whole(bound, histories_WT, memory_BSD, segments_BS)[:, -1]

    np.testing.assert_allclose(*both(), **TOLERANCE)


def test_products_leave_a_search_with_all_that_is_theirs(model):
    """Rows taken out of what `start` made are what it makes of these rows."""
    bundle, params, _, batch = model
    source_BS = np.concatenate([batch["source"], batch["source"][:1] + 1])

    @jax.jit
    def start(source_BS):
        bound = bundle.bind(params)
        cache, cross = bound.start(*encoded(bound, source_BS), beams=2, length=3)
        return jax.tree.map(lambda x: x + 1, cache), cross  # an empty cache would look the same everywhere

    def shapes(rows):
        return jax.eval_shape(start, jax.ShapeDtypeStruct((rows, source_BS.shape[1]), jnp.int32))

    row_R = jnp.array([2, 0])
    some = narrow.take(start(source_BS), narrow.row_axes(shapes, 3), row_R)
    expected = start(source_BS[np.asarray(row_R)])
    for a, b in zip(jax.tree.leaves(some), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, **TOLERANCE)


def whole(bound, inputs_BT, memory_1SD, segments_1S):
    """hidden_BTD of several outputs of one product, decoded apart from each other."""
    B, T = inputs_BT.shape
    cross_mask = jnp.broadcast_to((segments_1S > 0)[:, None], (B, T, segments_1S.shape[1]))
    memory_BSD = jnp.repeat(memory_1SD, B, axis=0)
    mask_bTT = jnp.tril(jnp.ones((1, T, T), bool))
    return bound.decode(inputs_BT, jnp.arange(T)[None], mask_bTT, memory_BSD, cross_mask)


def test_a_tree_of_targets_equals_each_of_them_alone(model):
    """[start a b], with b followed by c and, on another branch, by d."""
    bundle, params, _, batch = model
    inputs_T = jnp.array([bundle.config.start, 20, 21, 22, 30])
    mask_TT = jnp.tril(jnp.ones((5, 5), bool)).at[4, 3].set(False)

    @jax.jit
    def both():
        bound = bundle.bind(params)
        memory_BSD, segments_BS = encoded(bound, batch["source"][:1])
        cross_mask = jnp.broadcast_to((segments_BS > 0)[:, None], (1, 5, segments_BS.shape[1]))
        positions_bT = jnp.array([[0, 1, 2, 3, 3]])
        tree_BTD = bound.decode(inputs_T[None], positions_bT, mask_TT[None], memory_BSD, cross_mask)
        branches_BT = jnp.stack([inputs_T[:4], inputs_T[jnp.array([0, 1, 2, 4])]])
        return tree_BTD[0, 3:], whole(bound, branches_BT, memory_BSD, segments_BS)[:, 3]

    np.testing.assert_allclose(*both(), **TOLERANCE)


def test_some_words_have_the_logits_that_they_have_among_all(model):
    bundle, params, _, _ = model
    hidden = jax.random.normal(jax.random.key(2), (2, 3, bundle.config.d_model))
    words = jnp.array([7, 3, 39])
    bound = bundle.bind(params)
    np.testing.assert_allclose(bound.unembed(hidden, words), bound.unembed(hidden)[..., words], **TOLERANCE)


def test_cross_keys_and_values_are_kept_once_per_product(model):
    bundle, params, _, _ = model
    memory_BSD = jnp.ones((2, 8, bundle.config.d_model))
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


def test_padding_changes_nothing(model):
    bundle, _, logits, batch = model
    longer = {
        name: np.pad(x, ((0, 0), (0, 5)), constant_values=bundle.config.pad) for name, x in batch.items()
    }
    np.testing.assert_allclose(logits(longer)[:, :6], logits(batch), **TOLERANCE)


def test_the_future_has_no_influence(model):
    _, _, logits, batch = model
    changed = batch["target"].copy()
    changed[:, 3:] = 30
    before, after = logits(batch), logits(batch | {"target": changed})
    np.testing.assert_array_equal(before[:, :4], after[:, :4])
    assert not np.allclose(before[:, 4:], after[:, 4:])


def test_packed_equals_unpacked(model):
    _, _, logits, batch = model
    source, target = batch["source"], batch["target"]
    apart = logits(batch)
    together = logits(
        {
            "source": np.concatenate([source[0, :5], source[1]])[None],
            "source_segments": np.array([[1] * 5 + [2] * 8], np.int32),
            "target": np.concatenate([target[0, :4], target[1]])[None],
            "target_segments": np.array([[1] * 4 + [2] * 6], np.int32),
        }
    )[0]
    np.testing.assert_allclose(together[:4], apart[0, :4], **TOLERANCE)
    np.testing.assert_allclose(together[4:], apart[1], **TOLERANCE)


def test_dropout_is_a_function_of_its_key_and_absent_without_one(model):
    _, _, logits, batch = model
    first, again, other = (logits(batch, jax.random.key(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    assert not np.allclose(first, logits(batch))


def test_bfloat16_computes_close_to_float32_and_returns_float32(config, model):
    _, params, logits, batch = model
    bundle = family.build(config, ComputeConfig(dtype="bfloat16"))
    low = jax.jit(lambda: bundle.bind(params).logits(batch))()
    assert low.dtype == jnp.float32
    assert np.abs(low - logits(batch)).mean() < 0.05 * np.abs(logits(batch)).mean()


def test_every_weight_names_each_of_its_axes(model):
    bundle = model[0]
    jax.tree.map(
        lambda shape, names: len(names) == len(shape.shape) or pytest.fail(names), bundle.shapes, bundle.axes
    )


def test_no_first_value_has_a_weak_type(config):
    """A step returns strong ones, so it would be compiled a second time for them."""
    bundle = family.build(config, ComputeConfig(), tags=3)
    first = jax.eval_shape(bundle.init, jax.random.key(0))
    assert not [leaf for leaf in jax.tree.leaves(first) if leaf.weak_type]


def test_an_unknown_family_is_named():
    with pytest.raises(UserError, match=r"config\.model\.family: got 'gpt', expected one of .*t5"):
        family.parse({"family": "gpt"})
