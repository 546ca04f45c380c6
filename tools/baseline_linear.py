"""A plain baseline: TF-IDF and one-vs-rest logistic regression (liblinear), one threshold for all tags.

    python tools/baseline_linear.py --data=FOLDER

FOLDER holds {train,validation,test}.jsonl.gz with the fields id, title, description and tags. The model is
fitted on train, the threshold is the one of best micro-F1 on validation, test is only scored. Prints the
table that `taggen evaluate` prints, then one JSON line.

Features: word 1-2-grams of the whole text and character 3-5-grams of id and title. Tags are fitted one by
one and dropped after predicting, because all weights together would fill gigabytes. About 6 minutes on one
core for 22,600 products and 585 tags; `--limit=800` shortens each split for a quick look.
"""

import argparse
import collections
import itertools
import json
import pathlib
import sys
import tempfile
import time
from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from taggen_jax.catalog.product import Product, source_text
from taggen_jax.catalog.quarantine import Quarantine
from taggen_jax.catalog.readers import CatalogConfig, expand, read
from taggen_jax.errors import UserError
from taggen_jax.metrics.evaluate import Evaluation
from taggen_jax.metrics.prediction import Prediction
from taggen_jax.metrics.table import render

NAME = ("id", "title")
WHOLE = ("id", "title", "description")
RANKED = 10  # more than any measure at k needs


def load(folder: pathlib.Path, split: str, limit: int) -> list[Product]:
    """The split's first `limit` products (0: all), without the bad rows that `taggen prepare` leaves out."""
    paths = expand([str(folder / f"{split}.jsonl.gz")])
    with (
        tempfile.TemporaryDirectory() as scratch,
        Quarantine(pathlib.Path(scratch, "bad.jsonl")) as quarantine,
    ):
        products = read(paths, CatalogConfig(), quarantine=quarantine)
        return list(itertools.islice(products, limit or None))


def features(splits: Sequence[Sequence[Product]]) -> list[sp.csr_matrix]:
    """TF-IDF of every split, fitted on the first: csr float64[products, words + characters]."""
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, max_features=300_000)
    characters = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(3, 5), min_df=2, sublinear_tf=True, max_features=200_000
    )
    for vectorizer, fields in ((words, WHOLE), (characters, NAME)):
        vectorizer.fit(source_text(product, fields) for product in splits[0])
    return [
        sp.hstack(
            [
                words.transform(source_text(product, WHOLE) for product in split),
                characters.transform(source_text(product, NAME) for product in split),
            ],
            format="csr",
        )
        for split in splits
    ]


def probabilities(
    train: sp.csr_matrix, others: Sequence[sp.csr_matrix], products: Sequence[Product], tags: Sequence[str]
) -> list[np.ndarray]:
    """Fits one classifier a tag on `train` and predicts `others`: float64[products, tags] each."""
    scores = [np.zeros((other.shape[0], len(tags))) for other in others]
    start = time.time()
    for column, tag in enumerate(tags):
        wanted = np.array([tag in product.tags for product in products])
        # More features than products: the dual problem is the smaller one. tol is liblinear's own for it.
        model = LogisticRegression(C=20, solver="liblinear", dual=True, tol=0.1, random_state=0)
        model.fit(train, wanted)
        for score, other in zip(scores, others, strict=True):
            score[:, column] = model.predict_proba(other)[:, 1]
        print(f"\r{column + 1}/{len(tags)} tags, {time.time() - start:.0f} s", end="", file=sys.stderr)
    print(file=sys.stderr)
    return scores


def best_threshold(scores: np.ndarray, gold: np.ndarray, missing: int) -> float:
    """The threshold of best micro-F1; `missing` gold pairs have tags that no column stands for."""
    order = np.argsort(-scores, axis=None, kind="stable")
    right = np.cumsum(gold.ravel()[order])
    f1 = 2 * right / (np.arange(1, order.size + 1) + gold.sum() + missing)
    return float(scores.ravel()[order[np.argmax(f1)]])


def tune(scores: np.ndarray, products: Sequence[Product], tags: Sequence[str]) -> float:
    """The threshold of best micro-F1 on these products."""
    gold = np.array([[tag in product.tags for tag in tags] for product in products])
    return best_threshold(scores, gold, sum(len(product.tags) for product in products) - int(gold.sum()))


def evaluate(
    scores: np.ndarray, products: Sequence[Product], counts: dict[str, int], training: int, threshold: float
) -> dict[str, float]:
    """Scores every product; its set is what reaches the threshold. Columns stand in the order of `counts`."""
    evaluation, tags = Evaluation(counts, training), list(counts)
    for product, row in zip(products, scores, strict=True):
        best = np.argsort(-row, kind="stable")
        chosen = tuple(tags[i] for i in best if row[i] >= threshold)
        ranked = tuple(tags[i] for i in best[:RANKED])
        best_scores = tuple(row[best[:RANKED]].tolist())
        text = source_text(product, WHOLE)
        evaluation.add(
            Prediction(gold=product.tags, tags=chosen, ranked=ranked, scores=best_scores, text=text)
        )
    return evaluation.result()


def main() -> None:
    """Reads the flags, fits, tunes, scores, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder with the three splits")
    parser.add_argument("--limit", type=int, default=0, help="products of each split; 0: all")
    args = parser.parse_args()
    start = time.time()
    try:
        train, *others = (load(args.data, split, args.limit) for split in ("train", "validation", "test"))
    except UserError as error:
        sys.exit(f"baseline_linear: {error}")
    validation, test = others
    counts = dict(collections.Counter(tag for product in train for tag in product.tags).most_common())
    x_train, *x_others = features((train, *others))
    on_validation, on_test = probabilities(x_train, x_others, train, list(counts))
    threshold = tune(on_validation, validation, list(counts))
    result = evaluate(on_test, test, counts, len(train), threshold)
    print(render(result))
    seconds = round(time.time() - start, 1)
    print(json.dumps({"system": "linear", "seconds": seconds, "threshold": threshold, **result}))


if __name__ == "__main__":
    main()
