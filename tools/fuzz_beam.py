"""Draws searches and small T5 models at random; compares ours with Hugging Face's `generate` on each.

    python -m tools.fuzz_beam --cases=1000      (from the root of the project)

Prints one JSON line, and exits with 1 at the first case that differs. A search is compiled once and run on
many models, so there are --searches programs in all.
"""

import argparse
import collections
import json
import pathlib
import sys
import tempfile
import time
import warnings
from typing import Any

import numpy as np

from taggen_jax.decode.beam import DecodeConfig
from tests.interop import parity
from tools import zoo

VARIANTS = ("t5-v1.0", "t5-v1.0-untied", "t5-v1.1", "t5-v1.1-tied")
EOS = 1


def drawn(rng: np.random.Generator) -> DecodeConfig:
    """A search in which most rules are at work, and often against each other."""
    beams, length = int(rng.integers(1, 6)), int(rng.integers(3, 11))
    stops = ["true", "false", "never"] if beams > 1 else ["true"]  # which makes one beam a greedy search
    options: dict[str, Any] = {
        "length_penalty": float(rng.choice([-0.5, 0.0, 0.6, 1.0, 2.0])),
        "min_length": int(rng.integers(0, length // 2 + 1)),
        "early_stopping": str(rng.choice(stops)),
        "no_repeat_ngram": int(rng.choice([0, 0, 1, 2, 3])),
        "forced_first": int(rng.choice([-1, -1, rng.integers(2, zoo.V)])),
        "forced_last": int(rng.choice([-1, -1, EOS])),
    }
    return DecodeConfig(beams=beams, n_best=int(rng.integers(1, beams + 1)), max_length=length, **options)


def run(cases: int, searches: int, seed: int) -> dict[str, Any]:
    rng, begin = np.random.default_rng(seed), time.perf_counter()
    lengths: collections.Counter[int] = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        for search in range(searches):
            decode, variant = drawn(rng), str(rng.choice(VARIANTS))
            for model in range(search, cases, searches):
                theirs = zoo.make(variant, seed + model, float(rng.uniform(1, 4)))
                config, params = parity.load(theirs, pathlib.Path(folder) / "hf")
                ours = parity.searches_agree(theirs, config, params, seed + model, decode)
                lengths.update(ours.lengths_BN.ravel().tolist())
            print(f"{search + 1}/{searches} {variant} {decode}", file=sys.stderr, flush=True)
    return {
        "cases": cases,
        "searches": searches,
        "hypotheses": sum(lengths.values()),
        "by_length": dict(sorted(lengths.items())),
        "differences": 0,
        "seconds": round(time.perf_counter() - begin, 1),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--searches", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # transformers' own
    zoo.quiet()
    try:
        print(json.dumps({"fuzz": "beam"} | run(args.cases, args.searches, args.seed)))
    except AssertionError as difference:
        sys.exit(str(difference))
