"""Peak memory of `taggen import` and `taggen export` on a random T5 v1.1 that is written here.

  python tools/bench_convert.py --work=FOLDER [--layers=22] [--dtype=float32]

The default has 1.55 billion parameters: 6.2 GB as float32, three copies on disk. Prints one line a program:
seconds, its peak resident memory, and the bound: 1.25 times the largest tensor plus one file of weights.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import time

import numpy as np

from taggen_jax.data import tokenizer as tokenizers
from taggen_jax.interop import hf, weights
from taggen_jax.interop.leaf import Leaf
from taggen_jax.interop.names import flatten, unflatten
from taggen_jax.models.family import build
from taggen_jax.models.layers import ComputeConfig
from taggen_jax.models.t5 import T5Config

MIB = 2**20


def random_leaves(config: T5Config, dtype: np.dtype) -> dict:
    """Parameters that are drawn when they are read."""
    shapes = flatten(build(config, ComputeConfig()).shapes)

    def leaf(path: str) -> Leaf:
        shape, stacked = tuple(shapes[path].shape), "blocks" in path

        def read(index: object) -> np.ndarray:
            rng = np.random.default_rng(abs(hash((path, str(index)))))
            values = rng.random(shape[1:] if stacked and index is not ... else shape, np.float32)
            values -= 0.5
            return values.astype(dtype, copy=False)

        return Leaf(shape, dtype, stacked, read)

    return unflatten({path: leaf(path) for path in shapes})


def measured(name: str, bound: float, *arguments: str) -> None:
    """Runs a program of ours, and says how long it took and what it held at most."""
    begin = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "taggen_jax", name, *arguments])
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, f"{name} failed"
    peak, seconds = usage.ru_maxrss / 1024, time.monotonic() - begin
    print(f"{name}: {seconds:.0f} s, peak {peak:,.0f} MiB, bound {bound:,.0f} MiB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--layers", type=int, default=22)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    options = parser.parse_args()
    work, dtype = options.work, hf.BFLOAT16 if options.dtype == "bfloat16" else hf.FLOAT32
    config = T5Config(
        d_model=1536, d_mlp=4096, n_heads=24, head_dim=64,
        encoder_layers=options.layers, decoder_layers=options.layers,
    )  # fmt: skip
    leaves = random_leaves(config, dtype)
    hf.save(work / "hf", config, leaves)
    texts = [f"lamp {number} of steel" for number in range(100)]
    tokenizer = tokenizers.train(texts, ["lamp"], "<sep>", tokenizers.TokenizerConfig(vocab_size=500))
    tokenizer.save(work / "hf")
    files = weights.find(work / "hf")
    largest = max(weights.read(files, name).nbytes for name in ("shared.weight", "lm_head.weight"))
    shard = max(path.stat().st_size for path in files.values())
    bound = (1.25 * largest + shard) / MIB
    count = sum(leaf.size for leaf in flatten(leaves).values())
    print(f"{count:,} parameters, {options.dtype}; largest tensor {largest / MIB:,.0f} MiB", flush=True)
    measured("import", bound, f"--from={work / 'hf'}", f"--workdir={work / 'w'}")
    measured("export", bound, f"--workdir={work / 'w'}", f"--output={work / 'back'}", "--check=false")
    back = weights.find(work / "back")
    same = files.keys() == back.keys() and all(
        weights.read(files, name).tobytes() == weights.read(back, name).tobytes() for name in files
    )
    print(f"round trip {'byte-equal' if same else 'DIFFERS'}", flush=True)
    sys.exit(not same)


if __name__ == "__main__":
    main()
