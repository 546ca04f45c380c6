"""A plain baseline of the fastText type: the mean of embeddings of hashed n-grams, then a row for every tag.

    python tools/baselines/fasttext.py --data=FOLDER [--output=OUT] [--epochs=20]

FOLDER as for `linear`. Words and pairs of words, and the characters' 3-5-grams of id and title, are hashed to
2^17 rows of 128 numbers each (Joulin et al., 2017; Bojanowski et al., 2017). Every tag has a logistic loss of
its own (fastText's "ova").

Three things decide whether this learns more than the tags' shares. The output rows begin at 0, as in
fastText, so nothing reaches the embeddings before they have moved: the first steps must be large. The mean
over some hundred n-grams divides every embedding's gradient by that number: SGD at one rate for all leaves
them where they were (predictions then are constants), AdaGrad (Duchi et al., 2011) takes each row at its own
scale. And each output begins at the log-odds of its tag's share, so that the rare ones need not first unlearn
a half. Only rows that a batch holds are read and written, in numpy.
"""

import sys
import time
from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
import shared
from sklearn.feature_extraction.text import HashingVectorizer

from taggen_jax.catalog.product import Product
from taggen_jax.errors import UserError

ROWS, WIDTH = 2**17, 128
BATCH, RATE, SEED, SMALL = 128, 0.2, 0, 1e-8
KINDS = (
    ({"analyzer": "word", "ngram_range": (1, 2)}, shared.WHOLE),
    ({"analyzer": "char_wb", "ngram_range": (3, 5)}, shared.NAME),
)


def features(products: Sequence[Product]) -> sp.csr_matrix:
    """float32 csr [products, ROWS a kind]: each n-gram's share of a product's n-grams of its kind."""
    parts = []
    for how, fields in KINDS:
        hashed = HashingVectorizer(n_features=ROWS, alternate_sign=False, norm="l1", dtype=np.float32, **how)
        parts.append(hashed.transform(shared.texts(products, fields)))
    return sp.hstack(parts, format="csr")


class Bag:
    """The embeddings, the tags' rows and biases, and AdaGrad's sums of squares for each."""

    def __init__(self, wanted: np.ndarray) -> None:
        """`wanted`, bool [products, tags], gives the biases their start."""
        share = np.clip(wanted.mean(axis=0), 1e-5, 1 - 1e-5)
        rng = np.random.default_rng(SEED)
        self.rows = rng.uniform(-1 / WIDTH, 1 / WIDTH, (len(KINDS) * ROWS, WIDTH)).astype(np.float32)
        self.out = np.zeros((WIDTH, wanted.shape[1]), np.float32)
        self.bias = np.log(share / (1 - share)).astype(np.float32)
        self.squares = [np.full_like(x, SMALL) for x in (self.rows, self.out, self.bias)]

    def score(self, x: sp.csr_matrix) -> np.ndarray:
        """The probability of every tag: float32 [products, tags]."""
        return 1 / (1 + np.exp(-(x @ self.rows @ self.out + self.bias)))

    def learn(self, x: sp.csr_matrix, right: np.ndarray, rate: float) -> None:
        """One step: the gradient of a batch's mean loss."""
        used, place = np.unique(x.indices, return_inverse=True)
        x = sp.csr_matrix((x.data, place, x.indptr), (x.shape[0], len(used)))
        hidden = x @ self.rows[used]
        wrong = (1 / (1 + np.exp(-(hidden @ self.out + self.bias))) - right) / len(right)
        steps = (x.T @ (wrong @ self.out.T), hidden.T @ wrong, wrong.sum(axis=0))
        parts = zip((self.rows, self.out, self.bias), self.squares, steps, (used, ..., ...), strict=True)
        for value, square, gradient, at in parts:
            square[at] += gradient**2
            value[at] -= rate * gradient / np.sqrt(square[at])


def train(x: sp.csr_matrix, wanted: np.ndarray, epochs: int) -> Bag:
    """Learns products with the tags `wanted`, at a rate that falls to 0."""
    bag, rng = Bag(wanted), np.random.default_rng(SEED)
    starts = range(0, x.shape[0], BATCH)
    for epoch in range(epochs):
        order = rng.permutation(x.shape[0])
        for i, start in enumerate(starts):
            rows = order[start : start + BATCH]
            bag.learn(x[rows], wanted[rows], RATE * (1 - (epoch + i / len(starts)) / epochs))
        print(f"\repoch {epoch + 1}/{epochs}", end="", file=sys.stderr)
    print(file=sys.stderr)
    return bag


def main() -> None:
    """Reads the flags, learns, tunes, scores, prints."""
    parser = shared.flags(__doc__)
    parser.add_argument("--epochs", type=int, default=20, help="how often every training product is read")
    args = parser.parse_args()
    start = time.time()
    try:
        splits = shared.load(args.data, args.limit)
    except UserError as error:
        sys.exit(f"fasttext: {error}")
    x = {split: features(products) for split, products in splits.items()}
    wanted = shared.gold(splits["train"], list(shared.tag_counts(splits))).astype(np.float32)
    bag = train(x["train"], wanted, args.epochs)
    scores = [bag.score(x[split]) for split in ("validation", "test")]
    shared.finish("fasttext", splits, *scores, args.output, seconds=round(time.time() - start, 1))


if __name__ == "__main__":
    main()
