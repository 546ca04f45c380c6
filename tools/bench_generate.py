"""Times generation on random sources, every output forced to its full length; prints one JSON line a case.

    python tools/bench_generate.py --sizes=mini --batches=64 --beams=4
    python tools/bench_generate.py --peers=FOLDER      beside the peers below, in turns

A peer is a script that takes --size --batch --src --tgt --beams and prints a JSON line with
sequences_per_s.median. Ours and the peers' run in turns, each in its own process; a ratio is that of medians.
"""

import argparse
import json
import os
import pathlib
import resource
import statistics
import time
from collections.abc import Iterator
from typing import Any

import turns
from bench_train import SIZES

PEERS = ("hf_generate", "t5x_generate", "ct2_generate")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", choices=sorted(SIZES), default=sorted(SIZES))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 16, 64])
    parser.add_argument("--beams", nargs="+", type=int, default=[1, 4])
    parser.add_argument("--source", type=int, default=128, help="source length")
    parser.add_argument("--target", type=int, default=32, help="new tokens, all of them forced")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long to repeat a case")
    parser.add_argument("--rounds", type=int, default=2, help="turns of ours and the peers'")
    parser.add_argument("--peers", type=pathlib.Path, help="folder of the peers' scripts")
    parser.add_argument("--only", nargs="+", choices=PEERS, default=PEERS, help="these peers")
    return parser.parse_args()


def measure(args: argparse.Namespace, size: str, batch: int, beams: int) -> dict[str, Any]:
    """Sequences per second of our generator, compiled, on this process's devices."""
    import jax
    import numpy as np

    from taggen_jax.decode.beam import DecodeConfig
    from taggen_jax.models import family
    from taggen_jax.models.layers import ComputeConfig
    from taggen_jax.models.t5 import T5Config
    from taggen_jax.parallel.mesh import MeshConfig, make_mesh
    from taggen_jax.tagger import generator

    model = T5Config(**SIZES[size])
    bundle = family.build(model, ComputeConfig())
    decode = DecodeConfig(beams=beams, n_best=1, min_length=args.target, max_length=args.target)
    generate = generator(bundle, decode, make_mesh(MeshConfig()))
    params = jax.jit(lambda key: family.unstacked(bundle, bundle.init(key)))(jax.random.key(0))
    source_BS = np.random.default_rng(0).integers(2, model.vocab_size, (batch, args.source)).astype(np.int32)

    def once() -> float:
        begin = time.perf_counter()
        found = jax.block_until_ready(generate(params, source_BS, None))
        assert (np.asarray(found.lengths_BN) == args.target).all(), "every output is as long as was asked for"
        return time.perf_counter() - begin

    first_s, _ = once(), once()
    seconds = [once()]
    while sum(seconds) < args.seconds or len(seconds) < 3:
        seconds.append(once())
    rates = [batch / s for s in seconds]
    return {
        "sequences_per_s": {"median": statistics.median(rates), "min": min(rates), "max": max(rates)},
        "first_call_s": first_s,
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "jax": jax.__version__,
    }


def in_turns(args: argparse.Namespace, size: str, batch: int, beams: int) -> dict[str, Any]:
    """Ours and the peers', in turns, each run in a fresh process."""
    tail = [f"--beams={beams}", f"--src={args.source}", f"--tgt={args.target}"]
    ours = [os.path.abspath(__file__), f"--sizes={size}", f"--batches={batch}", f"--beams={beams}"]
    ours += [f"--source={args.source}", f"--target={args.target}", f"--seconds={args.seconds}"]
    commands = {"ours": ours}
    for peer in args.only:
        commands[peer] = [str(args.peers / f"{peer}.py"), f"--size={size}", f"--batch={batch}", *tail]
    return turns.in_turns(commands, args.rounds, "sequences_per_s")


def cases(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    run = in_turns if args.peers else measure
    for size in args.sizes:
        for beams in args.beams:
            for batch in args.batches:
                yield {"size": size, "beams": beams, "batch": batch} | run(args, size, batch, beams)


if __name__ == "__main__":
    args = arguments()
    for case in cases(args):
        print(
            json.dumps({"bench": "generate", "source": args.source, "target": args.target} | case), flush=True
        )
