"""Near-duplicates: which products have almost the same words, found without comparing all pairs.

MinHash (Broder, 1997): the share of equal numbers in two signatures estimates the Jaccard similarity of two
sets of words. Signatures are cut into bands; products that share a band are candidates, whose whole
signatures decide (locality-sensitive hashing; Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets",
chapter 3).
"""

import itertools
import re
from collections.abc import Iterable, Iterator

import numpy as np
from datasketch import MinHash

from taggen_jax.catalog.product import Product

PERMUTATIONS = 128  # numbers in a signature: the estimate's standard error is below 0.045
MISSED = 0.01  # the largest chance to overlook a pair that is just similar enough
LEAST_WORDS = 4  # so few words are shared by products that are nothing alike
_CHUNK = 10_000
_WORD = re.compile(r"[^\W\d_]+")
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]{2,}")


def words(product: Product) -> set[str]:
    """The words of title and description, apart from letter case, digits and punctuation.

    Chinese, which sets no spaces, is cut into pairs of characters.
    """
    found: set[str] = set()
    for word in _WORD.findall(f"{product.title} {product.description}".casefold()):
        runs = _HAN.findall(word)
        found.update(run[i : i + 2] for run in runs for i in range(len(run) - 1))
        found.update([] if runs else [word])
    return found


def signatures(products: Iterable[Product]) -> tuple[np.ndarray, np.ndarray]:
    """uint32 [N, 128], the signatures of all products that have words enough; int64 [N], their numbers."""
    enough = (
        (number, found) for number, found in enumerate(map(words, products)) if len(found) >= LEAST_WORDS
    )
    signed_NP, numbers = [np.empty((0, PERMUTATIONS), np.uint32)], [np.empty(0, np.int64)]
    while chunk := list(itertools.islice(enough, _CHUNK)):
        sets = [[word.encode() for word in found] for _, found in chunk]
        hashes = MinHash.generator(sets, num_perm=PERMUTATIONS)
        signed_NP.append(np.array([hash.hashvalues for hash in hashes], np.uint32))
        numbers.append(np.array([number for number, _ in chunk]))
    return np.concatenate(signed_NP), np.concatenate(numbers)


def pairs(signed_NP: np.ndarray, similarity: float) -> Iterator[tuple[int, int]]:
    """Pairs of rows of at least this estimated Jaccard similarity, enough of them to connect what is alike.

    Time and memory grow with N, not with the pairs: in a band's bucket each row is compared with the first of
    the bucket and with the one before it.
    """
    height = rows_a_band(similarity)
    for band in range(PERMUTATIONS // height):
        own_NH = np.ascontiguousarray(signed_NP[:, band * height : (band + 1) * height])
        keys = own_NH.view(np.dtype((np.void, own_NH.itemsize * height)))[:, 0]
        _, bucket = np.unique(keys, return_inverse=True)
        order = np.argsort(bucket, kind="stable")
        goes_on = (
            np.flatnonzero(np.diff(bucket[order]) == 0) + 1
        )  # places in `order`, all but each bucket's first
        starts = np.unique(bucket[order], return_index=True)[1]
        for others in (order[starts[bucket[order[goes_on]]]], order[goes_on - 1]):
            yield from _alike(signed_NP, others, order[goes_on], similarity)


def _alike(
    signed_NP: np.ndarray, some: np.ndarray, others: np.ndarray, similarity: float
) -> Iterator[tuple[int, int]]:
    """Those pairs of two equally long lists of rows that are similar enough."""
    for at in range(0, len(some), _CHUNK):
        a, b = some[at : at + _CHUNK], others[at : at + _CHUNK]
        alike = (signed_NP[a] == signed_NP[b]).mean(axis=1) >= similarity
        yield from zip(a[alike].tolist(), b[alike].tolist(), strict=True)


def rows_a_band(similarity: float) -> int:
    """The most numbers in a band with which a pair of just this similarity is hardly ever overlooked."""
    return next(
        height
        for height in range(PERMUTATIONS, 0, -1)
        if height == 1 or (1 - similarity**height) ** (PERMUTATIONS // height) <= MISSED
    )
