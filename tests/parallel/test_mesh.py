"""Meshes, and where weights lie on them."""

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from taggen_jax.errors import UserError
from taggen_jax.parallel.mesh import MeshConfig, check_batch, make_mesh, param_shardings, put_batch


def test_the_axis_with_minus_one_takes_all_devices_that_are_left():
    assert dict(make_mesh(MeshConfig(data=-1, fsdp=2, tensor=2)).shape) == {
        "data": 2,
        "fsdp": 2,
        "sequence": 1,
        "tensor": 2,
    }
    assert dict(make_mesh(MeshConfig()).shape) == {"data": 8, "fsdp": 1, "sequence": 1, "tensor": 1}


@pytest.mark.parametrize("sizes", [{"data": 3}, {"data": 2, "fsdp": 2, "tensor": 1}, {"tensor": 16}])
def test_a_mesh_that_does_not_fit_is_refused(sizes):
    with pytest.raises(UserError, match=r"does not fit 8 device\(s\); set one axis to -1"):
        make_mesh(MeshConfig(**sizes))


def test_weights_follow_the_table_and_stay_whole_where_the_mesh_does_not_divide():
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    shapes = {
        "up": jax.ShapeDtypeStruct((3, 8, 6), "float32"),
        "odd": jax.ShapeDtypeStruct((7, 4), "float32"),
    }
    axes = {"up": ("layers", "embed", "mlp"), "odd": ("vocab", "embed")}
    specs = {name: sharding.spec for name, sharding in param_shardings(shapes, axes, mesh).items()}
    assert specs == {"up": PartitionSpec(None, "fsdp", "tensor"), "odd": PartitionSpec(None, "fsdp")}


def test_a_batch_is_cut_by_rows_over_data_and_fsdp():
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    rows = np.arange(16).reshape(8, 2)
    placed = put_batch({"x": rows}, mesh)["x"]
    assert placed.sharding.shard_shape(placed.shape) == (2, 2)
    np.testing.assert_array_equal(placed, rows)
    with pytest.raises(UserError, match="batch_size=6 must be a multiple of the 4 devices"):
        check_batch(6, mesh, "batch_size")
