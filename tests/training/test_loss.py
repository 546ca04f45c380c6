"""The loss against PyTorch's, and its arithmetic."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from taggen_jax.training.loss import cross_entropy, cross_entropy_in_chunks, tag_cross_entropy

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(3, 5, 11)).astype(np.float32) * 3
TARGET = RNG.integers(0, 11, (3, 5)).astype(np.int32)
WEIGHT = (RNG.random((3, 5)) < 0.7).astype(np.float32)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_value_and_gradient_equal_pytorchs(smoothing):
    logits = torch.tensor(LOGITS, requires_grad=True)
    each = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1),
        torch.tensor(TARGET).long().flatten(),
        reduction="none",
        label_smoothing=smoothing,
    )
    expected = (each * torch.tensor(WEIGHT).flatten()).sum()
    expected.backward()
    (value, sums), gradient = jax.value_and_grad(
        lambda x: cross_entropy(x, TARGET, WEIGHT, label_smoothing=smoothing), has_aux=True
    )(LOGITS)
    np.testing.assert_allclose(value, expected.item(), rtol=1e-5)
    np.testing.assert_allclose(gradient, logits.grad, atol=1e-5)
    assert sums["weight"] == WEIGHT.sum()


def test_z_loss_adds_the_squared_normaliser():
    plain, _ = cross_entropy(LOGITS, TARGET, WEIGHT)
    with_z, sums = cross_entropy(LOGITS, TARGET, WEIGHT, z_loss=0.01)
    normaliser = np.log(np.exp(LOGITS).sum(-1))
    np.testing.assert_allclose(with_z - plain, 0.01 * (normaliser**2 * WEIGHT).sum(), rtol=1e-4)
    np.testing.assert_allclose(sums["nll"], plain, rtol=1e-6)


@pytest.mark.parametrize("positions", [1, 2, 5])
def test_in_chunks_value_and_gradients_are_those_of_the_whole(positions):
    """Five tokens a row: in chunks of two, one is filled up."""
    hidden = RNG.normal(size=(3, 5, 4)).astype(np.float32)
    head = RNG.normal(size=(4, 11)).astype(np.float32)
    how = {"label_smoothing": 0.1, "z_loss": 0.01}

    def whole(hidden, head):
        return cross_entropy(hidden @ head, TARGET, WEIGHT, **how)

    def chunked(hidden, head):
        return cross_entropy_in_chunks(lambda x: x @ head, hidden, TARGET, WEIGHT, positions=positions, **how)

    expected, found = (
        jax.jit(jax.value_and_grad(f, argnums=(0, 1), has_aux=True))(hidden, head) for f in (whole, chunked)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, expected)


def test_chunks_save_the_memory_of_the_logits():
    """Logits and their gradient are most of what a large vocabulary costs."""
    B, T, D, V = 4, 32, 8, 20_000

    def temporaries(positions):
        def objective(hidden_BTD, head_DV):
            zeros = jnp.zeros((B, T))
            return cross_entropy_in_chunks(
                lambda x: x @ head_DV, hidden_BTD, zeros.astype(int), zeros, positions=positions
            )[0]

        shapes = jax.ShapeDtypeStruct((B, T, D), "float32"), jax.ShapeDtypeStruct((D, V), "float32")
        compiled = jax.jit(jax.grad(objective, argnums=(0, 1))).lower(*shapes).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporaries(T) > 4 * B * T * V
    assert temporaries(2) < temporaries(T) / 4


def test_the_loss_of_tags_equals_pytorchs_on_a_multi_hot_target():
    logits_BN, tags_BK = LOGITS[:, 0], np.array([[0, 4, -1], [-1, -1, -1], [10, -1, -1]], np.int32)
    wanted_BN = np.zeros(logits_BN.shape, np.float32)
    wanted_BN[[0, 0, 2], [0, 4, 10]] = 1.0
    each = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.tensor(logits_BN), torch.tensor(wanted_BN), reduction="none"
    )
    for weight_B in ([1.0, 1.0, 1.0], [1.0, 0.0, 0.0]):
        expected = (each.sum(1) * torch.tensor(weight_B)).sum().item()
        found = tag_cross_entropy(logits_BN, tags_BK, np.array(weight_B, np.float32))
        np.testing.assert_allclose(found, expected, rtol=1e-5)
