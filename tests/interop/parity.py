"""What every family has to show beside transformers' own model, whatever its inside.

A case is a random small model made by transformers. Each function states one law and fails by name.
"""

import dataclasses
import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from transformers import AutoModelForSeq2SeqLM

from taggen_jax.decode.beam import Beams, DecodeConfig
from taggen_jax.interop import check, hf
from taggen_jax.interop.names import expand
from taggen_jax.models.family import build
from taggen_jax.models.layers import ComputeConfig
from taggen_jax.training.freeze import partition
from taggen_jax.training.optimizer import OptimizerConfig, decayed
from taggen_jax.training.step import TrainConfig, Training
from tools.beside import (
    BEAMS,
    T,
    asked,
    our_logits,
    our_search,
    shifted,
    sources,
    targets,
    their_logits,
    their_search,
)
from tools.parity import same_bytes

LEARNING_RATE = 1e-3  # ten times as much, and Adam's division by tiny gradients shows float32's noise


def load(model: Any, folder: pathlib.Path) -> tuple[Any, Any]:
    model.save_pretrained(folder)
    return hf.load(folder)


def logits_agree(model: Any, config: Any, params: Any) -> None:
    """To 1e-4, for padded batches of mixed lengths, under the encoder's mask and one of the decoder."""
    source_BS, target_BT = sources(config, 0), targets(config, 1)
    mask_BT = np.arange(T) < np.array([T, 4, T - 1, 2])[:, None]
    theirs = their_logits(
        model, config, source_BS, target_BT, decoder_attention_mask=torch.tensor(mask_BT).long()
    )
    batch = {"source": source_BS, "target": target_BT, "target_segments": mask_BT.astype(np.int32)}
    ours = np.asarray(our_logits(params, batch, config))
    assert np.abs(theirs).max() > 1, "logits near zero would agree for no reason"
    np.testing.assert_allclose(ours[mask_BT], theirs[mask_BT], atol=1e-4)


def searches_agree(model: Any, config: Any, params: Any, seed: int, decode: DecodeConfig = BEAMS) -> Beams:
    """All hypotheses of four products, tokens and scores; returns ours."""
    source_BS = sources(config, seed)
    ours = our_search(params, config, source_BS, decode)
    theirs = their_search(model, config, source_BS, decode)
    case = f"{config}, {decode}, seed {seed}"
    np.testing.assert_array_equal(ours.tokens_BNT, theirs.tokens_BNT, err_msg=case)
    if theirs.scores_BN is not None:
        np.testing.assert_allclose(ours.scores_BN, theirs.scores_BN, atol=1e-4, err_msg=case)
    return ours


def there_and_back_is_the_identity(model: Any, tmp_path: pathlib.Path) -> None:
    """On names and bytes; and transformers' Auto class loads what we write, as the class that it was."""
    config, params = load(model, tmp_path / "theirs")
    unused = tuple(hf.FAMILIES[config.family].UNUSED)
    hf.save(tmp_path / "ours", config, params)
    assert same_bytes(tmp_path / "theirs", tmp_path / "ours", unused)
    assert hf.load(tmp_path / "ours")[0] == config
    kinds = [json.loads((tmp_path / f / "config.json").read_text())["model_type"] for f in ("theirs", "ours")]
    assert kinds[0] == kinds[1]
    loaded = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "ours").eval()
    assert type(loaded) is type(model)
    before, after = model.state_dict(), loaded.state_dict()
    kept = [name for name in before if not name.startswith(unused)] if unused else list(before)
    assert all(torch.equal(before[name], after[name]) for name in kept)


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
    source_BS = sources(config, 2)
    target_BT = targets(config, 3)
    theirs = _their_losses(model, config, source_BS, target_BT)
    assert max(theirs) - min(theirs) > 0.01, "a loss that does not move would agree for no reason"
    np.testing.assert_allclose(_our_losses(params, config, source_BS, target_BT), theirs, atol=1e-4)


def without_dropout(config: Any) -> Any:
    """The configuration with every rate of dropout at 0, those of its parts included."""
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            changes[field.name] = without_dropout(value)
        elif field.name.endswith("dropout"):
            changes[field.name] = 0.0
    return dataclasses.replace(config, **changes)


def _our_losses(params: Any, config: Any, source_BS: np.ndarray, target_BT: np.ndarray) -> list[float]:
    bundle = build(without_dropout(config), ComputeConfig())
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
    losses = []
    for _ in range(STEPS + 1):
        logits_BTV = model(**asked(config, source_BS), decoder_input_ids=shifted(config, target_BT)).logits
        value = torch.nn.functional.cross_entropy(
            logits_BTV.flatten(0, 1), torch.tensor(target_BT).long().flatten()
        )
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    return losses
