"""Milliseconds of a decoder step's products with weights in int8 and in float32; prints a line a shape.

    python tools/bench_int8.py

Weights have a scale for each output channel. "dequantised": int8 weights become float32 inside the product.
"int8": the activations are rounded to int8 as well, a scale for each row, and the sums are int32. Medians, in
turns, with the compiler options of the generator.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from taggen_jax.parallel.mesh import MeshConfig, make_mesh
from taggen_jax.tagger import compiler_options

SHAPES = ((256, 1024), (512, 512), (512, 32128))  # an MLP of "mini", a projection and the head of "small"
ROWS = (4, 64, 256)  # beam 4 with a batch of 1, 16, 64
TURNS, SECONDS = 5, 0.3  # of each way, a turn


def float32(x_RD: jax.Array, w_DF: jax.Array, scale_F: jax.Array) -> jax.Array:
    """The scales are in the weights."""
    return x_RD @ w_DF


def dequantised(x_RD: jax.Array, w_DF: jax.Array, scale_F: jax.Array) -> jax.Array:
    return (x_RD @ w_DF.astype(jnp.float32)) * scale_F


def int8(x_RD: jax.Array, w_DF: jax.Array, scale_F: jax.Array) -> jax.Array:
    scale_R1 = jnp.max(jnp.abs(x_RD), axis=1, keepdims=True) / 127
    x_RD = jnp.round(x_RD / scale_R1).astype(jnp.int8)
    sums_RF = jnp.einsum("RD,DF->RF", x_RD, w_DF, preferred_element_type=jnp.int32)
    return sums_RF * scale_R1 * scale_F


def milliseconds(run: Callable[..., jax.Array], *arguments: Any) -> float:
    """The median over one turn."""
    taken, end = [], time.perf_counter() + SECONDS
    while not taken or time.perf_counter() < end:
        begin = time.perf_counter()
        run(*arguments).block_until_ready()
        taken.append(time.perf_counter() - begin)
    return 1000 * statistics.median(taken)


def main() -> None:
    ways = (float32, dequantised, int8)
    options = compiler_options(make_mesh(MeshConfig()))
    print("rows x inputs x outputs", *(way.__name__ for way in ways))
    for inputs, outputs in SHAPES:
        w_DF = jax.random.normal(jax.random.key(0), (inputs, outputs))
        scale_F = jnp.max(jnp.abs(w_DF), axis=0) / 127
        small_DF = jnp.round(w_DF / scale_F).astype(jnp.int8)
        for rows in ROWS:
            x_RD = jax.random.normal(jax.random.key(1), (rows, inputs))
            runs = [
                (jax.jit(way, compiler_options=options), w_DF if way is float32 else small_DF) for way in ways
            ]
            for run, weight in runs:
                run(x_RD, weight, scale_F).block_until_ready()  # compiles
            turns = [[milliseconds(run, x_RD, weight, scale_F) for run, weight in runs] for _ in range(TURNS)]
            medians = (statistics.median(column) for column in zip(*turns, strict=True))
            print(f"{rows} x {inputs} x {outputs}", *(f"{median:.3f}" for median in medians), flush=True)


if __name__ == "__main__":
    main()
