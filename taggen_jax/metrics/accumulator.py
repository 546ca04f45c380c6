"""What every measure is made of: sums that add up over products, parts of a split, and hosts."""

import collections
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np


class Accumulator:
    """Sums by name. A subclass names them in STATE; whatever else it holds comes from its `__init__`.

    Sums may be numbers, arrays, counters, accumulators, or mappings of these with fixed text keys.
    """

    STATE: ClassVar[tuple[str, ...]] = ()

    def merge(self, other: Self) -> None:
        """Adds what `other`, made with the same arguments, has scored."""
        for name in self.STATE:
            setattr(self, name, _sum(getattr(self, name), getattr(other, name)))

    def to_json(self) -> Any:
        """The sums as plain lists and numbers: what one host sends to another."""
        return {name: _encode(getattr(self, name)) for name in self.STATE}

    def from_json(self, state: Any) -> Self:
        """Takes over the sums that `to_json` of an object made with the same arguments gave."""
        for name in self.STATE:
            setattr(self, name, _decode(getattr(self, name), state[name]))
        return self


def _sum(one: Any, other: Any) -> Any:
    if isinstance(one, Accumulator):
        one.merge(other)
    elif isinstance(one, collections.Counter):
        one.update(other)
    elif isinstance(one, dict):
        return {key: _sum(value, other[key]) for key, value in one.items()}
    else:
        return one + other
    return one


def _encode(value: Any) -> Any:
    if isinstance(value, Accumulator):
        return value.to_json()
    if isinstance(value, collections.Counter):
        return [[key, count] for key, count in value.items()]  # JSON has no keys but texts
    if isinstance(value, Mapping):
        return {key: _encode(item) for key, item in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value


def _decode(like: Any, value: Any) -> Any:
    if isinstance(like, Accumulator):
        return like.from_json(value)
    if isinstance(like, collections.Counter):
        pairs = {tuple(key) if isinstance(key, list) else key: count for key, count in value}
        return collections.Counter(pairs)
    if isinstance(like, Mapping):
        return {key: _decode(item, value[key]) for key, item in like.items()}
    return np.asarray(value, like.dtype) if isinstance(like, np.ndarray) else value
