"""Which split a product belongs to, and which products are there twice."""

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator
from typing import Literal

from taggen_jax.catalog.product import Product

Split = Literal["train", "validation", "test"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """How a catalog without splits is split.

    Attributes:
      validation: share of the groups, from 0 to 1, to choose settings on.
      test: share of the groups to measure on, once.
      salt: another salt, another split.
      near: the share of their words (Jaccard similarity) from which two products are near-duplicates, which
        stay in one split; 1 asks for the same words, 0 for nothing.
    """

    validation: float = 0.1
    test: float = 0.1
    salt: str = ""
    near: float = 0.85

    def __post_init__(self) -> None:
        """Raises ValueError for shares that are none."""
        if min(self.validation, self.test) < 0 or self.validation + self.test > 1:
            raise ValueError(
                f"validation={self.validation} and test={self.test} must be at least 0 and together at most 1"
            )
        if not 0 <= self.near <= 1:
            raise ValueError(f"near={self.near} must be in [0, 1]")


def split_of(product: Product, config: SplitConfig) -> Split:
    """The split of a product, from a hash of its group (or of its id, where it has no group) alone.

    So the variants of a product stay together, and adding rows to a catalog moves none of the others; except
    where a new row joins two groups that were apart (see `folds.groups`).
    """
    key = f"{config.salt}\0{product.group or product.id}".encode()
    place = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest()) / 2**64
    if place < config.test:
        return "test"
    return "validation" if place < config.test + config.validation else "train"


def fingerprint(product: Product) -> bytes:
    """16 bytes that two products share when title and description are equal. Made for cleaned ones."""
    text = f"{len(product.title)} {product.title}{product.description}"  # so that "a" + "b" is not "ab" + ""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


class Deduplicator:
    """Drops products whose title and description came before; only fingerprints are held in memory.

    One object may be called on several streams, one after the other: each product is kept in the first.

    Attributes:
      dropped: how many products it dropped.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._seen: set[bytes] = set()

    def __call__(self, products: Iterable[Product]) -> Iterator[Product]:
        """Streams the products that are new."""
        for product in products:
            mark = fingerprint(product)
            if mark in self._seen:
                self.dropped += 1
            else:
                self._seen.add(mark)
                yield product
