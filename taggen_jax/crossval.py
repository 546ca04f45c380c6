"""taggen crossval: train and evaluate on every fold of a catalog in turn, and pool what was held out.

One test split of a tenth holds about one positive of a tag that is on ten products; all folds together hold
every one of them. The folds are made by `catalog.folds`; the work on each by prepare, train and evaluate.
"""

import dataclasses
import json
import pathlib
import statistics
from collections.abc import Mapping, Sequence

from taggen_jax import evaluate, predictions, prepare, train
from taggen_jax.catalog import folds as strata
from taggen_jax.catalog.clean import cleaner
from taggen_jax.catalog.product import Product
from taggen_jax.catalog.quarantine import Quarantine
from taggen_jax.catalog.readers import CatalogConfig, expand, read
from taggen_jax.catalog.spelling import Speller
from taggen_jax.catalog.splits import Deduplicator, SplitConfig, split_of
from taggen_jax.catalog.vocabulary import Vocabulary
from taggen_jax.errors import UserError
from taggen_jax.experiment import Experiment
from taggen_jax.files import atomic_write, read_json, write_json
from taggen_jax.metrics.evaluate import Evaluation
from taggen_jax.metrics.table import render
from taggen_jax.prepared import Prepared

SHOWN = (
    "micro_f1",
    "macro_f1",
    "sample_f1",
    "p_at_5",
    "recall_at_5",
    "ndcg_at_5",
    "psp_at_5",
    "tail_recall_at_5",
)

Metrics = Mapping[str, float]


def run(
    experiment: Experiment, input: Sequence[str], output: pathlib.Path, folds: int = 5
) -> dict[str, float]:
    """Writes OUTPUT/fold-N/{data,workdir,metrics.json,predictions.jsonl} for every fold, and into OUTPUT

    folds.json         the fold of every product, by id
    predictions.jsonl  every product once, tagged by the model that never saw its group
    metrics.json       their scores together; a tag's training count is its mean over the folds
    crossval.json      "folds", each one's metrics; "mean" and "spread", the standard deviation over folds

    Each fold is tested on once; of the others a share of the groups (`split.validation`) is for validation.
    Run again after a stop, it goes on where it was.

    Raises:
      UserError: the catalog cannot be read or cut into so many folds, or the output is of other folds.
    """
    products = _products(experiment, expand(input), output)
    groups = strata.groups(products, experiment.split.near)
    try:
        fold_of = strata.assign(groups, [product.tags for product in products], folds)
    except ValueError as error:
        raise UserError(f"taggen crossval: {error}; give another --folds, or more products") from error
    _keep(output / "folds.json", {product.id: fold for product, fold in zip(products, fold_of, strict=True)})
    products = [
        dataclasses.replace(product, group=products[group].id)
        for product, group in zip(products, groups, strict=True)
    ]
    results = []
    for fold in range(folds):
        print(f"\nfold {fold + 1} of {folds}")
        parts = _split(products, fold_of, fold, experiment.split.validation)
        results.append(_one(experiment, parts, output / f"fold-{fold}"))
    return _pool(output, [product.id for product in products], results)


def _products(experiment: Experiment, paths: Sequence[pathlib.Path], output: pathlib.Path) -> list[Product]:
    """The catalog as `prepare` sees it: read, cleaned, tags spelled, without repeats. Held in memory."""
    clean, deduplicate, spell = cleaner(experiment.clean), Deduplicator(), Speller(experiment.tags)
    with Quarantine(output / "quarantine.jsonl") as quarantine:
        products = read(paths, experiment.catalog, quarantine=quarantine)
        return list(
            deduplicate(dataclasses.replace(clean(product), tags=spell(product.tags)) for product in products)
        )


def _keep(path: pathlib.Path, folds: Mapping[str, int]) -> None:
    """Writes the folds down, or checks that they are those with which the output was begun."""
    if path.exists() and read_json(path, "the assignment of folds") != folds:
        raise UserError(
            f"{path.parent}: begun with other products or another --folds; give a new --output, or remove it"
        )
    write_json(path, folds)


def _split(
    products: Sequence[Product], fold_of: Sequence[int], fold: int, validation: float
) -> dict[str, list[Product]]:
    """The products for training, validation and test when `fold` is held out."""
    shares = SplitConfig(validation=validation, test=0.0, salt=f"fold {fold}")
    parts: dict[str, list[Product]] = {split: [] for split in prepare.SPLITS}
    for product, own in zip(products, fold_of, strict=True):
        parts["test" if own == fold else split_of(product, shares)].append(product)
    return parts


def _one(experiment: Experiment, parts: Mapping[str, Sequence[Product]], folder: pathlib.Path) -> Metrics:
    """Prepares, trains and evaluates one fold, leaving out what an earlier run has done."""
    data, workdir = folder / "data", folder / "workdir"
    if not data.exists():
        files = {split: _write(products, folder / f"{split}.jsonl") for split, products in parts.items()}
        own = dataclasses.replace(experiment, catalog=CatalogConfig())  # how `_write` names the columns
        prepare.run(own, data, train=files["train"], validation=files["validation"], test=files["test"])
        for split in files:
            (folder / f"{split}.jsonl").unlink()
    train.run(experiment, data, workdir)
    return evaluate.run(workdir, data, "test", folder)


def _write(products: Sequence[Product], path: pathlib.Path) -> list[str]:
    with atomic_write(path) as file:
        file.writelines(json.dumps(dataclasses.asdict(product)) + "\n" for product in products)
    return [str(path)]


def _pool(output: pathlib.Path, ids: Sequence[str], results: Sequence[Metrics]) -> dict[str, float]:
    """Scores all held-out products together, in the catalog's order, and writes what the folder promises."""
    folders = [output / f"fold-{fold}" for fold in range(len(results))]
    prepared = [Prepared(folder / "data") for folder in folders]
    tags = {tag for data in prepared for tag in data.counts}
    counts = {
        tag: round(statistics.mean(data.counts.get(tag, 0) for data in prepared)) for tag in sorted(tags)
    }
    training = round(statistics.mean(len(data.source("train")) for data in prepared))
    evaluation = Evaluation(counts, training, prepared[0].parents)
    answers = {item.id: (fold, item) for fold, path in enumerate(folders) for item in predictions.read(path)}
    with atomic_write(output / predictions.NAME) as file:
        for id in filter(
            answers.__contains__, ids
        ):  # a title that cleaning emptied is in a fold's quarantine
            fold, item = answers[id]
            evaluation.add(item.prediction)
            file.write(predictions.to_line(id, item.prediction, fold=fold))
    Vocabulary.from_counts(counts).save(output / "vocabulary.json")  # for `taggen report`
    pooled = evaluation.result()
    shared = [name for name in pooled if all(name in result for result in results)]
    mean = {name: statistics.mean(result[name] for result in results) for name in shared}
    spread = {name: statistics.stdev(result[name] for result in results) for name in shared}
    write_json(output / "metrics.json", pooled)
    write_json(output / "crossval.json", {"folds": list(results), "mean": mean, "spread": spread})
    print(f"\nall folds pooled\n\n{render(pooled)}\n\n{_table(pooled, mean, spread)}")
    return pooled


def _table(pooled: Metrics, mean: Metrics, spread: Metrics) -> str:
    lines = [f"{'over the folds, %':38}{'pooled':>11}{'mean':>11}{'spread':>11}"]
    for name in SHOWN:
        if name in mean:
            cells = "".join(f"{100 * part[name]:>11.1f}" for part in (pooled, mean, spread))
            lines.append(f"{name:38}{cells}")
    return "\n".join(lines)
