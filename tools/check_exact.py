"""How often a beam finds the tags that are best by their exact scores; prints one JSON line.

    python tools/check_exact.py --workdir=runs/debtags/mini --data=runs/debtags/data

For each product of the validation split, the beam searches the outputs of one tag, and the exact scores of
all tags are computed in one pass. The best --top of both are compared, in order; tags whose exact
log-probabilities are closer than 1e-4 may change places.
"""

import argparse
import itertools
import json
import pathlib
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from taggen_jax import closed
from taggen_jax.catalog.vocabulary import Vocabulary
from taggen_jax.data import tokenizer as tokenizers
from taggen_jax.decode import exact
from taggen_jax.decode.beam import Beams, DecodeConfig, beam_search
from taggen_jax.decode.constraint import Tables, constrain, tables
from taggen_jax.models import family
from taggen_jax.parallel.mesh import make_mesh
from taggen_jax.prepared import Prepared
from taggen_jax.tagger import open_workdir, scorer

CLOSE = 1e-4


def one_tag_search(bundle: family.Bundle, config: DecodeConfig) -> Any:
    """The compiled (params, source_BS, tables) -> Beams over outputs of one tag."""

    @jax.jit
    def search(params: Any, source_BS: jax.Array, index: Tables) -> Beams:
        model = bundle.bind(params)
        segments_BS = (source_BS != model.source_pad).astype(jnp.int32)
        memory_BSD = model.encode(source_BS, segments_BS)
        cache, cross = model.start(memory_BSD, segments_BS, beams=config.beams, length=config.max_length)

        def step(token_BW: jax.Array, cache: Any, t: jax.Array, ancestry: jax.Array) -> Any:
            hidden_BWD, cache = model.step(token_BW, cache, cross, t, ancestry)
            return model.unembed(hidden_BWD, index.words_A), cache

        cfg, batch = model.cfg, source_BS.shape[0]
        constraint = constrain(index, jnp.zeros(batch, jnp.int32), config, max_tags=1)
        return beam_search(
            step,
            cache,
            batch=batch,
            bos=cfg.start,
            eos=cfg.eos,
            pad=cfg.pad,
            config=config,
            constraint=constraint,
        )

    return search


def agrees(found: list[tuple[str, float]], best: list[tuple[str, float]]) -> bool:
    """Whether a ranking is the exact one, but for tags that are as good as equal."""
    exact_scores = dict(best)
    return all(
        abs(exact_scores.get(tag, -np.inf) - score) < CLOSE
        for (tag, _), (_, score) in zip(found, best, strict=False)
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    workdir, prepared = pathlib.Path(args.workdir), Prepared(pathlib.Path(args.data))
    experiment, _, params = open_workdir(workdir)
    bundle, mesh = family.build(experiment.model, experiment.compute), make_mesh(experiment.mesh)
    tokenizer = tokenizers.load(workdir / "tokenizer", experiment.tags.separator)
    vocabulary = Vocabulary.load(workdir / "vocabulary.json")
    tags, trie, _ = closed.build(
        vocabulary,
        tokenizer.tags,
        vocab_size=experiment.model.vocab_size,
        max_length=experiment.generate.decode.max_length,
    )
    config = DecodeConfig(
        beams=args.beams,
        n_best=args.top,
        max_length=trie.levels + 1,
        length_penalty=0.0,
        early_stopping="never",
    )
    search, score = one_tag_search(bundle, config), scorer(bundle, mesh)
    index, forest = tables(trie), exact.forest(trie, [bundle.config.start])
    batches = prepared.eval_batches(experiment, "validation", args.batch, args.products)
    products = agreeing = same_first = 0
    seconds = {"beam": 0.0, "exact": 0.0}
    worst = 0.0
    for batch in itertools.islice(batches, -(-args.products // args.batch)):
        begin = time.perf_counter()
        beams = jax.device_get(search(params, batch["source"], index))
        seconds["beam"] += time.perf_counter() - begin
        begin = time.perf_counter()
        scores = jax.device_get(score(params, batch["source"], forest))
        seconds["exact"] += time.perf_counter() - begin
        for b in range(min(int(batch["weight"].sum()), args.products - products)):
            best = [
                (tags[tag], float(logprob))
                for tag, logprob in zip(scores.tags_BK[b], scores.logprobs_BK[b], strict=True)
            ]
            found = [
                (tokenizer.tags.decode_tags(tokens.tolist())[0], float(logprob))
                for tokens, logprob in zip(beams.tokens_BNT[b], beams.logprobs_BN[b], strict=True)
                if np.isfinite(logprob)
            ]
            products += 1
            agreeing += agrees(found[: args.top], best)
            same_first += agrees(found[:1], best)
            known = dict(best)
            worst = max([worst, *(abs(score - known[tag]) for tag, score in found if tag in known)])
    return {
        "check": "exact",
        "products": products,
        "tags": len(tags),
        "beams": args.beams,
        f"top{args.top}_agree": agreeing / products,
        "top1_agree": same_first / products,
        "largest_difference": worst,
        "seconds": seconds,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--products", type=int, default=1000)
    parser.add_argument("--beams", type=int, default=10)
    parser.add_argument("--top", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64)
    print(json.dumps(run(parser.parse_args())))
