"""The probability of every tag in one pass: the decoder reads the whole trie at once.

A node of the trie is an input of the decoder: its token at the position of its depth, seeing itself and its
ancestors only. So one pass gives the hidden state after every beginning of a tag, and with it the decision
that is taken there: to which child, or to end the tag (by the separator or the end of the output). A
decision's probabilities are renormalised over what is legal, as in `constraint`; a tag's log-probability is
the sum over the decisions on its path:

    log p(the first tag is this one | product, the first tag is one of the vocabulary)

which sums to 1 over the tags, and is what a search with `max_tags=1` gives to its outputs. Where a product
may have a set of the tags only, a decision is legal if it leads to one of them.

Only nodes with children are read. A long trie is read in chunks: nodes in depth-first order, each chunk with
the ancestors of its first node, which are all that it lacks. Letters: C chunks, X nodes of a chunk, E
decisions of a chunk, P decisions on the way to a tag, L tags, A alphabet, G sets of tags.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from taggen_jax.decode.trie import Trie, power_of_two

Array = Any  # numpy's where it is made, jax's where it is used
CHUNK = 1024  # nodes; attention costs their square


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=[
        *("token_CX", "depth_CX", "parent_CX", "place_CE", "letter_CE", "legal_CEG", "way_LP", "words_A")
    ],
    meta_fields=["levels"],
)
@dataclasses.dataclass(frozen=True)
class Forest:
    """A trie as inputs of a decoder, padded to powers of two.

    Attributes:
      token_CX: int32, what the decoder reads: the token of each node, the start token for the root.
      depth_CX: int32, its position.
      parent_CX: int32, the place of its parent in the chunk; the root's is its own.
      place_CE: int32, the place of the node where each decision is taken; X for padding.
      letter_CE: int32, which way it goes: letter 0 ends the tag.
      legal_CEG: bool, whether it leads to a tag of each set.
      way_LP: int32, the decisions to each tag by vocabulary id, as c * E + e; C * E for none, and C * E + 1
        for an impossible one, where a row is padding.
      words_A: int32, the token ids of the letters; the first two are the end and the separator.
      levels: at least the depth of the trie.
    """

    token_CX: Array
    depth_CX: Array
    parent_CX: Array
    place_CE: Array
    letter_CE: Array
    legal_CEG: Array
    way_LP: Array
    words_A: Array
    levels: int


def log_probabilities(
    decode: Callable[[jax.Array, jax.Array, jax.Array], jax.Array],
    unembed: Callable[[jax.Array, jax.Array], jax.Array],
    forest: Forest,
    of: jax.Array | int = 0,
) -> jax.Array:
    """float32 [L]: each tag's log-probability for one product; -inf for padding and tags it may not have.

    Args:
      decode: (inputs_X, positions_X, mask_XX) -> hidden_XD of one product.
      unembed: (hidden_XD, words_A) -> logits_XA.
      forest: of the vocabulary, or of the product's own candidates.
      of: int32, the set of tags that the product may have.
    """

    def chunk(part: tuple[jax.Array, ...]) -> jax.Array:
        token_X, depth_X, parent_X, place_E, letter_E, legal_EG = part
        hidden_XD = decode(token_X, depth_X, _ancestors(parent_X, forest.levels))
        logits_XA = unembed(hidden_XD, forest.words_A)
        logits_XA = logits_XA.at[:, 0].set(jnp.logaddexp(logits_XA[:, 0], logits_XA[:, 1]))
        logit_E = logits_XA.at[place_E, letter_E].get(mode="fill", fill_value=-jnp.inf)
        logit_E = jnp.where(legal_EG[:, of], logit_E, -jnp.inf)
        top_X = jax.ops.segment_max(logit_E, place_E, len(token_X))
        total_X = jax.ops.segment_sum(jnp.exp(logit_E - top_X[place_E]), place_E, len(token_X))
        logprob_E = logit_E - top_X[place_E] - jnp.log(total_X)[place_E]
        return jnp.where(legal_EG[:, of], logprob_E, -jnp.inf)  # a node without a legal decision has no top

    nodes = (forest.token_CX, forest.depth_CX, forest.parent_CX)
    parts = (*nodes, forest.place_CE, forest.letter_CE, forest.legal_CEG)
    logprob_CE = jax.lax.map(chunk, parts)
    logprob = jnp.append(logprob_CE.reshape(-1), jnp.array([0.0, -jnp.inf]))
    return logprob[forest.way_LP].sum(axis=-1)


class BySize(NamedTuple):
    """Lists that begin with their size: the sizes 1, 2, .. as if they were tags, and the tags after each."""

    sizes: Forest
    tags: tuple[Forest, ...]


def of_lists(
    decode: Callable[[jax.Array, jax.Array, jax.Array], jax.Array],
    unembed: Callable[[jax.Array, jax.Array], jax.Array],
    lists: Forest | BySize,
    of: jax.Array | int = 0,
) -> jax.Array:
    """`log_probabilities` of the first tag; where a size comes before it, summed over the sizes."""
    if isinstance(lists, Forest):
        return log_probabilities(decode, unembed, lists, of)
    size_K = log_probabilities(decode, unembed, lists.sizes)
    after = (log_probabilities(decode, unembed, forest, of) for forest in lists.tags)
    return functools.reduce(jnp.logaddexp, (size_K[k] + tag_L for k, tag_L in enumerate(after)))


def _ancestors(parent_X: jax.Array, levels: int) -> jax.Array:
    """mask_XX: a node sees itself and its ancestors."""
    place_X = seen_X = jnp.arange(len(parent_X))
    mask_XX = place_X[:, None] == place_X[None]
    for _ in range(levels):
        seen_X = parent_X[seen_X]
        mask_XX |= seen_X[:, None] == place_X[None]
    return mask_XX


def forest(
    trie: Trie, prefix: Sequence[int], chunk: int = CHUNK, sets_GX: np.ndarray | None = None
) -> Forest:
    """The trie as inputs of a decoder.

    Args:
      trie: of the tags.
      prefix: what the decoder reads before a tag: the start token, and a forced one after it.
      chunk: nodes that are read at once, at most.
      sets_GX: as of `constraint.tables`.
    """
    head, run = len(prefix) - 1, chunk - trie.levels - len(prefix)
    nodes = np.flatnonzero(np.diff(trie.first_N)[: trie.nodes])  # with children
    nodes = nodes[np.lexsort((trie.depth_N[nodes], trie.lo_N[nodes]))]  # depth first
    runs = [nodes[i : i + run] for i in range(0, len(nodes), run)]
    members = [np.concatenate([_path(trie, of[0])[:-1], of]) for of in runs]
    X = power_of_two(head + max(map(len, members)))
    token_CX, depth_CX = np.zeros((2, len(runs), X), np.int32)
    parent_CX = np.tile(np.arange(X, dtype=np.int32), (len(runs), 1))
    chunk_N, place_N = np.zeros((2, trie.nodes), np.int32)
    for c, (own, of) in enumerate(zip(runs, members, strict=True)):
        at_N = np.zeros(trie.nodes, np.int32)
        at_N[of] = places = head + np.arange(len(of))
        chunk_N[own], place_N[own] = c, at_N[own]
        token_CX[c, : len(prefix)] = prefix  # the last of them is the root's
        token_CX[c, places[1:]] = trie.words(trie.letter_N[of[1:]])
        depth_CX[c, : head + len(of)] = np.append(np.arange(head), head + trie.depth_N[of])
        parent_CX[c, : head + 1] = np.maximum(np.arange(head + 1) - 1, 0)
        parent_CX[c, places[1:]] = at_N[trie.parent_N[of[1:]]]
    words_A, shift = trie.words_A, 0
    if words_A is None:
        words_A, shift = np.append([trie.eos, trie.separator], np.arange(trie.letters)).astype(np.int32), 2
    ends = nodes[trie.ends_N[nodes]]
    node = np.append(trie.parent_N[1:], ends)  # where a decision is taken
    letter = np.append(trie.letter_N[1 : trie.nodes] + shift, np.zeros_like(ends))
    number, E = _numbered(chunk_N[node])
    place_CE, letter_CE = np.full((len(runs), E), X, np.int32), np.zeros((len(runs), E), np.int32)
    place_CE.reshape(-1)[number], letter_CE.reshape(-1)[number] = place_N[node], letter
    way_LP = _ways(trie, number, ends, len(runs) * E)
    return Forest(
        token_CX=token_CX,
        depth_CX=depth_CX,
        parent_CX=parent_CX,
        place_CE=place_CE,
        letter_CE=letter_CE,
        legal_CEG=_legal(way_LP, sets_GX, len(trie.tags_L), len(runs) * E).reshape(len(runs), E, -1),
        way_LP=way_LP,
        words_A=words_A,
        levels=power_of_two(trie.levels + head),
    )


def _path(trie: Trie, node: int) -> np.ndarray:
    """The nodes from the root to `node`, both included."""
    path = [node]
    while path[-1]:
        path.append(trie.parent_N[path[-1]])
    return np.array(path[::-1])


def _numbered(chunk: np.ndarray) -> tuple[np.ndarray, int]:
    """A number c * E + e for each decision, counted within its chunk; and E."""
    counts = np.bincount(chunk)
    E = power_of_two(int(counts.max()))
    order = np.argsort(chunk, kind="stable")
    number = np.empty(len(chunk), np.int64)
    number[order] = np.arange(len(chunk)) + np.repeat(np.arange(len(counts)) * E - _before(counts), counts)
    return number, E


def _before(counts: np.ndarray) -> np.ndarray:
    return np.cumsum(counts) - counts


def _ways(trie: Trie, number: np.ndarray, ends: np.ndarray, none: int) -> np.ndarray:
    """way_LP. Decision n - 1 leads to node n; those after the nodes end the tags at `ends`."""
    to_N = np.append(none, number[: trie.nodes - 1])
    end_N = np.full(trie.nodes, none)
    end_N[ends] = number[trie.nodes - 1 :]
    leaf_nodes = np.flatnonzero(trie.ends_N)
    here_L = np.empty(len(trie.tags_L), np.int64)
    here_L[trie.tags_L[trie.lo_N[leaf_nodes]]] = leaf_nodes  # by vocabulary id
    way_LP = np.full((power_of_two(len(here_L)), power_of_two(trie.levels) + 1), none, np.int32)
    way_LP[len(here_L) :, 0] = none + 1
    way_LP[: len(here_L), 0] = end_N[here_L]
    for p in range(1, trie.levels + 1):
        way_LP[: len(here_L), p] = to_N[here_L]
        here_L = trie.parent_N[here_L]
    return way_LP


def _legal(way_LP: np.ndarray, sets_GX: np.ndarray | None, tags: int, decisions: int) -> np.ndarray:
    """bool [C * E, G]: the decisions on the way to some tag of each set."""
    allowed_GX = np.ones((1, tags), bool) if sets_GX is None else sets_GX
    legal_EG = np.zeros((decisions + 2, power_of_two(len(allowed_GX))), bool)  # the last two are no decisions
    for group, allowed_X in enumerate(allowed_GX):
        legal_EG[way_LP[:tags][allowed_X], group] = True
    return legal_EG[:decisions]
