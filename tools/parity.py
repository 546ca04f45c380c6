"""Our models beside transformers' own: one row for every family and variant, with random small weights.

  python tools/parity.py --all            (or the names of variants; --list prints them)

A row gives the largest difference of our float32 logits from transformers' in float64 (in float32, its own
rounding can be the larger part), for a padded batch of mixed lengths; for how many of 50 products beam search
finds the same four outputs with the same scores; and whether the tensors come back from us byte for byte.
Exits with 1 if a row fails.
"""

import argparse
import copy
import pathlib
import sys
import tempfile
from typing import Any, NamedTuple

import jax
import numpy as np
import safetensors.numpy

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))  # for `tools`, when run as a script

from taggen_jax.decode.beam import DecodeConfig
from taggen_jax.interop import hf
from taggen_jax.models.family import build
from taggen_jax.models.layers import ComputeConfig
from taggen_jax.parallel.mesh import MeshConfig, make_mesh
from taggen_jax.tagger import generator
from tools import zoo

torch = zoo.torch
BOUND = 1e-4  # of logits, and of scores
PRODUCTS, S, T = 50, 11, 9
SEARCH = DecodeConfig(beams=4, n_best=4, max_length=T)
EOS_SCALE = 3.0  # makes the end compete: outputs of every length


class Row(NamedTuple):
    """What a variant has shown."""

    difference: float
    beams: int
    same_bytes: bool

    @property
    def passes(self) -> bool:
        return self.difference <= BOUND and self.beams == PRODUCTS and self.same_bytes


def compare(maker: zoo.Maker) -> Row:
    """Measures a variant."""
    zoo.quiet()
    model = maker(0, EOS_SCALE)
    with tempfile.TemporaryDirectory() as folder:
        theirs, ours = pathlib.Path(folder, "theirs"), pathlib.Path(folder, "ours")
        model.save_pretrained(theirs)
        hf.save(ours, *hf.open_folder(theirs))
        before, after = _tensors(theirs), _tensors(ours)
        config, params = hf.load(theirs)
    same = before.keys() == after.keys() and all(
        x.tobytes() == after[name].tobytes() for name, x in before.items()
    )
    source_BS = _sources(config)
    return Row(_logits(model, config, params, source_BS), _beams(model, config, params, source_BS), same)


def _tensors(folder: pathlib.Path) -> dict[str, np.ndarray]:
    files = folder.glob("*.safetensors")
    return {name: x for file in files for name, x in safetensors.numpy.load_file(file).items()}


def _sources(config: Any) -> np.ndarray:
    """source_BS: products of 1 to S random tokens without a duty, padded."""
    rng = np.random.default_rng(0)
    free = np.setdiff1d(np.arange(config.vocab_size), [config.pad, config.eos, config.start])
    length_B1 = rng.integers(1, S + 1, (PRODUCTS, 1))
    length_B1[0] = S
    source_BS = rng.choice(free, (PRODUCTS, S))
    return np.where(np.arange(S)[None] < length_B1, source_BS, config.pad).astype(np.int32)


def _asked(config: Any, source_BS: np.ndarray) -> dict[str, Any]:
    return {
        "input_ids": torch.tensor(source_BS).long(),
        "attention_mask": torch.tensor(source_BS != config.pad).long(),
    }


def _logits(model: Any, config: Any, params: Any, source_BS: np.ndarray) -> float:
    target_BT = np.random.default_rng(1).integers(3, config.vocab_size, (PRODUCTS, T)).astype(np.int32)
    inputs_BT = np.pad(target_BT, ((0, 0), (1, 0)), constant_values=config.start)[:, :-1]
    with torch.no_grad():
        asked, exact = _asked(config, source_BS), copy.deepcopy(model).double()
        theirs = exact(**asked, decoder_input_ids=torch.tensor(inputs_BT).long()).logits.numpy()
    bind = build(config, ComputeConfig()).bind
    ours = jax.jit(lambda params, batch: bind(params).logits(batch))(
        params, {"source": source_BS, "target": target_BT}
    )
    return float(np.abs(np.asarray(ours) - theirs).max())


def _beams(model: Any, config: Any, params: Any, source_BS: np.ndarray) -> int:
    """Products for which all four hypotheses agree, tokens and scores."""
    bundle, mesh = build(config, ComputeConfig()), make_mesh(MeshConfig(), jax.devices()[:1])
    ours = generator(bundle, SEARCH, mesh)(params, source_BS)
    with torch.no_grad():
        found = model.generate(
            **_asked(config, source_BS), num_beams=4, num_return_sequences=4, max_new_tokens=T,
            early_stopping=False, do_sample=False, output_scores=True, return_dict_in_generate=True,
        )  # fmt: skip
    tokens_XT = found.sequences[:, 1:].numpy()
    tokens_XT = np.pad(tokens_XT, ((0, 0), (0, T - tokens_XT.shape[1])), constant_values=config.pad)
    ends_XT = tokens_XT == config.eos
    tokens_XT = np.where(
        np.cumsum(ends_XT, axis=1) - ends_XT > 0, config.pad, tokens_XT
    )  # nothing after the end
    scores_BN = found.sequences_scores.numpy().reshape(PRODUCTS, 4)
    same_B = (np.asarray(ours.tokens_BNT) == tokens_XT.reshape(PRODUCTS, 4, T)).all(axis=(1, 2))
    return int((same_B & (np.abs(np.asarray(ours.scores_BN) - scores_BN) <= BOUND).all(axis=1)).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("variants", nargs="*", choices=[*zoo.VARIANTS, []], metavar="VARIANT")
    parser.add_argument("--all", action="store_true", help="every variant")
    parser.add_argument("--list", action="store_true", help="print the variants' names")
    options = parser.parse_args()
    if options.list:
        sys.exit(print("\n".join(zoo.VARIANTS)))
    names = list(zoo.VARIANTS) if options.all else options.variants
    if not names:
        parser.error("name variants, or give --all")
    print(f"{'variant':<16} {'logits differ by':>16} {'beams equal':>11} {'round trip':>12}")
    rows = {}
    for name in names:
        rows[name] = row = compare(zoo.VARIANTS[name])
        trip = "byte-equal" if row.same_bytes else "DIFFERS"
        beams, verdict = f"{row.beams}/{PRODUCTS}", "" if row.passes else "  FAILS"
        print(f"{name:<16} {row.difference:>16.1e} {beams:>11} {trip:>12}{verdict}", flush=True)
    sys.exit(not all(row.passes for row in rows.values()))


if __name__ == "__main__":
    main()
