"""The loss against PyTorch's, and its arithmetic."""

import jax
import numpy as np
import pytest
import torch

from taggen_jax.training.loss import cross_entropy

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
