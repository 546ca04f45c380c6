"""What of an earlier job still holds: the rows of products that a model reads as it did then."""

import hashlib
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from taggen_jax.batch.fingerprint import differences, listed
from taggen_jax.errors import UserError
from taggen_jax.files import read_json

# No row depends on the first three; what a row depends on of the others is in its `content`.
MAY_DIFFER = (
    *("input", "format", "shard_rows"),
    *("vocabulary", "thesaurus", "subsets", "forbidden", "withheld"),
)


def content(source: Sequence[int], offer: str) -> str:
    """A hash of what a model reads of a product, and of what it may be given (see `taggen_jax.offers`).

    What is not in it, the row does not depend on.
    """
    read = np.asarray(source, "<i4").tobytes()
    return hashlib.blake2b(read + offer.encode(), digest_size=16).hexdigest()


def earlier(folder: pathlib.Path, fingerprint: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The rows of a job that is done, by content.

    Args:
      folder: the output of the job.
      fingerprint: of the job that wants to reuse them.

    Raises:
      UserError: the job is not done, or was done with other weights or settings.
    """
    manifest = read_json(folder / "manifest.json", "the manifest of the previous job")
    before, now = (
        {name: value for name, value in marks.items() if name not in MAY_DIFFER}
        for marks in (manifest["fingerprint"], fingerprint)
    )
    if changes := differences(before, now):
        raise UserError(
            f"{folder}: generated with another model or other settings ({listed(changes)}), none of its rows "
            "can be reused; generate without --previous"
        )
    return {row["content"]: row for row in tagged_rows(folder)}


def tagged_rows(folder: pathlib.Path) -> Iterator[dict[str, Any]]:
    """The rows of a job that is done, in order.

    Raises:
      UserError: it is not done.
    """
    format = read_json(folder / "manifest.json", "the manifest of a finished job")["fingerprint"]["format"]
    path = folder / f"predictions.{format}"
    if format == "jsonl":
        with open(path, encoding="utf-8") as file:
            yield from map(json.loads, file)
    else:
        with pa.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
