"""The loss against PyTorch's, and its arithmetic."""

import jax
import numpy as np
import pytest
import torch

from taggen_jax.training.loss import cross_entropy, tag_cross_entropy

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
