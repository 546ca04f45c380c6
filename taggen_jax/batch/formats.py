"""The files that a job ends in, written from the lines of its shards."""

import itertools
import json
import os
import pathlib
from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.parquet

from taggen_jax.files import no_space_named

_GROUP = 65_536  # rows in a row group
_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("tags", pa.list_(pa.string())),
        ("scores", pa.list_(pa.float64())),
        ("proposed", pa.list_(pa.string())),
        ("truncated", pa.bool_()),
        ("content", pa.string()),
    ]
)


def write_lines(lines: Iterator[bytes], path: pathlib.Path) -> None:
    """JSON lines as they are."""
    with no_space_named(path), open(path, "wb") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())


def write_parquet(lines: Iterator[bytes], path: pathlib.Path) -> None:
    """A Parquet file with the columns id, tags, scores, proposed, truncated (never null) and content."""
    with (
        no_space_named(path),
        open(path, "wb") as file,
        pa.parquet.ParquetWriter(file, _SCHEMA, compression="zstd") as writer,
    ):
        while group := [json.loads(line) for line in itertools.islice(lines, _GROUP)]:
            rows = [{"truncated": False} | row for row in group]
            writer.write_table(pa.Table.from_pylist(rows, _SCHEMA))
    with open(path, "rb") as written:
        os.fsync(written.fileno())


WRITERS: dict[str, Callable[[Iterator[bytes], pathlib.Path], None]] = {
    "jsonl": write_lines,
    "parquet": write_parquet,
}
