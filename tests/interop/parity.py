"""What every family has to show beside transformers' own model, whatever its inside.

A case is a random small model made by transformers. Each function states one law and fails by name.
"""

import dataclasses
import functools
import json
import pathlib
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch's and transformers' own, at import
    import torch
    from transformers import AutoModelForSeq2SeqLM

from taggen_jax.decode.beam import DecodeConfig, beam_search
from taggen_jax.interop import check, hf
from taggen_jax.interop.names import expand
from taggen_jax.models.family import build
from taggen_jax.models.layers import ComputeConfig
from taggen_jax.training.freeze import partition
from taggen_jax.training.optimizer import OptimizerConfig, decayed
from taggen_jax.training.step import TrainConfig, Training

T = 9
LENGTHS = (11, 3, 7, 1)
LEARNING_RATE = 1e-3  # ten times as much, and Adam's division by tiny gradients shows float32's noise


def redraw(model: Any, seed: int, centred: bool = False, spread: float = 0.3) -> None:
    """Every weight anew, large enough that each part of the model matters.

    centred: vectors are norms whose scale is one plus the weight, so that they are drawn around 0, not 1.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            noise = torch.randn(weight.shape, generator=generator)
            centre = 0.0 if centred else 1.0
            weight.copy_(centre + 0.2 * noise if weight.ndim == 1 else spread * noise)


def sources(seed: int, vocab_size: int, pad: int) -> np.ndarray:
    """A padded batch of products of mixed lengths, without special tokens in them."""
    rng = np.random.default_rng(seed)
    source_BS = rng.integers(3, vocab_size, size=(len(LENGTHS), max(LENGTHS)))
    return np.where(np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None], source_BS, pad).astype(np.int32)


def targets(seed: int, vocab_size: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(3, vocab_size, size=(len(LENGTHS), T)).astype(np.int32)


def load(model: Any, folder: pathlib.Path) -> tuple[Any, Any]:
    model.save_pretrained(folder)
    return hf.load(folder)


@functools.partial(jax.jit, static_argnames="config")
def our_logits(params: Any, batch: Any, config: Any) -> jax.Array:
    return build(config, ComputeConfig()).bind(params).logits(batch)


def logits_agree(model: Any, config: Any, params: Any, largest: float = 1.0) -> None:
    """To 1e-4, for padded batches of mixed lengths, under the encoder's mask and one of the decoder."""
    source_BS = sources(0, config.vocab_size, config.pad)
    target_BT = targets(1, config.vocab_size)
    target_lengths = np.array([T, 4, T - 1, 2])
    mask_BT = np.arange(T) < target_lengths[:, None]
    inputs_BT = np.pad(target_BT, ((0, 0), (1, 0)), constant_values=config.start)[:, :-1]
    with torch.no_grad():
        theirs = model(
            input_ids=torch.tensor(source_BS).long(),
            attention_mask=torch.tensor(source_BS != config.pad).long(),
            decoder_input_ids=torch.tensor(inputs_BT).long(),
            decoder_attention_mask=torch.tensor(mask_BT).long(),
        ).logits.numpy()
    segments_BT = mask_BT.astype(np.int32)
    batch = {"source": source_BS, "target": target_BT, "target_segments": segments_BT}
    ours = np.asarray(our_logits(params, batch, config))
    assert np.abs(theirs).max() > largest, "logits near zero would agree for no reason"
    np.testing.assert_allclose(ours[mask_BT], theirs[mask_BT], atol=1e-4)


@functools.partial(jax.jit, static_argnames=("config", "decode"))
def our_search(params: Any, source_BS: jax.Array, config: Any, decode: DecodeConfig) -> Any:
    model = build(config, ComputeConfig()).bind(params)
    segments_BS = (source_BS != config.pad).astype(np.int32)
    memory_BSD = model.encode(source_BS, segments_BS)
    cache, cross = model.start(memory_BSD, segments_BS, beams=decode.beams, length=decode.max_length)

    def step(token_BW: Any, cache: Any, t: Any, ancestry_BWT: Any) -> Any:
        hidden_BWD, cache = model.step(token_BW, cache, cross, t, ancestry_BWT)
        return model.unembed(hidden_BWD), cache

    return beam_search(
        step, cache, batch=source_BS.shape[0], bos=config.start, eos=config.eos, pad=config.pad, config=decode
    )


def their_search(model: Any, source_BS: np.ndarray, config: Any, decode: DecodeConfig) -> Any:
    """tokens_BNT cut after the first EOS and padded, scores_BN."""
    with torch.no_grad():
        found = model.generate(
            torch.tensor(source_BS).long(),
            attention_mask=torch.tensor(source_BS != config.pad).long(),
            num_beams=decode.beams,
            num_return_sequences=decode.n_best,
            length_penalty=decode.length_penalty,
            max_new_tokens=decode.max_length,
            do_sample=False,
            output_scores=True,
            return_dict_in_generate=True,
        )
    tokens_XT = found.sequences[:, 1:].numpy()
    short = decode.max_length - tokens_XT.shape[1]
    tokens_XT = np.pad(tokens_XT, ((0, 0), (0, short)), constant_values=config.pad)
    ends_XT = tokens_XT == config.eos
    # transformers fills finished rows with EOS where pad is 0
    tokens_XT = np.where(np.cumsum(ends_XT, axis=1) - ends_XT > 0, config.pad, tokens_XT)
    shape = (len(source_BS), decode.n_best)
    return tokens_XT.reshape(*shape, -1), found.sequences_scores.numpy().reshape(shape)


def searches_agree(model: Any, config: Any, params: Any, seed: int) -> set[int]:
    """All four beams of four products, tokens and scores; returns the lengths of the outputs."""
    decode = DecodeConfig(beams=4, n_best=4, max_length=T)
    source_BS = sources(seed, config.vocab_size, config.pad)
    ours = our_search(params, source_BS, config, decode)
    tokens_BNT, scores_BN = their_search(model, source_BS, config, decode)
    np.testing.assert_allclose(ours.scores_BN, scores_BN, atol=1e-4, err_msg=f"seed {seed}")
    np.testing.assert_array_equal(ours.tokens_BNT, tokens_BNT, err_msg=f"seed {seed}")
    return set(np.asarray(ours.lengths_BN).ravel().tolist())


def tensors(folder: pathlib.Path) -> dict[str, np.ndarray]:
    files = folder.glob("*.safetensors")
    return {name: x for file in files for name, x in safetensors.numpy.load_file(file).items()}


def there_and_back_is_the_identity(model: Any, tmp_path: pathlib.Path, but: tuple[str, ...] = ()) -> Any:
    """On names and bytes; and transformers' Auto class loads what we write, as the class that it was.

    but: beginnings of the names that we do not carry.
    Returns the model that transformers loaded.
    """
    config, params = load(model, tmp_path / "theirs")
    hf.save(tmp_path / "ours", config, params)
    before, after = tensors(tmp_path / "theirs"), tensors(tmp_path / "ours")
    before = {name: x for name, x in before.items() if not name.startswith(but)} if but else before
    assert before.keys() == after.keys()
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)
    assert hf.load(tmp_path / "ours")[0] == config
    kinds = [json.loads((tmp_path / f / "config.json").read_text())["model_type"] for f in ("theirs", "ours")]
    assert kinds[0] == kinds[1]
    loaded = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "ours").eval()
    assert type(loaded) is type(model)
    return loaded


def export_passes_its_check(model: Any, tmp_path: pathlib.Path) -> None:
    """The check that `taggen export` makes before it lets a folder go."""
    config, params = load(model, tmp_path / "theirs")
    hf.save(tmp_path / "ours", config, params)
    probe = check.probe(config, config.vocab_size)
    theirs = check.transformers_logits(tmp_path / "ours", config, probe)
    check.agree(check.our_logits(config, params, probe), theirs, "logits")


DECAY, STEPS = 0.01, 3


def trainings_agree(model: Any, config: Any, params: Any) -> None:
    """AdamW on one batch, dropout off, from the same weights: the same loss before and after every step."""
    source_BS = sources(2, config.vocab_size, config.pad)
    target_BT = targets(3, config.vocab_size)
    theirs = _their_losses(model, config, source_BS, target_BT)
    assert max(theirs) - min(theirs) > 0.01, "a loss that does not move would agree for no reason"
    np.testing.assert_allclose(_our_losses(params, config, source_BS, target_BT), theirs, atol=1e-4)


def _our_losses(params: Any, config: Any, source_BS: np.ndarray, target_BT: np.ndarray) -> list[float]:
    rates = {f.name: 0.0 for f in dataclasses.fields(config) if f.name.endswith("dropout")}
    bundle = build(dataclasses.replace(config, **rates), ComputeConfig())
    optimizer = OptimizerConfig(
        learning_rate=LEARNING_RATE, schedule="constant", warmup_steps=0, weight_decay=DECAY, clip_norm=0.0
    )
    train = TrainConfig(steps=STEPS + 1, optimizer=optimizer)
    training = Training(bundle, partition(bundle.shapes, bundle.axes, ()), train)
    batch = {"source": source_BS, "target": target_BT, "weight": np.ones(len(source_BS), np.float32)}
    step, state, losses = jax.jit(training.step), training.start(jax.tree.map(jnp.asarray, params)), []
    for _ in range(STEPS + 1):  # each sees the loss before its own update
        state, sums = step(state, batch)
        losses.append(float(sums["loss"] / sums["weight"]))
    return losses


def _their_losses(model: Any, config: Any, source_BS: np.ndarray, target_BT: np.ndarray) -> list[float]:
    """Weight decay where ours has it, which the table of names tells."""
    shapes = build(config, ComputeConfig()).shapes
    paths = {
        name: tensor.path for name, tensor in expand(hf.FAMILIES[config.family].names(config), shapes).items()
    }
    is_decayed = decayed(dict.fromkeys(paths.values()))
    groups: dict[bool, list[Any]] = {True: [], False: []}
    for name, weight in model.named_parameters():
        groups[name in paths and is_decayed[paths[name]]].append(weight)
    optimizer = torch.optim.AdamW(
        [{"params": group, "weight_decay": DECAY * yes} for yes, group in groups.items()], lr=LEARNING_RATE
    )
    inputs_BT = np.pad(target_BT, ((0, 0), (1, 0)), constant_values=config.start)[:, :-1]
    losses = []
    for _ in range(STEPS + 1):
        logits_BTV = model(
            input_ids=torch.tensor(source_BS).long(),
            attention_mask=torch.tensor(source_BS != config.pad).long(),
            decoder_input_ids=torch.tensor(inputs_BT).long(),
        ).logits
        value = torch.nn.functional.cross_entropy(
            logits_BTV.flatten(0, 1), torch.tensor(target_BT).long().flatten()
        )
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    return losses
