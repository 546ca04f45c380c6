"""Which parameters train: patterns over paths, and a tree split in two along them.

A pattern is a path or the beginning of one, each part a glob; after a stacked module a part may name layers:

  "embedding"               the embedding
  "encoder/blocks/0-3"      the four lowest layers of the encoder
  "*/blocks/*/mlp"          the MLPs of every layer
  "encoder"                 the whole encoder

Only what trains is differentiated and given to optax, so a frozen leaf has no gradient, no optimizer state
and no weight decay, and cannot move. Both halves are flat dicts from path to array; a stacked leaf of which
some layers are frozen appears in both, each with its own layers.
"""

import fnmatch
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import traverse_util

from taggen_jax.errors import UserError

Params = dict[str, Any]
Flat = dict[str, jax.Array]


class Partition(NamedTuple):
    """For every path: whether its layers are frozen, one bool a layer (a single one for an unstacked
    leaf)."""

    frozen: Mapping[str, tuple[bool, ...]]

    def split(self, params: Params) -> tuple[Flat, Flat]:
        """(trainable, frozen)."""
        halves: tuple[Flat, Flat] = ({}, {})
        for path, leaf in traverse_util.flatten_dict(params, sep="/").items():
            flags = self.frozen[path]
            if all(flags) or not any(flags):
                halves[flags[0]][path] = leaf
            else:
                for wanted in (False, True):
                    halves[wanted][path] = jnp.concatenate(
                        [leaf[start:stop] for start, stop, flag in runs(flags) if flag == wanted]
                    )
        return halves

    def merge(self, trainable: Flat, frozen: Flat) -> Params:
        """The inverse of `split`."""
        flat = {}
        for path, flags in self.frozen.items():
            if all(flags) or not any(flags):
                flat[path] = (frozen if flags[0] else trainable)[path]
            else:
                used = [0, 0]
                pieces = []
                for start, stop, flag in runs(flags):
                    half, begin = (frozen if flag else trainable)[path], used[flag]
                    used[flag] += stop - start
                    pieces.append(half[begin : used[flag]])
                flat[path] = jnp.concatenate(pieces)
        return traverse_util.unflatten_dict(flat, sep="/")


def partition(shapes: Params, axes: Params, freeze: Sequence[str], thawed: Sequence[str] = ()) -> Partition:
    """Resolves patterns against a model's parameters.

    Args:
      shapes: nested dict of arrays or `jax.ShapeDtypeStruct`.
      axes: the same tree with a tuple of axis names per leaf; "layers" comes first where a leaf is stacked.
      freeze: what is frozen,
      thawed: apart from this.

    Raises:
      UserError: a pattern that matches nothing, or patterns that leave nothing to train.
    """
    frozen = {
        path: tuple(bool(cold) and not warm for cold, warm in zip(layers, thawing, strict=True))
        for (path, layers), thawing in zip(
            matching(shapes, axes, freeze, "train.freeze").items(),
            matching(shapes, axes, thawed, "train.unfreeze").values(),
            strict=True,
        )
    }
    if all(all(flags) for flags in frozen.values()):
        raise UserError(f"train.freeze: {list(freeze)} freeze every parameter; leave something to train")
    return Partition(frozen)


def matching(
    shapes: Params, axes: Params, patterns: Sequence[str], setting: str
) -> dict[str, tuple[tuple[str, ...], ...]]:
    """For every path, the patterns that match each of its layers (a single one where it is not stacked).

    Raises:
      UserError: a pattern that matches nothing; `setting` is where it stands.
    """
    flat_axes = traverse_util.flatten_dict(axes, sep="/")
    found = {}
    for path, leaf in traverse_util.flatten_dict(shapes, sep="/").items():
        layers = range(leaf.shape[0]) if flat_axes[path][0] == "layers" else (None,)
        found[path] = tuple(
            tuple(pattern for pattern in patterns if _matches(pattern, path, layer)) for layer in layers
        )
    used = {pattern for layers in found.values() for hits in layers for pattern in hits}
    for pattern in patterns:
        if pattern not in used:
            raise UserError(
                f"{setting}: {pattern!r} matches no parameter; paths look like "
                f"{', '.join(sorted(found)[:4])}, "
                "and layers are named after 'blocks', as in 'encoder/blocks/0-3'"
            )
    return found


def runs(flags: Sequence[bool]) -> list[tuple[int, int, bool]]:
    """(start, stop, flag) of each run of equal flags."""
    starts = [i for i in range(len(flags)) if i == 0 or flags[i] != flags[i - 1]]
    return [(a, b, flags[a]) for a, b in zip(starts, [*starts[1:], len(flags)], strict=True)]


def _matches(pattern: str, path: str, layer: int | None) -> bool:
    wanted, parts = pattern.split("/"), path.split("/")
    if layer is not None:
        parts.insert(parts.index("blocks") + 1, str(layer))
    return len(wanted) <= len(parts) and all(map(_part_matches, wanted, parts))


def _part_matches(wanted: str, part: str) -> bool:
    layers = re.fullmatch(r"(\d+)-(\d+)", wanted)
    if layers and part.isdecimal():
        return int(layers[1]) <= int(part) <= int(layers[2])
    return fnmatch.fnmatchcase(part, wanted)
