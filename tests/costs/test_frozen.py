"""What is frozen costs no weight-gradient FLOPs, counted in the compiled step."""

import jax
import jax.numpy as jnp
import pytest

from taggen_jax.costs.count import count
from taggen_jax.costs.traced import traced_flops
from taggen_jax.models import family
from taggen_jax.models.layers import ComputeConfig
from taggen_jax.models.t5 import T5Config
from taggen_jax.training.freeze import partition
from taggen_jax.training.optimizer import OptimizerConfig
from taggen_jax.training.state import abstract_state
from taggen_jax.training.step import TrainConfig, Training

B, S, T, D, F, V, H, K, L = 2, 24, 20, 16, 32, 64, 2, 8, 2
MODEL = T5Config(
    vocab_size=V, d_model=D, d_mlp=F, n_heads=H, head_dim=K, encoder_layers=L, decoder_layers=L, dropout=0.0
)
ENCODER = ("encoder", "embedding")  # all that the encoder reads
OF_LAYER = 4 * D * H * K + 3 * D * F  # the weights of an encoder's layer that are in products
BATCH = {
    "source": jax.ShapeDtypeStruct((B, S), jnp.int32),
    "target": jax.ShapeDtypeStruct((B, T), jnp.int32),
    "weight": jax.ShapeDtypeStruct((B,), jnp.float32),
}


def step(freeze, **settings):
    bundle = family.build(MODEL, ComputeConfig())
    config = TrainConfig(freeze=freeze, optimizer=OptimizerConfig(name="sgd", clip_norm=0.0), **settings)
    return Training(bundle, partition(bundle.shapes, bundle.axes, freeze), config)


def compiled_flops(training):
    return count(jax.jit(training.step).lower(abstract_state(training), BATCH).compile().as_text()).flops


def formula(training_encoder=True):
    """Forward and backward of both stacks, the matrix products alone."""
    attention = 2 * 2 * B * H * K * (S * S + T * T + T * S) * L
    encoder = 2 * B * S * L * OF_LAYER
    decoder = 2 * B * L * (T * (6 * D * H * K + 3 * D * F) + S * 2 * D * H * K) + 2 * B * T * D * V
    return 3 * (attention + encoder + decoder)


def test_a_traced_step_costs_what_the_formula_says():
    training = step(())
    assert traced_flops(training.step, abstract_state(training), BATCH) == formula()


def test_so_does_the_compiled_one():
    assert compiled_flops(step(())) == pytest.approx(formula(), rel=0.03)


def test_a_frozen_layer_saves_exactly_its_weight_gradients():
    """The first layer of the decoder's MLP still passes gradients on: nothing but the weights' is saved."""
    saved = compiled_flops(step(())) - compiled_flops(step(("decoder/blocks/*/mlp",)))
    assert saved == 2 * B * T * L * 3 * D * F


def test_a_frozen_encoder_saves_its_whole_backward_pass():
    """Weight gradients, and those of activations that only they would have needed."""
    saved = compiled_flops(step(())) - compiled_flops(step(ENCODER))
    weights = 2 * B * S * L * OF_LAYER
    activations = 2 * B * S * L * OF_LAYER + 4 * 2 * B * H * K * S * S * L
    keys_and_values_to_memory = 2 * B * S * 2 * D * H * K * L
    assert saved == weights + activations + keys_and_values_to_memory
