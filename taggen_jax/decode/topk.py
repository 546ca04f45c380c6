"""The largest values of a long row and the sum of its exponentials, by passes that a CPU makes at full width.

Reduced along its last axis, a row goes number by number; seen as a table of some hundred columns and reduced
down these, many numbers at once (measured: docs/performance.md).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

COLUMNS = range(256, 1025)  # of the table; fewer make the second ranking long, more the first
SHORT = 2048  # a row up to here is ranked as it is


class Ranked(NamedTuple):
    """The k largest of each row, descending, their indices, and the log of the sum of all exponentials."""

    values: jax.Array
    indices: jax.Array
    total: jax.Array


def top_k(x: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    """`jax.lax.top_k` along the last axis, except that of equals any may come first, or be left out.

    Args:
      x: [..., V] float, without NaN.
      k: how many, at most V.

    Returns:
      values [..., k] in descending order, and their indices int32 [..., k].
    """
    if _short(x, k):
        return jax.lax.top_k(x, k)
    table = _table(x)
    return _of_table(table, *jax.lax.top_k(table.max(axis=-2), k))


def rank(x: jax.Array, k: int) -> Ranked:
    """`top_k` with `jax.nn.logsumexp` of the whole row [...], which shares its first pass.

    A row of -inf alone has the total -inf.
    """
    if _short(x, k):
        return Ranked(*jax.lax.top_k(x, k), jax.nn.logsumexp(x, axis=-1))
    table = _table(x)
    maxima, chosen = jax.lax.top_k(table.max(axis=-2), k)
    # Not maxima[..., 0]: a second slice of what it ranked keeps XLA from seeing a top-k, and it sorts the row.
    largest = jnp.maximum(maxima.max(axis=-1), jnp.finfo(x.dtype).min)  # finite, also where all is -inf
    sums = jnp.exp(table - largest[..., None, None]).sum(axis=-2)
    total = largest + jnp.log(sums @ jnp.ones(sums.shape[-1], x.dtype))  # a product: faster than a second sum
    return Ranked(*_of_table(table, maxima, chosen), total)


def _short(x: jax.Array, k: int) -> bool:
    return x.shape[-1] <= SHORT or k >= COLUMNS.start


def _table(x: jax.Array) -> jax.Array:
    """[..., rows, columns], filled up with -inf where no number of columns divides the row."""
    size = x.shape[-1]
    columns = next((n for n in sorted(COLUMNS, key=lambda n: abs(n - 512)) if size % n == 0), 512)
    if size % columns:
        fill = [(0, 0)] * (x.ndim - 1) + [(0, -size % columns)]
        x = jnp.pad(x, fill, constant_values=-jnp.inf)
    return x.reshape(*x.shape[:-1], -1, columns)


def _of_table(table: jax.Array, maxima: jax.Array, chosen: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Only the k columns with the largest maxima can hold one of the k largest values."""
    k, columns = maxima.shape[-1], table.shape[-1]
    short = jnp.take_along_axis(table, chosen[..., None, :], axis=-1, mode="promise_in_bounds")
    values, places = jax.lax.top_k(short.reshape(*short.shape[:-2], -1), k)
    column = jnp.take_along_axis(chosen, places % k, axis=-1)
    return values, places // k * columns + column
