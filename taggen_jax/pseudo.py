"""taggen pseudo-label: generated tags that are good enough to train on, as rows to prepare with the rest.

taggen generate --workdir=W --input=UNTAGGED --output=TAGGED
taggen pseudo-label --workdir=W --input=UNTAGGED --tagged=TAGGED --output=more.jsonl
taggen prepare .. --train=LABELLED --train=more.jsonl ..
"""

import collections
import dataclasses
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from taggen_jax.batch.reuse import tagged_rows
from taggen_jax.catalog.product import Product
from taggen_jax.catalog.pseudo import Quotas, Tags, kept, least
from taggen_jax.catalog.quarantine import Quarantine
from taggen_jax.catalog.readers import CatalogConfig, expand, read
from taggen_jax.catalog.vocabulary import Vocabulary
from taggen_jax.errors import UserError
from taggen_jax.experiment import Experiment, load
from taggen_jax.files import atomic_write
from taggen_jax.runs.workdir import trained


def run(
    workdir: pathlib.Path,
    input: Sequence[str],
    tagged: pathlib.Path,
    output: pathlib.Path,
    min_score: float = 0.9,
    quota: float = 1.0,
    experiment: Experiment | None = None,
) -> int:
    """Writes a row for every product that gets a pseudo-label; returns their number.

    A row has the columns that the workdir's config names. Its tags are those that the product had, and the
    generated ones that pass; it is marked as incompletely tagged, so that training learns no end from it.
    Products that are completely tagged already are left out.

    Args:
      workdir: the one that generated; its vocabulary has the tags' training counts.
      input: the catalog files that were tagged.
      tagged: the output of `taggen generate` for them, finished.
      output: file to write, .jsonl.
      min_score: the least score of a pseudo-label.
      quota: of each tag at most so many times its training products.

    Raises:
      UserError: the parts are incomplete or do not belong together, or a number makes no sense.
    """
    try:
        quotas = Quotas(min_score=min_score, share=quota)
    except ValueError as error:
        raise UserError(f"taggen pseudo-label: {error}") from error
    if output.suffix != ".jsonl":
        raise UserError(f"{output}: rows are written as JSON lines, expected a name that ends in .jsonl")
    catalog = (experiment or load(trained(workdir).config)).catalog
    if not catalog.complete:
        raise UserError("catalog.complete: no column says that tags are incomplete; name one, and prepare so")
    vocabulary = Vocabulary.load(trained(workdir).vocabulary)
    counts = dict(zip(vocabulary.tags, vocabulary.counts, strict=True))
    paths = expand(input)

    def answers() -> Iterator[tuple[Product, Tags]]:
        with Quarantine(output.with_suffix(".quarantine.jsonl")) as quarantine:
            yield from _answers(read(paths, catalog, quarantine=quarantine), tagged)

    limits = least(((product.id, tags) for product, tags in answers()), counts, quotas)
    labels: collections.Counter[str] = collections.Counter()
    written = 0
    with atomic_write(output) as file:
        for product, tags in answers():
            if new := kept(product.id, tags, limits):
                file.write(json.dumps(_row(product, new, catalog), ensure_ascii=False) + "\n")
                labels.update(new)
                written += 1
    print(
        f"{output}: {written:,} products with {labels.total():,} pseudo-labels of {len(labels):,} tags;"
        f" prepare them with the rest: --train=LABELLED --train={output}"
    )
    return written


def _answers(products: Iterator[Product], tagged: pathlib.Path) -> Iterator[tuple[Product, Tags]]:
    """Each incompletely tagged product with its generated tags, less those that it has."""
    rows = tagged_rows(tagged)
    for product in products:
        row: Mapping[str, Any] = next(rows, {})
        if row.get("id") != product.id:
            raise UserError(
                f"{tagged}: has {row.get('id', 'no row')!r} where the input has {product.id!r}; give the same"
                " files in the same order as to `taggen generate`"
            )
        if not product.complete:
            new = zip(row["tags"], row["scores"], strict=True)
            yield product, {tag: score for tag, score in new if tag not in product.tags}


def _row(product: Product, new: Sequence[str], catalog: CatalogConfig) -> dict[str, Any]:
    labelled = dataclasses.replace(product, tags=(*product.tags, *new), complete=False)
    return {column: getattr(labelled, field) for field, column in catalog.columns.items()}
