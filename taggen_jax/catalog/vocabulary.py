"""The tags that a catalog knows, with their training counts; a tag's place in it is the tag's id."""

import collections
import dataclasses
import functools
import os
from collections.abc import Iterable, Mapping
from typing import Any

from taggen_jax.catalog.product import Product
from taggen_jax.errors import UserError
from taggen_jax.files import read_json, write_json

_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Tags by falling training count, ties by text: ascending ids are "frequent first".

    Attributes:
      tags: the place of a tag is its id.
      counts: on how many training products each tag stands; 0 for a tag seen only outside training.
    """

    tags: tuple[str, ...]
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        """Refuses what `from_counts` would not have made."""
        if len(self.tags) != len(self.counts):
            raise ValueError(f"{len(self.tags)} tags have {len(self.counts)} counts, expected one a tag")
        if len(set(self.tags)) != len(self.tags) or "" in self.tags:
            raise ValueError("a tag is empty or occurs twice; expected distinct, non-empty tags")
        if list(self.tags) != sorted(self.tags, key=lambda tag: (-self.counts[self._ids[tag]], tag)):
            raise ValueError("the tags are out of order; expected falling counts, ties by text")

    @classmethod
    def from_counts(cls, training: Mapping[str, int], others: Iterable[str] = ()) -> "Vocabulary":
        """Builds a vocabulary from training counts, and from the tags of `others` with count 0 if new."""
        counts = dict.fromkeys(others, 0) | dict(training)
        tags = tuple(sorted(counts, key=lambda tag: (-counts[tag], tag)))
        return cls(tags, tuple(counts[tag] for tag in tags))

    @classmethod
    def from_products(cls, training: Iterable[Product], others: Iterable[Product] = ()) -> "Vocabulary":
        """Counts the tags of the training products; those of `others` (validation, test) come in as 0."""
        counts = collections.Counter(tag for product in training for tag in dict.fromkeys(product.tags))
        return cls.from_counts(counts, (tag for product in others for tag in product.tags))

    @functools.cached_property
    def _ids(self) -> dict[str, int]:
        return {tag: i for i, tag in enumerate(self.tags)}

    def __len__(self) -> int:
        """The number of tags."""
        return len(self.tags)

    def __contains__(self, tag: object) -> bool:
        """Whether the tag has an id."""
        return tag in self._ids

    def index(self, tag: str) -> int:
        """The id of `tag`. Raises KeyError for a tag that is not `in` the vocabulary."""
        return self._ids[tag]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes {"version": 1, "tags": [{"tag": ..., "count": ...}, ...]}, in the order of the ids."""
        pairs = zip(self.tags, self.counts, strict=True)
        rows = [{"tag": tag, "count": count} for tag, count in pairs]
        write_json(path, {"version": _VERSION, "tags": rows})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Vocabulary":
        """Reads what `save` wrote.

        Raises:
          UserError: the file is missing or is not a vocabulary.
        """
        value = read_json(path, "the tag vocabulary")
        if not isinstance(value, dict) or value.get("version") != _VERSION:
            raise UserError(f"{path}: expected a tag vocabulary of version {_VERSION}; prepare the data anew")
        try:
            return cls(*_columns(value.get("tags")))
        except ValueError as error:
            raise UserError(f"{path}: not a tag vocabulary: {error}; prepare the data anew") from error


def _columns(rows: Any) -> tuple[tuple[str, ...], tuple[int, ...]]:
    if not isinstance(rows, list):
        raise ValueError(f"'tags' is {type(rows).__name__}, expected a list")
    for i, row in enumerate(rows):
        if not (isinstance(row, dict) and type(row.get("tag")) is str and type(row.get("count")) is int):
            raise ValueError(f'tags[{i}] is {row!r}, expected {{"tag": text, "count": whole number}}')
    return tuple(row["tag"] for row in rows), tuple(row["count"] for row in rows)
