"""A plain baseline: TF-IDF and one-vs-rest logistic regression (liblinear), one threshold for all tags.

    python tools/baselines/linear.py --data=FOLDER [--output=OUT]

FOLDER holds {train,validation,test}.jsonl.gz with the fields id, title, description and tags. The model is
fitted on train, the threshold is the one of best micro-F1 on validation, test is only scored. Prints the
table that `taggen evaluate` prints, then one JSON line; see `shared` for what goes into OUT.

Features: word 1-2-grams of the whole text and character 3-5-grams of id and title. Tags are fitted one by
one and dropped after predicting, because all weights together would fill gigabytes. About 6 minutes on one
core for 22,600 products and 585 tags; `--limit=800` shortens each split for a quick look.
"""

import sys
import time
from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
import shared
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from taggen_jax.errors import UserError


def features(splits: shared.Splits) -> dict[str, sp.csr_matrix]:
    """TF-IDF of every split, fitted on train: csr float64[products, words + characters]."""
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, max_features=300_000)
    characters = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(3, 5), min_df=2, sublinear_tf=True, max_features=200_000
    )
    parts = ((words, shared.WHOLE), (characters, shared.NAME))
    for vectorizer, fields in parts:
        vectorizer.fit(shared.texts(splits["train"], fields))
    return {
        split: sp.hstack(
            [vectorizer.transform(shared.texts(products, fields)) for vectorizer, fields in parts],
            format="csr",
        )
        for split, products in splits.items()
    }


def probabilities(
    train: sp.csr_matrix, wanted: np.ndarray, others: Sequence[sp.csr_matrix]
) -> list[np.ndarray]:
    """Fits one classifier a column of `wanted` and predicts `others`: float64[products, tags] each."""
    scores = [np.zeros((other.shape[0], wanted.shape[1])) for other in others]
    start = time.time()
    for column, right in enumerate(wanted.T):
        # More features than products: the dual problem is the smaller one. tol is liblinear's own for it.
        model = LogisticRegression(C=20, solver="liblinear", dual=True, tol=0.1, random_state=0)
        model.fit(train, right)
        for score, other in zip(scores, others, strict=True):
            score[:, column] = model.predict_proba(other)[:, 1]
        done = f"{column + 1}/{wanted.shape[1]} tags, {time.time() - start:.0f} s"
        print(f"\r{done}", end="", file=sys.stderr)
    print(file=sys.stderr)
    return scores


def main() -> None:
    """Reads the flags, fits, tunes, scores, prints."""
    args = shared.flags(__doc__).parse_args()
    start = time.time()
    try:
        splits = shared.load(args.data, args.limit)
    except UserError as error:
        sys.exit(f"linear: {error}")
    x = features(splits)
    wanted = shared.gold(splits["train"], list(shared.tag_counts(splits)))
    scores = probabilities(x["train"], wanted, (x["validation"], x["test"]))
    shared.finish("linear", splits, *scores, args.output, seconds=round(time.time() - start, 1))


if __name__ == "__main__":
    main()
