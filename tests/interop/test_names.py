"""The table of names is a bijection between a folder's tensors and our parameters."""

import numpy as np
import pytest

from taggen_jax.interop import t5
from taggen_jax.interop.names import Name, Tensor, expand, flatten, unflatten
from taggen_jax.models.family import build
from taggen_jax.models.layers import ComputeConfig
from taggen_jax.models.t5 import T5Config


@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("tied_head", [True, False])
def test_every_slot_of_every_parameter_has_one_tensor(gated, tied_head):
    config = T5Config(
        vocab_size=16, d_model=8, d_mlp=12, n_heads=2, head_dim=3, encoder_layers=2, decoder_layers=3,
        gated=gated, tied_head=tied_head,
    )  # fmt: skip
    shapes = build(config, ComputeConfig()).shapes
    tensors = expand(t5.names(config), shapes)
    covered = {path: np.zeros(leaf.shape, int) for path, leaf in flatten(shapes).items()}
    for tensor in tensors.values():
        covered[tensor.path][... if tensor.layer is None else tensor.layer] += 1
    assert all((count == 1).all() for count in covered.values())


def test_a_table_that_forgets_a_parameter_is_refused():
    shapes = {"a": np.zeros(2), "b": {"c": np.zeros(2)}}
    with pytest.raises(ValueError, match="b/c"):
        expand([Name("a.weight", "a")], shapes)


@pytest.mark.parametrize(("inputs", "hf_shape"), [(0, (2, 3, 5)), (1, (15, 2)), (2, (5, 6))])
def test_layouts_are_inverse_to_each_other(inputs, hf_shape):
    tensor = Tensor("p", None, inputs, False, (2, 3, 5))
    x = np.arange(30, dtype=np.float32).reshape(2, 3, 5)
    assert tensor.to_hf(x).shape == tensor.hf_shape == hf_shape
    np.testing.assert_array_equal(tensor.to_ours(tensor.to_hf(x)), x)


def test_flatten_and_unflatten_are_inverse_to_each_other():
    tree = {"a": 1, "b": {"c": 2, "d": {"e": 3}}}
    assert flatten(tree) == {"a": 1, "b/c": 2, "b/d/e": 3}
    assert unflatten(flatten(tree)) == tree
