"""Attention in one kernel means what products and a softmax mean, and programs hold it where it is taken.

Nothing here runs on a GPU: `fused` is compared through JAX's own einsums, and programs for CUDA are only
lowered.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from taggen_jax.models import attention, bert, family, layers
from taggen_jax.models.bart import BartConfig
from taggen_jax.models.layers import ComputeConfig
from taggen_jax.models.t5 import T5Config
from taggen_jax.parallel.mesh import MeshConfig, make_mesh

SIZES = {"vocab_size": 40, "d_model": 16, "d_mlp": 32, "n_heads": 2, "encoder_layers": 1, "decoder_layers": 1}
BERT = bert.StackConfig(vocab_size=40, d_model=16, d_mlp=32, n_heads=2, layers=1, positions=16, dropout=0.1)
CONFIGS = {
    "t5": T5Config(**SIZES, head_dim=8, dropout=0.1),
    "bart": BartConfig(**SIZES, max_positions=16, attention_dropout=0.1),
    "bert": bert.BertConfig(encoder=BERT, decoder=BERT, eos=2, start=0),
}
ATTENTIONS = 3  # of a model of one layer: the encoder's, the decoder's and the cross attention
BATCH = {"source": np.full((2, 8), 5, np.int32), "target": np.full((2, 6), 7, np.int32)}


def arguments(dtype, bias_rows):
    """q, k, v, a bias that shuts out a quarter of the keys, and weights for a sum of the results."""
    chance = np.random.default_rng(0)
    B, T, S, H, K = 3, 6, 8, 2, 16
    q, k, v = (jnp.asarray(chance.normal(size=(B, n, H, K)), dtype) for n in (T, S, S))
    bias = chance.normal(size=(bias_rows, H, T, S)).astype(jnp.bfloat16).astype(np.float32)
    bias[..., -2:] = layers.MASKED
    return q, k, v, jnp.asarray(bias), jnp.asarray(chance.normal(size=(B, T, H, K)), jnp.float32)


def results(attend, q, k, v, bias, weights):
    """What an attention returns, and the gradients of all its arguments."""

    def loss(q, k, v, bias):
        out = attend(q, k, v, bias)
        return (out.astype(jnp.float32) * weights).sum(), out

    gradients, out = jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3), has_aux=True))(q, k, v, bias)
    return [np.asarray(x, np.float32) for x in (out, *gradients)]


@pytest.mark.parametrize("bias_rows", [1, 3])
def test_it_is_jaxs_attention_with_its_gradients(bias_rows):
    given = arguments(jnp.float32, bias_rows)
    reference = functools.partial(jax.nn.dot_product_attention, scale=1.0, implementation="xla")
    for ours, theirs in zip(results(attention.attend, *given), results(reference, *given), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6)


@pytest.mark.parametrize("bias_rows", [1, 3])
def test_what_the_kernel_is_asked_is_attention(bias_rows, monkeypatch):
    """To the precision of bfloat16, with JAX's einsums in place of the kernel."""
    q, k, v, bias, weights = arguments(jnp.bfloat16, bias_rows)
    exact = results(attention.attend, *(x.astype(jnp.float32) for x in (q, k, v)), bias, weights)
    asked = jax.nn.dot_product_attention
    monkeypatch.setattr(
        jax.nn, "dot_product_attention", lambda *args, **how: asked(*args, **how | {"implementation": "xla"})
    )
    for ours, theirs in zip(results(attention.fused, q, k, v, bias, weights), exact, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=0.02 * np.abs(theirs).max())
    assert not results(attention.fused, q, k, v, bias, weights)[4][..., -2:].any()


@pytest.fixture
def for_gpus(monkeypatch):
    """Programs are traced as on a GPU's host: JAX asks cuDNN for its version, which is not here."""
    version = "jax._src.cudnn.fused_attention_stablehlo.check_cudnn_version"
    monkeypatch.setattr(version, lambda: 91000)
    monkeypatch.setattr(attention, "platform", lambda: "gpu")
    attention.has_cudnn.cache_clear()
    with jax.set_mesh(make_mesh(MeshConfig(), jax.devices()[:1])):
        yield version
    attention.has_cudnn.cache_clear()


def kernels(config, dropout=False, batch=BATCH, **compute):
    """How often cuDNN's attention stands in a model's gradient: forwards, backwards."""
    bundle = family.build(config, ComputeConfig(**compute))
    key = jax.random.key(0) if dropout else None
    loss = jax.grad(lambda params: bundle.bind(params).logits(batch, key).astype(jnp.float32).sum())
    text = jax.jit(loss).trace(bundle.shapes).lower(lowering_platforms=("cuda",)).as_text()
    backwards = text.count("custom_call @__cudnn$fmhaScaleBiasSoftmaxBackward")
    return text.count("custom_call @__cudnn$fmha") - backwards, backwards


@pytest.mark.parametrize("name", CONFIGS)
def test_on_gpus_every_attention_without_dropout_is_one_kernel(name, for_gpus):
    assert kernels(CONFIGS[name], dtype="bfloat16") == (ATTENTIONS, ATTENTIONS)
    assert kernels(CONFIGS[name], dtype="bfloat16", dropout=True) == (0, 0)


def test_what_the_kernel_does_not_take_is_einsum(for_gpus, monkeypatch):
    t5 = CONFIGS["t5"]
    assert kernels(t5, dtype="float32") == (0, 0)
    assert kernels(t5, dtype="bfloat16", attention="einsum") == (0, 0)
    odd = BATCH | {"target": BATCH["target"][:, :5]}
    assert kernels(t5, dtype="bfloat16", batch=odd) == (1, 1)  # the encoder's

    def absent():
        raise RuntimeError("cuDNN is not detected.")

    monkeypatch.setattr(for_gpus, absent)
    attention.has_cudnn.cache_clear()
    assert kernels(t5, dtype="bfloat16") == (0, 0)


def test_nobody_says_gpu_no_kernel():
    assert kernels(CONFIGS["t5"], dtype="bfloat16") == (0, 0)
