"""Beam search in one `jax.lax.while_loop`, equal to Hugging Face's `generate` in tokens and scores.

It knows no model: `step` gives logits for the next token, and anything that it remembers is in its cache.
Letters: B batch, W beam, N hypotheses returned, T new tokens, V vocabulary, C = 2W candidates. In groups (see
`diverse`) each group is searched like a product of its own: inside, B is B x groups and W the beams of one.

A hypothesis of n tokens, its end of sequence included, scores

    score = (sum of the log-probabilities of its tokens) / n ** length_penalty

Three rules make the search equal to Hugging Face's, and only together:
  - of the 2W best continuations of a step only the W best may finish; the others are there so that W beams
    live on even if the W best all end;
  - at the maximum length whatever is alive finishes, without an end of sequence;
  - a product is done when its best live beam can no longer beat its worst finished hypothesis, judged at the
    current length (`early_stopping="false"`), or at the most favourable length ("never").
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from taggen_jax.decode import diverse, rules, topk
from taggen_jax.decode.narrow import widths as widths_of

Cache = TypeVar("Cache")  # the model's own business
Step = Callable[[jax.Array, Cache, jax.Array, jax.Array], tuple[jax.Array, Cache]]  # see `beam_search`
Narrow = Callable[[Cache, jax.Array], Cache]  # see `beam_search`
NEVER = -jnp.inf  # the score of a hypothesis that does not exist


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecodeConfig:
    """How to search.

    `early_stopping` is Hugging Face's. "true" stops a product at `beams` finished hypotheses. "false" stops
    when the best live beam, scored at the current length, is no better than the worst finished hypothesis: a
    sound bound for `length_penalty <= 0`, a heuristic above. "never" uses a bound that is sound for every
    penalty. Forced tokens are certain (log-probability 0) and forbidden ones impossible; the others keep
    their probabilities, as in Hugging Face's logits processors.
    """

    beams: int = 4
    n_best: int = 4  # hypotheses returned for each product
    length_penalty: float = 1.0  # above 0 favours long outputs, below 0 short ones
    min_length: int = 0  # new tokens, the end of sequence included; their `min_length`
    max_length: int = 32  # new tokens, the end of sequence included; their `max_new_tokens`
    early_stopping: Literal["true", "false", "never"] = "false"
    no_repeat_ngram: int = 0  # no n tokens in a row come twice, the bos counted; their `no_repeat_ngram_size`
    forced_first: int = -1  # the id of the first new token; their `forced_bos_token_id`; -1 forces none
    forced_last: int = -1  # the id of the token at the maximum length; their `forced_eos_token_id`
    groups: int = 1  # searches of beams / groups beams each, kept apart, see `diverse`
    diversity: float = 0.0  # nats that a token costs for each beam of an earlier group that takes it as well

    def __post_init__(self) -> None:
        if self.beams < 1 or self.max_length < 1:
            raise ValueError(f"beams={self.beams} and max_length={self.max_length} must be at least 1")
        if not 1 <= self.n_best <= self.beams:
            raise ValueError(f"n_best={self.n_best} must be in 1..beams={self.beams}")
        if not 0 <= self.min_length <= self.max_length:
            raise ValueError(f"min_length={self.min_length} must be in 0..max_length={self.max_length}")
        if self.groups < 1 or self.beams % self.groups:
            raise ValueError(f"groups={self.groups} must divide beams={self.beams}")
        if self.diversity < 0 or (self.diversity and self.groups == 1):
            raise ValueError(f"diversity={self.diversity} must be 0 or more, and 0 where groups=1")
        if self.no_repeat_ngram < 0 or self.forced_first < -1 or self.forced_last < -1:
            raise ValueError(
                f"no_repeat_ngram={self.no_repeat_ngram} must be 0 or more; forced_first={self.forced_first}"
                f" and forced_last={self.forced_last} must be token ids, or -1"
            )

    @property
    def width(self) -> int:
        """The beams of a group."""
        return self.beams // self.groups


class Constraint(NamedTuple):
    """Which continuations a search may take.

    The search carries `start`, lets it follow the beams, and knows nothing of what is in it.

    Attributes:
      start: a tree of small arrays [B, W, ..]: where each beam stands.
      rank: (logits of the step, state, t, K) -> (logprob_BWK, token_BWK, move_BWK): each beam's K best legal
        continuations, best first, NEVER where it has fewer; a move is what `advance` makes of the token.
      advance: (state, move_BW) -> state.
    """

    start: Any
    rank: Callable[[Any, Any, jax.Array, int], tuple[jax.Array, jax.Array, Any]]
    advance: Callable[[Any, Any], Any]


class Beams(NamedTuple):
    """The N best hypotheses of each product, best first.

    A product with fewer than N possible outputs has rows of length 0, score -inf and pads.
    """

    tokens_BNT: jax.Array  # int32, without the leading bos; pads after the end of sequence
    scores_BN: jax.Array  # float32, as `sequences_scores` of Hugging Face; less the penalties of groups
    logprobs_BN: jax.Array  # float32, the sum of the tokens' log-probabilities
    lengths_BN: jax.Array  # int32, tokens with the end of sequence (absent if cut at the maximum length)
    token_logprobs_BNT: jax.Array  # float32, 0 after the end of sequence


class _Paths(NamedTuple):
    tokens_BWT: jax.Array
    logprobs_BWT: jax.Array


class _Candidates(NamedTuple):
    """The C best continuations of each product, best first."""

    beam_BC: jax.Array
    token_BC: jax.Array
    logprob_BC: jax.Array  # of the token
    sum_BC: jax.Array
    move_BC: Any  # the constraint's; None without one


class _State(NamedTuple):
    t: Any  # int32: how many tokens the live paths have
    token_BW: jax.Array  # the last token of the live paths
    ancestry_BWT: jax.Array  # int32, the beam that computed each position of the live paths
    live_BW: jax.Array  # sums of log-probabilities, descending
    live: _Paths
    done_BW: jax.Array  # normalised scores, descending; NEVER where there is none yet
    done: _Paths
    open_B: jax.Array  # bool: may this product's finished hypotheses still change?
    legal: Any  # the constraint's state; None without one


def beam_search(
    step: Step[Cache],
    cache: Cache,
    *,
    batch: int,
    bos: int,
    eos: int,
    pad: int,
    config: DecodeConfig,
    constraint: Constraint | None = None,
    narrow: Narrow[Cache] | None = None,
) -> Beams:
    """Searches the best outputs of `batch` products. Call it inside `jax.jit`.

    Args:
      step: (token_BW, cache, t, ancestry_BWT) -> (logits_BWV, cache). The t-th call gets the last token of
        every beam (bos at t = 0) and returns the logits of the next one; V must be at least 2. Beams change
        places between the steps, and the cache does not follow: what beam w remembers of position s <= t was
        written by beam ancestry[b, w, s] of that step.
      cache: what `step` remembers.
      batch: B. Products do not influence each other: rows may be added as padding.
      bos: the token every output starts from; not part of the output.
      eos: the token that ends an output; not sought before `config.min_length`.
      pad: fills `tokens_BNT` after the end.
      config: static.
      constraint: what may be written; `step` then returns whatever logits its `rank` wants to see. It sees to
        `config.min_length` itself, and `config.no_repeat_ngram` is not asked for.
      narrow: (cache, row_R) -> the cache of these products alone. With it, products that are done leave and
        the others go on in fewer rows (see the module of that name), to the same end.

    Method: transformers 5.23, `GenerationMixin._beam_search`, with one end-of-sequence token.
    """
    advance = _advance(step, bos, eos, config, constraint)
    state = _start(batch, bos, pad, config, constraint)
    found, product_R = _joined((state.done_BW, state.done), config), jnp.arange(batch)
    widths = widths_of(batch, config.beams) if narrow else (batch,)
    for fewer in (*widths[1:], 0):
        goes_on = functools.partial(_goes_on, more_than=fewer, config=config)
        state, cache = jax.lax.while_loop(goes_on, advance, (state, cache))
        done = _joined((state.done_BW, state.done), config)
        found = jax.tree.map(functools.partial(_put, at=product_R), found, done)
        if narrow and fewer:
            left_R = jax.lax.top_k(_open(state, config).astype(jnp.int32), fewer)[1]
            state, cache, product_R = _only(left_R, state, config), narrow(cache, left_R), product_R[left_R]
    done_BW, done = found
    if config.groups > 1:
        done_BW, rank_BW = jax.lax.top_k(done_BW, config.beams)
        done = _pick(done, rank_BW)
    return _best(done_BW, done, eos, config.n_best)


def _advance(
    step: Step[Cache], bos: int, eos: int, config: DecodeConfig, constraint: Constraint | None
) -> Callable[[tuple[_State, Cache]], tuple[_State, Cache]]:
    """One token more for every beam."""

    def advance(carry: tuple[_State, Cache]) -> tuple[_State, Cache]:
        state, cache = carry
        token_BW, ancestry_BWT = _joined((state.token_BW, state.ancestry_BWT), config)
        first_W = jnp.arange(config.beams, dtype=jnp.int32) // config.width * config.width  # of each group
        logits_BWV, cache = step(token_BW, cache, state.t, ancestry_BWT + first_W[None, :, None])
        beam_BC, token_BC, logprob_BC, sum_BC, move_BC = _candidates(logits_BWV, state, rank, eos, config)
        paths = _extend(_pick(state.live, beam_BC), token_BC, logprob_BC, state.t)
        done_BW, done = _finish(state, sum_BC, token_BC, paths, eos, config)
        live_BW, rank_BW = jax.lax.top_k(jnp.where(token_BC == eos, NEVER, sum_BC), config.width)
        parent_BW = _take(beam_BC, rank_BW)
        state = _State(
            t=state.t + 1,
            token_BW=_take(token_BC, rank_BW),
            ancestry_BWT=_inherit(state.ancestry_BWT, parent_BW, state.t),
            live_BW=live_BW,
            live=_pick(paths, rank_BW),
            done_BW=done_BW,
            done=done,
            open_B=state.open_B & _may_improve(live_BW[:, 0], done_BW, state.t + 1, config),
            legal=follow(state.legal, parent_BW, _pick(move_BC, rank_BW), state.t),
        )
        return state, cache

    def rank(logits_BWV: jax.Array, state: _State, size: int) -> tuple[jax.Array, jax.Array, Any]:
        if constraint:
            legal = _joined(state.legal, config)
            return _parted(constraint.rank(logits_BWV, legal, state.t, size), config)
        tokens_BWT = _joined(state.live.tokens_BWT, config)
        return *_parted(_rank(logits_BWV, tokens_BWT, state.t, size, bos, eos, config), config), None

    def follow(legal: Any, parent_BW: jax.Array, move_BW: Any, t: jax.Array) -> Any:
        if not constraint:
            return None
        inherited = _pick(legal, parent_BW)
        moved = constraint.advance(_joined(inherited, config), _joined(move_BW, config))
        moved = _parted(moved, config)
        if config.forced_first < 0:
            return moved
        return jax.tree.map(lambda old, new: jnp.where(t == 0, old, new), inherited, moved)

    return advance


def _joined(tree: Any, config: DecodeConfig) -> Any:
    """The beams of a product's groups side by side."""
    return jax.tree.map(lambda x: x.reshape(-1, config.beams, *x.shape[2:]), tree)


def _parted(tree: Any, config: DecodeConfig) -> Any:
    """Every group as a product of its own."""
    return jax.tree.map(lambda x: x.reshape(-1, config.width, *x.shape[2:]), tree)


def _open(state: _State, config: DecodeConfig) -> jax.Array:
    """bool, for each product whether its finished hypotheses may still change."""
    return state.open_B.reshape(-1, config.groups).any(axis=1)


def _goes_on(carry: tuple[_State, Any], more_than: int, config: DecodeConfig) -> jax.Array:
    state = carry[0]
    return (state.t < config.max_length) & (_open(state, config).sum() > more_than)


def _only(row_R: jax.Array, state: _State, config: DecodeConfig) -> _State:
    """The state of some products."""

    def rows(x: jax.Array) -> jax.Array:
        groups = x.reshape(-1, config.groups, *x.shape[1:])[row_R]
        return groups.reshape(-1, *x.shape[1:])

    return jax.tree.map(rows, state._replace(t=None))._replace(t=state.t)


def _put(all_B: jax.Array, some_R: jax.Array, at: jax.Array) -> jax.Array:
    return all_B.at[at].set(some_R, unique_indices=True)


def _start(batch: int, bos: int, pad: int, config: DecodeConfig, constraint: Constraint | None) -> _State:
    shape_BW = (batch * config.groups, config.width)
    shape_BWT = (*shape_BW, config.max_length)
    empty = _Paths(jnp.full(shape_BWT, pad, jnp.int32), jnp.zeros(shape_BWT, jnp.float32))
    none_BW = jnp.full(shape_BW, NEVER, jnp.float32)
    return _State(
        t=jnp.int32(0),
        token_BW=jnp.full(shape_BW, bos, jnp.int32),
        ancestry_BWT=_own_slots(shape_BWT),
        live_BW=none_BW.at[:, 0].set(0.0),  # all beams start alike: only the first counts
        live=empty,
        done_BW=none_BW,
        done=empty,
        open_B=jnp.ones(shape_BW[0], bool),
        legal=_parted(constraint.start, config) if constraint else None,
    )


def _candidates(
    logits_BWV: jax.Array,
    state: _State,
    rank: Callable[[jax.Array, _State, int], tuple[jax.Array, jax.Array, Any]],
    eos: int,
    config: DecodeConfig,
) -> _Candidates:
    """The 2W best continuations of each product, which are among the 2W best of each of its beams."""
    size = 2 * config.width
    penalised = config.beams - config.width  # tokens at most: so many more are needed to have the best left
    logprob_BWK, token_BWK, move_BWK = rank(logits_BWV, state, size + penalised)
    certain = jnp.bool_(False)
    for token, t in ((config.forced_first, 0), (config.forced_last, config.max_length - 1)):
        if token >= 0:
            logprob_BWK, token_BWK = rules.force(token, state.t == t, logprob_BWK, token_BWK)
            certain |= state.t == t
    sum_BWK = state.live_BW[:, :, None] + logprob_BWK
    if config.groups > 1:
        sum_BGWK, token_BGWK, open_BG = (
            x.reshape(-1, config.groups, *x.shape[1:]) for x in (sum_BWK, token_BWK, state.open_B)
        )
        cost_BGWK = diverse.penalties(sum_BGWK, token_BGWK, open_BG, eos, config.diversity)
        cost_BWK = cost_BGWK.reshape(sum_BWK.shape)
        sum_BWK = jnp.where(certain, sum_BWK, sum_BWK - cost_BWK)
    batch, _, each = sum_BWK.shape
    sum_BC, place_BC = jax.lax.top_k(sum_BWK.reshape(batch, -1), size)
    token_BC, logprob_BC, move_BC = jax.tree.map(
        lambda x_BWK: _take(x_BWK.reshape(batch, -1), place_BC), (token_BWK, logprob_BWK, move_BWK)
    )
    return _Candidates(place_BC // each, token_BC, logprob_BC, sum_BC, move_BC)


def _rank(
    logits_BWV: jax.Array,
    tokens_BWT: jax.Array,
    t: jax.Array,
    size: int,
    bos: int,
    eos: int,
    config: DecodeConfig,
) -> tuple[jax.Array, jax.Array]:
    """Each beam's best continuations without a constraint: V is ranked once a beam, on bare logits.

    What is forbidden goes after the normalisation: the rest is not renormalised.
    """
    logits_BWV = logits_BWV.astype(jnp.float32)
    early = config.min_length > 1
    kept = min(size + early, logits_BWV.shape[-1])  # one more, where the end may have to go
    best_BWK, token_BWK, total_BW = topk.rank(logits_BWV, kept)
    if config.no_repeat_ngram:
        allowed_BWV = rules.forbid_repeats(logits_BWV, tokens_BWT, t, bos, config.no_repeat_ngram)
        best_BWK, token_BWK = topk.top_k(allowed_BWV, kept)
    if early:
        best_BWK = jnp.where((token_BWK == eos) & (t + 1 < config.min_length), NEVER, best_BWK)
        best_BWK, place_BWK = jax.lax.top_k(best_BWK, min(size, kept))
        token_BWK = jnp.take_along_axis(token_BWK, place_BWK, axis=2, mode="promise_in_bounds")
    return best_BWK - total_BW[:, :, None], token_BWK


def _finish(
    state: _State, sum_BC: jax.Array, token_BC: jax.Array, paths_BC: _Paths, eos: int, config: DecodeConfig
) -> tuple[jax.Array, _Paths]:
    """Merges the candidates that end here into the W best finished hypotheses."""
    width = config.width
    length = state.t + 1
    ends_BW = (token_BC[:, :width] == eos) | (length == config.max_length)
    score_BW = sum_BC[:, :width] / length.astype(jnp.float32) ** config.length_penalty
    score_BW = jnp.where(ends_BW & state.open_B[:, None], score_BW, NEVER)
    done_BW, rank_BW = jax.lax.top_k(jnp.concatenate([state.done_BW, score_BW], axis=1), width)
    both = jax.tree.map(lambda old, new: jnp.concatenate([old, new[:, :width]], axis=1), state.done, paths_BC)
    return done_BW, _pick(both, rank_BW)


def _may_improve(best_B: jax.Array, done_BW: jax.Array, length: jax.Array, config: DecodeConfig) -> jax.Array:
    """Whether the best live beam could still enter the finished hypotheses, for each product."""
    if config.early_stopping == "never" and config.length_penalty > 0:
        length = jnp.int32(config.max_length)  # where the smallest share of the sum counts
    worst_B = done_BW.min(axis=1)
    better_B = best_B / length.astype(jnp.float32) ** config.length_penalty > worst_B
    return better_B & (worst_B == NEVER) if config.early_stopping == "true" else better_B


def _extend(paths: _Paths, token_BC: jax.Array, logprob_BC: jax.Array, t: jax.Array) -> _Paths:
    here = jnp.arange(paths.tokens_BWT.shape[-1]) == t
    return _Paths(
        jnp.where(here[None, None], token_BC[:, :, None], paths.tokens_BWT),
        jnp.where(here[None, None], logprob_BC[:, :, None], paths.logprobs_BWT),
    )


def _pick(tree: Any, index_BX: jax.Array) -> Any:
    return jax.tree.map(lambda x: _take(x, index_BX), tree)


def _take(x: jax.Array, index_BX: jax.Array) -> jax.Array:
    """x[b, index[b, i], ..]."""
    index = index_BX.reshape(*index_BX.shape, *[1] * (x.ndim - 2))
    return jnp.take_along_axis(x, index, axis=1, mode="promise_in_bounds")  # ranks: no need to check


def _inherit(ancestry_BWT: jax.Array, parent_BW: jax.Array, t: jax.Array) -> jax.Array:
    """Every beam takes over its parent's history up to t; what comes after, it will compute itself."""
    past = jnp.arange(ancestry_BWT.shape[-1]) <= t
    return jnp.where(past[None, None], _take(ancestry_BWT, parent_BW), _own_slots(ancestry_BWT.shape))


def _own_slots(shape_BWT: tuple[int, ...]) -> jax.Array:
    return jax.lax.broadcasted_iota(jnp.int32, shape_BWT, 1)


def _best(done_BW: jax.Array, done: _Paths, eos: int, n_best: int) -> Beams:
    tokens_BNT = done.tokens_BWT[:, :n_best]
    scores_BN = done_BW[:, :n_best]
    logprobs_BNT = done.logprobs_BWT[:, :n_best]
    is_eos_BNT = tokens_BNT == eos
    full = jnp.int32(tokens_BNT.shape[-1])
    lengths_BN = jnp.where(is_eos_BNT.any(axis=-1), jnp.argmax(is_eos_BNT, axis=-1) + 1, full)
    return Beams(
        tokens_BNT=tokens_BNT,
        scores_BN=scores_BN,
        logprobs_BN=jnp.where(scores_BN == NEVER, NEVER, logprobs_BNT.sum(axis=-1)),
        lengths_BN=jnp.where(scores_BN == NEVER, 0, lengths_BN).astype(jnp.int32),
        token_logprobs_BNT=logprobs_BNT,
    )
