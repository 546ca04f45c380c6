"""A plain baseline for attribute values: look the title up in the values of the training products.

    python tools/baselines/lookup_ae110k.py --data=AE110K

AE110K holds {train,test}.jsonl.gz with the fields category, title and targets. For every attribute of a test
product, the answer is the training value of that category and attribute that stands in the title, letter case
included: the most frequent one, or with --first=longest the longest one. Nothing is tuned. Prints the counts
and scores of ExtractGPT's protocol as one JSON line.

Which attributes to answer is read from the targets; it makes no difference, as the protocol skips others.
Longest first gives the 72.9 micro-F1 that is published for it. Most frequent first gives 77.9 to 78.4, by
what decides among values of equal frequency (77.8 is published); here the longer one goes first, because many
values are parts of others.
"""

import argparse
import collections
import gzip
import json
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from taggen_jax.metrics.attributes import NONE, Attributes

Row = Mapping[str, Any]
Values = Mapping[tuple[str, str], list[str]]

ORDERS: dict[str, Callable[[str, int], tuple[int, ...]]] = {
    "frequent": lambda value, count: (count, len(value)),
    "longest": lambda value, count: (len(value),),
}
"""(value, training count) to a sort key, the greatest first."""


def rows(path: pathlib.Path) -> Iterator[Row]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def learn(train: Iterable[Row], first: str) -> Values:
    """(category, attribute) to its values, in the order in which they are tried; ties in training order."""
    counts: dict[tuple[str, str], collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for row in train:
        for attribute, values in row["targets"].items():
            counts[row["category"], attribute].update(value.strip() for value in values if value != NONE)
    key = ORDERS[first]
    return {
        pair: sorted(values, key=lambda value: key(value, values[value]), reverse=True)
        for pair, values in counts.items()
    }


def look_up(row: Row, values: Values) -> dict[str, str]:
    """Attribute to the first value that stands in the title."""
    found = {
        attribute: next((v for v in values.get((row["category"], attribute), ()) if v in row["title"]), None)
        for attribute in row["targets"]
    }
    return {attribute: value for attribute, value in found.items() if value is not None}


def known(train: Iterable[Row]) -> set[tuple[str, str]]:
    """The (attribute, value) pairs of the training products."""
    return {
        (attribute, value.strip())
        for row in train
        for attribute, values in row["targets"].items()
        for value in values
        if value != NONE
    }


def main() -> None:
    """Reads the flags, looks up, scores, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder with train and test")
    parser.add_argument(
        "--first", choices=tuple(ORDERS), default="frequent", help="which value is tried first"
    )
    args = parser.parse_args()
    print(json.dumps({"system": f"lookup, {args.first} first", **run(args.data, args.first)}))


def run(folder: pathlib.Path, first: str) -> dict[str, float]:
    """The result of the protocol on the test products."""
    train = list(rows(folder / "train.jsonl.gz"))
    values, attributes = learn(train, first), Attributes(known(train))
    for row in rows(folder / "test.jsonl.gz"):
        attributes.add(row["category"], row["targets"], look_up(row, values))
    return attributes.result()


if __name__ == "__main__":
    main()
