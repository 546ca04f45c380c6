"""A plain baseline: fastText's bag of n-grams (Joulin et al., 2017), one threshold for all tags.

    pip install fasttext-wheel
    python tools/baselines/bag.py --data=FOLDER [--output=OUT]

FOLDER as for `linear`. Words, word pairs and character 3-5-grams share an embedding table of 200,000 rows and
100 columns; their mean is what a softmax over all tags looks at, of which a product's tags are drawn in turn.
(One-against-all, fastText's other loss, learns nothing here: 585 first errors at once saturate it.) One
thread, so that a seed gives one model.
"""

import argparse
import pathlib
import re
import sys
import tempfile
import time
from collections.abc import Sequence

import fasttext
import numpy as np
import shared

from taggen_jax.errors import UserError

LABEL = "__label__"
SETTINGS = {
    "loss": "softmax",
    "dim": 100,
    "lr": 0.5,
    "epoch": 25,
    "wordNgrams": 2,
    "minn": 3,
    "maxn": 5,
    "bucket": 200_000,
    "minCount": 2,
    "thread": 1,
    "verbose": 0,
}


def lines(splits: shared.Splits, split: str) -> list[str]:
    return [" ".join(re.findall(r"\w+", text.lower())) for text in shared.texts(splits[split])]


def learn(texts: Sequence[str], wanted: np.ndarray) -> fasttext.FastText._FastText:
    """Tags are known to fastText by their columns: their names may hold spaces."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
        for text, row in zip(texts, wanted, strict=True):
            labels = " ".join(f"{LABEL}{column}" for column in np.flatnonzero(row))
            file.write(f"{labels} {text}\n")
        file.flush()
        return fasttext.train_supervised(input=file.name, **SETTINGS)


def probabilities(model: fasttext.FastText._FastText, texts: Sequence[str], tags: int) -> np.ndarray:
    scores = np.zeros((len(texts), tags))
    labels, values = model.predict(list(texts), k=-1)  # of a list: the answer for one text fails on numpy 2
    for row, names, found in zip(scores, labels, values, strict=True):
        row[[int(name.removeprefix(LABEL)) for name in names]] = found
    return scores


def main() -> None:
    """Reads the flags, fits, tunes, scores, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder with the three splits")
    parser.add_argument("--output", type=pathlib.Path, help="folder for predictions")
    parser.add_argument("--limit", type=int, default=0, help="products of each split; 0: all")
    args = parser.parse_args()
    start = time.time()
    try:
        splits = shared.load(args.data, args.limit)
    except UserError as error:
        sys.exit(f"bag: {error}")
    wanted = shared.gold(splits["train"], list(shared.tag_counts(splits)))
    model = learn(lines(splits, "train"), wanted)
    scores = [probabilities(model, lines(splits, split), wanted.shape[1]) for split in ("validation", "test")]
    shared.finish("fastText", splits, *scores, args.output, seconds=round(time.time() - start, 1))


if __name__ == "__main__":
    main()
