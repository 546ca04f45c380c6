"""What the baselines share: reading the splits, a threshold from validation, predictions and the table.

A baseline is a function from the products to a score for every pair of product and tag. `finish` does the
rest: the threshold of best micro-F1 on validation, then for validation and test a predictions.jsonl, as
`taggen evaluate` writes it, so that `taggen compare` and `taggen fuse` take them all alike.
"""

import argparse
import collections
import itertools
import json
import pathlib
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from taggen_jax import predictions
from taggen_jax.catalog.product import Product, source_text
from taggen_jax.catalog.quarantine import Quarantine
from taggen_jax.catalog.readers import CatalogConfig, expand, read
from taggen_jax.catalog.vocabulary import Vocabulary
from taggen_jax.files import atomic_write
from taggen_jax.metrics.evaluate import Evaluation
from taggen_jax.metrics.prediction import Prediction
from taggen_jax.metrics.table import render

WHOLE = ("id", "title", "description")
NAME = ("id", "title")
RANKED = 32  # more than any measure at k needs, for those who fuse
SPLITS = ("train", "validation", "test")

Splits = Mapping[str, Sequence[Product]]


def flags(doc: str | None) -> argparse.ArgumentParser:
    """The flags that every baseline takes."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder with the three splits")
    parser.add_argument("--output", type=pathlib.Path, help="folder for predictions")
    parser.add_argument("--limit", type=int, default=0, help="products of each split; 0: all")
    return parser


def load(folder: pathlib.Path, limit: int = 0) -> dict[str, list[Product]]:
    """Each split's first `limit` products (0: all), without the bad rows that `taggen prepare` leaves out."""
    return {split: _load(folder / f"{split}.jsonl.gz", limit) for split in SPLITS}


def _load(path: pathlib.Path, limit: int) -> list[Product]:
    with (
        tempfile.TemporaryDirectory() as scratch,
        Quarantine(pathlib.Path(scratch, "bad.jsonl")) as quarantine,
    ):
        products = read(expand([str(path)]), CatalogConfig(), quarantine=quarantine)
        return list(itertools.islice(products, limit or None))


def texts(products: Sequence[Product], fields: tuple[str, ...] = WHOLE) -> list[str]:
    return [source_text(product, fields) for product in products]


def tag_counts(splits: Splits) -> dict[str, int]:
    """The training tags with their counts, frequent ones first: the columns of all scores."""
    counts = collections.Counter(tag for product in splits["train"] for tag in product.tags)
    return dict(counts.most_common())


def gold(products: Sequence[Product], tags: Sequence[str]) -> np.ndarray:
    """bool [products, tags]"""
    place = {tag: i for i, tag in enumerate(tags)}
    found = np.zeros((len(products), len(tags)), bool)
    for row, product in zip(found, products, strict=True):
        row[[place[tag] for tag in product.tags if tag in place]] = True
    return found


def columns(products: Sequence[Product], tags: Sequence[str]) -> np.ndarray:
    """int32 [products, K]: the columns of each product's tags, filled up with -1."""
    found = [np.flatnonzero(row) for row in gold(products, tags)]
    table = np.full((len(found), max(map(len, found))), -1, np.int32)
    for row, places in zip(table, found, strict=True):
        row[: len(places)] = places
    return table


def best_threshold(scores: np.ndarray, right: np.ndarray, missing: int) -> float:
    """The threshold of best micro-F1; `missing` gold pairs have tags that no column stands for."""
    order = np.argsort(-scores, axis=None, kind="stable")
    found = np.cumsum(right.ravel()[order])
    f1 = 2 * found / (np.arange(1, order.size + 1) + right.sum() + missing)
    return float(scores.ravel()[order[np.argmax(f1)]])


def finish(
    system: str,
    splits: Splits,
    validation: np.ndarray,
    test: np.ndarray,
    output: pathlib.Path | None,
    **more: Any,
) -> None:
    """Writes predictions.jsonl, and the vocabulary for `taggen report`, into OUTPUT/{validation,test}; prints
    test's table and one JSON line.

    Args:
      validation, test: float [products, tags], the tags as in `tag_counts`.
      output: None writes nothing.
      more: goes into the JSON line.
    """
    counts = tag_counts(splits)
    right = gold(splits["validation"], list(counts))
    missing = sum(len(product.tags) for product in splits["validation"]) - int(right.sum())
    threshold = best_threshold(validation, right, missing)
    for split, scores in (("validation", validation), ("test", test)):
        evaluation, lines = Evaluation(counts, len(splits["train"])), []
        for product, row in zip(splits[split], scores, strict=True):
            answer = _prediction(product, row, list(counts), threshold)
            evaluation.add(answer)
            lines.append(predictions.to_line(product.id, answer))
        if output:
            with atomic_write(output / split / predictions.NAME) as file:
                file.writelines(lines)
            Vocabulary.from_counts(counts).save(output / split / "vocabulary.json")
    result = evaluation.result()
    print(render(result))
    print(json.dumps({"system": system, **more, "threshold": threshold, **result}))


def _prediction(product: Product, row: np.ndarray, tags: Sequence[str], threshold: float) -> Prediction:
    best = np.argsort(-row, kind="stable")[:RANKED]
    return Prediction(
        gold=product.tags,
        tags=tuple(tags[i] for i in best if row[i] >= threshold),
        ranked=tuple(tags[i] for i in best),
        scores=tuple(row[best].tolist()),
        text=source_text(product, WHOLE),
        language=product.language,
    )
