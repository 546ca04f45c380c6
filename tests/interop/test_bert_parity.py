"""Our BERT to sequence against transformers' `EncoderDecoderModel`, on random small models."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from transformers import (
    BertConfig,
    EncoderDecoderConfig,
    EncoderDecoderModel,
    RobertaConfig,
    XLMRobertaConfig,
)

from taggen_jax.decode.beam import DecodeConfig, beam_search
from taggen_jax.interop import hf
from taggen_jax.models.family import build
from taggen_jax.models.layers import ComputeConfig
from tests.interop.test_hf import tensors

PAD, EOS, START, V = 1, 2, 3, 53
SIZES = {"vocab_size": V, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3,
         "intermediate_size": 40, "max_position_embeddings": 20, "pad_token_id": PAD,
         "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}  # fmt: skip
NARROW = SIZES | {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1, "vocab_size": 31}
SIDES = {  # name -> class and sizes of encoder and decoder
    "bert-bert": (BertConfig, SIZES, BertConfig, SIZES),
    "roberta-roberta": (RobertaConfig, SIZES, RobertaConfig, SIZES),
    "bert-narrow": (BertConfig, SIZES | {"hidden_act": "gelu_new", "pad_token_id": 0}, BertConfig, NARROW),
    "xlmr-bert": (XLMRobertaConfig, SIZES, BertConfig, NARROW | {"hidden_act": "relu"}),
}
SOURCE_LENGTHS, TARGET_LENGTHS, T = (11, 3, 7, 1), (4, 9, 1, 6), 9


def random_model(variant, seed, eos_scale=1.0):
    """Every weight drawn anew, large enough that attention and biases matter."""
    encoder_class, encoder, decoder_class, decoder = SIDES[variant]
    config = EncoderDecoderConfig(
        encoder=encoder_class(**encoder),
        decoder=decoder_class(**decoder, is_decoder=True, add_cross_attention=True),
        pad_token_id=PAD, eos_token_id=EOS, decoder_start_token_id=START,
    )  # fmt: skip
    model = EncoderDecoderModel(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            scale = "LayerNorm.weight" in name or "layer_norm.weight" in name
            weight.copy_(1 + 0.2 * noise if scale else 0.3 * noise)
        model.get_output_embeddings().weight[EOS] *= eos_scale
    return model


@pytest.fixture(params=SIDES)
def variant(request):
    return request.param


@pytest.fixture
def pair(variant, tmp_path):
    """(transformers' model, our configuration, our parameters)."""
    model = random_model(variant, 0)
    model.save_pretrained(tmp_path / "hf")
    return model, *hf.load(tmp_path / "hf")


def padded(lengths, vocab_size, pad, seed):
    rng = np.random.default_rng(seed)
    ids = rng.integers(4, vocab_size, size=(len(lengths), max(lengths)))
    return np.where(np.arange(max(lengths)) < np.array(lengths)[:, None], ids, pad).astype(np.int32)


def make_batch(config):
    return {
        "source": padded(SOURCE_LENGTHS, config.encoder.vocab_size, config.encoder.pad, 0),
        "target": padded(TARGET_LENGTHS, config.vocab_size, config.pad, 1),
    }


def their_logits(model, config, batch):
    source, target = (torch.tensor(batch[name]).long() for name in ("source", "target"))
    inputs = torch.nn.functional.pad(target, (1, 0), value=START)[:, :-1]
    return model(
        input_ids=source,
        attention_mask=(source != config.encoder.pad).long(),
        decoder_input_ids=inputs,
        decoder_attention_mask=(inputs != PAD).long(),
    ).logits


def our_loss(params, config, batch):
    logits_BTV = build(config, ComputeConfig()).bind(params).logits(batch)
    losses_BT = optax.softmax_cross_entropy_with_integer_labels(logits_BTV, batch["target"])
    weight_BT = batch["target"] != PAD
    return jnp.sum(losses_BT * weight_BT) / jnp.sum(weight_BT)


def test_logits_agree(pair):
    model, config, params = pair
    batch = make_batch(config)
    with torch.no_grad():
        theirs = their_logits(model, config, batch).numpy()
    ours = jax.jit(lambda params: build(config, ComputeConfig()).bind(params).logits(batch))(params)
    read = batch["target"] != PAD  # RoBERTa gives padding another position; nothing depends on it
    assert np.abs(theirs[read]).max() > 1, "logits near zero would agree for no reason"
    np.testing.assert_allclose(ours[read], theirs[read], atol=1e-4)


def test_there_and_back_is_the_identity_on_bytes_and_transformers_reads_it(pair, tmp_path):
    model, config, params = pair
    hf.save(tmp_path / "back", config, params)
    before, after = tensors(tmp_path / "hf"), tensors(tmp_path / "back")
    assert before.keys() == after.keys()
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)
    assert hf.load(tmp_path / "back")[0] == config
    again, batch = EncoderDecoderModel.from_pretrained(tmp_path / "back"), make_batch(config)
    with torch.no_grad():
        assert torch.equal(their_logits(again, config, batch), their_logits(model, config, batch))


def test_three_steps_of_adamw_have_the_same_losses(pair):
    model, config, params = pair
    batch, rate = make_batch(config), 1e-2
    theirs, torch_optimizer = [], torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    target = torch.tensor(batch["target"]).long()
    for _ in range(3):
        logits = their_logits(model, config, batch)
        loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2), target, ignore_index=PAD)
        torch_optimizer.zero_grad()
        loss.backward()
        torch_optimizer.step()
        theirs.append(loss.item())
    ours, tx = [], optax.adamw(rate, weight_decay=0.01)
    step = jax.jit(jax.value_and_grad(lambda params: our_loss(params, config, batch)))
    state = tx.init(params)
    for _ in range(3):
        loss, gradients = step(params)
        updates, state = tx.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
        ours.append(float(loss))
    assert theirs[2] < theirs[0]
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


DECODE = DecodeConfig(beams=4, n_best=4, max_length=T, length_penalty=0.7)
SEEDS = 4


def our_search(params, source_BS, config):
    model = build(config, ComputeConfig()).bind(params)
    segments_BS = (source_BS != config.encoder.pad).astype(np.int32)
    memory_BSD = model.encode(source_BS, segments_BS)
    cache, cross = model.start(memory_BSD, segments_BS, beams=DECODE.beams, length=T)

    def step(token_BW, cache, t, ancestry_BWT):
        hidden_BWD, cache = model.step(token_BW, cache, cross, t, ancestry_BWT)
        return model.unembed(hidden_BWD), cache

    batch = source_BS.shape[0]
    return beam_search(step, cache, batch=batch, bos=START, eos=EOS, pad=PAD, config=DECODE)


def their_search(model, source_BS, pad):
    source = torch.tensor(source_BS).long()
    with torch.no_grad():
        found = model.generate(
            source, attention_mask=(source != pad).long(), num_beams=4, num_return_sequences=4,
            length_penalty=DECODE.length_penalty, max_new_tokens=T, do_sample=False, output_scores=True,
            return_dict_in_generate=True,
        )  # fmt: skip
    tokens_XT = found.sequences[:, 1:].numpy()
    tokens_XT = np.pad(tokens_XT, ((0, 0), (0, T - tokens_XT.shape[1])), constant_values=PAD)
    shape = (len(source_BS), 4)
    return tokens_XT.reshape(*shape, T), found.sequences_scores.numpy().reshape(shape)


def test_searches_agree(variant, tmp_path):
    ended, search = set(), jax.jit(our_search, static_argnames="config")
    for seed in range(SEEDS):
        model = random_model(variant, seed, eos_scale=1.2 + 0.8 * seed / SEEDS)
        model.save_pretrained(tmp_path / str(seed))
        config, params = hf.load(tmp_path / str(seed))
        source_BS = padded(SOURCE_LENGTHS, config.encoder.vocab_size, config.encoder.pad, seed)
        ours = search(params, source_BS, config=config)
        tokens_BNT, scores_BN = their_search(model, source_BS, config.encoder.pad)
        np.testing.assert_allclose(ours.scores_BN, scores_BN, atol=1e-4)
        np.testing.assert_array_equal(ours.tokens_BNT, tokens_BNT)
        ended |= set(np.asarray(ours.lengths_BN).ravel().tolist())
    assert len(ended) > 2, "outputs must end at several lengths"
