"""Several products in one row: first fit into the open rows of a batch.

    source   a a a a b b b c c .        segments   1 1 1 1 2 2 2 3 3 0
    target   A A A B B C C C C .                   1 1 1 2 2 3 3 3 3 0

A batch is closed when as many products wait as it has rows: products that no row had room for. They are the
first in the next one, whose rows take them all. So what a batch holds depends on the stream of examples
alone, and a `Place` says where in it the next one begins.
"""

import dataclasses
import itertools
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from taggen_jax.data.examples import FILL, Batch, Example, Frame

Item = TypeVar("Item")


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a stream stands before a batch: all that a checkpoint keeps of it.

    Attributes:
      batch: the number of the batch that comes next.
      visit: of the first example that nobody has looked at.
      waiting: visits before that which wait for this batch.
    """

    batch: int = 0
    visit: int = 0
    waiting: tuple[int, ...] = ()

    @classmethod
    def restore(cls, saved: Mapping[str, Any]) -> "Place":
        """From what `saved()` returned."""
        return cls(**{**saved, "waiting": tuple(saved.get("waiting", ()))})

    def saved(self) -> dict[str, Any]:
        """JSON."""
        return {"batch": self.batch, "visit": self.visit, "waiting": list(self.waiting)}


BEGIN = Place()


def packed(
    examples: Iterator[Example],
    waiting: Sequence[Example],
    place: Place,
    rows: int,
    products: int,
    frame: Frame,
) -> Generator[tuple[Place, list[list[Example]]]]:
    """(the place after it, the products of each of its rows) of one batch after the other.

    Args:
      examples: from visit `place.visit` on.
      waiting: those of `place.waiting`.
      rows: of a batch.
      products: in a row, at most.
    """
    queue = list(zip(place.waiting, waiting, strict=True))
    visit = place.visit
    for batch in itertools.count(place.batch + 1):
        opened = _Rows(rows, products, frame)
        queue = [(number, example) for number, example in queue if not opened.take(example)]
        while len(queue) < rows:
            example = next(examples)
            if not opened.take(example):
                queue.append((visit, example))
            visit += 1
        yield Place(batch, visit, tuple(number for number, _ in queue)), opened.rows


class _Rows:
    """The open rows of a batch."""

    def __init__(self, rows: int, products: int, frame: Frame) -> None:
        self.rows: list[list[Example]] = [[] for _ in range(rows)]
        self._room = np.tile([frame.source_length, frame.target_length, products], (rows, 1))

    def take(self, example: Example) -> bool:
        """Puts it in the first row that has room for it, if one has."""
        needed = np.array([len(example.source), len(example.target), 1])
        fitting = np.flatnonzero(np.all(self._room >= needed, axis=1))
        if not len(fitting):
            return False
        row = int(fitting[0])
        self.rows[row].append(example)
        self._room[row] -= needed
        return True


def join(rows: Sequence[Sequence[Example]], products: int, frame: Frame) -> Batch:
    """The arrays of packed rows, see `stream.train_batches`."""
    B, S, T = len(rows), frame.source_length, frame.target_length
    batch = {
        "source": np.full((B, S), frame.source_pad, np.int32),
        "source_segments": np.zeros((B, S), np.int32),
        "target": np.full((B, T), frame.pad, np.int32),
        "target_segments": np.zeros((B, T), np.int32),
        "tags": np.full((B, products, T), FILL, np.int32),
        "tagged": np.zeros((B, products), np.float32),
        "row": np.full((B, products), FILL, np.int32),
        "weight": np.zeros((B, products), np.float32),
    }
    for i, row in enumerate(rows):
        read = written = 0
        for k, example in enumerate(row):
            s = slice(read, read := read + len(example.source))
            t = slice(written, written := written + len(example.target))
            batch["source"][i, s], batch["source_segments"][i, s] = example.source, k + 1
            batch["target"][i, t], batch["target_segments"][i, t] = example.target, k + 1
            batch["tags"][i, k, : len(example.tags)] = example.tags
            batch["tagged"][i, k], batch["row"][i, k], batch["weight"][i, k] = example.tagged, example.row, 1
    return batch


def ahead(items: Generator[Item], size: int) -> Generator[Item]:
    """The same items, made by a thread while the caller works on others; `size` lie ready at most."""
    thread = ThreadPoolExecutor(1)
    try:
        ready = deque(thread.submit(next, items) for _ in range(size))
        while True:
            yield ready.popleft().result()
            ready.append(thread.submit(next, items))
    finally:
        thread.shutdown(cancel_futures=True)
        items.close()
