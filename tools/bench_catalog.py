"""Products per second from text to tags on a real catalog, beside CTranslate2; prints one JSON line.

    taggen export --workdir=WORKDIR --output=MODEL --format=ctranslate2
    python tools/bench_catalog.py --workdir=WORKDIR --model=MODEL --input=catalog.jsonl.gz --rows=1024

Both read the same cleaned products, tokenize them with the same tokenizer, search with the same beams and
lengths, and read tags from the ids they find. CTranslate2 gets all sources at once and sorts them by length
itself (`max_batch_size`); ours go through `taggen generate`'s buckets. A product is done with its `beams`-th
hypothesis, which is CTranslate2's rule and our `early_stopping="true"`. Without a vocabulary ("open") both do
the same work; ours is timed bound to the vocabulary ("closed") as well. The first pass of each compiles, or
warms up, and does not count.
"""

import argparse
import dataclasses
import itertools
import json
import os
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any, Literal

from transformers import AutoTokenizer

from taggen_jax.catalog.product import Product
from taggen_jax.catalog.quarantine import Quarantine
from taggen_jax.catalog.readers import read
from taggen_jax.decode.inclusion import Tagged
from taggen_jax.experiment import Experiment, load
from taggen_jax.generate import batches, encode, predict
from taggen_jax.runs.workdir import trained
from taggen_jax.tagger import Tagger, open_workdir


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", type=pathlib.Path, required=True)
    parser.add_argument("--model", type=pathlib.Path, required=True, help="the same, for CTranslate2")
    parser.add_argument("--input", required=True)
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def ours(experiment: Experiment, workdir: pathlib.Path, products: list[Product]) -> Callable[[], int]:
    experiment, tagger, params = open_workdir(workdir, experiment)

    def answer(found: Tagged) -> dict[str, Any]:
        return {"tags": found.tags, "scores": found.scores}

    def once() -> int:
        read = encode(products, experiment, tagger, [""])
        rows = predict(read, lambda unknown: tagger.tag(params, batches(unknown, experiment)), answer, {})
        return sum(len(row["tags"]) for row in rows)

    return once


def theirs(
    experiment: Experiment, workdir: pathlib.Path, model: pathlib.Path, products: list[Product]
) -> Callable[[], int]:
    import ctranslate2

    _, tagger, _ = open_workdir(workdir, experiment)
    pieces = AutoTokenizer.from_pretrained(trained(workdir).tokenizer)
    translator = ctranslate2.Translator(
        str(model), device="cpu", compute_type="float32", intra_threads=os.cpu_count()
    )
    decode = experiment.generate.decode

    def once() -> int:
        read = encode(products, experiment, tagger, [""])
        sources = [pieces.convert_ids_to_tokens(product.source) for product in read]
        results = translator.translate_batch(
            sources,
            beam_size=decode.beams,
            num_hypotheses=decode.n_best,
            max_batch_size=experiment.generate.batch_size,
            max_decoding_length=decode.max_length,
            length_penalty=decode.length_penalty,
            return_scores=True,
        )
        return sum(len(_tags(tagger, pieces, result.hypotheses[0])) for result in results)

    return once


def _tags(tagger: Tagger, pieces: Any, tokens: list[str]) -> list[str]:
    return list(tagger.tokenizer.tags.decode_tags(pieces.convert_tokens_to_ids(tokens)))


def main() -> None:
    args = arguments()
    experiment = load(trained(args.workdir).config)
    with tempfile.TemporaryDirectory() as folder, Quarantine(pathlib.Path(folder) / "bad.jsonl") as bad:
        products = list(itertools.islice(read([args.input], experiment.catalog, quarantine=bad), args.rows))

    def bound(vocabulary: Literal["open", "closed"]) -> Experiment:
        decode = dataclasses.replace(experiment.generate.decode, early_stopping="true")
        config = dataclasses.replace(experiment.generate, vocabulary=vocabulary, decode=decode)
        return dataclasses.replace(experiment, generate=config)

    systems = {
        "open": ours(bound("open"), args.workdir, products),
        "closed": ours(bound("closed"), args.workdir, products),
        "ctranslate2": theirs(bound("open"), args.workdir, args.model, products),
    }
    for once in systems.values():
        once()
    seconds: dict[str, list[float]] = {name: [] for name in systems}
    for _ in range(args.rounds):
        for name, once in systems.items():
            begin = time.perf_counter()
            once()
            seconds[name].append(time.perf_counter() - begin)
    rates = {name: len(products) / statistics.median(taken) for name, taken in seconds.items()}
    ratio = {name: rates[name] / rates["ctranslate2"] for name in ("open", "closed")}
    print(
        json.dumps({"bench": "catalog", "products": len(products), "products_per_s": rates, "ratio": ratio})
    )


if __name__ == "__main__":
    main()
