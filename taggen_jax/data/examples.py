"""What one product teaches, as ids; and the arrays that a batch of them becomes, one product a row."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Batch = dict[str, np.ndarray]
Ids = Sequence[int] | np.ndarray
FILL = -1  # the row number of what only fills a batch, and the tag after a row's last


class Example(NamedTuple):
    """One product as it is read and written this time.

    Attributes:
      source, target: token ids, as many as there is room for, not padded.
      tags: vocabulary ids.
      tagged: whether these are all its tags, and the text is read as it will be in use.
      row: the product's number in its split.
    """

    source: Ids
    target: Ids
    tags: Ids
    tagged: bool
    row: int


@dataclasses.dataclass(frozen=True)
class Frame:
    """The size of a batch's rows and the ids that fill them up."""

    source_length: int
    target_length: int
    source_pad: int
    pad: int


def pad(examples: Sequence[Example], rows: int, frame: Frame) -> Batch:
    """A batch of `rows` rows, see `stream.train_batches`; what is left of them has row FILL and weight 0."""
    batch = {
        "source": np.full((rows, frame.source_length), frame.source_pad, np.int32),
        "target": np.full((rows, frame.target_length), frame.pad, np.int32),
        "tags": np.full((rows, frame.target_length), FILL, np.int32),
        "tagged": np.zeros(rows, np.float32),
        "row": np.full(rows, FILL, np.int32),
        "weight": np.zeros(rows, np.float32),
    }
    for i, example in enumerate(examples):
        for name, ids in (("source", example.source), ("target", example.target), ("tags", example.tags)):
            batch[name][i, : len(ids)] = ids
        batch["tagged"][i], batch["row"][i], batch["weight"][i] = example.tagged, example.row, 1
    return batch
