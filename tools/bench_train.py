"""Times one training step on random batches; prints one JSON line.

    python tools/bench_train.py --size=mini --batch=16 --source=128 --target=32 --dtype=float32
    python tools/bench_train.py --peers=FOLDER        beside the trainers below, in turns

A peer is a script that takes --size --batch --src --tgt --dtype --dropout and prints a JSON line with
examples_per_s.median. Ours and the peers' run in turns, each in its own process; a ratio is that of medians.
"""

import argparse
import json
import os
import pathlib
import resource
import statistics
import time
from typing import Any

import turns

SIZES = {  # as T5 v1.1: gated, untied
    "mini": {
        "vocab_size": 8192,
        "d_model": 256,
        "d_mlp": 1024,
        "n_heads": 4,
        "encoder_layers": 4,
        "decoder_layers": 4,
    },
    "small": {
        "vocab_size": 32128,
        "d_model": 512,
        "d_mlp": 1024,
        "n_heads": 6,
        "encoder_layers": 8,
        "decoder_layers": 8,
    },
}


PEERS = {  # script and flags
    "hf_train": ("hf_train.py",),
    "hf_train compiled": ("hf_train.py", "--mode=compile"),
    "t5x_train": ("t5x_train.py", "--embed=gather"),
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=sorted(SIZES), default="mini")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--source", type=int, default=128, help="source length")
    parser.add_argument("--target", type=int, default=32, help="target length")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--steps", type=int, default=4, help="steps in one timed repeat")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=2, help="turns of ours and the peers'")
    parser.add_argument("--peers", type=pathlib.Path, help="folder of the peers' scripts")
    parser.add_argument("--only", nargs="+", choices=sorted(PEERS), default=list(PEERS), help="these peers")
    return parser.parse_args()


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Examples per second of our step, compiled, on this process's devices."""
    import jax
    import numpy as np

    from taggen_jax.models import family
    from taggen_jax.models.layers import ComputeConfig
    from taggen_jax.models.t5 import T5Config
    from taggen_jax.parallel.mesh import MeshConfig, make_mesh, put_batch
    from taggen_jax.training.freeze import partition
    from taggen_jax.training.state import create_state, state_shardings
    from taggen_jax.training.step import TrainConfig, Training, jit_step

    model = T5Config(**SIZES[args.size], dropout=args.dropout)
    bundle = family.build(model, ComputeConfig(dtype=args.dtype))
    training = Training(bundle, partition(bundle.shapes, bundle.axes, ()), TrainConfig())
    mesh = make_mesh(MeshConfig())
    state, step = create_state(training, mesh), jit_step(training, state_shardings(training, mesh), mesh)
    rng = np.random.default_rng(0)
    shapes = {"source": (args.batch, args.source), "target": (args.batch, args.target)}
    batch = {
        name: rng.integers(2, model.vocab_size, shape).astype(np.int32) for name, shape in shapes.items()
    }
    batch = put_batch(batch | {"weight": np.ones(args.batch, np.float32)}, mesh)
    seconds, losses = [], []
    for _ in range(args.repeats + 2):  # two to warm up
        begin = time.perf_counter()
        for _ in range(args.steps):
            state, sums = step(state, batch)
        losses.append(float(sums["loss"] / sums["weight"]))
        seconds.append(time.perf_counter() - begin)
    rates = [args.batch * args.steps / s for s in seconds[2:]]
    return {
        "examples_per_s": {"median": statistics.median(rates), "min": min(rates), "max": max(rates)},
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(bundle.shapes)),
        "first_repeat_s": seconds[0],
        "loss_first": losses[0],
        "loss_last": losses[-1],
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "jax": jax.__version__,
    }


def beside(args: argparse.Namespace) -> dict[str, Any]:
    """Ours and the peers', in turns, each run in a fresh process."""
    common = [f"--{name}={getattr(args, name)}" for name in ("size", "batch", "dtype", "dropout")]
    lengths = (f"--source={args.source}", f"--target={args.target}")
    commands = {"ours": [os.path.abspath(__file__), *common, *lengths]}
    for name in args.only:
        script, *flags = PEERS[name]
        theirs = (f"--src={args.source}", f"--tgt={args.target}")
        commands[name] = [str(args.peers / script), *flags, *common, *theirs]
    return turns.in_turns(commands, args.rounds, "examples_per_s")


if __name__ == "__main__":
    args = arguments()
    result = beside(args) if args.peers else measure(args)
    print(json.dumps({"bench": "train", "args": vars(args)} | result, default=str))
