r"""A tag vocabulary as a trie in a few flat arrays, built by numpy without a step per node.

Nodes are numbered level by level, and within a level in the order of the sorted tags; leaves are the tags in
that order. Here for the tags a, ab, cd:

        0         node    0  1  2  3  4
      a/ \c       first   1  3  4  5  5  5     the children of n are first[n] .. first[n + 1]
      1   2       letter  -  a  c  b  d        on the edge to the node
     b|   |d      lo      0  0  2  1  2        the first leaf at or under the node
      3   4

So a node is its edge, siblings share out the leaves of their parent from left to right, and an edge costs 12
bytes. A tag that ends at a node comes before those that go on. The building is that of STATIC (arXiv
2602.22647) for tags of any length.
"""

import dataclasses
import functools
import itertools
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Trie:
    """Arrays are padded to powers of two: an edited vocabulary has mostly the same shapes.

    Attributes:
      first_N: int32, each node's first child; padding has none.
      letter_N: int32, the letter on the edge to the node.
      lo_N: int32, the first leaf at or under the node.
      words_A: int32, the token ids of the letters; None where every token id is its own letter.
      tags_L: int32, the vocabulary id of each leaf; not padded.
      eos, separator: their token ids.
      letters: A, padded.
      nodes: how many there are, the root included.
      levels: tokens of the longest tag.
      fan: children of a node other than the root, at most.
    """

    first_N: np.ndarray
    letter_N: np.ndarray
    lo_N: np.ndarray
    words_A: np.ndarray | None
    tags_L: np.ndarray
    eos: int
    separator: int
    letters: int
    nodes: int
    levels: int
    fan: int

    @functools.cached_property
    def parent_N(self) -> np.ndarray:
        """int32 [nodes], the parent of every node; the root's is itself."""
        degree_N = np.diff(self.first_N)[: self.nodes]
        return np.append([0], np.repeat(np.arange(self.nodes), degree_N)).astype(np.int32)

    @functools.cached_property
    def depth_N(self) -> np.ndarray:
        """int32 [nodes], the tokens from the root to the node."""
        depth_N = np.zeros(self.nodes, np.int32)
        start, stop = 1, int(self.first_N[1])
        while start < stop:
            depth_N[start:stop] = depth_N[self.parent_N[start]] + 1
            start, stop = stop, int(self.first_N[stop])
        return depth_N

    @functools.cached_property
    def hi_N(self) -> np.ndarray:
        """int32 [nodes], one past the last leaf at or under the node."""
        parent_N, hi_N = self.parent_N, np.append(self.lo_N[1 : self.nodes], 0).astype(np.int32)
        last_N = np.append(parent_N[1:] != parent_N[:-1], True)
        hi_N[0] = len(self.tags_L)
        for depth in range(1, self.levels + 1):
            of = np.flatnonzero(last_N & (self.depth_N == depth))
            hi_N[of] = hi_N[parent_N[of]]
        return hi_N

    @functools.cached_property
    def ends_N(self) -> np.ndarray:
        """bool [nodes], whether a tag ends at the node: its own leaf comes before its first child's."""
        first_N = self.first_N[: self.nodes + 1]
        inner_N = first_N[:-1] < first_N[1:]
        ends_N = ~inner_N | (self.lo_N[np.minimum(first_N[:-1], self.nodes - 1)] > self.lo_N[: self.nodes])
        ends_N[0] = False
        return ends_N

    def words(self, letters: np.ndarray) -> np.ndarray:
        """The token ids of letters."""
        return letters if self.words_A is None else self.words_A[letters]


def build(tags: Sequence[Sequence[int]], *, eos: int, separator: int, vocab_size: int) -> Trie:
    """The trie of tags given as token ids; a tag's place among them is its vocabulary id.

    Letters stand for the token ids that tags use: 0 ends an output, 1 separates. Where that is half of the
    vocabulary or more, all token ids are letters, and the head need not be cut.

    Raises:
      ValueError: no tags, an empty tag, two alike, or one with the end or the separator in it.
    """
    if not len(tags):
        raise ValueError("the vocabulary is empty")
    length_L = np.fromiter(map(len, tags), np.int64, len(tags))
    flat = np.fromiter(itertools.chain.from_iterable(tags), np.int32, int(length_L.sum()))
    _check(length_L, flat, eos, separator)
    table_LD = np.full((len(tags), int(length_L.max())), -1, np.int32)  # -1: a prefix comes first
    table_LD[np.arange(table_LD.shape[1]) < length_L[:, None]] = flat
    tags_L = np.lexsort(table_LD.T[::-1]).astype(np.int32)
    table_LD = table_LD[tags_L]
    differs_LD = table_LD[1:] != table_LD[:-1]
    if not differs_LD.any(axis=1).all():
        twice = int(np.flatnonzero(~differs_LD.any(axis=1))[0])
        raise ValueError(f"tags {tags_L[twice]} and {tags_L[twice + 1]} have the same token ids")
    fresh_L = np.append(0, differs_LD.argmax(axis=1))  # the first token that the tag before did not have
    parent, rows, tokens = _edges(table_LD, fresh_L)
    nodes = len(parent) + 1
    degree_N = np.bincount(parent, minlength=nodes)
    words_A, letter = _alphabet(tokens, eos, separator, vocab_size)
    size = power_of_two(nodes + 1)
    return Trie(
        first_N=_padded(np.append(1, 1 + np.cumsum(degree_N)), size, nodes),
        letter_N=_padded(np.append(0, letter), size, 0),
        lo_N=_padded(np.append(0, rows), size, len(tags)),
        words_A=words_A,
        tags_L=tags_L,
        eos=eos,
        separator=separator,
        letters=vocab_size if words_A is None else len(words_A),
        nodes=nodes,
        levels=table_LD.shape[1],
        fan=int(degree_N[1:].max(initial=0)),
    )


def power_of_two(size: int) -> int:
    """The smallest that is not below `size`."""
    return 1 << max(size - 1, 0).bit_length()


def _check(length_L: np.ndarray, flat: np.ndarray, eos: int, separator: int) -> None:
    if not length_L.all():
        raise ValueError(f"tag {int(np.argmin(length_L))} has no token")
    wrong = np.flatnonzero((flat == eos) | (flat == separator))
    if len(wrong):
        tag = int(np.searchsorted(np.cumsum(length_L), wrong[0], side="right"))
        raise ValueError(f"tag {tag} has the end or the separator among its tokens")


def _edges(table_LD: np.ndarray, fresh_L: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Parent, row of the first tag, and token of every node but the root, level by level.

    A tag opens a node at each token from the first that the tag before it did not have.
    """
    parents, rows, tokens = [], [], []
    node_L, nodes = np.zeros(len(table_LD), np.int32), 1
    for depth in range(table_LD.shape[1]):
        opens_L = (fresh_L <= depth) & (table_LD[:, depth] >= 0)
        row = np.flatnonzero(opens_L).astype(np.int32)
        parents.append(node_L[row])
        rows.append(row)
        tokens.append(table_LD[row, depth])
        node_L = (nodes - 1 + np.cumsum(opens_L)).astype(np.int32)
        nodes += len(row)
    return np.concatenate(parents), np.concatenate(rows), np.concatenate(tokens)


def _alphabet(
    tokens: np.ndarray, eos: int, separator: int, vocab_size: int
) -> tuple[np.ndarray | None, np.ndarray]:
    """The words of the letters, and the tokens as letters."""
    used = np.flatnonzero(np.bincount(tokens, minlength=vocab_size))
    size = power_of_two(len(used) + 2)
    if 2 * size > vocab_size:
        return None, tokens
    letter_V = np.zeros(vocab_size, np.int32)
    letter_V[used] = np.arange(2, len(used) + 2)
    return _padded(np.concatenate([[eos, separator], used]), size, eos), letter_V[tokens]


def _padded(values: np.ndarray, size: int, fill: int) -> np.ndarray:
    return np.pad(values, (0, size - len(values)), constant_values=fill).astype(np.int32)
