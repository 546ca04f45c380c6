"""A weight with a low-rank adapter beside it (Hu et al., 2021): W + scale * A B, not added up in training."""

import dataclasses
import functools
from types import EllipsisType
from typing import Any

import jax
import jax.numpy as jnp


@functools.partial(jax.tree_util.register_dataclass, data_fields=("base", "a", "b"), meta_fields=("scale",))
@dataclasses.dataclass(frozen=True)
class Adapted:
    """Takes a weight's place: `layers.linear` multiplies by the three, everything else sees their sum.

    Attributes:
      base: the weight; what it reads from stands in its first axes, what it writes to in the others.
      a: [.., inputs, rank], those axes flattened; the leading ones are layers, where they are stacked.
      b: [.., rank, outputs], also flattened.
      scale: of the product.
    """

    base: jax.Array
    a: jax.Array
    b: jax.Array
    scale: float

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.base.shape)

    @property
    def ndim(self) -> int:
        return self.base.ndim

    def reshape(self, *shape: int) -> "Adapted":
        """The factors are flat already."""
        return dataclasses.replace(self, base=self.base.reshape(*shape))

    def whole(self) -> jax.Array:
        """The sum, in the shape of the weight."""
        return self.base + self.scale * jnp.matmul(self.a, self.b).reshape(self.base.shape)

    def __jax_array__(self) -> jax.Array:
        return self.whole()

    def __getitem__(self, index: Any) -> Any:
        return self if isinstance(index, EllipsisType) else self.whole()[index]
