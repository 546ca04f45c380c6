"""A plain baseline: a tag belongs to a product whose text holds the words of its name.

    python tools/baselines/lexical.py --data=FOLDER [--output=OUT]

FOLDER as for `linear`. Each tag is matched by the part of its name after the last ":" ("devel::lang:perl" by
"perl"), as whole words, letter case apart. How much a match means is counted on training products: the
score is the share, among those whose text holds the words, that have the tag, drawn towards the tag's own
share by ten products (Laplace smoothing). Tags whose words are absent keep a hundredth of their share, so
that there is a ranking. The lexical matchers of library indexing (Annif's MLLM) work on this ground.
"""

import re
import sys
import time

import numpy as np
import shared
from sklearn.feature_extraction.text import CountVectorizer

from taggen_jax.errors import UserError

PRIOR = 10.0
UNSEEN = 0.01


def words(tag: str) -> str:
    return " ".join(re.findall(r"\w+", tag.rsplit(":", 1)[-1].lower()))


def matches(splits: shared.Splits, tags: list[str]) -> dict[str, np.ndarray]:
    """bool [products, tags] for each split: whether the words of the tag stand in the text, in a row."""
    names = [words(tag) for tag in tags]
    distinct = {name: i for i, name in enumerate(dict.fromkeys(names))}
    longest = max(name.count(" ") + 1 for name in names)
    counter = CountVectorizer(
        vocabulary=distinct, ngram_range=(1, longest), token_pattern=r"\w+", binary=True
    )
    columns = [distinct[name] for name in names]
    return {
        split: counter.transform(shared.texts(products)).toarray()[:, columns].astype(bool)
        for split, products in splits.items()
    }


def main() -> None:
    """Reads the flags, counts, tunes, scores, prints."""
    args = shared.flags(__doc__).parse_args()
    start = time.time()
    try:
        splits = shared.load(args.data, args.limit)
    except UserError as error:
        sys.exit(f"lexical: {error}")
    tags = list(shared.tag_counts(splits))
    found, wanted = matches(splits, tags), shared.gold(splits["train"], tags)
    share = wanted.mean(axis=0)
    both, matched = (found["train"] & wanted).sum(axis=0), found["train"].sum(axis=0)
    belief = (both + PRIOR * share) / (matched + PRIOR)
    scores = [np.where(found[split], belief, UNSEEN * share) for split in ("validation", "test")]
    shared.finish("lexical", splits, *scores, args.output, seconds=round(time.time() - start, 1))


if __name__ == "__main__":
    main()
