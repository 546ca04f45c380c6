"""The plan of a job: which rows there are, which ids repeat, and how the rows are cut into shards."""

import collections
import dataclasses
import os
from collections.abc import Iterator, Sequence
from typing import Any

from taggen_jax.catalog.product import Product
from taggen_jax.catalog.quarantine import Quarantine
from taggen_jax.catalog.readers import CatalogConfig, Seen, duplicate, product_of, put_aside, refusal, rows
from taggen_jax.catalog.rows import BadRow


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What a look through the whole input finds out, so that its shards can be read apart from each other.

    Attributes:
      files: the input in order, as given, with the number of rows of each.
      duplicates: numbers of the rows, over all files and from 0, whose id stands on an earlier row.
      products: in each shard, rows that are not bad.
      shard_rows: rows in a shard; the last one may have fewer.
    """

    files: tuple[tuple[str, int], ...]
    duplicates: frozenset[int]
    products: tuple[int, ...]
    shard_rows: int

    @property
    def rows(self) -> int:
        return sum(count for _, count in self.files)

    @property
    def shards(self) -> int:
        return len(self.products)

    def span(self, shard: int) -> range:
        """The numbers of a shard's rows."""
        start = shard * self.shard_rows
        return range(start, min(start + self.shard_rows, self.rows))

    def place(self, number: int) -> tuple[int, int]:
        """The file that holds a row, by its place in `files`, and the number of that file's first row."""
        first = 0
        for place, (_, count) in enumerate(self.files):
            if number < first + count:
                return place, first
            first += count
        raise IndexError(f"row {number}, but the input has {first} rows")

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"duplicates": sorted(self.duplicates)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Plan":
        return cls(
            files=tuple((str(path), int(count)) for path, count in value["files"]),
            duplicates=frozenset(value["duplicates"]),
            products=tuple(value["products"]),
            shard_rows=value["shard_rows"],
        )


def survey(
    paths: Sequence[str | os.PathLike[str]], config: CatalogConfig, shard_rows: int, *, strict: bool
) -> Plan:
    """Reads everything once. Memory: 16 bytes of hash for every id.

    Raises:
      UserError: a file cannot be read, or with `strict` any bad row.
    """
    seen, good, duplicates = Seen(), collections.Counter[int](), set()
    files: list[tuple[str, int]] = []
    number = 0  # of the next row
    for path in paths:
        first = number
        for _, row in rows([path], config):
            try:
                product = product_of(row, config)
                if seen.before(product):
                    duplicates.add(number)
                    raise duplicate(product)
                good[number // shard_rows] += 1
            except BadRow as bad:
                if strict:
                    raise refusal(path, row, bad) from None
            number += 1
        files.append((str(path), number - first))
    return Plan(
        files=tuple(files),
        duplicates=frozenset(duplicates),
        products=tuple(good[shard] for shard in range(-(-number // shard_rows))),
        shard_rows=shard_rows,
    )


class Reader:
    """Reads shards one after another; shards in ascending order cost one way through the files."""

    def __init__(self, plan: Plan, config: CatalogConfig) -> None:
        self._plan, self._config = plan, config
        self._next, self._rows = 0, iter(rows([], config))  # number of the next row, and the rows from there

    def products(self, shard: int, quarantine: Quarantine) -> Iterator[Product]:
        """The products of a shard, in order. Bad rows go to the quarantine as `catalog.readers.read` says."""
        span = self._plan.span(shard)
        self._seek(span.start)
        for number, (path, row) in zip(span, self._rows, strict=False):
            self._next = number + 1
            try:
                product = product_of(row, self._config)
                if number in self._plan.duplicates:
                    raise duplicate(product)
            except BadRow as bad:
                put_aside(path, row, bad, quarantine)
            else:
                yield product

    def _seek(self, number: int) -> None:
        """Goes on to a row, over whole files where there is a choice, or begins anew to come back to one."""
        file, first = self._plan.place(number)
        if self._next > number or self._next < first or not self._next:
            paths = [path for path, _ in self._plan.files[file:]]
            self._next, self._rows = first, rows(paths, self._config)
        for _ in range(number - self._next):
            next(self._rows)
        self._next = number
