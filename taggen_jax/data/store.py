"""Prepared rows on disk: a TensorFlow Datasets dataset in ArrayRecord files, without TensorFlow.

`tfds.builder_from_directory(folder).as_data_source(split)` opens it too. Other files may lie beside it.
"""

import hashlib
import itertools
import json
import os
import pathlib
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypedDict

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core.dataset_info import DatasetIdentity, DatasetInfo
from tensorflow_datasets.core.sequential_writer import SequentialWriter
from tensorflow_datasets.proto import tf_example_pb2

from taggen_jax.errors import UserError

NAME, _VERSION = "taggen", "1.0.0"
_INFO = "dataset_info.json"  # a folder without it is no dataset: it goes first and comes last
_SHARD_ROWS = 200_000
_CHUNK_ROWS = 1_000


class Row(TypedDict):
    """One product as training and evaluation read it.

    Attributes:
      id: the product's id.
      group: what its variants share (the id, where the catalog has no groups).
      text: what a model reads, before tokenising.
      source: int32[S], the ids of `text` closed by eos, unpadded.
      fields: int32[F], how many of these ids, in order, come from each piece of the experiment's `text`; the
        rest are the tokenizer's own, before and after them.
      tags: int32[N], vocabulary ids in text order.
      language: of the text; "" where nobody says.
      complete: whether these are all the tags that the product has.
      truncated: whether `source` lost the end of `text`.
    """

    id: str
    group: str
    text: str
    source: np.ndarray
    fields: np.ndarray
    tags: np.ndarray
    language: str
    complete: bool
    truncated: bool


class Records(Protocol):
    """Serialised rows, read at random: a data source of TFDS."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> bytes: ...
    def __getitems__(self, indices: Sequence[int]) -> Sequence[bytes]: ...


class Split(Sequence[Row]):
    """The rows of one split, read at random from disk.

    Reading raises a UserError where a file is missing, cut or damaged. One that was read from stays
    open: deleting it then takes it from later openings only.
    """

    def __init__(self, records: Records | None, folder: pathlib.Path) -> None:
        """`records` are what `write` wrote into `folder`; None for a split without rows and files."""
        self._records, self._folder = records, folder

    def __len__(self) -> int:
        """The number of rows."""
        return len(self._records) if self._records else 0

    def __getitem__(self, index: int) -> Row:  # type: ignore[override]  # a slice would fill the memory
        """Reads one row."""
        if not self._records or not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        return self.read([index])[0]

    def read(self, indices: Sequence[int]) -> list[Row]:
        """Reads some rows at once, which is faster than one by one."""
        if not self._records:
            return []
        try:
            records = self._records.__getitems__(indices)
        except (RuntimeError, IndexError) as error:  # ArrayRecord's
            raise self._unreadable(" ".join(str(error).split())) from error
        if not all(records):  # so come rows that lay in what was cut off an open file
            raise self._unreadable("a file ends before them: it was cut")
        return [_parse(record) for record in records]

    def _unreadable(self, reason: str) -> UserError:
        return UserError(
            f"{self._folder}: rows cannot be read ({reason}); bring them back, or prepare anew, then "
            "run the same command again: training resumes at its newest checkpoint"
        )


def write(folder: str | os.PathLike[str], splits: Mapping[str, Iterable[Row]]) -> None:
    """Writes the rows of each split in the order given, a thousand in memory at a time.

    The dataset appears, in place of an earlier one, only when all its rows are on disk; files of other names
    in `folder` stay.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".rows.", dir=folder) as unfinished:
        _write(unfinished, splits)
        move(pathlib.Path(unfinished), folder)


def open_split(folder: str | os.PathLike[str], split: str) -> Split:
    """Opens one split of what `write` wrote.

    Raises:
      UserError: no dataset in the folder, a damaged description of it, or no such split in the dataset.
    """
    folder = pathlib.Path(folder)
    if not (folder / _INFO).exists():
        raise UserError(f"{folder}: no prepared data ({_INFO} is missing); run 'taggen prepare' into it")
    try:
        json.loads((folder / _INFO).read_text())  # TFDS raises an error of protobuf's where this fails
        builder = tfds.builder_from_directory(os.fspath(folder))
    except ValueError as error:
        raise UserError(
            f"{folder}: {_INFO} or features.json cannot be read ({' '.join(str(error).split())}); "
            "bring both back as they were prepared, or prepare anew"
        ) from error
    if split not in builder.info.splits:
        raise UserError(f"{folder}: got split {split!r}, expected one of {', '.join(builder.info.splits)}")
    if not builder.info.splits[split].num_examples:
        return Split(None, folder)
    raw = tfds.decode.DeserializeMethod.RAW_BYTES
    return Split(builder.as_data_source(split, deserialize_method=raw), folder)


def split_sha256(folder: str | os.PathLike[str], split: str) -> str:
    """SHA-256 of the files that hold a split's rows, as hexadecimal digits."""
    digest = hashlib.sha256()
    for path in sorted(pathlib.Path(folder).glob(f"{NAME}-{split}.array_record-*")):
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _write(folder: str, splits: Mapping[str, Iterable[Row]]) -> None:
    info = description(folder)
    # The usual builder keeps a split in memory, or in temporary files that need TensorFlow; this one streams.
    writer = SequentialWriter(info, max_examples_per_shard=_SHARD_ROWS, file_format="array_record")
    writer.initialize_splits(list(splits))
    for split, rows in splits.items():
        rows = iter(rows)
        while chunk := list(itertools.islice(rows, _CHUNK_ROWS)):
            writer.add_examples({split: chunk})
    writer.close_all()


def description(folder: str) -> DatasetInfo:
    """The dataset as TFDS describes it, without splits."""
    identity = DatasetIdentity(
        name=NAME, version=tfds.core.Version(_VERSION), data_dir=folder, module_name=__name__
    )
    return DatasetInfo(
        builder=identity,
        description="Products with the ids of their text and of their tags.",
        features=features(),
        disable_shuffling=True,
    )


def move(unfinished: pathlib.Path, folder: pathlib.Path) -> None:
    """Puts the dataset of one folder in place of that of another; what else lies there stays."""
    for earlier in [folder / _INFO, *folder.glob(f"{NAME}-*.array_record-*")]:
        earlier.unlink(missing_ok=True)
    for file in sorted(unfinished.iterdir(), key=lambda file: file.name == _INFO):
        os.replace(file, folder / file.name)


def features() -> tfds.features.FeaturesDict:
    """The columns of `Row`."""
    ids = tfds.features.Tensor(shape=(None,), dtype=np.int32)
    text = tfds.features.Text()
    texts = {"id": text, "group": text, "text": text, "language": text}
    flags = {"complete": np.bool_, "truncated": np.bool_}
    return tfds.features.FeaturesDict({**texts, "source": ids, "fields": ids, "tags": ids, **flags})


def _parse(record: bytes) -> Row:
    """Reads the protocol buffer itself: three times as fast as through the features of TFDS."""
    fields = tf_example_pb2.Example.FromString(record).features.feature

    def text(name: str) -> str:
        return fields[name].bytes_list.value[0].decode()

    def ids(name: str) -> np.ndarray:
        return np.array(fields[name].int64_list.value, np.int32)

    return Row(
        id=text("id"),
        group=text("group"),
        text=text("text"),
        source=ids("source"),
        fields=ids("fields"),
        tags=ids("tags"),
        language=(fields["language"].bytes_list.value or [b""])[0].decode(),
        # Data of before there were such columns: there, products without tags were said to have none.
        complete=bool((fields["complete"].int64_list.value or [1])[0]),
        truncated=bool(fields["truncated"].int64_list.value[0]),
    )
