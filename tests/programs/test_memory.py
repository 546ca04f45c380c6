"""What the compiled generator keeps of the sources does not grow with the beams."""

import jax
import jax.numpy as jnp
import pytest

from taggen_jax.decode.beam import DecodeConfig
from taggen_jax.models import family
from taggen_jax.models.layers import ComputeConfig
from taggen_jax.models.t5 import T5Config
from taggen_jax.parallel.mesh import MeshConfig, make_mesh
from taggen_jax.tagger import generator


def test_cross_keys_and_values_are_one_for_all_beams_of_a_product():
    model = T5Config(
        vocab_size=64, d_model=32, d_mlp=32, n_heads=2, head_dim=16, encoder_layers=1, decoder_layers=3
    )
    bundle, mesh, rows = family.build(model, ComputeConfig()), make_mesh(MeshConfig()), 4

    def temporaries(beams: int, length: int) -> int:
        generate = generator(bundle, DecodeConfig(beams=beams, n_best=1, max_length=4), mesh)
        source_BS = jax.ShapeDtypeStruct((rows, length), jnp.int32)
        with jax.set_mesh(mesh):
            compiled = generate.__wrapped__.lower(bundle.shapes, source_BS, None).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    def growth(beams: int) -> int:
        """With 512 more tokens of source."""
        return temporaries(beams, 768) - temporaries(beams, 256)

    cross = 2 * 3 * rows * 512 * model.n_heads * model.head_dim * 4
    assert growth(1) >= cross, "the keys and values of all layers are among what grows"
    assert growth(8) == pytest.approx(growth(1), rel=0.02)
