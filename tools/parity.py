"""Our models beside transformers' own: one row for every family and variant, with random small weights.

  python tools/parity.py --all            (or the names of variants; --list prints them)

A row gives the size of the largest logit; how far our float32 logits are from transformers' in float32 and in
float64, at most, for a padded batch of mixed lengths; for how many of 50 products beam search finds the same
four outputs with the same scores; and whether the tensors come back from us byte for byte.
Exits with 1 if a row fails.
"""

import argparse
import copy
import pathlib
import sys
import tempfile
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))  # for `tools`, when run as a script

from taggen_jax.interop import hf
from taggen_jax.models.family import source_config
from tools import beside, zoo

BOUND = 1e-4  # of logits, and of scores
PRODUCTS, LONGEST = 50, 11


class Row(NamedTuple):
    """What a variant has shown."""

    largest: float  # logit
    float32: float  # how far logits differ from transformers' in float32
    float64: float  # and in float64
    beams: int
    same_bytes: bool

    @property
    def passes(self) -> bool:
        near = self.float32 <= BOUND and self.float64 <= BOUND  # NaN is not
        return near and self.beams == PRODUCTS and self.same_bytes


def compare(maker: zoo.Maker) -> Row:
    """Measures a variant."""
    zoo.quiet()
    model = maker(0, zoo.EOS_SCALE)
    with tempfile.TemporaryDirectory() as folder:
        theirs, ours = pathlib.Path(folder, "theirs"), pathlib.Path(folder, "ours")
        model.save_pretrained(theirs)
        hf.save(ours, *hf.open_folder(theirs))
        config, params = hf.load(theirs)
        same = same_bytes(theirs, ours, tuple(hf.FAMILIES[config.family].UNUSED))
    lengths = np.random.default_rng(0).integers(1, LONGEST + 1, PRODUCTS)
    source_BS = beside.sources(config, 0, lengths)
    logits = _logits(model, config, params, source_BS)
    return Row(*logits, _beams(model, config, params, source_BS), same)


def same_bytes(folder: pathlib.Path, other: pathlib.Path, unused: tuple[str, ...]) -> bool:
    """Whether two folders hold the same tensors, byte for byte.

    unused: beginnings of the names that we leave out, the eyes of T5Gemma 2.
    """
    before, after = tensors(folder), tensors(other)
    kept = {name: x for name, x in before.items() if not name.startswith(unused)} if unused else before
    return kept.keys() == after.keys() and all(
        x.tobytes() == after[name].tobytes() for name, x in kept.items()
    )


def tensors(folder: pathlib.Path) -> dict[str, np.ndarray]:
    files = folder.glob("*.safetensors")
    return {name: x for file in files for name, x in safetensors.numpy.load_file(file).items()}


def _logits(model: Any, config: Any, params: Any, source_BS: np.ndarray) -> tuple[float, float, float]:
    """The largest logit, and the largest differences from theirs in float32 and in float64."""
    target_BT = beside.targets(config, 1, PRODUCTS)
    ours = np.asarray(beside.our_logits(params, {"source": source_BS, "target": target_BT}, config))
    single = beside.their_logits(model, config, source_BS, target_BT)
    double = _exact(model, config, source_BS, target_BT)
    return float(np.abs(ours).max()), float(np.abs(ours - single).max()), float(np.abs(ours - double).max())


def _exact(model: Any, config: Any, source_BS: np.ndarray, target_BT: np.ndarray) -> np.ndarray:
    """Their logits in float64, of each product by itself: masked whole, a row of T5Gemma's is NaN there."""
    exact, pad = copy.deepcopy(model).double(), source_config(config).pad
    rows = zip(source_BS, target_BT, strict=True)
    alone = [
        beside.their_logits(exact, config, row_S[row_S != pad][None], row_T[None]) for row_S, row_T in rows
    ]
    return np.concatenate(alone)


def _beams(model: Any, config: Any, params: Any, source_BS: np.ndarray) -> int:
    """Products for which all four hypotheses agree, tokens and scores."""
    ours = beside.our_search(params, config, source_BS)
    theirs = beside.their_search(model, config, source_BS)
    same_B = (ours.tokens_BNT == theirs.tokens_BNT).all(axis=(1, 2))
    return int((same_B & (np.abs(ours.scores_BN - theirs.scores_BN) <= BOUND).all(axis=1)).sum())


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
    print(f"{'variant':<17} {'logit <':>7} {'float32':>8} {'float64':>8} {'beams':>6} {'round trip':>11}")
    rows = {}
    for name in names:
        rows[name] = row = compare(zoo.VARIANTS[name])
        logits = f"{row.largest:>7.1f} {row.float32:>8.1e} {row.float64:>8.1e}"
        trip, beams = "byte-equal" if row.same_bytes else "DIFFERS", f"{row.beams}/{PRODUCTS}"
        verdict = "" if row.passes else "  FAILS"
        print(f"{name:<17} {logits} {beams:>6} {trip:>11}{verdict}", flush=True)
    sys.exit(not all(row.passes for row in rows.values()))


if __name__ == "__main__":
    main()
