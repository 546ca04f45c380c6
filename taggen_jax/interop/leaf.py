"""A parameter that stays on disk: shape and type are known, values are read layer by layer when asked for."""

import dataclasses
import math
from collections.abc import Callable
from types import EllipsisType

import numpy as np


@dataclasses.dataclass(frozen=True)
class Leaf:
    """Takes an array's place in a tree of parameters that together may be larger than memory.

    Attributes:
      shape: of the whole parameter.
      dtype: numpy's.
      stacked: axis 0 counts layers; who copies the parameter does so layer by layer.
      read: a layer's number, or "..." for the whole, -> the values.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    stacked: bool
    read: Callable[[int | EllipsisType], np.ndarray]

    def __getitem__(self, index: int | EllipsisType) -> np.ndarray:
        return self.read(index)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def parts(self) -> tuple[int | EllipsisType, ...]:
        """The indices that together read the whole, one layer each."""
        return tuple(range(self.shape[0])) if self.stacked else (...,)
