"""Counted FLOPs, bytes and collectives of small programs whose costs are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from taggen_jax.costs.count import count, wire_bytes
from taggen_jax.parallel.mesh import MeshConfig, make_mesh


def text(function, *shapes, **options):
    shapes = [x if hasattr(x, "dtype") else jax.ShapeDtypeStruct(x, jnp.float32) for x in shapes]
    return jax.jit(function, **options).lower(*shapes).compile().as_text()


def test_a_product_costs_two_flops_an_entry_and_term():
    assert count(text(lambda a, b: a @ b, (64, 96), (96, 128))).flops == 2 * 64 * 96 * 128


def test_batched_and_transposed_products():
    counted = count(text(lambda a, b: jnp.einsum("bij,bkj->bik", a, b), (5, 64, 96), (5, 128, 96)))
    assert counted.flops == 2 * 5 * 64 * 96 * 128


def test_loops_count_as_often_as_they_run_also_one_in_another():
    def nested(x, ws):
        def outer(x, w):
            return jax.lax.fori_loop(0, 5, lambda _, x: jnp.sin(x @ w), x), None

        return jax.lax.scan(outer, x, ws)[0]

    assert count(text(nested, (32, 32), (3, 32, 32))).flops == 3 * 5 * 2 * 32**3


def test_a_search_that_may_stop_early_counts_to_its_end():
    def search(x, w):
        return jax.lax.while_loop(
            lambda s: (s[0] < 7) & (s[1] < 100.0).any(), lambda s: (s[0] + 1, jnp.sin(s[1] @ w)), (0, x)
        )[1]

    counted = count(text(search, (32, 32), (32, 32)))
    assert counted.flops == 7 * 2 * 32**3 and not counted.unknown


def test_a_loop_whose_end_is_not_in_the_program_is_named():
    def halve(x, w, n):
        return jax.lax.while_loop(lambda s: s[0] < n, lambda s: (s[0] + 1, jnp.sin(s[1] @ w)), (0, x))[1]

    counted = count(text(halve, (32, 32), (32, 32), jax.ShapeDtypeStruct((), jnp.int32)))
    assert counted.flops == 2 * 32**3 and len(counted.unknown) == 1


@pytest.mark.parametrize("groups", [1, 4])
def test_convolutions_leave_out_padding(groups):
    """A kernel of 3 at stride 2 over 16 places, padded by 1 before: one of 8 outputs misses an input."""

    def convolve(x, w):
        return jax.lax.conv_general_dilated(
            x, w, (2,), [(1, 0)], dimension_numbers=("NWC", "WIO", "NWC"), feature_group_count=groups
        )

    counted = count(text(convolve, (6, 16, 8), (3, 8 // groups, 12)))
    assert counted.flops == 2 * 6 * (8 // groups) * 12 * (3 * 8 - 1)


TPU = """HloModule jit_step, is_scheduled=true, num_partitions=8

%plus (x: f32[], y: f32[]) -> f32[] {
  %x = f32[]{:T(128)} parameter(0)
  %y = f32[]{:T(128)} parameter(1)
  ROOT %add = f32[]{:T(128)} add(%x, %y)
}

%body (state: (s32[], f32[8,4], s32[])) -> (s32[], f32[8,4], s32[]) {
  %state = (s32[]{:T(128)}, f32[8,4]{1,0:T(8,128)}, /*index=2*/s32[]{:T(128)}) parameter(0)
  %t = s32[]{:T(128)} get-tuple-element(%state), index=0
  %x.1 = f32[8,4]{1,0:T(8,128)} get-tuple-element(%state), index=1
  %end = s32[]{:T(128)} get-tuple-element(%state), index=2
  %two = s32[]{:T(128)} constant(2)
  %next = s32[]{:T(128)} add(%t, %two)
  %sum = f32[8,4]{1,0:T(8,128)} all-reduce(%x.1), channel_id=1, replica_groups=[2,4]<=[8], to_apply=%plus
  ROOT %state.1 = (s32[]{:T(128)}, f32[8,4]{1,0:T(8,128)}, s32[]{:T(128)}) tuple(%next, %sum, %end)
}

%goes_on (state.2: (s32[], f32[8,4], s32[])) -> pred[] {
  %state.2 = (s32[]{:T(128)}, f32[8,4]{1,0:T(8,128)}, s32[]{:T(128)}) parameter(0)
  %t.1 = s32[]{:T(128)} get-tuple-element(%state.2), index=0
  %end.1 = s32[]{:T(128)} get-tuple-element(%state.2), index=2
  ROOT %less = pred[]{:T(512)} compare(%t.1, %end.1), direction=LT
}

ENTRY %main (p: f32[8,4], q: f32[8,16,64,128,1]) -> f32[8,4] {
  %p = f32[8,4]{1,0:T(8,128)} parameter(0)
  %one = s32[]{:T(128)} constant(1)
  %nine = s32[]{:T(128)} constant(9)
  %start = (s32[]{:T(128)}, f32[8,4]{1,0:T(8,128)}, s32[]{:T(128)}) tuple(%one, %p, %nine)
  %loop = (s32[], f32[8,4]{1,0:T(8,128)}, s32[]) while(%start), condition=%goes_on, body=%body
  ROOT %out = f32[8,4]{1,0:T(8,128)} get-tuple-element(%loop), index=1
}
"""


def test_loops_without_a_known_trip_count_are_followed():
    """1, 3, 5, 7 are less than 9, which comes from outside of the loop: four times a ring of four devices."""
    counted = count(TPU)
    assert counted.calls == {"all-reduce": 4} and not counted.unknown
    assert counted.sent == {"all-reduce": 4 * 2 * 128 * 3 / 4}


def test_products_that_a_tpu_makes_of_attention():
    """A batch as a spatial axis: of 16 x 16 places of window and output only the 16 of equal batch meet."""
    line = (
        "  ROOT %c = f32[16,16,512,512]{2,3,1,0} convolution(%a, %b), window={size=16x16 stride=15x15 "
        "lhs_dilate=16x16}, dim_labels=0b1f_0o1i->01bf"
    )
    arrays = "\n".join(
        f"  %{name} = f32[16,512,16,64]{{3,1,2,0}} parameter({i})" for i, name in enumerate("ab")
    )
    program = f"HloModule m\n\nENTRY %main (a: f32[]) -> f32[] {{\n{arrays}\n{line}\n}}\n"
    assert count(program).flops == 2 * 16 * 16 * 512 * 512 * 64


def test_products_that_a_gpu_leaves_to_a_library():
    """As compiled for an H100, shortened: [1024, 512] by [512, 2048], with a workspace beside the result."""
    config = '"lhs_contracting_dimensions":["1"],"rhs_contracting_dimensions":["0"],"lhs_batch_dimensions":[]'
    program = f"""HloModule jit_f, num_partitions=16

ENTRY %main (x: bf16[1024,512], w: bf16[512,2048]) -> bf16[1024,2048] {{
  %x = bf16[1024,512]{{1,0}} parameter(0)
  %w = bf16[512,2048]{{1,0}} parameter(1)
  %call = (bf16[1024,2048]{{1,0}}, s8[4194304]{{0}}) custom-call(%x, %w), \
custom_call_target="__cublas$lt$matmul", backend_config={{"dot_dimension_numbers":{{{config}}}}}
  ROOT %get = bf16[1024,2048]{{1,0}} get-tuple-element(%call), index=0
}}
"""
    assert count(program).flops == 2 * 1024 * 512 * 2048


def test_attention_that_a_gpu_leaves_to_a_library():
    """As compiled for an H100, shortened: 3 rows of 64 queries, 32 keys and 4 heads of 16."""
    q, kv = "bf16[3,64,4,16]", "bf16[3,32,4,16]"
    program = f"""HloModule jit_f, num_partitions=4

ENTRY %main (q: {q}, k: {kv}, v: {kv}, b: bf16[3,1,64,32]) -> {q} {{
  %q = {q}{{3,2,1,0}} parameter(0)
  %k = {kv}{{3,2,1,0}} parameter(1)
  %v = {kv}{{3,2,1,0}} parameter(2)
  %b = bf16[3,1,64,32]{{3,2,1,0}} parameter(3)
  ROOT %call = (bf16[3,4,64,16]{{3,1,2,0}}, u8[0]{{0}}) custom-call(%q, %k, %v, %b), \
custom_call_target="__cudnn$fmhaScaleBiasSoftmax"
}}
"""
    product = 2 * 3 * 4 * 64 * 32 * 16
    assert count(program).flops == 2 * product
    assert count(program.replace('Softmax"', 'SoftmaxBackward"')).flops == 5 * product


def test_collectives_of_eight_devices():
    mesh = make_mesh(MeshConfig(fsdp=2, tensor=4))
    cut, whole = (NamedSharding(mesh, PartitionSpec(*spec)) for spec in ((None, "tensor"), ()))
    shape = jax.ShapeDtypeStruct((64, 128), jnp.float32, sharding=cut)
    gathered = count(text(lambda x: x * 2, shape, out_shardings=whole))
    assert gathered.calls == {"all-gather": 1}
    assert gathered.sent["all-gather"] == 3 * 64 * 32 * 4  # each device passes on three quarters
    summed = count(text(lambda x, y: jnp.einsum("ij,kj->ik", x, y), shape, shape, out_shardings=whole))
    assert summed.flops == 2 * 64 * 64 * 32
    assert summed.sent["all-reduce"] == 2 * 3 / 4 * 64 * 64 * 4


@pytest.mark.parametrize(
    ("kind", "sent"),
    [("all-gather", 700), ("all-reduce", 175), ("reduce-scatter", 87.5), ("collective-permute", 100)],
)
def test_a_ring_sends(kind, sent):
    assert wire_bytes(kind, 100, 8) == sent


def test_moved_bytes_of_a_copy_a_slice_and_a_slot():
    moved = count(text(lambda x: jnp.flip(x, 0), (256, 256))).moved
    assert moved == 2 * 256 * 256 * 4

    def one_row(x, i):
        return jax.lax.dynamic_index_in_dim(x, i)

    moved = count(text(one_row, (256, 256), jax.ShapeDtypeStruct((), np.int32))).moved
    assert moved < 3 * 256 * 4
