"""A search that can only write lists of tags: distinct ones of a vocabulary, whole, the end after a tag.

A beam stands at a node of a `trie.Trie`. From there it may go

    to a child     if an unused tag that the product may have is left under it
    to the root    by the separator, where such a tag ends, if another one is left and has room
    to the end     where such a tag ends

and the probabilities of these are renormalised to sum to 1. A new tag begins only while the longest of the
vocabulary still fits, so that no output is cut: `max_length` needs room for it. Letters: A alphabet, N nodes,
K children, G sets of tags (and before them one of the sizes), M tags of a list, P nodes on the path from the
root to where a beam stands.

Where lists begin with their size, the sizes are words of the trie beside the tags, in a set of their own, set
0: it holds while a list's first word is written, and that word counts as no tag.

A used tag is not searched for at every step: when a tag is finished, the highest node on its path that has no
unused tag left under it is closed, and a step takes the closed nodes (one a tag at most) from the legal ones.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from taggen_jax.decode import topk
from taggen_jax.decode.beam import NEVER, Constraint, DecodeConfig
from taggen_jax.decode.trie import Trie, power_of_two

Array = Any  # numpy's where it is made, jax's where it is used
END, ROOT = -1, 0  # the moves that are no child
DENSE_BYTES = 1 << 26  # tables of transitions up to this size are looked up, larger ones searched by rows


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["first_N", "letter_N", "lo_N", "words_A", "reach_GL", "next_GNA", "longest"],
    meta_fields=["eos", "separator", "fan", "path", "sized"],
)
@dataclasses.dataclass(frozen=True)
class Tables:
    """A vocabulary as arguments of a jitted search. What is not an array changes only with their shapes.

    Attributes:
      first_N, letter_N, lo_N, words_A: see `Trie`.
      reach_GL: int32, how many tags of each set have a leaf below the given one; set 0 is of the sizes.
      next_GNA: int32, the child by a letter, ROOT where there is none that the set reaches; of all nodes, or
        (N = 1) of the root only.
      longest: int32, tokens of the longest tag.
      sized: whether lists begin with their size.
      eos, separator: their letters.
      fan: K, at least the children of any node but the root; 0 where `next_GNA` knows all nodes.
      path: P, at least the tokens of the longest tag.
    """

    first_N: Array
    letter_N: Array
    lo_N: Array
    words_A: Array | None
    reach_GL: Array
    next_GNA: Array
    longest: Array
    eos: int
    separator: int
    fan: int
    path: int
    sized: bool

    @property
    def nbytes(self) -> int:
        return sum(leaf.nbytes for leaf in jax.tree.leaves(self))


def tables(
    trie: Trie, sets_GX: np.ndarray | None = None, dense_bytes: int = DENSE_BYTES, sizes: int = 0
) -> Tables:
    """The arrays of a trie, for one or more sets of tags.

    Args:
      trie: of X tags, and of the sizes after them.
      sets_GX: bool, which tags each set allows, by vocabulary id; None stands for one set of all.
      dense_bytes: see `DENSE_BYTES`.
      sizes: how many sizes; 0 for lists without.

    Raises:
      ValueError: a set is empty.
    """
    count = len(trie.tags_L)
    allowed_GX = np.ones((1, count - sizes), bool) if sets_GX is None else sets_GX
    if not allowed_GX.any(axis=1).all():
        raise ValueError(f"set {int(np.argmin(allowed_GX.any(axis=1)))} allows no tag")
    if sizes:
        allowed_GX = np.pad(allowed_GX, ((1, 0), (0, sizes)))
        allowed_GX[0, count - sizes :] = True
    allowed_GL = allowed_GX[:, trie.tags_L]
    sets = power_of_two(len(allowed_GL))
    allowed_GL = np.pad(allowed_GL, ((0, sets - len(allowed_GL)), (0, 0)), mode="edge")
    reach_GL = np.pad(np.cumsum(allowed_GL, axis=1, dtype=np.int32), ((0, 0), (1, 0)))
    reach_GL = np.pad(reach_GL, ((0, 0), (0, power_of_two(count + 1) - count - 1)), mode="edge")
    dense = 4 * sets * len(trie.first_N) * trie.letters <= dense_bytes
    whole = trie.words_A is None
    return Tables(
        first_N=trie.first_N,
        letter_N=trie.letter_N,
        lo_N=trie.lo_N,
        words_A=trie.words_A,
        reach_GL=reach_GL,
        next_GNA=_transitions(trie, reach_GL, len(trie.first_N) if dense else 1),
        longest=np.int32(trie.levels),
        eos=trie.eos if whole else 0,
        separator=trie.separator if whole else 1,
        fan=0 if dense else power_of_two(max(trie.fan, 1)),
        path=power_of_two(trie.levels),
        sized=sizes > 0,
    )


def _transitions(trie: Trie, reach_GL: np.ndarray, of: int) -> np.ndarray:
    """next_GNA of the first `of` nodes, without the children that a set does not reach."""
    next_GNA = np.zeros((len(reach_GL), of, trie.letters), np.int32)
    child = np.arange(1, trie.nodes if of > 1 else trie.first_N[1])
    hi = trie.hi_N[child] if of > 1 else np.append(trie.lo_N[child[1:]], len(trie.tags_L))
    reached_GN = reach_GL[:, hi] > reach_GL[:, trie.lo_N[child]]
    parent = trie.parent_N[child] if of > 1 else np.zeros_like(child)
    next_GNA[:, parent, trie.letter_N[child]] = np.where(reached_GN, child, ROOT)
    return next_GNA


Ranked = tuple[jax.Array, jax.Array, jax.Array]


class Place(NamedTuple):
    """Where the beams stand, what is used, and what is closed."""

    set_BW: jax.Array  # which set of tags the product may have: the same for all its beams
    node_BW: jax.Array
    depth_BW: jax.Array
    count_BW: jax.Array  # finished tags; -1 before the size
    path_BWP: jax.Array  # the nodes from the root (without it) to here; the rest is left over
    ends_BWP: jax.Array  # one past the last leaf at or under each of them
    used_BWM: jax.Array  # leaves of the finished tags, -1 for none
    closed_BWM: jax.Array  # nodes without an unused tag, ROOT for none

    @property
    def now_BW(self) -> jax.Array:
        """The set of what may be written next: of the sizes first, where lists begin with one."""
        return jnp.where(self.count_BW < 0, 0, self.set_BW)


def constrain(tables: Tables, set_B: jax.Array, config: DecodeConfig, max_tags: int = 0) -> Constraint:
    """The constraint of a search whose steps return logits_BWA of `tables.words_A`.

    Args:
      tables: the vocabulary.
      set_B: int32, which set of tags each product may have.
      config: of the search. `min_length` gives way where no tag is left.
      max_tags: the longest list; 0 sets no limit. Where it is 1, the separator ends a tag as well as the end
        does, and the end has the probability of both: that of the tag, whatever follows it.
    """
    t_max = config.max_length

    def rank(logits_BWA: jax.Array, at: Place, t: jax.Array, size: int) -> Ranked:
        if max_tags == 1:
            either_BW = jnp.logaddexp(logits_BWA[..., tables.eos], logits_BWA[..., tables.separator])
            logits_BWA = logits_BWA.at[..., tables.eos].set(either_BW)
        may_end_BW, another_BW = _may_end(tables, at, max_tags)
        separates_BW = may_end_BW & another_BW & (t_max - (t + 1) > tables.longest)
        ends_BW = may_end_BW & ((t + 1 >= config.min_length) | ~separates_BW)
        by_table = _ranked_by_table(tables, at, logits_BWA, ends_BW, separates_BW, size)
        if not tables.fan:
            best_BWK, move_BWK, total_BW = by_table
        else:
            by_row = _ranked_by_row(tables, at, logits_BWA, ends_BW, separates_BW, size)
            root_BW = at.node_BW == ROOT
            best_BWK, move_BWK, total_BW = (
                jnp.where(root_BW[..., None] if a.ndim == 3 else root_BW, a, b)
                for a, b in zip(by_table, by_row, strict=True)
            )
        none_BWK = best_BWK == NEVER
        move_BWK = jnp.where(none_BWK, END, move_BWK)
        logprob_BWK = jnp.where(none_BWK, NEVER, best_BWK - total_BW[..., None])
        return logprob_BWK, _tokens(tables, move_BWK), move_BWK

    shape_BW = (set_B.shape[0], config.beams)
    zeros_BW = jnp.zeros(shape_BW, jnp.int32)
    count_BW = zeros_BW - 1 if tables.sized else zeros_BW
    path_BWP = jnp.zeros((*shape_BW, tables.path), jnp.int32)
    used_BWM = jnp.full((*shape_BW, max(1, t_max // 2)), -1, jnp.int32)
    set_BW = jnp.broadcast_to(set_B[:, None] + tables.sized, shape_BW)
    start = Place(
        set_BW, zeros_BW, zeros_BW, count_BW, path_BWP, path_BWP, used_BWM, jnp.zeros_like(used_BWM)
    )
    return Constraint(start, rank, lambda at, move_BW: _move(tables, at, move_BW))


def _may_end(tables: Tables, at: Place, max_tags: int) -> tuple[jax.Array, jax.Array]:
    """Whether a tag may end where each beam stands; and whether another one could follow it."""
    node_BW = at.node_BW
    leaf_BW, child_BW = tables.lo_N[node_BW], tables.first_N[node_BW]
    inner_BW = child_BW < tables.first_N[node_BW + 1]
    tag_BW = (node_BW != ROOT) & (~inner_BW | (tables.lo_N[child_BW] > leaf_BW))
    unused_BW = ~(at.used_BWM == leaf_BW[..., None]).any(axis=-1)
    allowed_BW = _reach(tables, at, leaf_BW + 1) > _reach(tables, at, leaf_BW)
    another_BW = tables.reach_GL[at.set_BW, -1] > at.count_BW + 1
    if max_tags:
        another_BW &= at.count_BW + 1 < max_tags
    return tag_BW & unused_BW & allowed_BW, another_BW


def _ranked_by_table(
    tables: Tables,
    at: Place,
    logits_BWA: jax.Array,
    ends_BW: jax.Array,
    separates_BW: jax.Array,
    size: int,
) -> Ranked:
    """The best legal logits, their moves, and the logsumexp of all legal ones, by rows of `next_GNA`."""
    row_BW = jnp.zeros_like(at.node_BW) if tables.fan else at.node_BW
    next_BWA = tables.next_GNA[at.now_BW, row_BW]
    closed_BWM = _offsets(tables, at, row_BW, tables.letter_N[at.closed_BWM])
    legal_BWA = _without(next_BWA != ROOT, closed_BWM)
    legal_BWA = legal_BWA.at[..., tables.eos].set(ends_BW).at[..., tables.separator].set(separates_BW)
    best_BWK, letter_BWK, total_BW = _ranked(logits_BWA, legal_BWA, size)
    move_BWK = jnp.take_along_axis(next_BWA, letter_BWK, axis=2, mode="promise_in_bounds")
    return best_BWK, jnp.where(letter_BWK == tables.eos, END, move_BWK), total_BW


def _ranked_by_row(
    tables: Tables,
    at: Place,
    logits_BWA: jax.Array,
    ends_BW: jax.Array,
    separates_BW: jax.Array,
    size: int,
) -> Ranked:
    """The same by the children of each beam's node, which are K places of `first_N`."""
    begin_BW = tables.first_N[at.node_BW]
    degree_BW = tables.first_N[at.node_BW + 1] - begin_BW
    place_BWK = jax.lax.broadcasted_iota(jnp.int32, (*begin_BW.shape, tables.fan), 2)
    child_BWK = begin_BW[..., None] + place_BWK
    lo_BWK, hi_BWK = tables.lo_N[child_BWK], tables.lo_N[child_BWK + 1]
    last_BWK = place_BWK == degree_BW[..., None] - 1
    hi_BWK = jnp.where(last_BWK, _end(tables, at)[..., None], hi_BWK)
    legal_BWK = _reach(tables, at, hi_BWK) > _reach(tables, at, lo_BWK)
    legal_BWK &= place_BWK < degree_BW[..., None]
    closed_BWM = _offsets(tables, at, at.node_BW, at.closed_BWM - begin_BW[..., None])
    legal_BWK = _without(legal_BWK, closed_BWM)
    others = jnp.stack([jnp.full_like(begin_BW, letter) for letter in (tables.eos, tables.separator)], axis=2)
    letter_BWK = jnp.concatenate([tables.letter_N[child_BWK], others], axis=2)
    move_BWK = jnp.concatenate([child_BWK, jnp.where(others == tables.eos, END, ROOT)], axis=2)
    legal_BWK = jnp.concatenate([legal_BWK, ends_BW[..., None], separates_BW[..., None]], axis=2)
    logits_BWK = jnp.take_along_axis(logits_BWA, letter_BWK, axis=2, mode="promise_in_bounds")
    best_BWK, at_BWK, total_BW = _ranked(logits_BWK, legal_BWK, size)
    return best_BWK, jnp.take_along_axis(move_BWK, at_BWK, axis=2, mode="promise_in_bounds"), total_BW


def _ranked(logits: jax.Array, legal: jax.Array, size: int) -> Ranked:
    """The `size` best legal logits (NEVER where there are fewer), their places, and the logsumexp of all."""
    short = [(0, 0), (0, 0), (0, max(0, size - logits.shape[-1]))]
    logits = jnp.pad(jnp.where(legal, logits.astype(jnp.float32), NEVER), short, constant_values=NEVER)
    best, place, total = topk.rank(logits, size)
    return best, jnp.minimum(place, legal.shape[-1] - 1), total


def _offsets(tables: Tables, at: Place, node_BW: jax.Array, place_BWM: jax.Array) -> jax.Array:
    """`place_BWM` of the closed nodes that are children of `node_BW`; out of bounds for the others."""
    begin_BW1, end_BW1 = tables.first_N[node_BW][..., None], tables.first_N[node_BW + 1][..., None]
    here_BWM = (at.closed_BWM >= begin_BW1) & (at.closed_BWM < end_BW1)
    return jnp.where(here_BWM, place_BWM, np.iinfo(np.int32).max)


def _without(legal_BWX: jax.Array, place_BWM: jax.Array) -> jax.Array:
    b, w = (jax.lax.broadcasted_iota(jnp.int32, place_BWM.shape, axis) for axis in range(2))
    return legal_BWX.at[b, w, place_BWM].set(False, mode="drop")


def _places(x_BWX: jax.Array) -> jax.Array:
    return jax.lax.broadcasted_iota(jnp.int32, x_BWX.shape, 2)


def _reach(tables: Tables, at: Place, leaf: jax.Array) -> jax.Array:
    """How many tags of each product's set come before the leaves [B, W, ..]."""
    return tables.reach_GL[at.now_BW.reshape(*at.now_BW.shape, *[1] * (leaf.ndim - 2)), leaf]


def _end(tables: Tables, at: Place) -> jax.Array:
    """One past the last leaf at or under the nodes where the beams stand (not the root)."""
    place_BW1 = jnp.maximum(at.depth_BW - 1, 0)[..., None]
    return jnp.take_along_axis(at.ends_BWP, place_BW1, axis=2, mode="promise_in_bounds")[..., 0]


def _tokens(tables: Tables, move: jax.Array) -> jax.Array:
    letter = tables.letter_N[jnp.maximum(move, ROOT)]
    letter = jnp.where(move == END, tables.eos, jnp.where(move == ROOT, tables.separator, letter))
    return letter if tables.words_A is None else tables.words_A[letter]


def _move(tables: Tables, at: Place, move_BW: jax.Array) -> Place:
    """The beams one move further. An end leaves a beam that the search does not go on with."""
    down_BW, back_BW = move_BW > ROOT, move_BW == ROOT
    node_BW = jnp.maximum(move_BW, ROOT)
    last_BW = node_BW + 1 == tables.first_N[at.node_BW + 1]
    total = tables.reach_GL.shape[1] - 1  # no leaf is beyond
    outer_BW = jnp.where(at.node_BW == ROOT, total, _end(tables, at))
    end_BW = jnp.where(last_BW, outer_BW, tables.lo_N[node_BW + 1])
    enters_BWP = down_BW[..., None] & (_places(at.path_BWP) == at.depth_BW[..., None])
    finishes_BWM = back_BW[..., None] & (_places(at.used_BWM) == at.count_BW[..., None])
    used_BWM = jnp.where(finishes_BWM, tables.lo_N[at.node_BW][..., None], at.used_BWM)
    closed_BW1 = _to_close(tables, at, used_BWM)[..., None]
    return Place(
        set_BW=at.set_BW,
        node_BW=node_BW,
        depth_BW=jnp.where(down_BW, at.depth_BW + 1, 0),
        count_BW=at.count_BW + back_BW,
        path_BWP=jnp.where(enters_BWP, node_BW[..., None], at.path_BWP),
        ends_BWP=jnp.where(enters_BWP, end_BW[..., None], at.ends_BWP),
        used_BWM=used_BWM,
        closed_BWM=jnp.where(finishes_BWM, closed_BW1, at.closed_BWM),
    )


def _to_close(tables: Tables, at: Place, used_BWM: jax.Array) -> jax.Array:
    """The highest node on each beam's path that has no unused tag left; ROOT where all have."""
    lo_BWP, hi_BWP = tables.lo_N[at.path_BWP], at.ends_BWP
    inside_BWPM = (used_BWM[:, :, None] >= lo_BWP[..., None]) & (used_BWM[:, :, None] < hi_BWP[..., None])
    left_BWP = _reach(tables, at, hi_BWP) - _reach(tables, at, lo_BWP) - inside_BWPM.sum(axis=-1)
    spent_BWP = (left_BWP <= 0) & (_places(at.path_BWP) < at.depth_BW[..., None])
    place_BW1 = jnp.argmax(spent_BWP, axis=-1)[..., None]
    node_BW = jnp.take_along_axis(at.path_BWP, place_BW1, axis=2, mode="promise_in_bounds")[..., 0]
    return jnp.where(spent_BWP.any(axis=-1), node_BW, ROOT)
