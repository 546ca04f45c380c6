"""Prepared rows written on Apache Beam through TFDS, by any number of workers: the arrays of `store.write`.

A split is a file of JSON lines. Workers read it by ranges of rows, make the rows, and hand them on under
their number, by which TFDS's writer sorts them into files: so neither the number of workers nor who reads
what shows in the result. With the DirectRunner workers are threads or processes of this machine; other
runners need `folder` and the files on storage that all workers share.

Beam's bounds on protobuf and pyarrow lie below the versions that the lock files pin, so it has an
environment of its own: `pip install 'taggen-jax[beam]'`, without the lock.
"""

import functools
import itertools
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from tensorflow_datasets.core.example_serializer import ExampleSerializer
from tensorflow_datasets.core.file_adapters import FileFormat
from tensorflow_datasets.core.naming import ShardedFileTemplate
from tensorflow_datasets.core.splits import SplitDict, SplitInfo
from tensorflow_datasets.core.writer import BeamWriter, ExampleWriter

from taggen_jax.data import store
from taggen_jax.data.store import Row
from taggen_jax.errors import UserError

CHUNK = 512  # rows that a worker takes at once

Make = Callable[[Iterable[str]], Iterator[Row]]  # lines of a split to rows, one each
Chunk = tuple[int, int, int]  # the first row's number, its place in the file, and how many rows


def write(
    folder: str | os.PathLike[str], splits: Mapping[str, pathlib.Path], make: Make, options: Sequence[str]
) -> None:
    """Writes the rows of each split in the order of its file, as `store.write` would.

    Args:
      folder: as of `store.write`.
      splits: the file of each split, one JSON line a row.
      make: picklable, and a function of the lines alone.
      options: Beam's own, such as "--direct_num_workers=4".

    Raises:
      UserError: Beam is not installed.
    """
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ModuleNotFoundError as error:
        raise UserError(
            "taggen prepare --beam: Apache Beam is not installed; make an environment of its own for it:"
            " pip install 'taggen-jax[beam]'"
        ) from error
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".rows.", dir=folder) as unfinished:
        info, writers = store.description(unfinished), {}
        with beam.Pipeline(options=PipelineOptions(list(options))) as pipeline:
            for split, path in splits.items():
                chunks = list(chunks_of(path))
                if not chunks:
                    continue
                writers[split] = writer = _writer(info, unfinished, split)
                read = functools.partial(examples, path=os.fspath(path), make=make)
                rows = (
                    pipeline
                    | f"{split}: ranges" >> beam.Create(chunks)
                    | f"{split}: to all workers" >> beam.Reshuffle()
                    | f"{split}: rows" >> beam.FlatMap(read)
                )
                rows | f"{split}: files" >> beam.ptransform_fn(_written)(writer)
        info.set_splits(SplitDict([_split(split, writers.get(split), unfinished) for split in splits]))
        info.set_file_format(FileFormat.ARRAY_RECORD, override=True)
        info.write_to_directory(unfinished)
        store.move(pathlib.Path(unfinished), folder)


def chunks_of(path: pathlib.Path, size: int = CHUNK) -> Iterator[Chunk]:
    """The ranges of a file's rows."""
    with path.open("rb") as file:
        place = row = 0
        while lines := list(itertools.islice(file, size)):
            yield row, place, len(lines)
            row, place = row + len(lines), place + sum(map(len, lines))


def examples(chunk: Chunk, path: str, make: Make) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number, encoded row) of a range of rows."""
    row, place, count = chunk
    features = store.features()
    with open(path, "rb") as file:
        file.seek(place)
        lines = [line.decode() for line in itertools.islice(file, count)]
    for number, made in enumerate(make(lines), row):
        yield number, features.encode_example(made)


def _written(rows: Any, writer: BeamWriter) -> Any:
    return writer.write_from_pcollection(rows)


def _writer(info: Any, folder: str, split: str) -> BeamWriter:
    return BeamWriter(
        serializer=ExampleSerializer(store.features().get_serialized_info()),
        filename_template=_template(folder, split),
        hash_salt=split,
        disable_shuffling=True,  # the keys are numbers, and sort
        example_writer=ExampleWriter(file_format=FileFormat.ARRAY_RECORD),
    )


def _template(folder: str, split: str) -> ShardedFileTemplate:
    return ShardedFileTemplate(
        dataset_name=store.NAME,
        data_dir=pathlib.Path(folder),
        split=split,
        filetype_suffix=FileFormat.ARRAY_RECORD.file_suffix,
        template="{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_INDEX}",  # as of `store.write`
    )


def _split(split: str, writer: BeamWriter | None, folder: str) -> SplitInfo:
    lengths, size = writer.finalize() if writer else ([], 0)
    return SplitInfo(
        name=split, shard_lengths=lengths, num_bytes=size, filename_template=_template(folder, split)
    )
