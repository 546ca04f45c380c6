"""Tables of names: which tensor of a Hugging Face folder is which of our parameters. Read both ways."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Name:
    """One row of a family's table.

    Attributes:
      hf: the tensor's name there; "{}" stands for the layer number: ours is stacked over layers on axis 0.
      path: our parameter, the keys of the nested dict joined by "/".
      inputs: 0 for a tensor that is the same on both sides. Else the tensor there is a matrix
        [outputs, inputs], and ours starts with that many input axes: 1 for a query [D, H, K], 2 for an
        output projection [H, K, D].
      flat: the tensor there is a vector that ours cuts into several axes: a bias [H * K] of heads [H, K].
      optional: the tensor may be absent, and then it is zero.
    """

    hf: str
    path: str
    inputs: int = 0
    flat: bool = False
    optional: bool = False


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One tensor of a folder and its place in our parameters."""

    path: str
    layer: int | None  # index on axis 0 of our stacked parameter; None where it is not stacked
    inputs: int
    flat: bool
    shape: tuple[int, ...]  # of ours, without the layer axis
    optional: bool = False

    @property
    def hf_shape(self) -> tuple[int, ...]:
        """The shape that the tensor must have in the folder."""
        if self.flat:
            return (math.prod(self.shape),)
        if not self.inputs:
            return self.shape
        return math.prod(self.shape[self.inputs :]), math.prod(self.shape[: self.inputs])

    def to_ours(self, x: np.ndarray) -> np.ndarray:
        """Folder's layout to ours."""
        return (x.T if self.inputs else x).reshape(self.shape)

    def to_hf(self, x: np.ndarray) -> np.ndarray:
        """Our layout to the folder's, in one contiguous piece."""
        return np.ascontiguousarray(
            x.reshape(self.hf_shape[::-1]).T if self.inputs else x.reshape(self.hf_shape)
        )


def expand(names: Iterable[Name], shapes: Mapping[str, Any]) -> dict[str, Tensor]:
    """Every tensor that a folder holds for parameters of these shapes, in the table's order.

    Args:
      names: the family's table; it must name each parameter exactly once.
      shapes: our parameters, or anything of the same nesting with a `shape` at the leaves.
    """
    ours = {path: tuple(leaf.shape) for path, leaf in flatten(shapes).items()}
    rows = list(names)
    if sorted(row.path for row in rows) != sorted(ours):
        raise ValueError(
            f"the table of names and the parameters differ: {sorted({r.path for r in rows} ^ set(ours))}"
        )
    tensors = {}
    for row in rows:
        shape = ours[row.path]
        if "{}" not in row.hf:
            tensors[row.hf] = Tensor(row.path, None, row.inputs, row.flat, shape, row.optional)
            continue
        for layer in range(shape[0]):
            tensors[row.hf.format(layer)] = Tensor(
                row.path, layer, row.inputs, row.flat, shape[1:], row.optional
            )
    return tensors


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": leaf}} to {"a/b": leaf}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        path = f"{prefix}{key}"
        flat.update(flatten(value, f"{path}/") if isinstance(value, Mapping) else {path: value})
    return flat


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flatten`."""
    tree: dict[str, Any] = {}
    for path, leaf in flat.items():
        *parents, last = path.split("/")
        node = tree
        for key in parents:
            node = node.setdefault(key, {})
        node[last] = leaf
    return tree
