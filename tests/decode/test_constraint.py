"""A constrained search against full enumeration over a plain dict trie: tokens, probabilities, legality."""

import dataclasses
import functools

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies

from taggen_jax.decode import exact
from taggen_jax.decode import trie as tries
from taggen_jax.decode.beam import DecodeConfig, beam_search
from taggen_jax.decode.constraint import constrain, tables
from taggen_jax.decode.mass import legal_log_mass

EOS, SEP, V = 1, 2, 80
BOS = PAD = 0
T = 7  # three tags of one token, or two of two tokens
STATES = 97


def follow(state, token):
    """The model's memory: one of STATES, and each has its row of logits."""
    return (state * 31 + token + 7) % STATES


def table_step(table_BPV, words_A, token_BW, states_BWT, t, ancestry_BWT):
    past_BWT = jnp.take_along_axis(states_BWT, ancestry_BWT, axis=1)
    before_BW = jnp.where(t > 0, past_BWT[:, :, jnp.maximum(t - 1, 0)], 0)
    state_BW = follow(before_BW, token_BW)
    logits_BWV = jnp.take_along_axis(table_BPV, state_BW[:, :, None], axis=1)
    logits_BWA = logits_BWV if words_A is None else logits_BWV[:, :, words_A]
    return logits_BWA, states_BWT.at[:, :, t].set(state_BW)


@functools.partial(jax.jit, static_argnames=("config", "max_tags"))
def search(table_BPV, index, set_B, config, max_tags=0):
    batch = table_BPV.shape[0]
    return beam_search(
        functools.partial(table_step, table_BPV, index.words_A),
        jnp.zeros((batch, config.beams, config.max_length), jnp.int32),
        batch=batch,
        bos=BOS,
        eos=EOS,
        pad=PAD,
        config=config,
        constraint=constrain(index, set_B, config, max_tags),
    )


def dict_trie(tags):
    root = {}
    for tag in tags:
        node = root
        for token in tag:
            node = node.setdefault(token, {})
        node[None] = tag
    return root


def left(node, used):
    """Whether an unused tag is under a node."""
    return any(child not in used if token is None else left(child, used) for token, child in node.items())


def legal(root, node, used, written, longest, max_tags):
    """token -> (node, used) of every legal continuation; an end is (None, used)."""
    moves = {token: (child, used) for token, child in node.items() if token is not None and left(child, used)}
    if None in node and node[None] not in used:
        then = used | {node[None]}
        moves[EOS] = (None, then)
        if left(root, then) and T - (written + 1) > longest and (not max_tags or len(then) < max_tags):
            moves[SEP] = (root, then)
    return moves


def every_output(table_PV, tags, longest, max_tags=0, prefix=(BOS,), written=()):
    """tokens -> log-probability of all outputs, renormalised over the legal continuations.

    After `written`, which is part of the output, and certain.
    """
    root, outputs = dict_trie(tags), {}

    def walk(tokens, state, node, used, logprob):
        moves = legal(root, node, used, len(tokens), longest, max_tags)
        logits = np.float64([table_PV[state][token] for token in moves])
        if max_tags == 1 and EOS in moves:  # what follows the tag does not matter
            end = list(moves).index(EOS)
            logits[end] = np.logaddexp(logits[end], table_PV[state][SEP])
        for token, logit in zip(moves, logits, strict=True):
            total = logprob + logit - np.log(np.exp(logits).sum())
            child, then = moves[token]
            if child is None:
                outputs[(*tokens, EOS)] = total
            else:
                walk((*tokens, token), follow(state, token), child, then, total)

    walk(written, functools.reduce(follow, (*prefix, *written), 0), root, frozenset(), 0.0)
    return outputs


def logit_tables(seed, batch):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(batch, STATES, V)) * 1.5, jnp.float32)


def found_outputs(beams, product):
    rows = zip(beams.tokens_BNT[product], beams.lengths_BN[product], beams.logprobs_BN[product], strict=True)
    return {tuple(np.asarray(tokens)[:n].tolist()): float(logprob) for tokens, n, logprob in rows if n}


def build(tags, vocab_size=V):
    return tries.build(tags, eos=EOS, separator=SEP, vocab_size=vocab_size)


def of_one_shape(index):
    """More padding, which changes nothing, so that every vocabulary runs the same program."""
    nodes, letters = 32 - len(index.first_N), 16 - len(index.words_A)
    grow = [(0, 0), (0, nodes if index.next_GNA.shape[1] > 1 else 0), (0, letters)]
    return dataclasses.replace(
        index,
        **{
            name: jnp.pad(getattr(index, name), (0, nodes), mode="edge")
            for name in ("first_N", "letter_N", "lo_N")
        },
        words_A=jnp.pad(index.words_A, (0, letters), mode="edge"),
        next_GNA=jnp.pad(index.next_GNA, grow),
        path=2,
        fan=8 if index.fan else 0,
    )


CONFIG = DecodeConfig(beams=96, n_best=96, max_length=T, early_stopping="never", length_penalty=0.0)
token = strategies.integers(3, 8)
vocabularies = strategies.lists(
    strategies.lists(token, min_size=1, max_size=2).map(tuple), min_size=5, max_size=6, unique=True
)


@pytest.mark.parametrize(("dense_bytes", "max_tags"), [(1 << 20, 2), (0, 0), (0, 1)])
@hypothesis.given(vocabularies, strategies.data())
@hypothesis.settings(max_examples=25, phases=[hypothesis.Phase.generate])  # to shrink compiles too often
def test_a_wide_search_equals_enumeration(dense_bytes, max_tags, tags, data):
    """Of two sets in one batch, dense and by rows: the same outputs with the same probabilities."""
    subset = data.draw(strategies.sets(strategies.sampled_from(range(len(tags))), min_size=1))
    sets_GX = np.array([[True] * len(tags), [i in subset for i in range(len(tags))]])
    index = of_one_shape(tables(build(tags), sets_GX, dense_bytes))
    assert bool(index.fan) == (dense_bytes == 0)
    table_BPV, set_B = logit_tables(len(tags), 4), np.array([0, 1, 1, 0], np.int32)
    beams = jax.device_get(search(table_BPV, index, set_B, CONFIG, max_tags))
    longest = max(map(len, tags))
    for product, group in enumerate(set_B):
        allowed = [tag for tag, may in zip(tags, sets_GX[group], strict=True) if may]
        expected = every_output(np.asarray(table_BPV[product]), allowed, longest, max_tags)
        assert sum(map(np.exp, expected.values())) == pytest.approx(1)
        assert len(expected) <= CONFIG.beams
        found = found_outputs(beams, product)
        assert found.keys() == expected.keys()
        for tokens, logprob in found.items():
            assert logprob == pytest.approx(expected[tokens], abs=1e-4)


def tree_decode(inputs_X, positions_X, mask_XX):
    """The model's state at each node, from the tokens that the node may see, by position."""
    state_X = jnp.zeros_like(inputs_X)
    for position in range(8):
        seen_XX = mask_XX & (positions_X == position)[None]
        token_X = jnp.where(seen_XX, inputs_X[None], 0).sum(axis=1)
        state_X = jnp.where(seen_XX.any(axis=1), follow(state_X, token_X), state_X)
    return state_X[:, None]


def every_sized_output(table_PV, tags, sizes, longest):
    """The same, of lists that begin with one of the sizes, which says what it likes."""
    outputs = {}
    for (*size, end), logprob in every_output(table_PV, sizes, T, max_tags=1).items():
        table, state = np.float64(table_PV), functools.reduce(follow, (BOS, *size), 0)
        either = np.logaddexp(table[state][EOS], table[state][SEP])
        outputs[(*size, end)] = logprob + table[state][EOS] - either
        base = logprob + table[state][SEP] - either
        after = every_output(table_PV, tags, longest, written=(*size, SEP))
        outputs |= {tokens: base + own for tokens, own in after.items()}
    return outputs


sized = strategies.lists(
    strategies.lists(token, min_size=1, max_size=2).map(tuple).filter(lambda tag: tag not in [(7,), (7, 8)]),
    min_size=5,
    max_size=6,
    unique=True,
)


@pytest.mark.parametrize("dense_bytes", [1 << 20, 0])
@hypothesis.given(sized, strategies.data())
@hypothesis.settings(max_examples=10, phases=[hypothesis.Phase.generate])
def test_lists_with_a_size_equal_enumeration(dense_bytes, tags, data):
    """Sizes that begin like tags, like each other, and count as no tag; for two sets of tags in one batch."""
    sizes, longest = [(7,), (7, 8)], 2
    subset = data.draw(strategies.sets(strategies.sampled_from(range(len(tags))), min_size=1))
    sets_GX = np.array([[True] * len(tags), [i in subset for i in range(len(tags))]])
    index = of_one_shape(
        tables(
            build(
                [
                    *tags,
                    *sizes,
                ]
            ),
            sets_GX,
            dense_bytes,
            sizes=len(sizes),
        )
    )
    table_BPV, set_B = logit_tables(len(tags), 4), np.array([0, 1, 1, 0], np.int32)
    beams = jax.device_get(search(table_BPV, index, set_B, CONFIG))
    for product, group in enumerate(set_B):
        allowed = [tag for tag, may in zip(tags, sets_GX[group], strict=True) if may]
        expected = every_sized_output(np.asarray(table_BPV[product]), allowed, sizes, longest)
        assert sum(map(np.exp, expected.values())) == pytest.approx(1)
        found = found_outputs(beams, product)
        assert found.keys() == expected.keys()
        assert all(found[tokens] == pytest.approx(expected[tokens], abs=1e-4) for tokens in expected)


def test_exact_scores_are_summed_over_the_sizes():
    """Of one token and of two, after a forced token."""
    tags, sizes, prefix = [(3,), (3, 4), (5,), (7, 8, 3)], [(7,), (7, 8), (9,)], (BOS, 6)
    table_PV = np.asarray(logit_tables(6, 1))[0]
    after = tuple(exact.forest(build(tags), (*prefix, *size, SEP)) for size in sizes)
    lists = exact.BySize(exact.forest(build(sizes), prefix), after)
    found = exact_scores(table_PV, lists, 0)
    of_size = every_output(table_PV, sizes, T, max_tags=1, prefix=prefix)
    for tag, logprob in zip(tags, found, strict=False):
        ways = [
            of_size[(*size, EOS)]
            + every_output(table_PV, tags, T, max_tags=1, prefix=(*prefix, *size, SEP))[(*tag, EOS)]
            for size in sizes
        ]
        assert logprob == pytest.approx(np.logaddexp.reduce(ways), abs=1e-4)


@functools.partial(jax.jit, static_argnames="chunk")
def exact_scores(table_PV, forest, chunk):
    def unembed(state_X1, words_A):
        return table_PV[state_X1[:, 0]][:, words_A]

    return exact.of_lists(tree_decode, unembed, forest)


@pytest.mark.parametrize("chunk", [7, 64])
@pytest.mark.parametrize("vocab_size", [V, 8])
@pytest.mark.parametrize("prefix", [(BOS,), (BOS, 7)])
def test_exact_scores_equal_enumeration(chunk, vocab_size, prefix):
    """In one chunk and in many, with a short alphabet and a whole one, after a forced token or none."""
    tags = [(3,), (3, 4), (3, 4, 5), (4, 3), (4, 5), (5,), (6, 6), (7, 7, 7), (7, 7, 3)]
    tags = [(4, 3), *tags[:3], *tags[4:]] if chunk == 7 else tags
    table_PV = np.asarray(logit_tables(5, 1))[0]
    forest = exact.forest(build(tags, vocab_size), prefix, chunk)
    assert (len(forest.token_CX) > 1) == (chunk == 7)
    found = exact_scores(table_PV[:, :vocab_size], forest, chunk)
    assert (np.asarray(found[len(tags) :]) == -np.inf).all()
    expected = every_output(table_PV, tags, T, max_tags=1, prefix=prefix)
    for tag, logprob in zip(tags, found, strict=False):
        assert logprob == pytest.approx(expected[(*tag, EOS)], abs=1e-4)


def test_the_legal_mass_is_what_the_legal_continuations_had_together():
    """Judged on the dict trie, step by step."""
    tags = [(3,), (3, 4), (4, 3), (5, 6), (7,)]
    table_BPV, root = logit_tables(3, 2), dict_trie(tags)
    index = tables(build(tags))
    config = DecodeConfig(beams=4, n_best=4, max_length=T)
    beams = jax.device_get(search(table_BPV, index, np.zeros(2, np.int32), config))

    def decode(inputs_BT):
        states = [jnp.zeros_like(inputs_BT[:, 0])]
        for t in range(T):
            states.append(follow(states[-1], inputs_BT[:, t]))
        return jnp.take_along_axis(table_BPV, jnp.stack(states[1:], axis=1)[..., None], axis=1)

    found_BN = jax.jit(lambda beams: legal_log_mass(decode, beams, BOS))(beams)
    for product, table_PV in enumerate(np.asarray(table_BPV, np.float64)):
        for n, tokens in enumerate(beams.tokens_BNT[product]):
            state, node, used, expected = follow(0, BOS), root, frozenset(), 0.0
            for t, token in enumerate(tokens[: beams.lengths_BN[product, n]].tolist()):
                moves = legal(root, node, used, t, 2, 0)
                probs_V = np.exp(table_PV[state]) / np.exp(table_PV[state]).sum()
                expected += np.log(sum(probs_V[word] for word in moves))
                (node, used), state = moves[token], follow(state, token)
            assert expected < -1 and found_BN[product, n] == pytest.approx(expected, abs=1e-4)


def test_an_edited_vocabulary_recompiles_nothing():
    traced = []

    @jax.jit
    def rank(index):
        traced.append(index)
        constraint = constrain(index, jnp.zeros(1, jnp.int32), DecodeConfig(beams=1, n_best=1))
        logits_BWA = jnp.arange(float(len(index.words_A)))[None, None]
        return constraint.rank(logits_BWA, constraint.start, jnp.int32(0), 5)

    first = rank(tables(build([(3,), (4, 5), (6, 7), (8,)])))
    second = rank(tables(build([(3,), (4,), (5,), (6, 7), (9,)])))
    assert len(traced) == 1
    assert set(first[1][0, 0, :4].tolist()) == {3, 4, 6, 8}
    assert set(second[1][0, 0].tolist()) == {3, 4, 5, 6, 9}


@pytest.mark.parametrize("dense_bytes", [0, 1 << 20])
def test_edited_subsets_recompile_nothing(dense_bytes):
    index, table_BPV = build([(3,), (4, 5), (6, 7), (8,), (9,)]), logit_tables(0, batch=1)
    config = DecodeConfig(beams=4, n_best=4, max_length=T)

    def first_words(*sets_GX):
        edited = tables(index, np.array(sets_GX, bool), dense_bytes)
        found = search(table_BPV, edited, jnp.array([len(sets_GX) - 1]), config)
        return {tokens[0] for tokens in found_outputs(found, 0)}

    assert first_words([1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 0, 0, 0, 1]) <= {3, 9}
    compiled = search._cache_size()
    assert first_words([0, 1, 1, 1, 1], [1, 1, 0, 0, 1], [0, 1, 1, 0, 0]) <= {4, 6}
    assert first_words([1, 1, 0, 1, 1], [1, 0, 0, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 1, 0]) == {8}
    assert search._cache_size() == compiled, "three and four sets are padded to four"


def test_a_set_without_tags_is_refused():
    with pytest.raises(ValueError, match="set 1 allows no tag"):
        tables(build([(3,), (4,)]), np.array([[True, False], [False, False]]))
