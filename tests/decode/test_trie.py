"""Laws of the trie's arrays: they hold the tags, whole and nothing else, in the order of the leaves."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from taggen_jax.decode import trie as tries

EOS, SEP = 1, 2
token = strategies.integers(3, 12)
tag_lists = strategies.lists(
    strategies.lists(token, min_size=1, max_size=4).map(tuple), min_size=1, max_size=40, unique=True
)


def build(tags, vocab_size=200):
    return tries.build(tags, eos=EOS, separator=SEP, vocab_size=vocab_size)


def spelt(trie, node):
    """The tokens from the root to a node."""
    tokens = []
    while node:
        tokens.append(int(trie.words(trie.letter_N[node])))
        node = trie.parent_N[node]
    return tuple(reversed(tokens))


@hypothesis.given(tag_lists, strategies.sampled_from([13, 200]))
def test_every_tag_is_a_leaf_and_every_node_a_beginning(tags, vocab_size):
    trie = build(tags, vocab_size)
    assert (trie.words_A is None) == (vocab_size == 13 and trie.letters == 13)
    beginnings = {tag[:n] for tag in tags for n in range(len(tag) + 1)}
    nodes = [spelt(trie, node) for node in range(trie.nodes)]
    assert sorted(nodes) == sorted(beginnings)
    assert [tags[tag] for tag in trie.tags_L] == sorted(tags)
    for node, tokens in enumerate(nodes):
        assert trie.depth_N[node] == len(tokens)
        assert trie.ends_N[node] == (tokens in tags)
        leaves = range(trie.lo_N[node], trie.hi_N[node])
        assert [leaf for leaf, tag in enumerate(sorted(tags)) if tag[: len(tokens)] == tokens] == list(leaves)
        children = range(trie.first_N[node], trie.first_N[node + 1])
        assert all(trie.parent_N[child] == node for child in children)
    assert trie.fan == max(np.diff(trie.first_N)[1:])


def test_sizes_are_powers_of_two():
    trie = build([(3, n) for n in range(4, 40)])
    assert (len(trie.first_N), len(trie.lo_N), len(trie.words_A)) == (64, 64, 64)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ([], "the vocabulary is empty"),
        ([(3,), ()], "tag 1 has no token"),
        ([(3,), (4,), (3,)], "tags 0 and 2 have the same token ids"),
        ([(3,), (4, SEP)], "tag 1 has the end or the separator among its tokens"),
        ([(EOS,), (4,)], "tag 0 has the end"),
    ],
)
def test_tags_that_cannot_be_told_apart_are_refused(tags, message):
    with pytest.raises(ValueError, match=message):
        build(tags)
