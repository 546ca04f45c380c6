"""What a closed vocabulary costs a search: one JSON line per vocabulary.

    python tools/bench_trie.py                  # 597 tags, and a million of 1 to 8 tokens

A search without a constraint and one with it, of the same shape, run in turns for exactly --steps steps.
`overhead` is the difference per step, as a share of a step without a constraint; the encoder counts in
neither. The constrained search reads the rows of the head that its alphabet needs, as in `taggen generate`.
"""

import argparse
import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from taggen_jax.decode import trie as tries
from taggen_jax.decode.beam import Constraint, DecodeConfig, beam_search
from taggen_jax.decode.constraint import Tables, constrain, tables
from taggen_jax.models import family
from taggen_jax.models.layers import ComputeConfig
from taggen_jax.models.t5 import T5Config

V, EOS, SEPARATOR = 8192, 1, 3
MINI = T5Config(vocab_size=V, d_model=256, d_mlp=1024, n_heads=4, encoder_layers=4, decoder_layers=4)


def few(count: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Faceted tags: one of 30 first tokens, then 1 to 3 of 400."""
    tags: dict[tuple[int, ...], None] = {}
    while len(tags) < count:
        tags[(int(rng.integers(300, 330)), *rng.integers(400, 800, rng.integers(1, 4)).tolist())] = None
    return list(tags)


def many(count: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Any tokens, 1 to 8 of them."""
    tags: dict[tuple[int, ...], None] = {}
    while len(tags) < count:
        tags[tuple(rng.integers(4, V, rng.integers(1, 9)).tolist())] = None
    return list(tags)


def programs(bundle: family.Bundle, config: DecodeConfig) -> dict[str, Callable[..., Any]]:
    def encode(params: Any, source_BS: jax.Array) -> Any:
        model = bundle.bind(params)
        segments_BS = jnp.ones_like(source_BS)
        memory_BSD = model.encode(source_BS, segments_BS)
        return model, model.start(memory_BSD, segments_BS, beams=config.beams, length=config.max_length)

    def search(params: Any, source_BS: jax.Array, index: Tables | None = None) -> Any:
        model, (cache, cross) = encode(params, source_BS)

        def step(token_BW: jax.Array, cache: Any, t: jax.Array, ancestry: jax.Array) -> Any:
            hidden_BWD, cache = model.step(token_BW, cache, cross, t, ancestry)
            return model.unembed(hidden_BWD, index.words_A if index else None), cache

        constraint: Constraint | None = None
        if index:
            constraint = constrain(index, jnp.zeros(len(source_BS), jnp.int32), config)
        return beam_search(
            step, cache, batch=len(source_BS), bos=0, eos=EOS, pad=0, config=config, constraint=constraint
        ).tokens_BNT

    return {"encode": jax.jit(lambda p, s: encode(p, s)[1]), "search": jax.jit(search)}


def measure(name: str, tags: Sequence[Sequence[int]], args: argparse.Namespace) -> dict[str, Any]:
    begin = time.perf_counter()
    trie = tries.build(tags, eos=EOS, separator=SEPARATOR, vocab_size=V)
    index = tables(trie)
    built = time.perf_counter() - begin
    index = dataclasses.replace(index, longest=np.int32(0))  # lists go on to the last step, and are cut there
    on_device = jax.device_put(index)
    steps = args.steps
    config = DecodeConfig(beams=args.beams, n_best=1, max_length=steps, min_length=steps)
    bundle = family.build(MINI, ComputeConfig())
    params = bundle.init(jax.random.key(0))
    source_BS = np.random.default_rng(1).integers(4, V, (args.batch, args.source)).astype(np.int32)
    run = programs(bundle, config)
    timed = {
        "encode": lambda: run["encode"](params, source_BS),
        "plain": lambda: run["search"](params, source_BS),
        "closed": lambda: run["search"](params, source_BS, on_device),
    }
    seconds: dict[str, list[float]] = {case: [] for case in timed}
    for case in timed.values():
        jax.block_until_ready(case())
    for _ in range(args.rounds):
        for case, call in timed.items():
            begin = time.perf_counter()
            jax.block_until_ready(call())
            seconds[case].append(time.perf_counter() - begin)
    encode, plain, closed = (statistics.median(seconds[case]) for case in timed)
    return {
        "bench": "trie",
        "vocabulary": name,
        "tags": len(tags),
        "nodes": trie.nodes,
        "letters": trie.letters,
        "dense": not index.fan,
        "index_s": built,
        "index_bytes_per_tag": (index.nbytes + trie.tags_L.nbytes) / len(tags),
        "plain_ms_per_step": 1000 * (plain - encode) / steps,
        "closed_ms_per_step": 1000 * (closed - encode) / steps,
        "overhead": (closed - plain) / (plain - encode),
        "seconds": seconds,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tags", type=int, nargs=2, default=(597, 1_000_000))
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--beams", type=int, default=4)
    parser.add_argument("--source", type=int, default=128)
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    for make, count in zip((few, many), args.tags, strict=True):
        tags = make(count, np.random.default_rng(0))
        print(json.dumps(measure(make.__name__, tags, args)), flush=True)
