"""taggen generate: catalog files in, one line of tags for every product out."""

import collections
import itertools
import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from taggen_jax.catalog.clean import cleaner
from taggen_jax.catalog.product import Product, source_text
from taggen_jax.catalog.quarantine import Quarantine
from taggen_jax.catalog.readers import expand, read
from taggen_jax.data.tokenizer import Tokenizer
from taggen_jax.evaluate import rounded
from taggen_jax.experiment import Experiment
from taggen_jax.files import atomic_write
from taggen_jax.models.family import source_config
from taggen_jax.tagger import open_workdir
from taggen_jax.terminal import counted


class Encoded(NamedTuple):
    """A product on its way: its id, what the model reads, and whether some of its text had to be left out."""

    id: str
    source: list[int]
    truncated: bool


def run(
    workdir: pathlib.Path,
    input: Sequence[str],
    output: pathlib.Path,
    strict: bool = False,
    experiment: Experiment | None = None,
) -> int:
    """Writes `predictions.jsonl` and `quarantine.jsonl` into `output`; returns the number of products tagged.

    A line holds "id"; "tags", best first; "scores", the inclusion probability of each; and "truncated": true
    where the product's text was longer than the model reads. Products keep their input order.

    Raises:
      UserError: the workdir is incomplete, a file cannot be read, or, with `strict`, a row is bad.
    """
    paths = expand(input)
    experiment, tagger, params = open_workdir(workdir, experiment)
    waiting: collections.deque[Encoded] = collections.deque()
    with (
        Quarantine(output / "quarantine.jsonl") as quarantine,
        atomic_write(output / "predictions.jsonl") as file,
    ):
        products = read(paths, experiment.catalog, strict=strict, quarantine=quarantine)
        batches = _batches(encode(products, experiment, tagger.tokenizer), experiment, waiting)
        count = 0
        for _, tagged in counted(tagger.tag(params, batches), None, "generate", "products"):
            product = waiting.popleft()
            line: dict[str, Any] = {"id": product.id, "tags": tagged.tags, "scores": rounded(tagged.scores)}
            if product.truncated:
                line["truncated"] = True
            if tagged.legal_mass is not None:
                line["legal_mass"] = round(tagged.legal_mass, 6)
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            count += 1
    print(f"{count:,} products tagged, {sum(quarantine.counts.values()):,} rows quarantined: {output}")
    return count


def encode(products: Iterable[Product], experiment: Experiment, tokenizer: Tokenizer) -> Iterator[Encoded]:
    """Cleans and tokenizes products exactly as `taggen prepare` does."""
    clean, length = cleaner(experiment.clean), experiment.stream.source_length
    stream = iter(products)
    while chunk := list(itertools.islice(stream, 256)):
        texts = [source_text(clean(product), experiment.text) for product in chunk]
        for product, pieces in zip(chunk, tokenizer.pieces(texts), strict=True):
            yield Encoded(product.id, tokenizer.cut(pieces, length), tokenizer.cuts(pieces, length))


def _batches(
    products: Iterable[Encoded], experiment: Experiment, waiting: collections.deque[Encoded]
) -> Iterator[Mapping[str, np.ndarray]]:
    """Batches of one shape, the last filled up with weight 0; the products in them queue up in `waiting`."""
    B, S = experiment.generate.batch_size, experiment.stream.source_length
    stream, row = iter(products), 0
    while chunk := list(itertools.islice(stream, B)):
        source_BS = np.full((B, S), source_config(experiment.model).pad, np.int32)
        source_BS[len(chunk) :, 0] = experiment.model.eos  # a filling row reads an empty product
        for i, product in enumerate(chunk):
            source_BS[i, : len(product.source)] = product.source
        waiting.extend(chunk)
        weight_B = (np.arange(B) < len(chunk)).astype(np.float32)
        yield {"source": source_BS, "row": np.arange(row, row + B, dtype=np.int32), "weight": weight_B}
        row += B
