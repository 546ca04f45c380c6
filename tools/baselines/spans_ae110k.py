"""A learnt look-up for attribute values: which words of the title are the value of an attribute?

    python tools/baselines/spans_ae110k.py --data=AE110K

AE110K as for `lookup_ae110k`. For every attribute of a product, each run of up to four words of the title is
a candidate, and each training value of the attribute that stands in it. What speaks for it is counted on
training titles: how often these words, words of this shape ("55mm" is "9a"), the word before and the word
after went with a value of the attribute. Boosted trees weigh these counts (for a training title: those of
the other folds, as a title's own would give it away); the best candidate is answered if it is likelier than
a threshold, which five folds of the training products choose. So a value that training never had can be
read, where the plain look-up only remembers.
"""

import argparse
import collections
import json
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from lookup_ae110k import Values, known, rows
from lookup_ae110k import learn as learn_values
from sklearn.ensemble import HistGradientBoostingClassifier

from taggen_jax.metrics.attributes import NONE, Attributes

LONGEST = 4  # words of a candidate
FOLDS = 5
PRIOR = 2.0  # how many candidates the smoothing counts for
GRID = np.linspace(0.1, 0.7, 25)

Row = Mapping[str, Any]


class Candidate(NamedTuple):
    """Attribute and value, what the candidate is counted under, and how long and where it is."""

    attribute: str
    value: str
    keys: tuple[tuple[str, ...], ...]
    size: list[float]


def shape(text: str) -> str:
    """ "55mm" as "9a", "YA24a" as "A9a": runs of digits, of capitals and of small letters."""
    text = re.sub(r"\d+([.,]\d+)*", "9", text)
    return re.sub(r"[a-z]+", "a", re.sub(r"[A-Z]+", "A", text))


def places(title: str, values: Iterable[str]) -> list[tuple[int, int]]:
    """Where candidates stand: runs of words, and every value that training knows, inside a word or not."""
    words = [(found.start(), found.end()) for found in re.finditer(r"\S+", title)]
    runs = {(start, stop) for i, (start, _) in enumerate(words) for _, stop in words[i : i + LONGEST]}
    return sorted(runs | {(title.index(v), title.index(v) + len(v)) for v in values if v in title})


def candidates(row: Row, values: Values) -> Iterator[Candidate]:
    """Every candidate for every attribute that people looked at, with the keys of its counts."""
    title, category = row["title"], row["category"]
    for attribute in sorted(row["targets"]):
        for start, stop in places(title, values.get((category, attribute), ())):
            value = title[start:stop]
            words, kind = value.lower().split(), shape(value)
            before = (["^", *title[:start].lower().split()])[-1]
            after = ([*title[stop:].lower().split(), "$"])[0]
            keys = (
                ("value", category, attribute, value),
                ("value", attribute, value.lower()),
                ("shape", category, attribute, kind),
                ("shape", attribute, kind),
                ("before", attribute, before, kind),
                ("after", attribute, after, kind),
                ("first", attribute, words[0]),
                ("last", attribute, words[-1]),
            )
            inside = title[start - 1 : start].strip() != "" or title[stop : stop + 1].strip() != ""
            size = [len(value), len(words), start / len(title), float(inside)]
            yield Candidate(attribute, value, keys, size)


class Counts:
    """How often candidates under a key were right, over products that were annotated for the attribute."""

    def __init__(self, train: Sequence[Row]) -> None:
        self.values = learn_values(train, "longest")
        self.seen: collections.Counter[tuple[str, ...]] = collections.Counter()
        self.right: collections.Counter[tuple[str, ...]] = collections.Counter()
        for row in train:
            for candidate in candidates(row, self.values):
                right = is_right(row, candidate.attribute, candidate.value)
                for key in candidate.keys:
                    self.seen[key] += 1
                    self.right[key] += right

    def features(self, candidate: Candidate) -> list[float]:
        """Size, then smoothed share and log count of each key."""
        found = list(candidate.size)
        for key in candidate.keys:
            seen, right = self.seen[key], self.right[key]
            found += [(right + 0.05 * PRIOR) / (seen + PRIOR), np.log1p(seen)]
        return found


def is_right(row: Row, attribute: str, value: str) -> bool:
    return value in {gold.strip() for gold in row["targets"].get(attribute, ()) if gold != NONE}


def table(
    counts: Counts, products: Sequence[Row]
) -> tuple[np.ndarray, np.ndarray, list[tuple[int, str, str]]]:
    """Features and rights of all candidates, and (product, attribute, value) of each."""
    x, y, of = [], [], []
    for place, row in enumerate(products):
        for candidate in candidates(row, counts.values):
            right = is_right(row, candidate.attribute, candidate.value)
            x.append(counts.features(candidate))
            y.append(right)
            of.append((place, candidate.attribute, candidate.value))
    return np.array(x, np.float32), np.array(y), of


def best(
    model: HistGradientBoostingClassifier, counts: Counts, products: Sequence[Row]
) -> list[dict[str, tuple[str, float]]]:
    """For each product, attribute to its likeliest value and how likely that is."""
    x, _, of = table(counts, products)
    found: list[dict[str, tuple[str, float]]] = [{} for _ in products]
    for (place, attribute, value), score in zip(of, model.predict_proba(x)[:, 1].tolist(), strict=True):
        if score > found[place].get(attribute, ("", 0.0))[1]:
            found[place][attribute] = value, score
    return found


def learn(train: Sequence[Row]) -> tuple[HistGradientBoostingClassifier, Counts]:
    tables = [table(Counts(others), fold) for others, fold in folds(train)]
    x, y = (np.concatenate([part[i] for part in tables]) for i in (0, 1))
    model = HistGradientBoostingClassifier(random_state=0, learning_rate=0.1, max_iter=150)
    return model.fit(x, y), Counts(train)


def folds(products: Sequence[Row]) -> Iterator[tuple[list[Row], list[Row]]]:
    """(the others, the fold), by turns: product i is in fold i modulo FOLDS."""
    for fold in range(FOLDS):
        others = [row for i, row in enumerate(products) if i % FOLDS != fold]
        yield others, list(products[fold::FOLDS])


def score(
    products: Sequence[Row],
    answers: Sequence[Mapping[str, tuple[str, float]]],
    threshold: float,
    training: set[tuple[str, str]],
) -> dict[str, float]:
    attributes = Attributes(training)
    for row, answer in zip(products, answers, strict=True):
        sure = {attribute: value for attribute, (value, p) in answer.items() if p >= threshold}
        attributes.add(row["category"], row["targets"], sure)
    return attributes.result()


def run(folder: pathlib.Path) -> dict[str, float]:
    """The result of the protocol on the test products."""
    train, test = (list(rows(folder / f"{split}.jsonl.gz")) for split in ("train", "test"))
    held_out: list[Mapping[str, tuple[str, float]]] = [{} for _ in train]
    for fold, (others, out) in enumerate(folds(train)):
        held_out[fold::FOLDS] = best(*learn(others), out)
    by_threshold = {t: score(train, held_out, t, set())["attribute_micro_f1_exact"] for t in GRID}
    threshold = max(by_threshold, key=lambda t: by_threshold[t])
    result = score(test, best(*learn(train), test), threshold, known(train))
    return {"threshold": threshold, "held_out_micro_f1": by_threshold[threshold], **result}


def main() -> None:
    """Reads the flags, learns, scores, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder with train and test")
    args = parser.parse_args()
    print(json.dumps({"system": "learnt spans", **run(args.data)}))


if __name__ == "__main__":
    main()
