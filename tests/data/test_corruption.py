"""Laws of denoising: what is read and what is written give the text back, within the lengths."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taggen_jax.data import tokenizer as tokenizers
from taggen_jax.data.corruption import DenoiseConfig, Denoiser, infill
from taggen_jax.errors import UserError

KINDS = ("spans", "infilling", "mixture")
TEXTS = ["a red shirt and a blue shoe", "green lamp, no. 7", "连衣裙"]


@pytest.fixture(scope="module")
def tokenizer():
    config = tokenizers.TokenizerConfig(vocab_size=400, sentinels=12)
    return tokenizers.train(TEXTS * 10, ["red", "blue"], "<sep>", config)


def restored(read, written, sentinels):
    """The text of which `read` and `written` are what the spans left and took."""
    taken = {}
    for token in written:
        if token in sentinels:
            taken[token] = []
        else:
            list(taken.values())[-1].append(token)
    return [token for item in read for token in (taken[item] if item in sentinels else [item])]


@given(
    st.lists(st.integers(300, 399), max_size=80), st.integers(0, 2**32), st.sampled_from(("spans", "mixture"))
)
def test_spans_put_back_give_the_text(tokenizer, ids, seed, kind):
    denoise = Denoiser(tokenizer, DenoiseConfig(kind=kind), 64, 24)
    read, written = denoise([*ids, tokenizer.eos], np.random.default_rng(seed))
    assert (read.pop(), written.pop()) == (tokenizer.eos,) * 2
    assert restored(read, written, tokenizer.sentinels) == ids[:63]
    assert len(read) < 64 and len(written) < 24
    used = [token for token in read if token in tokenizer.sentinels]
    assert used == list(tokenizer.sentinels[: len(used)]) and bool(used) == bool(ids)


@given(st.lists(st.integers(300, 399), max_size=80), st.integers(0, 2**32), st.floats(0.05, 0.9))
def test_infilling_leaves_a_part_of_the_text_in_order(tokenizer, ids, seed, density):
    denoise = Denoiser(tokenizer, DenoiseConfig(kind="infilling", density=density), 64, 24)
    read, written = denoise([*ids, tokenizer.eos], np.random.default_rng(seed))
    assert written == [*ids[:23], tokenizer.eos] and read.pop() == tokenizer.eos
    mask = tokenizer.sentinels[0]
    kept = [token for token in read if token != mask]
    text = iter(ids[:23])
    assert all(token in text for token in kept)  # a subsequence
    assert len(ids[:23]) - len(kept) == round(density * len(ids[:23])) and len(read) <= 23


@pytest.mark.parametrize("mean", [1.0, 3.0])
def test_infilling_makes_no_text_longer(mean):
    ids = list(range(20))
    read = [infill(ids, 0.15, mean, 99, np.random.default_rng(seed)) for seed in range(2000)]
    assert max(map(len, read)) == 20, "as many masks as hidden ids, where most are empty"
    assert {sum(token != 99 for token in text) for text in read} == {17}


@pytest.mark.parametrize("kind", ["spans", "infilling"])
def test_as_much_is_hidden_as_asked_for(tokenizer, kind):
    denoise = Denoiser(tokenizer, DenoiseConfig(kind=kind, density=0.2, mean_span=4), 200, 200)
    ids, hidden, parts = list(range(300, 400)), 0, 0
    for seed in range(200):
        read, _ = denoise([*ids, tokenizer.eos], np.random.default_rng(seed))
        parts += sum(token in tokenizer.sentinels for token in read)
        hidden += 100 - sum(token >= 300 for token in read)
    assert hidden == 200 * 20
    assert hidden / parts == pytest.approx(4, rel=0.15)


def test_every_place_of_a_text_is_hidden_at_times(tokenizer):
    denoise = Denoiser(tokenizer, DenoiseConfig(), 40, 40)
    ids = list(range(300, 310))
    taken = {id for seed in range(200) for id in denoise([*ids, 1], np.random.default_rng(seed))[1]}
    assert taken.issuperset(ids)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_chance_gives_the_same_example(tokenizer, kind):
    denoise = Denoiser(tokenizer, DenoiseConfig(kind=kind), 40, 40)
    source = [*range(300, 340), tokenizer.eos]
    examples = [denoise(source, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert examples[0] == examples[1] != examples[2]


def test_a_tokenizer_without_free_tokens_is_refused(tokenizer):
    plain = tokenizers.train(TEXTS, ["red"], "<sep>", tokenizers.TokenizerConfig(vocab_size=380))
    for kind in KINDS:
        with pytest.raises(UserError, match=r"prepare with tokenizer\.sentinels=32"):
            Denoiser(plain, DenoiseConfig(kind=kind), 40, 40)
    config = tokenizers.TokenizerConfig(vocab_size=380, tag_vocab_size=400, sentinels=4)
    speller = tokenizers.train_speller(["red"], "<sep>", config)
    two = tokenizers.train(TEXTS, [], "<sep>", config, speller)
    with pytest.raises(UserError, match="tags have a tokenizer of their own"):
        Denoiser(two, DenoiseConfig(), 40, 40)


def test_sentinels_are_no_text_and_come_back_from_disk(tokenizer, tmp_path):
    assert tokenizer.sentinels == tuple(range(4, 16)) and tokenizer.survives("<extra_id_0>")
    tokenizer.save(tmp_path / "t")
    assert tokenizers.load(tmp_path / "t", "<sep>").sentinels == tokenizer.sentinels
    separated = tokenizers.train(
        TEXTS, ["red"], "<extra_id_0>", tokenizers.TokenizerConfig(vocab_size=380, sentinels=3)
    )
    assert separated.separator == 3 and separated.sentinels == (4, 5)
