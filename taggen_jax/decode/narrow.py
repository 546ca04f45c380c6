"""Products that are done leave a search, and the others go on in fewer rows.

    64 rows   ============
    48 rows               ====
    32 rows                   ===
    16 rows                      =====
              step 0 ..                max_length

A loop of a fixed shape computes every row to the end of its longest product. Four loops, one after the other,
stay close to what is needed; all their shapes are known beforehand, so it is one program, without a word from
the host. Measured: docs/performance.md.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

LEAST = 64  # beams of a step: below, XLA on CPU sums its products in another order, see `widths`


def widths(batch: int, beams: int) -> tuple[int, ...]:
    """The products of the loops of a search, descending: all, and 3, 2 and 1 quarters of them.

    Never so few that the last bits of a product's scores would tell how many others were left.
    """
    fewer = (batch * quarters // 4 for quarters in (3, 2, 1))
    return (batch, *(products for products in fewer if products * beams >= LEAST))


def row_axes(tree_of: Callable[[int], Any], rows: int) -> Any:
    """Along which axis of each leaf its products lie, -1 for none: the axis whose length is their number.

    Args:
      tree_of: the shapes of the tree for so many products.
      rows: any number of them.
    """

    def axis(some: Any, more: Any) -> int:
        return next((i for i, (a, b) in enumerate(zip(some.shape, more.shape, strict=True)) if a != b), -1)

    return jax.tree.map(axis, tree_of(rows), tree_of(rows + 1))


def take(tree: Any, axes: Any, row_R: jax.Array) -> Any:
    """The rows of a tree whose `row_axes` are known."""

    def leaf(x: jax.Array, axis: int) -> jax.Array:
        return x if axis < 0 else jnp.take(x, row_R, axis=axis, mode="clip")

    return jax.tree.map(leaf, tree, axes)
