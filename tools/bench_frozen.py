"""Times a training step while everything trains, with a frozen encoder, and with its outputs cached.

    python tools/bench_frozen.py --model=minilm --batch=32 --source=96 --target=24

Random batches; the three run in turns in one process. The cached step takes the encoder's outputs from a
file, as `taggen train` does. Prints one JSON line.
"""

import argparse
import functools
import json
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from taggen_jax.models import family
from taggen_jax.models.bert import BertConfig, StackConfig
from taggen_jax.models.layers import ComputeConfig
from taggen_jax.models.t5 import T5Config
from taggen_jax.parallel.mesh import MeshConfig, make_mesh, put_batch
from taggen_jax.runs import encoded
from taggen_jax.training import encoder
from taggen_jax.training.freeze import partition
from taggen_jax.training.state import create_state, state_shardings
from taggen_jax.training.step import TrainConfig, Training, jit_step, within

WIDTH = {"d_model": 384, "d_mlp": 1536, "dropout": 0.0}
MODELS = {
    "minilm": BertConfig(  # as configs/debtags_minilm.py
        encoder=StackConfig(n_heads=12, layers=6, **WIDTH),
        decoder=StackConfig(n_heads=6, layers=1, vocab_size=1024, positions=32, token_types=1, **WIDTH),
        eos=1,
        start=3,
    ),
    "t5": T5Config(  # as bench_train.py --size=mini
        vocab_size=8192,
        d_model=256,
        d_mlp=1024,
        n_heads=4,
        encoder_layers=4,
        decoder_layers=4,
        dropout=0.1,
    ),
}
BATCHES = 8  # different ones, whose rows are looked up


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=sorted(MODELS), default="minilm")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--source", type=int, default=96, help="source length")
    parser.add_argument("--target", type=int, default=24, help="target length")
    parser.add_argument("--steps", type=int, default=4, help="steps in one timed repeat")
    parser.add_argument("--repeats", type=int, default=3)
    return parser.parse_args()


def batches(args: argparse.Namespace) -> list[dict[str, np.ndarray]]:
    """Random ones, the rows of each at random places of the file."""
    rng = np.random.default_rng(0)
    rows = rng.permutation(args.batch * BATCHES).reshape(BATCHES, args.batch)
    return [
        {
            "source": rng.integers(4, 1024, (args.batch, args.source)).astype(np.int32),
            "target": rng.integers(4, 1024, (args.batch, args.target)).astype(np.int32),
            "weight": np.ones(args.batch, np.float32),
            "row": row.astype(np.int32),
        }
        for row in rows
    ]


def runner(bundle: family.Bundle, freeze: tuple[str, ...], feed: Callable[..., Any]) -> Callable[..., float]:
    """batches -> seconds that steps over them took."""
    training = Training(bundle, partition(bundle.shapes, bundle.axes, freeze), TrainConfig())
    mesh = make_mesh(MeshConfig())
    states = [create_state(training, mesh)]
    step = jit_step(training, state_shardings(training, mesh), mesh)

    def run(batches: list[dict[str, np.ndarray]]) -> float:
        begin, state = time.perf_counter(), states.pop()
        for batch in batches:
            state, _ = step(state, put_batch(feed(batch), mesh))
        states.append(jax.block_until_ready(state))
        return time.perf_counter() - begin

    return run


def measure(args: argparse.Namespace, folder: pathlib.Path) -> dict[str, Any]:
    """Examples per second of the three, and of the pass that fills the cache."""
    bundle, mesh, drawn = (
        family.build(MODELS[args.model], ComputeConfig()),
        make_mesh(MeshConfig()),
        batches(args),
    )
    params = jax.jit(bundle.init)(jax.random.key(0))
    encode = within(jax.jit(functools.partial(encoder.encode, bundle)), mesh)
    memory_BSD = np.asarray(encode(params, drawn[0]["source"]))  # compiles
    shape = (args.batch * BATCHES, *memory_BSD.shape[1:])
    identity = encoded.identity(shape, memory_BSD.dtype, parameters="", rows="")
    begin = time.perf_counter()
    memory_NSD = encoded.stored(
        folder, identity, lambda: (np.asarray(encode(params, batch["source"])) for batch in drawn)
    )
    filling = time.perf_counter() - begin
    frozen = tuple({path.split("/")[0] for path in encoder.reads(bundle)})
    runs = {
        "all": runner(bundle, (), lambda batch: batch),
        "frozen": runner(bundle, frozen, lambda batch: batch),
        "cached": runner(bundle, frozen, lambda batch: batch | {"memory": memory_NSD[batch["row"]]}),
    }
    for run in runs.values():
        run(drawn[:1])
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(args.repeats):
        for name, run in runs.items():
            taken[name].append(run((drawn * args.steps)[: args.steps]))
    rate = {
        name: round(args.batch * args.steps / statistics.median(seconds), 1)
        for name, seconds in taken.items()
    }
    return {
        "examples_per_s": rate,
        "spread": {name: round(max(seconds) / min(seconds), 3) for name, seconds in taken.items()},
        "cached_over_frozen": round(rate["cached"] / rate["frozen"], 2),
        "cached_over_all": round(rate["cached"] / rate["all"], 2),
        "filling_examples_per_s": round(shape[0] / filling, 1),
    }


if __name__ == "__main__":
    args = arguments()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(args, pathlib.Path(folder))
    print(json.dumps({"bench": "frozen encoder", "args": vars(args)} | result))
