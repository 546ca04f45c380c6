"""A catalog cut into folds: what is alike stays together, and rare tags are spread evenly."""

import collections
import hashlib
from collections.abc import Iterable, Iterator, Sequence

from taggen_jax.catalog.near import pairs, signatures
from taggen_jax.catalog.product import Product


def groups(products: Iterable[Product], near: float) -> list[int]:
    """For every product the number of its group: equal numbers must not straddle a split.

    Alike are products of one `group`; products that share at least the part `near` of their words (see
    `catalog.near`; 0 looks at no words), such as "Cable, 2 m" and "CABLE 5 m"; and whatever is alike through
    a third one. Groups are numbered by their first product. Memory: 0.6 KB a product.
    """
    first: dict[str, int] = {}
    parents: list[int] = []

    def joined() -> Iterator[Product]:
        for i, product in enumerate(products):
            parents.append(i)
            if product.group:
                _join(parents, first.setdefault(product.group, i), i)
            yield product

    if near:
        signed_NP, numbers = signatures(joined())
        for one, other in pairs(signed_NP, near):
            _join(parents, int(numbers[one]), int(numbers[other]))
    else:
        collections.deque(joined(), maxlen=0)
    return [_root(parents, i) for i in range(len(parents))]


def assign(groups: Sequence[int], tags: Sequence[Sequence[str]], folds: int, salt: str = "") -> list[int]:
    """For every product its fold, 0 .. folds - 1, by iterative stratification of whole groups.

    Sechidis, Tsoumakas and Vlahavas (2011): the tag with the fewest products left is dealt out first, each
    of its groups to the fold that lacks most of it, ties to the fold that lacks most products; so a tag of 5
    products reaches all 5 folds if its groups allow. Large groups go first, equal ones in the order of a
    hash: the result depends on what is in the catalog and on `salt`, on no chance.

    Raises:
      ValueError: fewer than 2 folds, or fewer groups than folds.
    """
    members: dict[int, list[int]] = {}
    for i, group in enumerate(groups):
        members.setdefault(group, []).append(i)
    if not 2 <= folds <= len(members):
        raise ValueError(
            f"folds={folds} must be at least 2 and at most the {len(members)} groups of products"
        )
    carried = {group: _count(tags[i] for i in items) for group, items in members.items()}
    order = sorted(members, key=lambda group: (-len(members[group]), _hash(salt, group)))
    fold_of = _deal(order, carried, {group: len(items) for group, items in members.items()}, folds)
    return [fold_of[group] for group in groups]


def _deal(
    order: Sequence[int], carried: dict[int, collections.Counter[str]], sizes: dict[int, int], folds: int
) -> dict[int, int]:
    """Group to fold. `order` decides between equal groups; `carried` has their tags, `sizes` their sizes."""
    left = _sum(carried.values())
    holders: dict[str, list[int]] = {tag: [] for tag in left}
    for group in order:
        for tag in carried[group]:
            holders[tag].append(group)
    lacks = [{tag: count / folds for tag, count in left.items()} for _ in range(folds)]
    room = [sum(sizes.values()) / folds] * folds
    fold_of: dict[int, int] = {}

    def put(group: int, fold: int) -> None:
        fold_of[group] = fold
        room[fold] -= sizes[group]
        for tag, count in carried[group].items():
            lacks[fold][tag] -= count
            left[tag] -= count

    while tag := min((tag for tag in left if left[tag] > 0), key=lambda tag: (left[tag], tag), default=""):
        for group in holders[tag]:
            if group not in fold_of:
                put(group, max(range(folds), key=lambda fold: (lacks[fold][tag], room[fold], -fold)))
    for group in order:  # those without any tag
        if group not in fold_of:
            put(group, max(range(folds), key=lambda fold: (room[fold], -fold)))
    return fold_of


def _join(parents: list[int], one: int, other: int) -> None:
    low, high = sorted((_root(parents, one), _root(parents, other)))
    parents[high] = low


def _root(parents: list[int], i: int) -> int:
    while parents[i] != i:
        parents[i] = parents[parents[i]]
        i = parents[i]
    return i


def _count(tag_lists: Iterable[Sequence[str]]) -> collections.Counter[str]:
    return collections.Counter(tag for tags in tag_lists for tag in dict.fromkeys(tags))


def _sum(counters: Iterable[collections.Counter[str]]) -> collections.Counter[str]:
    total: collections.Counter[str] = collections.Counter()
    for counter in counters:
        total.update(counter)
    return total


def _hash(salt: str, group: int) -> bytes:
    return hashlib.blake2b(f"{salt}\0{group}".encode(), digest_size=8).digest()
