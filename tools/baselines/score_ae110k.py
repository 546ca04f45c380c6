"""Scores tags "Attribute: value" by ExtractGPT's protocol for attribute values.

    python tools/baselines/score_ae110k.py --data=AE110K --predictions=WORKDIR

AE110K holds {train,test}.jsonl.gz with the fields id, category and targets; WORKDIR the predictions.jsonl of
`taggen evaluate` or of `taggen generate` on the test products. A product that is missing there counts as one
whose output could not be read. Prints the counts and scores as one JSON line; training values serve only to
tell the values that were seen from those that were not.
"""

import argparse
import json
import pathlib
import sys

from lookup_ae110k import known, rows

from taggen_jax.metrics.attributes import Attributes, from_tags


def run(data: pathlib.Path, predictions: pathlib.Path) -> dict[str, float]:
    """The result of the protocol on the test products."""
    with predictions.open(encoding="utf-8") as file:
        tags = {line["id"]: line["tags"] for line in map(json.loads, file)}
    attributes = Attributes(known(rows(data / "train.jsonl.gz")))
    for row in rows(data / "test.jsonl.gz"):
        found = from_tags(tags[row["id"]]) if row["id"] in tags else None
        attributes.add(row["category"], row["targets"], found)
    return attributes.result()


def main() -> None:
    """Reads the flags, scores, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder with train and test")
    parser.add_argument(
        "--predictions", type=pathlib.Path, required=True, help="folder with predictions.jsonl"
    )
    args = parser.parse_args()
    path = args.predictions / "predictions.jsonl"
    if not path.is_file():
        sys.exit(f"score_ae110k: {path}: no such file; run `taggen evaluate` or `taggen generate` first")
    print(json.dumps({"system": str(args.predictions), **run(args.data, path)}))


if __name__ == "__main__":
    main()
