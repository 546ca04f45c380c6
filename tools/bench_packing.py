"""Times training on rows that several products share, and on buckets of like length, beside padded rows.

    python tools/bench_packing.py --data=FOLDER --source=256 --target=32 --batch=16 --packing=8

FOLDER is what `taggen prepare` left, whose `stream.source_length` is at least --source: the lengths are those
of real products. The model is random (T5, see bench_train.py). The kinds of rows run in turns, on batches of
the stream (of buckets: on some of each length, as often as it comes); a real token is one that is no padding.
Also times the packed stream alone. Prints one JSON line.
"""

import argparse
import dataclasses
import itertools
import json
import pathlib
import statistics
import sys
import time
from typing import Any

import jax
import numpy as np

from taggen_jax.data.packing import BEGIN
from taggen_jax.models import family
from taggen_jax.models.layers import ComputeConfig
from taggen_jax.models.t5 import T5Config
from taggen_jax.parallel.mesh import MeshConfig, make_mesh, put_batch
from taggen_jax.prepared import Prepared
from taggen_jax.training.freeze import partition
from taggen_jax.training.state import create_state, state_shardings
from taggen_jax.training.step import TrainConfig, Training, jit_step

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from bench_train import SIZES

ALONE = 100  # batches of the stream that are timed without a model


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=pathlib.Path, required=True, help="a prepared folder")
    parser.add_argument("--size", choices=sorted(SIZES), default="mini")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--source", type=int, default=256, help="source length")
    parser.add_argument("--target", type=int, default=32, help="target length")
    parser.add_argument("--packing", type=int, default=8, help="products in a row, at most")
    parser.add_argument("--buckets", type=int, nargs="+", default=[64, 96, 128, 192], help="below --source")
    parser.add_argument("--steps", type=int, default=4, help="steps in one timed repeat")
    parser.add_argument("--repeats", type=int, default=5)
    return parser.parse_args()


def batches(args: argparse.Namespace, count: int, **kind: Any) -> list[dict[str, np.ndarray]]:
    """The first `count` training batches of a kind of rows, given as settings of the stream."""
    prepared = Prepared(args.data)
    stream = dataclasses.replace(
        prepared.experiment.stream,
        source_length=args.source,
        target_length=args.target,
        batch_size=args.batch,
        **{"buckets": (), "packing": 1} | kind,
    )
    experiment = dataclasses.replace(prepared.experiment, stream=stream)
    opened = prepared.train_batches(experiment, BEGIN, make_mesh(MeshConfig()))
    found = list(itertools.islice(opened, count))
    opened.close()
    return found


def of_each_length(args: argparse.Namespace) -> list[dict[str, np.ndarray]]:
    """--steps batches of buckets, evenly strewn over those of a window from the shortest to the longest."""
    window = batches(args, 16 * len(args.buckets), buckets=tuple(args.buckets))
    window.sort(key=lambda batch: batch["source"].shape[1])
    return [window[(2 * i + 1) * len(window) // (2 * args.steps)] for i in range(args.steps)]


def real(batch: dict[str, np.ndarray], pads: tuple[int, int]) -> int:
    """The tokens of a batch that are no padding."""
    return sum(int((batch[x] != pad).sum()) for x, pad in zip(("source", "target"), pads, strict=True))


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Real tokens per second of each kind of rows."""
    tokenizer = Prepared(args.data).tokenizer("<sep>")
    model = T5Config(**SIZES[args.size] | {"vocab_size": max(tokenizer.size, tokenizer.tags.size)})
    bundle, mesh = family.build(model, ComputeConfig()), make_mesh(MeshConfig())
    training = Training(bundle, partition(bundle.shapes, bundle.axes, ()), TrainConfig())
    step = jit_step(training, state_shardings(training, mesh), mesh)
    stored = {
        "padded": batches(args, args.steps),
        "bucketed": of_each_length(args),
        "packed": batches(args, args.steps, packing=args.packing),
    }
    pads = tokenizer.pad, tokenizer.tags.pad
    tokens = {kind: sum(real(batch, pads) for batch in found) for kind, found in stored.items()}
    state, rates = create_state(training, mesh), {kind: [] for kind in stored}
    for repeat in range(args.repeats + 1):  # one to warm up
        for kind, found in stored.items():
            begin = time.perf_counter()
            for batch in found:
                state, sums = step(state, put_batch(batch, mesh))
            jax.block_until_ready(sums)
            if repeat:
                rates[kind].append(tokens[kind] / (time.perf_counter() - begin))
    rate = {kind: statistics.median(values) for kind, values in rates.items()}
    slots = {kind: sum(x["source"].size + x["target"].size for x in found) for kind, found in stored.items()}
    begin = time.perf_counter()
    products = sum(float(batch["weight"].sum()) for batch in batches(args, ALONE, packing=args.packing))
    return {
        "real_tokens_per_s": rate,
        "ratio": {kind: rate[kind] / rate["padded"] for kind in stored},
        "filled": {kind: tokens[kind] / slots[kind] for kind in stored},
        "stream_alone_products_per_s": products / (time.perf_counter() - begin),
        "all": rates,
        "jax": jax.__version__,
    }


if __name__ == "__main__":
    args = arguments()
    print(json.dumps({"bench": "packing", "args": vars(args) | {"data": str(args.data)}} | measure(args)))
